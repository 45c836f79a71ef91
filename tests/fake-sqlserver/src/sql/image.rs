//! Images of rows: the stored values of a row, each with the id of its column, in one blob.
//!
//! The log of changes keeps rows in this form, whatever table they are of and however its columns change later.

use rusqlite::types::{Value as Stored, ValueRef};

/// The image of these columns.
pub fn encode<'a>(columns: impl IntoIterator<Item = (i64, &'a Stored)>) -> Vec<u8> {
    let mut image = Vec::new();
    for (id, value) in columns {
        image.extend(u32::try_from(id).unwrap_or(0).to_be_bytes());
        let (tag, bytes) = match value {
            Stored::Null => (0, Vec::new()),
            Stored::Integer(integer) => (1, integer.to_be_bytes().to_vec()),
            Stored::Real(real) => (2, real.to_be_bytes().to_vec()),
            Stored::Text(text) => (3, text.as_bytes().to_vec()),
            Stored::Blob(blob) => (4, blob.clone()),
        };
        image.push(tag);
        image.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        image.extend(bytes);
    }
    image
}

/// The value of a column; null for a column that the image does not have.
pub fn cell(image: &[u8], column: i64) -> Stored {
    let mut rest = image;
    while let Some((id, tag, bytes, after)) = first(rest) {
        if i64::from(id) == column {
            return value(tag, bytes);
        }
        rest = after;
    }
    Stored::Null
}

/// Whether two images have the same value of a column.
pub fn same(left: &[u8], right: &[u8], column: i64) -> bool {
    cell(left, column) == cell(right, column)
}

/// An image of some columns of an image.
pub fn part(image: &[u8], columns: &[i64]) -> Vec<u8> {
    let values: Vec<(i64, Stored)> = columns.iter().map(|column| (*column, cell(image, *column))).collect();
    encode(values.iter().map(|(column, value)| (*column, value)))
}

fn first(image: &[u8]) -> Option<(u32, u8, &[u8], &[u8])> {
    let (id, rest) = image.split_first_chunk::<4>()?;
    let (tag, rest) = rest.split_first()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (bytes, rest) = rest.split_at_checked(length)?;
    Some((u32::from_be_bytes(*id), *tag, bytes, rest))
}

fn value(tag: u8, bytes: &[u8]) -> Stored {
    let borrowed = match (tag, bytes.first_chunk::<8>()) {
        (1, Some(eight)) => ValueRef::Integer(i64::from_be_bytes(*eight)),
        (2, Some(eight)) => ValueRef::Real(f64::from_be_bytes(*eight)),
        (3, _) => ValueRef::Text(bytes),
        (4, _) => ValueRef::Blob(bytes),
        _ => ValueRef::Null,
    };
    // Text was UTF-8 when it was put in.
    Stored::try_from(borrowed).unwrap_or(Stored::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_by_their_column() {
        let row = [
            (1, Stored::Integer(i64::MIN)),
            (3, Stored::Null),
            (4, Stored::Text("né".to_owned())),
            (7, Stored::Blob(vec![0, 1, 2])),
            (9, Stored::Real(-0.5)),
        ];
        let image = encode(row.iter().map(|(id, value)| (*id, value)));
        for (id, value) in &row {
            assert_eq!(cell(&image, *id), *value);
        }
        assert_eq!(cell(&image, 2), Stored::Null);
        assert_eq!(cell(&part(&image, &[7]), 4), Stored::Null);
        assert!(same(&part(&image, &[7, 4]), &image, 4));
    }
}
