//! ROW and NBCROW: a whole row (MS-TDS 2.2.7.19 and 2.2.7.14).

use super::cell::{self, Frame};
use super::{Encoding, NullBitmaps};
use crate::values::{Column, SqlError, Value};

const ROW: u8 = 0xd1;
const ROW_WITH_BITMAP: u8 = 0xd2;

/// Writes the rows of one result; what depends on columns is decided once.
#[derive(Debug)]
pub struct RowEncoder {
    columns: Vec<Column>,
    frames: Vec<Frame>,
    encoding: Encoding,
}

impl RowEncoder {
    /// An encoder for rows of these columns.
    pub fn new(columns: &[Column], encoding: Encoding) -> Self {
        Self { columns: columns.to_vec(), frames: columns.iter().map(Frame::of).collect(), encoding }
    }

    /// Writes one row.
    ///
    /// # Errors
    ///
    /// A value that is none of its column's type, or too few or too many values (error 8101 of no client's making: an
    /// engine's mistake); `to` then ends with half a row that must not be sent.
    pub fn write(&self, to: &mut Vec<u8>, values: &[Value]) -> Result<(), SqlError> {
        self.write_telling(to, values, |_, _| {})
    }

    /// As [`Self::write`]; tells where in `to` each cell that is not left out begins.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub fn write_telling(
        &self,
        to: &mut Vec<u8>,
        values: &[Value],
        mut begins: impl FnMut(usize, usize),
    ) -> Result<(), SqlError> {
        if values.len() != self.columns.len() {
            return Err(SqlError::new(
                8101,
                format!("The result has {} columns but a row of {} values.", self.columns.len(), values.len()),
            ));
        }
        let bitmap = self.with_bitmap(values);
        if bitmap {
            to.push(ROW_WITH_BITMAP);
            let start = to.len();
            to.resize(start + values.len().div_ceil(8), 0);
            for (index, _) in values.iter().enumerate().filter(|(_, value)| matches!(value, Value::Null)) {
                if let Some(byte) = to.get_mut(start + index / 8) {
                    *byte |= 1 << (index % 8);
                }
            }
        } else {
            to.push(ROW);
        }
        for (index, ((column, frame), value)) in self.columns.iter().zip(&self.frames).zip(values).enumerate() {
            if bitmap && matches!(value, Value::Null) {
                if *frame == Frame::Fixed {
                    frame.write_null(to, column)?;
                }
                continue;
            }
            begins(index, to.len());
            cell::write(to, column, *frame, value, &self.encoding)?;
        }
        Ok(())
    }

    fn with_bitmap(&self, values: &[Value]) -> bool {
        match self.encoding.null_bitmaps {
            NullBitmaps::Always => true,
            NullBitmaps::Never => false,
            NullBitmaps::WhenShorter => {
                let nulls = self.frames.iter().zip(values).filter(|(_, value)| matches!(value, Value::Null));
                let null_bytes: usize = nulls.map(|(frame, _)| frame.null_bytes()).sum();
                null_bytes > 0 && null_bytes >= values.len().div_ceil(8)
            }
        }
    }
}
