//! Messages of the server's plugin `pgoutput`, version 1 of its protocol, with values in binary form.
//!
//! Source: "Logical Replication Message Formats" of the manual.

use super::lsn::Lsn;

/// One message.
#[derive(Debug, PartialEq)]
pub(super) enum Message<'a> {
    /// A transaction begins.
    Begin {
        /// Where its commit begins.
        commit: Lsn,
        /// When it was committed, in microseconds from 2000-01-01.
        time: i64,
    },
    /// It ends.
    Commit {
        /// Where its commit ends.
        end: Lsn,
    },
    /// What a table is like, before the first of its changes and when it has become another.
    Relation(Relation),
    /// A row that was inserted.
    Insert { relation: u32, new: Tuple<'a> },
    /// A row that was updated.
    Update { relation: u32, old: Option<Old<'a>>, new: Tuple<'a> },
    /// A row that was deleted.
    Delete { relation: u32, old: Old<'a> },
    /// Tables that were emptied.
    Truncate { relations: Vec<u32> },
    /// A type, an origin, a text of an application.
    Other,
}

/// A table as it was at a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) id: u32,
    pub(super) columns: Vec<RelationColumn>,
}

/// A column of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelationColumn {
    pub(super) name: String,
    /// It is of the replica identity.
    pub(super) is_key: bool,
}

/// The values of a row, in the order of the table's columns.
pub(super) type Tuple<'a> = Vec<Value<'a>>;

/// A row before a change.
#[derive(Debug, PartialEq)]
pub(super) struct Old<'a> {
    /// All of it; else its key, and what is not of the key has no meaning.
    pub(super) is_whole: bool,
    pub(super) values: Tuple<'a>,
}

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Null,
    /// It is stored apart and was not changed.
    Unchanged,
    /// As COPY has it.
    Binary(&'a [u8]),
    /// Of a type without a binary form.
    Text,
}

impl<'a> Message<'a> {
    /// None: bytes that are no message.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let mut rest = Rest(rest);
        Some(match kind {
            b'B' => Self::Begin { commit: rest.lsn()?, time: rest.i64()? },
            b'C' => {
                let (_flags, _commit) = (rest.u8()?, rest.lsn()?);
                Self::Commit { end: rest.lsn()? }
            }
            b'R' => Self::Relation(rest.relation()?),
            b'I' => {
                let relation = rest.u32()?;
                rest.letter(b'N')?;
                Self::Insert { relation, new: rest.tuple()? }
            }
            b'U' => rest.update()?,
            b'D' => {
                let relation = rest.u32()?;
                let kind = rest.u8()?;
                Self::Delete { relation, old: rest.old(kind)? }
            }
            b'T' => rest.truncate()?,
            b'Y' | b'O' | b'M' => Self::Other,
            _ => return None,
        })
    }
}

/// What of a message is not read yet.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn count(&mut self) -> Option<usize> {
        self.take().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn lsn(&mut self) -> Option<Lsn> {
        self.take().map(|bytes| Lsn(u64::from_be_bytes(bytes)))
    }

    fn letter(&mut self, letter: u8) -> Option<()> {
        (self.u8()? == letter).then_some(())
    }

    fn text(&mut self) -> Option<&'a str> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = rest.get(1..)?;
        std::str::from_utf8(text).ok()
    }

    fn relation(&mut self) -> Option<Relation> {
        let id = self.u32()?;
        let (_schema, _name, _identity) = (self.text()?, self.text()?, self.u8()?);
        let mut columns = Vec::new();
        for _ in 0..self.count()? {
            let flags = self.u8()?;
            let name = self.text()?.to_owned();
            let (_type, _modifier) = (self.u32()?, self.u32()?);
            columns.push(RelationColumn { name, is_key: flags & 1 == 1 });
        }
        Some(Relation { id, columns })
    }

    fn update(&mut self) -> Option<Message<'a>> {
        let relation = self.u32()?;
        let old = match self.u8()? {
            b'N' => None,
            kind => {
                let old = self.old(kind)?;
                self.letter(b'N')?;
                Some(old)
            }
        };
        Some(Message::Update { relation, old, new: self.tuple()? })
    }

    fn old(&mut self, kind: u8) -> Option<Old<'a>> {
        let is_whole = match kind {
            b'O' => true,
            b'K' => false,
            _ => return None,
        };
        Some(Old { is_whole, values: self.tuple()? })
    }

    fn truncate(&mut self) -> Option<Message<'a>> {
        let (number, _options) = (self.u32()?, self.u8()?);
        let mut relations = Vec::new();
        for _ in 0..number {
            relations.push(self.u32()?);
        }
        Some(Message::Truncate { relations })
    }

    fn tuple(&mut self) -> Option<Tuple<'a>> {
        let mut values = Vec::new();
        for _ in 0..self.count()? {
            values.push(match self.u8()? {
                b'n' => Value::Null,
                b'u' => Value::Unchanged,
                b'b' => Value::Binary(self.value()?),
                b't' => {
                    self.value()?;
                    Value::Text
                }
                _ => return None,
            });
        }
        Some(values)
    }

    fn value(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (value, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An update of a row whose key changed and whose last value is stored apart.
    const UPDATE: &[u8] = b"U\0\0\x40\x01K\0\x02b\0\0\0\x01an N\0\x02b\0\0\0\x01bu";

    fn update() -> Vec<u8> {
        UPDATE.iter().copied().filter(|byte| *byte != b' ').collect()
    }

    #[test]
    fn update_of_a_key_has_the_old_one() {
        let bytes = update();
        let Some(Message::Update { relation, old: Some(old), new }) = Message::parse(&bytes) else { panic!() };
        assert_eq!((relation, old.is_whole), (0x4001, false));
        assert_eq!(old.values, [Value::Binary(b"a"), Value::Null]);
        assert_eq!(new, [Value::Binary(b"b"), Value::Unchanged]);
    }

    #[test]
    fn relation_says_which_columns_are_of_the_key() {
        let bytes = b"R\0\0\0\x07s\0t\0d\0\x02\x01id\0\0\0\0\x17\xff\xff\xff\xff\0note\0\0\0\0\x19\xff\xff\xff\xff";
        let Some(Message::Relation(relation)) = Message::parse(bytes) else { panic!() };
        let columns: Vec<(&str, bool)> =
            relation.columns.iter().map(|column| (column.name.as_str(), column.is_key)).collect();
        assert_eq!((relation.id, columns), (7, vec![("id", true), ("note", false)]));
    }

    #[test]
    fn message_that_is_cut_off_is_none() {
        let bytes = update();
        for end in 0..bytes.len() {
            assert_eq!(Message::parse(&bytes[..end]), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_none(kind in prop::sample::select(b"BCRIUDTYOMx".to_vec()), rest in any::<Vec<u8>>()) {
            let _ = Message::parse(&[&[kind][..], &rest].concat());
        }
    }
}
