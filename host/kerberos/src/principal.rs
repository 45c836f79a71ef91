//! Who a ticket is for: `svc-etl@CORP.EXAMPLE`, `MSSQLSvc/sql01.corp.example:1433@CORP.EXAMPLE`.

use std::fmt;

use crate::reader::{Malformed, Reader};

/// The name type of principals we make (RFC 4120, 6.2): "just the name".
const NT_PRINCIPAL: u32 = 1;
/// No principal has nearly as many.
const MAX_COMPONENTS: u32 = 64;

/// A principal of a realm. Compares as the library does: the name type does not count.
#[derive(Clone)]
pub struct Principal {
    pub(crate) name_type: u32,
    /// The realm; empty in an entry that was asked for without one.
    pub realm: Vec<u8>,
    /// The parts between the slashes.
    pub components: Vec<Vec<u8>>,
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        self.realm == other.realm && self.components == other.components
    }
}

impl Eq for Principal {}

impl Principal {
    /// Reads the text form: `/` parts the components, `@` begins the realm, `\` takes a character's meaning away.
    /// Without `@` the realm is empty.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let (mut components, mut current, mut name) = (Vec::new(), Vec::new(), None);
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => current.push(match bytes.next() {
                    Some(b'n') => b'\n',
                    Some(b't') => b'\t',
                    Some(b'b') => 8,
                    Some(b'0') => 0,
                    Some(other) => other,
                    None => b'\\',
                }),
                b'/' if name.is_none() => components.push(std::mem::take(&mut current)),
                b'@' if name.is_none() => {
                    components.push(std::mem::take(&mut current));
                    name = Some(std::mem::take(&mut components));
                }
                other => current.push(other),
            }
        }
        match name {
            Some(components) => Self { name_type: NT_PRINCIPAL, realm: current, components },
            None => {
                components.push(current);
                Self { name_type: NT_PRINCIPAL, realm: Vec::new(), components }
            }
        }
    }

    /// A principal of these parts.
    #[must_use]
    pub fn new(components: &[&str], realm: &str) -> Self {
        let components = components.iter().map(|part| part.as_bytes().to_vec()).collect();
        Self { name_type: NT_PRINCIPAL, realm: realm.as_bytes().to_vec(), components }
    }

    /// The realm as text.
    #[must_use]
    pub fn realm_text(&self) -> String {
        String::from_utf8_lossy(&self.realm).into_owned()
    }

    /// The name without its realm.
    #[must_use]
    pub fn name(&self) -> String {
        let parts: Vec<String> = self.components.iter().map(|part| escaped(part)).collect();
        parts.join("/")
    }

    /// Whether it is a ticket-granting service: `krbtgt/REALM@…`.
    #[must_use]
    pub fn is_ticket_granting(&self) -> bool {
        self.components.len() == 2 && self.components.first().is_some_and(|part| part == b"krbtgt")
    }

    /// As a ticket cache holds it.
    pub(crate) fn read_from_cache(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let name_type = reader.u32()?;
        let count = reader.u32()?;
        if count > MAX_COMPONENTS {
            return Err(Malformed);
        }
        let realm = reader.counted()?.to_vec();
        let components = (0..count).map(|_| reader.counted().map(<[u8]>::to_vec)).collect::<Result<_, _>>()?;
        Ok(Self { name_type, realm, components })
    }

    /// As a ticket cache holds it.
    pub(crate) fn write_to_cache(&self, into: &mut Vec<u8>) {
        into.extend(self.name_type.to_be_bytes());
        into.extend(count(&self.components).to_be_bytes());
        for part in std::iter::once(&self.realm).chain(&self.components) {
            into.extend(count(part).to_be_bytes());
            into.extend_from_slice(part);
        }
    }

    /// As a keytab holds it; the name type comes after the components.
    pub(crate) fn read_from_keytab(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let count = u32::from(reader.u16()?);
        if count > MAX_COMPONENTS {
            return Err(Malformed);
        }
        let realm = reader.counted_short()?.to_vec();
        let components = (0..count).map(|_| reader.counted_short().map(<[u8]>::to_vec)).collect::<Result<_, _>>()?;
        Ok(Self { name_type: reader.u32()?, realm, components })
    }
}

fn count<T>(of: &[T]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

fn escaped(part: &[u8]) -> String {
    let mut text = String::new();
    for character in String::from_utf8_lossy(part).chars() {
        match character {
            '/' | '@' | '\\' => text.extend(['\\', character]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\u{8}' => text.push_str("\\b"),
            '\0' => text.push_str("\\0"),
            other => text.push(other),
        }
    }
    text
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name(), escaped(&self.realm))
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_read_as_the_library_reads_it() {
        let principal = Principal::parse("MSSQLSvc/sql01.corp.example:1433@CORP.EXAMPLE");
        assert_eq!(principal.components, [b"MSSQLSvc".to_vec(), b"sql01.corp.example:1433".to_vec()]);
        assert_eq!(principal.realm_text(), "CORP.EXAMPLE");
        assert_eq!(Principal::parse("svc"), Principal::new(&["svc"], ""));
        assert_eq!(Principal::parse(r"a\/b\@c@R"), Principal::new(&["a/b@c"], "R"));
        assert!(Principal::parse("krbtgt/A@B").is_ticket_granting());
    }

    proptest! {
        #[test]
        fn text_and_cache_forms_come_back(parts in prop::collection::vec("[a-zA-Z0-9:/@\\\\ .\u{8}\n\0]{0,12}", 1..4), realm in "[A-Z./]{0,12}") {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let principal = Principal::new(&parts, &realm);
            prop_assert_eq!(&Principal::parse(&principal.to_string()), &principal);
            let mut bytes = Vec::new();
            principal.write_to_cache(&mut bytes);
            prop_assert_eq!(&Principal::read_from_cache(&mut Reader::new(&bytes)).unwrap(), &principal);
        }
    }
}
