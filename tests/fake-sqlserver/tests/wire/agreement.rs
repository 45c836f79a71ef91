//! Our encoding against the recorded one, byte by byte where the protocol leaves no choice.
//!
//! Each recorded response is read by the reader of calls (which knows types and values), and written again by the
//! encoder. Where the recorded server chose otherwise than SQL Server does, [`Deviation`]s say so and are undone in the
//! recorded bytes before the comparison:
//!
//! - Babelfish announces 17 bytes for every decimal; SQL Server, and we, as many as the precision needs. Values are sent as
//!   short as they are, which [`Encoding::short_decimals`] does too;
//! - it announces `ntext` with 0x7FFFFFFF bytes, SQL Server with 0x7FFFFFFE.

use datakit_fake_sqlserver::tds::metadata;
use datakit_fake_sqlserver::tds::reader::Reader;
use datakit_fake_sqlserver::tds::row::RowEncoder;
use datakit_fake_sqlserver::tds::rpc;
use datakit_fake_sqlserver::tds::token::{self, Done, DoneKind};
use datakit_fake_sqlserver::tds::type_info::{self, Framing, WireType, decimal_bytes};
use datakit_fake_sqlserver::tds::{Encoding, Features};
use datakit_fake_sqlserver::values::{Column, SqlError, SqlType, Value};

use crate::captures;

/// What was undone in a recorded response.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Deviation {
    DecimalAnnounced,
    NTextAnnounced,
}

/// Reads a recorded response and writes it again.
struct Rewriter<'a> {
    reader: Reader<'a>,
    columns: Vec<Column>,
    types: Vec<WireType>,
    written: Vec<u8>,
    /// Places in the recorded bytes with what SQL Server would have there.
    corrections: Vec<(usize, u8)>,
    deviations: Vec<Deviation>,
    total: usize,
}

impl<'a> Rewriter<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            reader: Reader::new(bytes, "recorded response"),
            columns: Vec::new(),
            types: Vec::new(),
            written: Vec::new(),
            corrections: Vec::new(),
            deviations: Vec::new(),
            total: bytes.len(),
        }
    }

    fn offset(&self) -> usize {
        self.total - self.reader.remaining()
    }

    fn run(&mut self) {
        while self.reader.remaining() > 0 {
            match self.reader.u8().unwrap() {
                0x81 => self.columns(),
                0xd1 => self.row(false),
                0xd2 => self.row(true),
                kind @ (0xaa | 0xab) => self.message(kind),
                kind @ 0xfd..=0xff => self.done(kind),
                0x79 => {
                    let status = self.reader.i32().unwrap();
                    token::return_status(&mut self.written, status);
                }
                other => panic!("token {other:#x} at {}", self.offset()),
            }
        }
    }

    fn columns(&mut self) {
        let count = self.reader.u16().unwrap();
        self.columns.clear();
        self.types.clear();
        for _ in 0..count {
            assert_eq!(self.reader.u32().unwrap(), 0, "user type");
            let flags = self.reader.u16().unwrap();
            let start = self.offset();
            let wire_type = type_info::read(&mut self.reader).unwrap().unwrap();
            match wire_type.sql_type {
                SqlType::Decimal { precision, .. } | SqlType::Numeric { precision, .. }
                    if decimal_bytes(precision) != 17 =>
                {
                    self.corrections.push((start + 1, decimal_bytes(precision)));
                    self.deviations.push(Deviation::DecimalAnnounced);
                }
                SqlType::NText => {
                    self.corrections.push((start + 1, 0xfe));
                    self.deviations.push(Deviation::NTextAnnounced);
                }
                _ => {}
            }
            let mut table = Vec::new();
            if matches!(wire_type.sql_type, SqlType::Text | SqlType::NText | SqlType::Image) {
                for _ in 0..self.reader.u8().unwrap() {
                    let units = usize::from(self.reader.u16().unwrap());
                    table.push(self.reader.utf16(units).unwrap());
                }
            }
            assert_eq!(flags, 0x0009, "nullable, perhaps updatable");
            let mut column = Column::new(self.reader.short_name().unwrap(), wire_type.sql_type);
            column.collation = wire_type.collation;
            column.table = table;
            self.columns.push(column);
            self.types.push(wire_type);
        }
        metadata::write(&mut self.written, &self.columns, Features::default());
    }

    fn row(&mut self, with_bitmap: bool) {
        let bitmap = if with_bitmap { self.reader.take(self.types.len().div_ceil(8)).unwrap() } else { &[] };
        let mut values = Vec::new();
        for (index, wire_type) in self.types.iter().enumerate() {
            if bitmap.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1) {
                values.push(Value::Null);
                continue;
            }
            if matches!(wire_type.sql_type, SqlType::Text | SqlType::NText | SqlType::Image) {
                // In rows, a text pointer precedes the length.
                let pointer = usize::from(self.reader.u8().unwrap());
                if pointer == 0 {
                    values.push(Value::Null);
                    continue;
                }
                self.reader.take(pointer + 8).unwrap();
                assert_eq!(wire_type.framing, Framing::LongLength);
            }
            values.push(rpc::value(&mut self.reader, *wire_type).unwrap());
        }
        let encoding = Encoding { short_decimals: true, ..Encoding::default() };
        RowEncoder::new(&self.columns, encoding).write(&mut self.written, &values).unwrap();
    }

    fn message(&mut self, kind: u8) {
        self.reader.u16().unwrap();
        let number = self.reader.i32().unwrap();
        let (state, class) = (self.reader.u8().unwrap(), self.reader.u8().unwrap());
        let units = usize::from(self.reader.u16().unwrap());
        let message = self.reader.utf16(units).unwrap();
        let server = self.reader.short_name().unwrap();
        assert_eq!(self.reader.short_name().unwrap(), "", "procedure");
        let line = self.reader.u32().unwrap();
        let error = SqlError { number, state, class, message, line };
        match kind {
            0xaa => token::error(&mut self.written, &error, &server),
            _ => token::info(&mut self.written, &error, &server),
        }
    }

    fn done(&mut self, kind: u8) {
        let kind = match kind {
            0xfd => DoneKind::Done,
            0xfe => DoneKind::Procedure,
            _ => DoneKind::InProcedure,
        };
        let status = self.reader.u16().unwrap();
        let command = self.reader.u16().unwrap();
        let rows = self.reader.u64().unwrap();
        Done { kind, status, command, rows }.write(&mut self.written);
    }
}

#[test]
fn what_we_encode_is_what_was_recorded() {
    let mut seen = Vec::new();
    for name in captures::NAMES {
        let capture = captures::load(name);
        let mut recorded = captures::tokens(&capture.exchanges.last().unwrap().server);
        let copy = recorded.clone();
        let mut rewriter = Rewriter::new(&copy);
        rewriter.run();
        for (place, byte) in &rewriter.corrections {
            recorded[*place] = *byte;
        }
        let first_difference = recorded.iter().zip(&rewriter.written).position(|(a, b)| a != b);
        assert_eq!(first_difference, None, "{name}");
        assert_eq!(recorded.len(), rewriter.written.len(), "{name}");
        seen.extend(rewriter.deviations);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen, [Deviation::DecimalAnnounced, Deviation::NTextAnnounced], "the list above is the whole list");
}
