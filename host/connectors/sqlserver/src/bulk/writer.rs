//! What `mssql-tds` calls for each value it decodes.

use std::borrow::Cow;
use std::mem::MaybeUninit;
use std::sync::Arc;

use mssql_tds::core::CancelHandle;
use mssql_tds::datatypes::column_values::{
    SqlDate, SqlDateTime, SqlDateTime2, SqlDateTimeOffset, SqlMoney, SqlSmallDateTime, SqlSmallMoney, SqlTime, SqlXml,
};
use mssql_tds::datatypes::decoder::DecimalParts;
use mssql_tds::datatypes::row_writer::{RowWriter, ValueKind};
use mssql_tds::datatypes::sql_json::SqlJson;
use mssql_tds::datatypes::sql_string::EncodingType;
use mssql_tds::datatypes::sql_vector::SqlVector;
use uuid::Uuid;

use crate::builders::BatchBuilder;
use crate::text::TextEncoding;

/// Fraction digits of money and smallmoney.
const MONEY_SCALE: u8 = 4;

/// Feeds a [`BatchBuilder`].
pub(super) struct Writer {
    pub(super) builder: BatchBuilder,
    /// Ends the read in the middle of a value that would be too large.
    pub(super) cancel: Arc<CancelHandle>,
}

impl Writer {
    /// A decimal by sign and magnitude. 38 digits fit an i128; more cannot be declared.
    #[inline]
    fn decimal_parts(&mut self, col: usize, value: &DecimalParts) {
        match i128::try_from(value.magnitude()) {
            Ok(magnitude) => {
                let unscaled = if value.is_positive { magnitude } else { -magnitude };
                self.builder.decimal(col, unscaled, value.scale);
            }
            Err(_) => self.builder.fail_value(col, "a decimal of more than 38 digits", "please report it"),
        }
    }
}

impl RowWriter for Writer {
    #[inline]
    fn write_null(&mut self, col: usize) {
        self.builder.null(col);
    }

    #[inline]
    fn write_bool(&mut self, col: usize, val: bool) {
        self.builder.boolean(col, val);
    }

    #[inline]
    fn write_u8(&mut self, col: usize, val: u8) {
        self.builder.tinyint(col, val);
    }

    #[inline]
    fn write_i16(&mut self, col: usize, val: i16) {
        self.builder.int16(col, val);
    }

    #[inline]
    fn write_i32(&mut self, col: usize, val: i32) {
        self.builder.int32(col, val);
    }

    #[inline]
    fn write_i64(&mut self, col: usize, val: i64) {
        self.builder.int64(col, val);
    }

    #[inline]
    fn write_f32(&mut self, col: usize, val: f32) {
        self.builder.float32(col, val);
    }

    #[inline]
    fn write_f64(&mut self, col: usize, val: f64) {
        self.builder.float64(col, val);
    }

    #[inline]
    fn write_string(&mut self, col: usize, bytes: Cow<'_, [u8]>, encoding_type: EncodingType) {
        self.builder.text(col, &bytes, || TextEncoding::of(&encoding_type));
    }

    #[inline]
    fn write_bytes(&mut self, col: usize, bytes: Cow<'_, [u8]>) {
        self.builder.binary(col, &bytes);
    }

    #[inline]
    fn write_decimal(&mut self, col: usize, val: DecimalParts) {
        self.decimal_parts(col, &val);
    }

    #[inline]
    fn write_numeric(&mut self, col: usize, val: DecimalParts) {
        self.decimal_parts(col, &val);
    }

    #[inline]
    fn write_date(&mut self, col: usize, val: SqlDate) {
        self.builder.date(col, val.get_days());
    }

    // `time_nanoseconds` holds ticks of 100 ns in spite of its name.
    #[inline]
    fn write_time(&mut self, col: usize, val: SqlTime) {
        self.builder.time(col, val.time_nanoseconds, val.scale);
    }

    #[inline]
    fn write_datetime(&mut self, col: usize, val: SqlDateTime) {
        self.builder.datetime(col, val.days, val.time);
    }

    #[inline]
    fn write_smalldatetime(&mut self, col: usize, val: SqlSmallDateTime) {
        self.builder.smalldatetime(col, val.days, val.time);
    }

    #[inline]
    fn write_datetime2(&mut self, col: usize, val: SqlDateTime2) {
        self.builder.datetime2(col, val.days, val.time.time_nanoseconds, val.time.scale);
    }

    // Date and time are UTC, the offset stands beside (MS-TDS 2.2.5.5.1.9).
    #[inline]
    fn write_datetimeoffset(&mut self, col: usize, val: SqlDateTimeOffset) {
        let SqlDateTime2 { days, time } = val.datetime2;
        self.builder.datetimeoffset(col, days, time.time_nanoseconds, time.scale, val.offset);
    }

    // The high half comes first on the wire (MS-TDS 2.2.5.5.1.2).
    #[inline]
    fn write_money(&mut self, col: usize, val: SqlMoney) {
        let low = u32::from_ne_bytes(val.lsb_part.to_ne_bytes());
        let unscaled = (i64::from(val.msb_part) << 32) | i64::from(low);
        self.builder.decimal(col, unscaled.into(), MONEY_SCALE);
    }

    #[inline]
    fn write_smallmoney(&mut self, col: usize, val: SqlSmallMoney) {
        self.builder.decimal(col, val.int_val.into(), MONEY_SCALE);
    }

    // The driver has put SQL Server's mixed-endian bytes in order.
    #[inline]
    fn write_uuid(&mut self, col: usize, val: Uuid) {
        self.builder.uuid(col, val.as_bytes());
    }

    fn write_xml(&mut self, col: usize, val: SqlXml) {
        self.builder.text(col, &val.bytes, || TextEncoding::Utf16);
    }

    fn write_json(&mut self, col: usize, val: SqlJson) {
        self.builder.text(col, &val.bytes, || TextEncoding::Utf8);
    }

    fn write_vector(&mut self, col: usize, _val: SqlVector) {
        self.builder.fail_value(col, "a vector, which cannot be represented", "exclude the column");
    }

    #[inline]
    fn end_row(&mut self) {
        self.builder.end_row();
    }

    /// Takes no value's storage over, but sees its size before the driver gathers it: UTF-16 halves at best.
    fn value_destination<'a>(
        &'a mut self,
        col: usize,
        kind: ValueKind<'_>,
        length: usize,
    ) -> Option<&'a mut [MaybeUninit<u8>]> {
        let least = match kind {
            ValueKind::String(EncodingType::Utf16) => length / 2,
            _ => length,
        };
        if least > self.builder.max_cell_bytes() {
            self.builder.fail_size(col, least);
            self.cancel.cancel();
        }
        None
    }
}
