//! PRELOGIN: versions and encryption are settled before anything else (MS-TDS 2.2.6.5).

use super::reader::{Malformed, Reader};

/// What one side says about encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// Possible, wanted for the login only.
    Off,
    /// Possible and wanted.
    On,
    /// Not possible.
    NotSupported,
    /// Demanded.
    Required,
}

impl Encryption {
    /// The byte of the wire.
    pub fn to_byte(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::On => 1,
            Self::NotSupported => 2,
            Self::Required => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        // The high bits ask for a client certificate (0x80) or repeat a strict client's wish (0x04).
        match byte & 0x7f {
            0 => Some(Self::Off),
            1 => Some(Self::On),
            2 => Some(Self::NotSupported),
            3 => Some(Self::Required),
            _ => None,
        }
    }
}

const VERSION: u8 = 0;
const ENCRYPTION: u8 = 1;
const INSTANCE: u8 = 2;
const THREAD: u8 = 3;
const MARS: u8 = 4;
const TERMINATOR: u8 = 0xff;

/// Version the server reports: that of SQL Server 2022.
pub const SERVER_VERSION: [u8; 4] = [16, 0, 0x03, 0xe8];

/// Reads what the client says about encryption; a client that says nothing cannot do it.
pub fn parse(bytes: &[u8]) -> Result<Encryption, Malformed> {
    let mut reader = Reader::new(bytes, "PRELOGIN");
    loop {
        let option = reader.u8()?;
        if option == TERMINATOR {
            return Ok(Encryption::NotSupported);
        }
        let offset = usize::from(reader.u16_be()?);
        let length = usize::from(reader.u16_be()?);
        let mut value = Reader::new(bytes, "PRELOGIN");
        value.seek(offset)?;
        let value = value.take(length)?;
        if option == ENCRYPTION {
            let byte = value.first().ok_or(reader.malformed())?;
            // A strict client (4) has its encryption already.
            return Ok(Encryption::from_byte(*byte).unwrap_or(Encryption::On));
        }
    }
}

/// The server's answer.
pub fn response(encryption: Encryption) -> Vec<u8> {
    let mut version = SERVER_VERSION.to_vec();
    version.extend_from_slice(&[0, 0]);
    let options: [(u8, Vec<u8>); 5] = [
        (VERSION, version),
        (ENCRYPTION, vec![encryption.to_byte()]),
        (INSTANCE, vec![0]),
        (THREAD, vec![]),
        (MARS, vec![0]),
    ];
    let mut offset = options.len() * 5 + 1;
    let mut head = Vec::new();
    let mut values = Vec::new();
    for (option, value) in options {
        head.push(option);
        head.extend_from_slice(&(offset as u16).to_be_bytes());
        head.extend_from_slice(&(value.len() as u16).to_be_bytes());
        offset += value.len();
        values.extend(value);
    }
    head.push(TERMINATOR);
    head.extend(values);
    head
}
