//! Folders in Hive's style: `day=2026-01-31/country=Côte%20d%27Ivoire`.
//!
//! The protocol has readers take the values from the log, and lets files be anywhere. Some readers take them from the folders
//! all the same (polars), so that every file is in the folder of its values, and a value without such a folder is refused.

use std::fmt::Write as _;

use datakit_parquet::Folder;

/// The name of null in folders.
pub(super) const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// The longest file name of common file systems.
const MAX_NAME_BYTES: usize = 255;
/// What all folders of a file may take: an object of S3 has a name of at most 1,024 bytes, the table's root included.
const MAX_PATH_BYTES: usize = 700;

const LONG_NAME: &str = "the folder of a partition value has a name of at most 255 bytes";
const LONG_PATH: &str = "the folders of a row's partition values take at most 700 bytes together";

/// The folder of files with these values.
///
/// # Errors
/// The place of the column whose value makes it too long, and why.
pub(super) fn of(columns: &[String], values: Vec<Option<String>>) -> Result<Folder, (usize, &'static str)> {
    let mut path = String::new();
    for (place, (column, value)) in columns.iter().zip(&values).enumerate() {
        let value = value.as_ref().map_or_else(|| NULL.to_owned(), |value| encoded(value));
        // Not encoded again: polars takes the name as it is.
        let name = format!("{}={value}", column.replace('/', "%2F"));
        let separator = if path.is_empty() { "" } else { "/" };
        if name.len() > MAX_NAME_BYTES {
            return Err((place, LONG_NAME));
        }
        path.push_str(separator);
        path.push_str(&name);
        if path.len() > MAX_PATH_BYTES {
            return Err((place, LONG_PATH));
        }
    }
    Ok(Folder { path, values })
}

/// Everything of ASCII but letters, digits and `- _ .` becomes `%` and two digits: more than Hive encodes, and read by it all
/// the same. The log encodes the path once more, as a URI.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() && !(c.is_ascii_alphanumeric() || "-_.".contains(c)) {
            // Writing to a String cannot fail.
            let _ = write!(encoded, "%{:02X}", u32::from(c));
        } else {
            encoded.push(c);
        }
    }
    encoded
}
