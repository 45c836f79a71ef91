//! What a recorded server would have answered to `sp_describe_first_result_set`: the recordings hold no such question. The
//! columns are read out of the recorded result by the fake SQL Server's own reader of types, and described by the fake SQL
//! Server.

use datakit_fake_sqlserver::sql::describe;
use datakit_fake_sqlserver::tds::packet::PacketWriter;
use datakit_fake_sqlserver::tds::reader::Reader;
use datakit_fake_sqlserver::tds::row::RowEncoder;
use datakit_fake_sqlserver::tds::token::{Done, DoneKind};
use datakit_fake_sqlserver::tds::{Encoding, Features, metadata, type_info};
use datakit_fake_sqlserver::values::{Column, SqlType};

const COLUMN_METADATA: u8 = 0x81;
const PACKET_BYTES: usize = 4096;
const HEADER_BYTES: usize = 8;

/// Whether a message asks for a description.
pub fn is_question(message: &[u8]) -> bool {
    let name: Vec<u8> = "sp_describe_first_result_set".encode_utf16().flat_map(u16::to_le_bytes).collect();
    message.windows(name.len()).any(|window| window == name)
}

/// The description of a recorded answer; the answer itself where it is an error.
pub fn describe(answer: &[u8]) -> Vec<u8> {
    let mut tokens = Vec::new();
    let mut rest = answer;
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        tokens.extend_from_slice(&rest[HEADER_BYTES..length]);
        rest = &rest[length..];
    }
    if tokens.first() != Some(&COLUMN_METADATA) {
        return answer.to_vec();
    }
    let columns = columns(&mut Reader::new(&tokens[1..], "recorded columns"));
    let rows = describe::rows(&columns, "testdb");
    let mut description = Vec::new();
    metadata::write(&mut description, &describe::columns(), Features::default());
    let encoder = RowEncoder::new(&describe::columns(), Encoding::default());
    for row in &rows {
        encoder.write(&mut description, row).unwrap();
    }
    let rows = rows.len() as u64;
    Done { kind: DoneKind::Done, status: 0x10, command: 0xc1, rows }.write(&mut description);
    let mut packets = PacketWriter::new(PACKET_BYTES);
    packets.put(&description);
    packets.finish()
}

fn columns(reader: &mut Reader<'_>) -> Vec<Column> {
    let count = reader.u16().unwrap();
    (0..count)
        .map(|_| {
            reader.u32().unwrap();
            let nullable = reader.u16().unwrap() & 1 == 1;
            let wire_type = type_info::read(reader).unwrap().unwrap();
            if matches!(wire_type.sql_type, SqlType::Text | SqlType::NText | SqlType::Image) {
                for _ in 0..reader.u8().unwrap() {
                    let units = usize::from(reader.u16().unwrap());
                    reader.utf16(units).unwrap();
                }
            }
            let name = reader.short_name().unwrap();
            Column { nullable, collation: wire_type.collation, ..Column::new(name, wire_type.sql_type) }
        })
        .collect()
}
