//! In which forms a secret could be said.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A secret in one form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Which one.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A secret as it is and, where it is text, as UTF-16LE and as LOGIN7 of TDS has it (MS-TDS 2.2.6.4: every byte with its halves
/// exchanged, then XOR 0xA5); and each of these in hexadecimal, as a list of numbers, in base64 (whatever stands before it) and
/// percent-encoded, and with the escapes that Rust and JSON write.
pub fn forms(secret: &[u8]) -> Vec<Form> {
    let mut forms = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| {
        let shortest = 6;
        if bytes.len() >= shortest && !forms.iter().any(|form: &Form| form.bytes == bytes) {
            forms.push(Form { name: name.to_owned(), bytes });
        }
    };
    let mut raw = vec![("", secret.to_vec())];
    if let Ok(text) = std::str::from_utf8(secret) {
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        raw.push((" of UTF-16", utf16.clone()));
        raw.push((" of LOGIN7", utf16.iter().map(|byte| byte.rotate_left(4) ^ 0xa5).collect()));
        add("escaped", text.escape_debug().to_string().into_bytes());
        add("escaped to ASCII", text.escape_default().to_string().into_bytes());
        add("escaped as JSON", json(text).into_bytes());
        add("percent-encoded", percent(secret, "%", |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)));
        add("form-encoded", percent(secret, "%", |byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte)))
    }
    add("escaped bytes", secret.escape_ascii().to_string().into_bytes());
    for (of, bytes) in raw {
        let hex = |separator: &str| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(separator);
        for separator in ["", " ", ":"] {
            add(&format!("hexadecimal{of}"), hex(separator).to_uppercase().into_bytes());
            add(&format!("hexadecimal{of}"), hex(separator).into_bytes());
        }
        let decimal: Vec<String> = bytes.iter().map(u8::to_string).collect();
        add(&format!("numbers{of}"), decimal.join(", ").into_bytes());
        add(&format!("numbers{of}"), decimal.join(",").into_bytes());
        add(&format!("percent-encoded whole{of}"), percent(&bytes, "%", |_| false));
        add(&format!("escaped whole{of}"), percent(&bytes, "\\x", |_| false).to_ascii_lowercase());
        for before in 0..3 {
            add(&format!("base64{of}"), base64(&bytes, before, &STANDARD_NO_PAD));
            add(&format!("base64{of}"), base64(&bytes, before, &URL_SAFE_NO_PAD));
        }
        add(if of.is_empty() { "as it is" } else { of.trim_start_matches(" of ") }, bytes);
    }
    forms
}

/// The characters that depend on the secret alone when so many bytes stand before it, and any after it.
fn base64(bytes: &[u8], before: usize, engine: &impl base64::Engine) -> Vec<u8> {
    let encoded = engine.encode([&vec![0; before][..], bytes].concat()).into_bytes();
    // Six bits a character: those with a bit of a neighbour are left out.
    let first = (before * 8).div_ceil(6);
    let last = (before + bytes.len()) * 8 / 6;
    encoded.get(first..last).unwrap_or_default().to_vec()
}

fn percent(bytes: &[u8], prefix: &str, is_plain: impl Fn(u8) -> bool) -> Vec<u8> {
    let encode = |byte: &u8| if is_plain(*byte) { vec![*byte] } else { format!("{prefix}{byte:02X}").into_bytes() };
    bytes.iter().flat_map(encode).collect()
}

/// The inside of a JSON string, ASCII alone.
fn json(text: &str) -> String {
    let mut json = String::new();
    for unit in text.encode_utf16() {
        match char::from_u32(u32::from(unit)) {
            Some(c @ ('"' | '\\')) => json.extend(['\\', c]),
            Some(c) if c == ' ' || c.is_ascii_graphic() => json.push(c),
            _ => json += &format!("\\u{unit:04x}"),
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn base64_is_found_whatever_stands_around_it() {
        let secret = b"Pl4nted-secret";
        for before in 0..7 {
            for after in 0..7 {
                let whole = [&vec![b'x'; before][..], secret, &vec![b'y'; after]].concat();
                let encoded = base64::engine::general_purpose::STANDARD.encode(whole).into_bytes();
                let forms = forms(secret);
                let found =
                    forms.iter().any(|form| encoded.windows(form.bytes.len()).any(|window| window == form.bytes));
                assert!(found, "{before} {after}");
            }
        }
    }

    #[test]
    fn login7_is_as_in_the_specification() {
        // 0x66 with its halves exchanged is itself, and 0x66 XOR 0xa5 is 0xc3.
        let found = forms(b"ffff").into_iter().find(|form| form.name == "LOGIN7").map(|form| form.bytes);
        assert_eq!(found.as_deref(), Some(&[0xc3, 0xa5, 0xc3, 0xa5, 0xc3, 0xa5, 0xc3, 0xa5][..]));
    }

    #[test]
    fn characters_beyond_ascii_have_escapes() {
        let names: Vec<String> = forms("Gehéim \"1\"".as_bytes())
            .into_iter()
            .filter(|form| form.name.starts_with("escaped") || form.name.ends_with("-encoded"))
            .filter_map(|form| String::from_utf8(form.bytes).ok())
            .collect();
        for expected in
            ["Gehéim \\\"1\\\"", "Geh\\u{e9}im \\\"1\\\"", "Geh\\u00e9im \\\"1\\\"", "Geh%C3%A9im%20%221%22"]
        {
            assert!(names.iter().any(|name| name == expected), "{expected} in {names:?}");
        }
    }
}
