//! Whether a text of the vault's repeats what the vault was sent.
//!
//! Servers quote questions in their refusals: a header, a form, a claim. So a text is shown only if no part of a secret is found in
//! it, as it is or with one or two encodings taken away.

use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use datakit_model::Secret;
use zeroize::Zeroizing;

/// So many bytes in a row are a part of a secret; all of one that is shorter.
const PART_BYTES: usize = 8;
/// Longer texts are not looked at, and so not shown.
const MAX_TEXT_BYTES: usize = 4_096;
/// Encodings within encodings that are taken away: a form's value in base64 is two.
const DEPTH: usize = 2;

/// Bits that are left over are those of a neighbour.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

type View = Zeroizing<Vec<u8>>;

/// Whether the text holds a part of one of these secrets, in whatever form; also true of what is too long to tell.
pub(crate) fn repeats<'s>(text: &str, secrets: impl IntoIterator<Item = &'s Secret>) -> bool {
    if text.len() > MAX_TEXT_BYTES {
        return true;
    }
    let views = views(text);
    secrets.into_iter().any(|secret| {
        let whole = Zeroizing::new(secret.expose().to_ascii_lowercase());
        let length = whole.len().min(PART_BYTES);
        let parts: HashSet<&[u8]> = whole.as_bytes().windows(length.max(1)).collect();
        views.iter().any(|view| view.windows(length.max(1)).any(|window| parts.contains(window)))
    })
}

/// The text with no encoding taken away, one, or two; in lower case.
fn views(text: &str) -> Vec<View> {
    let mut all = vec![Zeroizing::new(text.as_bytes().to_vec())];
    let mut newest = 0;
    for _ in 0..DEPTH {
        let found: Vec<View> = all[newest..].iter().flat_map(|view| decoded(view)).collect();
        newest = all.len();
        for view in found {
            if !view.is_empty() && !all.contains(&view) {
                all.push(view);
            }
        }
    }
    all.iter_mut().for_each(|view| view.make_ascii_lowercase());
    all
}

/// What the bytes are in each encoding.
fn decoded(bytes: &[u8]) -> Vec<View> {
    let mut all = vec![percent(bytes, false), percent(bytes, true), unescaped(bytes)];
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/-_".contains(byte);
    for run in bytes.split(|byte| !is_base64(byte)).filter(|run| run.len() >= PART_BYTES) {
        let run: Zeroizing<Vec<u8>> = Zeroizing::new(run.iter().map(standard).collect());
        // Where the encoded part begins is not known.
        all.extend((0..4).filter_map(|skipped| {
            let part = &run[skipped..];
            // One character alone is no byte.
            let part = &part[..part.len() - usize::from(part.len() % 4 == 1)];
            BASE64.decode(part).ok().map(Zeroizing::new)
        }));
    }
    // Separators of dumps are left out.
    for separators in [&b""[..], b" :-,"] {
        let packed: Zeroizing<Vec<u8>> =
            Zeroizing::new(bytes.iter().copied().filter(|byte| !separators.contains(byte)).collect());
        for run in packed.split(|byte| !byte.is_ascii_hexdigit()).filter(|run| run.len() >= PART_BYTES) {
            all.extend((0..2).map(|skipped| Zeroizing::new(run[skipped..].chunks_exact(2).filter_map(hex).collect())));
        }
    }
    all.retain(|view| view.as_slice() != bytes);
    all
}

/// The character of base64 in the place of that of its form for URLs.
fn standard(byte: &u8) -> u8 {
    match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    }
}

fn hex(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Without the encoding of forms and paths.
fn percent(bytes: &[u8], plus_is_space: bool) -> View {
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let escaped = if *byte == b'%' { bytes.get(at + 1..at + 3).and_then(hex) } else { None };
        plain.push(match (byte, escaped) {
            (_, Some(escaped)) => escaped,
            (b'+', None) if plus_is_space => b' ',
            (byte, None) => *byte,
        });
        at += if escaped.is_some() { 3 } else { 1 };
    }
    plain
}

/// Without the escapes of JSON in JSON and of XML and HTML.
fn unescaped(bytes: &[u8]) -> View {
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let found = match first {
            b'\\' => of_json(after),
            b'&' => of_xml(after),
            _ => None,
        };
        let (character, taken) = found.unwrap_or((None, 0));
        match character {
            Some(character) => plain.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            None => plain.push(*first),
        }
        rest = &after[taken..];
    }
    plain
}

/// What an escape is, without its backslash, and how long.
fn of_json(after: &[u8]) -> Option<(Option<char>, usize)> {
    match after.first()? {
        b'u' => {
            let code = u32::from_str_radix(std::str::from_utf8(after.get(1..5)?).ok()?, 16).ok()?;
            Some((Some(char::from_u32(code)?), 5))
        }
        other @ (b'"' | b'\\' | b'/' | b'\'') => Some((Some(char::from(*other)), 1)),
        _ => None,
    }
}

/// What an entity is, without its `&`, and how long.
fn of_xml(after: &[u8]) -> Option<(Option<char>, usize)> {
    let length = after.iter().take(10).position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(&after[..length]).ok()?;
    let character = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)?
        }
    };
    Some((Some(character), length + 1))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use datakit_canary::forms;

    use super::*;

    fn found(text: &str, secret: &str) -> bool {
        repeats(text, [&Secret::new(secret.to_owned())])
    }

    #[test]
    fn every_form_of_a_secret_is_found_wherever_it_stands() {
        let secret = "Pl4nted-client &=+%\"é/secret";
        // Not those that only a driver or a debugger writes.
        let unlikely = |name: &str| {
            ["UTF-16", "LOGIN7", "numbers", "escaped to ASCII", "escaped bytes", "escaped whole"]
                .iter()
                .any(|part| name.contains(part))
        };
        let mut looked_at = 0;
        for form in forms(secret.as_bytes()).into_iter().filter(|form| !unlikely(&form.name)) {
            let form_text = String::from_utf8(form.bytes).unwrap();
            for (before, after) in [("", ""), ("no: ", " is wrong"), ("Bearer ", ".")] {
                assert!(found(&format!("{before}{form_text}{after}"), secret), "{}: {form_text}", form.name);
            }
            looked_at += 1;
        }
        assert!(looked_at >= 10, "{looked_at}");
        for text in [
            format!("Basic {}", STANDARD.encode(format!("sdk-client-7:{secret}"))),
            STANDARD.encode("client_secret=Pl4nted-client+%26%3D%2B%25%22%C3%A9%2Fsecret"),
            "Pl4nted-client &amp;=+%&quot;&#233;/secret".to_owned(),
            "PL4NTED-CLIENT".to_owned(),
            "the secret that begins with Pl4nted-".to_owned(),
        ] {
            assert!(found(&text, secret), "{text}");
        }
    }

    #[test]
    fn what_a_vault_says_of_itself_is_no_secret() {
        let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJQbDRudGVkIn0.c2lnbmF0dXJlIFBsNG50ZWQ";
        for text in ["Login failed.", "Access Denied: API_AccessDenied", "100 % of the licences are in use & more", ""]
        {
            for secret in [token, "Pl4nted-client-secret", "x\u{fffd}y"] {
                assert!(!found(text, secret), "{text}");
            }
        }
        assert!(found(&"no ".repeat(3_000), token), "too long to be looked at");
        assert!(!found("anything", ""), "no secret was sent");
    }
}
