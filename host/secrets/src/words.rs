//! The words of a vault: as far as they may be shown, and as bytes.

use base64::Engine as _;
use datakit_model::printable::is_printable;
use datakit_model::{Secret, SecretBytes};
use zeroize::Zeroizing;

use crate::echo;

/// What is shown of a vault's own words, in characters.
const MAX_CHARS: usize = 200;

/// A vault's reason with its `status`; the status alone where the words hold a part of what was sent.
pub(crate) fn reason<'s>(text: &str, status: &str, sent: impl IntoIterator<Item = &'s Secret>) -> String {
    shown(text, sent).map_or_else(|| status.to_owned(), |text| format!("{text} ({status})"))
}

/// The words; none where there are none, or they hold a part of what was sent.
pub(crate) fn shown<'s>(text: &str, sent: impl IntoIterator<Item = &'s Secret>) -> Option<String> {
    (!text.is_empty() && !echo::repeats(text, sent)).then(|| printable(text))
}

/// Without what a terminal would obey, and not too long.
pub(crate) fn printable(text: &str) -> String {
    text.chars().take(MAX_CHARS).map(|c| if is_printable(c) { c } else { ' ' }).collect()
}

/// The bytes of a text in base64, spaces and line ends aside.
pub(crate) fn base64(text: &str) -> Option<SecretBytes> {
    let packed = Zeroizing::new(text.split_ascii_whitespace().collect::<String>());
    base64::engine::general_purpose::STANDARD.decode(packed.as_bytes()).ok().map(SecretBytes::new)
}
