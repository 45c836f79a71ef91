//! Bytes of WebAssembly that are small and take much: the end-to-end tests send the same ones to the commands of `host`.

/// Unsigned LEB128.
pub fn leb(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A section of a module or a component.
pub fn section(id: u8, content: &[u8]) -> Vec<u8> {
    [&[id][..], &leb(content.len()), content].concat()
}

/// A component of these sections.
pub fn component_holding(sections: &[u8]) -> Vec<u8> {
    [b"\0asm\x0d\0\x01\0", sections].concat()
}

/// One function: `loops` loops in one another, each of which any of `locals` variables may come around.
pub fn module_of_loops(loops: usize, locals: usize) -> Vec<u8> {
    let mut body = [&[1][..], &leb(locals), &[0x7e]].concat();
    (0..loops).for_each(|_| body.extend([0x03, 0x40]));
    for local in (0..locals).map(leb) {
        body.extend([&[0x20][..], &local, &[0x42, 0x01, 0x7c, 0x21], &local].concat());
    }
    for depth in (0..loops).map(leb) {
        body.extend([&[0x41, 0x00, 0x0d][..], &depth].concat());
    }
    body.extend(vec![0x0b; loops + 1]);
    let code = [&[1][..], &leb(body.len()), &body].concat();
    [&b"\0asm\x01\0\0\0"[..], &section(1, &[1, 0x60, 0, 0]), &section(3, &[1, 0]), &section(10, &code)].concat()
}
