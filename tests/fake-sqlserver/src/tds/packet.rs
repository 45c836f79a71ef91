//! Packets: a header of eight bytes before at most `packet_bytes − 8` bytes of a message (MS-TDS 2.2.3).

use super::packet_type;

/// Bytes of a packet's header.
pub const HEADER_BYTES: usize = 8;
/// Size of packets until the login settles another.
pub const DEFAULT_PACKET_BYTES: usize = 4096;
/// What a client may ask for (MS-TDS 2.2.6.4).
pub const PACKET_BYTES_ALLOWED: std::ops::RangeInclusive<usize> = 512..=32_767;

/// Header bits.
pub mod status {
    /// Last packet of its message.
    pub const END_OF_MESSAGE: u8 = 0x01;
    /// The client wants its session reset before the request.
    pub const RESET_CONNECTION: u8 = 0x08;
    /// The same, but an open transaction is kept.
    pub const RESET_CONNECTION_KEEP_TRANSACTION: u8 = 0x10;
}

/// A packet's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// One of [`packet_type`].
    pub packet_type: u8,
    /// Bits of [`status`].
    pub status: u8,
    /// Length with the header.
    pub length: u16,
}

impl Header {
    /// Reads a header. `None` when its length is less than the header's own.
    pub fn parse(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        let length = u16::from_be_bytes([bytes[2], bytes[3]]);
        let header = Self { packet_type: bytes[0], status: bytes[1], length };
        (usize::from(length) >= HEADER_BYTES).then_some(header)
    }

    /// Writes it, as packet number `id` of its message.
    pub fn to_bytes(self, id: u8) -> [u8; HEADER_BYTES] {
        let length = self.length.to_be_bytes();
        [self.packet_type, self.status, length[0], length[1], 0, 0, id, 0]
    }
}

/// Cuts a message into packets while it is written.
///
/// Packets gather in one buffer, headers in place, so that what is sent is never copied again.
#[derive(Debug)]
pub struct PacketWriter {
    buffer: Vec<u8>,
    packet_start: usize,
    packet_bytes: usize,
    next_id: u8,
    packet_type: u8,
}

impl PacketWriter {
    /// A writer of responses.
    pub fn new(packet_bytes: usize) -> Self {
        Self::with_type(packet_type::RESPONSE, packet_bytes)
    }

    /// A writer of another type of packets.
    pub fn with_type(packet_type: u8, packet_bytes: usize) -> Self {
        let mut writer = Self {
            buffer: Vec::new(),
            packet_start: 0,
            packet_bytes: packet_bytes.clamp(HEADER_BYTES + 1, usize::from(u16::MAX)),
            next_id: 1,
            packet_type,
        };
        writer.open_packet();
        writer
    }

    fn open_packet(&mut self) {
        self.packet_start = self.buffer.len();
        self.buffer.extend_from_slice(&[0; HEADER_BYTES]);
    }

    fn close_packet(&mut self, status: u8) {
        let length = (self.buffer.len() - self.packet_start) as u16;
        let header = Header { packet_type: self.packet_type, status, length }.to_bytes(self.next_id);
        if let Some(place) = self.buffer.get_mut(self.packet_start..self.packet_start + HEADER_BYTES) {
            place.copy_from_slice(&header);
        }
        self.next_id = self.next_id.wrapping_add(1);
    }

    /// Appends bytes of the message.
    pub fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut room = self.packet_start + self.packet_bytes - self.buffer.len();
            if room == 0 {
                self.close_packet(0);
                self.open_packet();
                room = self.packet_bytes - HEADER_BYTES;
            }
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Bytes gathered so far.
    pub fn gathered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Takes the whole packets gathered so far; the open one stays.
    pub fn take_whole_packets(&mut self) -> Vec<u8> {
        let open = self.buffer.split_off(self.packet_start);
        let whole = std::mem::replace(&mut self.buffer, Vec::with_capacity(self.packet_start + self.packet_bytes));
        self.buffer.extend_from_slice(&open);
        self.packet_start = 0;
        whole
    }

    /// Ends the message and takes what is left of it. The writer is then ready for the next message.
    pub fn finish(&mut self) -> Vec<u8> {
        self.close_packet(status::END_OF_MESSAGE);
        let rest = std::mem::take(&mut self.buffer);
        self.next_id = 1;
        self.open_packet();
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads(mut bytes: &[u8]) -> Vec<(u8, u8, Vec<u8>)> {
        let mut packets = Vec::new();
        while !bytes.is_empty() {
            let header = Header::parse(bytes[..8].try_into().unwrap()).unwrap();
            let length = usize::from(header.length);
            packets.push((bytes[6], header.status, bytes[8..length].to_vec()));
            bytes = &bytes[length..];
        }
        packets
    }

    #[test]
    fn a_message_of_exactly_two_packets_ends_with_the_second() {
        let mut writer = PacketWriter::new(512);
        writer.put(&[7; 1008]);
        let packets = payloads(&writer.finish());
        assert_eq!(packets.iter().map(|p| (p.0, p.1, p.2.len())).collect::<Vec<_>>(), [(1, 0, 504), (2, 1, 504)]);
    }

    #[test]
    fn taking_whole_packets_in_between_changes_nothing() {
        let message: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
        let mut writer = PacketWriter::new(600);
        let mut sent = Vec::new();
        for part in message.chunks(77) {
            writer.put(part);
            if writer.gathered_bytes() > 1500 {
                sent.extend(writer.take_whole_packets());
            }
        }
        sent.extend(writer.finish());
        let joined: Vec<u8> = payloads(&sent).into_iter().flat_map(|p| p.2).collect();
        assert_eq!(joined, message);
        assert_eq!(payloads(&sent).last().unwrap().1, status::END_OF_MESSAGE);
    }

    #[test]
    fn an_empty_message_is_one_packet() {
        assert_eq!(payloads(&PacketWriter::new(4096).finish()), [(1, 1, vec![])]);
    }
}
