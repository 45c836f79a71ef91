//! COLMETADATA: the columns of a result (MS-TDS 2.2.7.4).

use super::token::{long_text, short_text};
use super::{Features, type_info};
use crate::values::{Column, SqlType};

const COLUMN_METADATA: u8 = 0x81;

/// Flag bits of a column.
mod flag {
    pub const NULLABLE: u16 = 0x0001;
    /// Whether the column can be written is unknown: what SQL Server says of every plain column.
    pub const UPDATABLE_UNKNOWN: u16 = 0x0008;
    pub const IDENTITY: u16 = 0x0010;
    pub const COMPUTED: u16 = 0x0020;
}

/// User type of `rowversion`, which shares its wire type with `binary(8)`.
const USER_TYPE_ROW_VERSION: u32 = 80;

/// Writes the token.
pub fn write(to: &mut Vec<u8>, columns: &[Column], features: Features) {
    to.push(COLUMN_METADATA);
    to.extend_from_slice(&(columns.len() as u16).to_le_bytes());
    for column in columns {
        let user_type = if column.sql_type == SqlType::RowVersion { USER_TYPE_ROW_VERSION } else { 0 };
        to.extend_from_slice(&user_type.to_le_bytes());
        to.extend_from_slice(&flags(column).to_le_bytes());
        type_info::write(to, column, features);
        if matches!(column.sql_type, SqlType::Text | SqlType::NText | SqlType::Image) {
            to.push(column.table.len().min(4) as u8);
            for part in column.table.iter().take(4) {
                long_text(to, part);
            }
        }
        short_text(to, &column.name);
    }
}

fn flags(column: &Column) -> u16 {
    let mut flags = if column.computed { flag::COMPUTED } else { flag::UPDATABLE_UNKNOWN };
    if column.nullable {
        flags |= flag::NULLABLE;
    }
    if column.identity {
        flags |= flag::IDENTITY;
    }
    flags
}
