//! The SQL Server that tests use instead of the fake SQL Server: the one that `DATAKIT_TEST_MSSQL` names.
//!
//! The variable holds an ADO.NET connection string, or what ODBC makes of it. Rules ("Connection string syntax", ADO.NET;
//! "Connection string format and attributes", ODBC): `key=value` parted by `;`, blanks around both do not count, case of
//! keys neither, of a key given twice the last counts; a value in `'…'` or `"…"` holds the quote doubled, one in `{…}` the
//! closing brace doubled. Keys that say nothing about the way to the server (`Application Name` …) are ignored.
//! The crate `connection-string` does not undo doubled quotes and takes neither `=` nor letters beyond ASCII in a value.

use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

/// The environment variable.
pub const VARIABLE: &str = "DATAKIT_TEST_MSSQL";

/// How its certificate is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// Against the authorities of this machine and of `SSL_CERT_FILE`.
    System,
    /// Not at all: `TrustServerCertificate=yes`.
    Any,
    /// It has to be this one: `ServerCertificate=FILE`.
    Certificate(PathBuf),
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encryption {
    /// `Encrypt=mandatory`, `yes`, `true`, and without the key.
    Required,
    /// `Encrypt=strict`.
    Strict,
    /// `Encrypt=optional`, `no`, `false`.
    Off,
}

/// What a connection string says.
#[derive(Clone, PartialEq, Eq)]
pub struct NamedServer {
    /// Host name or address.
    pub host: String,
    /// Port; 1433 unless given.
    pub port: u16,
    /// SQL login.
    pub user: String,
    /// Its password.
    pub password: String,
    /// The database to log in to; `master` unless given.
    pub database: String,
    /// How connections are encrypted.
    pub encryption: Encryption,
    /// How the certificate is checked.
    pub trust: Trust,
}

impl std::fmt::Debug for NamedServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NamedServer").field("host", &self.host).field("port", &self.port).finish_non_exhaustive()
    }
}

/// What is wrong with a connection string. Values are never repeated: one of them is the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamedServerError {
    /// Text that is no `key=value`.
    #[error("{VARIABLE}: part {0} is not of the form key=value")]
    NoPair(usize),
    /// A quote or brace without its end, or text behind it.
    #[error("{VARIABLE}: the value of `{0}` has a quote or brace that does not end it")]
    Quote(String),
    /// A key that is needed.
    #[error("{VARIABLE}: `{0}` is missing")]
    Missing(&'static str),
    /// A value that a key cannot have.
    #[error("{VARIABLE}: `{0}` {1}")]
    Value(&'static str, &'static str),
}

impl NamedServer {
    /// The server that the environment names; none without the variable.
    ///
    /// # Errors
    ///
    /// What is wrong with the variable.
    pub fn from_environment() -> Result<Option<Self>, NamedServerError> {
        match std::env::var(VARIABLE) {
            Ok(text) if !text.trim().is_empty() => text.parse().map(Some),
            _ => Ok(None),
        }
    }
}

const SERVER: &[&str] = &["server", "data source", "address", "addr", "network address"];
const USER: &[&str] = &["user id", "uid", "user", "username"];
const PASSWORD: &[&str] = &["password", "pwd"];
const DATABASE: &[&str] = &["database", "initial catalog"];
const TRUST: &[&str] = &["trustservercertificate", "trust server certificate", "trust"];
const CERTIFICATE: &[&str] = &["servercertificate", "server certificate"];

impl FromStr for NamedServer {
    type Err = NamedServerError;

    fn from_str(text: &str) -> Result<Self, NamedServerError> {
        let pairs = pairs(text)?;
        let value = |keys: &[&str]| keys.iter().find_map(|key| pairs.get(*key).cloned());
        let server = value(SERVER).ok_or(NamedServerError::Missing("Server"))?;
        let (host, port) = address(&server)?;
        let encryption = match value(&["encrypt"]).unwrap_or_default().to_lowercase().as_str() {
            "" | "mandatory" | "yes" | "true" => Encryption::Required,
            "strict" => Encryption::Strict,
            "optional" | "no" | "false" => Encryption::Off,
            _ => return Err(NamedServerError::Value("Encrypt", "must be mandatory, optional or strict")),
        };
        let trusts_any = match value(TRUST).unwrap_or_default().to_lowercase().as_str() {
            "" | "no" | "false" => false,
            "yes" | "true" => true,
            _ => return Err(NamedServerError::Value("TrustServerCertificate", "must be yes or no")),
        };
        let trust = match value(CERTIFICATE) {
            Some(file) => Trust::Certificate(file.into()),
            None if trusts_any => Trust::Any,
            None => Trust::System,
        };
        Ok(Self {
            host,
            port,
            user: value(USER).ok_or(NamedServerError::Missing("User ID"))?,
            password: value(PASSWORD).ok_or(NamedServerError::Missing("Password"))?,
            database: value(DATABASE).unwrap_or_else(|| "master".to_owned()),
            encryption,
            trust,
        })
    }
}

/// `[tcp:]HOST[,PORT]`
fn address(text: &str) -> Result<(String, u16), NamedServerError> {
    let text = text.strip_prefix("tcp:").unwrap_or(text);
    let (host, port) = match text.split_once(',') {
        None => (text, 1433),
        Some((host, port)) => {
            let port =
                port.trim().parse().map_err(|_| NamedServerError::Value("Server", "has no number as its port"))?;
            (host, port)
        }
    };
    let host = host.trim();
    if host.contains('\\') {
        return Err(NamedServerError::Value("Server", "names an instance: give its port instead"));
    }
    let local = matches!(host, "." | "(local)");
    Ok((if local { "localhost".to_owned() } else { host.to_owned() }, port))
}

fn pairs(text: &str) -> Result<HashMap<String, String>, NamedServerError> {
    let mut pairs = HashMap::new();
    let mut rest = text;
    for part in 1.. {
        rest = rest.trim_start_matches(|c: char| c == ';' || c.is_whitespace());
        if rest.is_empty() {
            break;
        }
        let (key, after) = rest.split_once('=').ok_or(NamedServerError::NoPair(part))?;
        if key.trim().is_empty() || key.contains(';') {
            return Err(NamedServerError::NoPair(part));
        }
        let key = key.trim().to_lowercase();
        let after = after.trim_start();
        let (value, after) = match after.chars().next() {
            Some(quote @ ('\'' | '"')) => quoted(&after[1..], quote),
            Some('{') => quoted(&after[1..], '}'),
            _ => {
                let end = after.find(';').unwrap_or(after.len());
                Some((after[..end].trim_end().to_owned(), &after[end..]))
            }
        }
        .ok_or_else(|| NamedServerError::Quote(key.clone()))?;
        rest = after.trim_start();
        if !(rest.is_empty() || rest.starts_with(';')) {
            return Err(NamedServerError::Quote(key));
        }
        pairs.insert(key, value);
    }
    Ok(pairs)
}

/// The value up to its closing quote, which is doubled where it belongs to the value, and what follows.
fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        if character != quote {
            value.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            value.push(quote);
        } else {
            return Some((value, &text[at + quote.len_utf8()..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> NamedServer {
        text.parse().unwrap()
    }

    fn password(value: &str) -> String {
        read(&format!("server=a;uid=b;pwd={value};database=c")).password
    }

    #[test]
    fn every_synonym_is_known() {
        let expected = NamedServer {
            host: "sql01".into(),
            port: 1433,
            user: "u".into(),
            password: "p".into(),
            database: "d".into(),
            encryption: Encryption::Required,
            trust: Trust::System,
        };
        for text in [
            "Server=sql01;User ID=u;Password=p;Database=d",
            "Data Source = tcp:sql01 ; UID = u ; PWD = p ; Initial Catalog = d ;",
            "Driver={ODBC Driver 18 for SQL Server};Addr=sql01,1433;Uid={u};Pwd={p};Database={d};Encrypt=yes;",
            ";;address=sql01;user=x;USERNAME=u;user=u;password='p';database=\"d\";Encrypt=Mandatory;TrustServerCertificate=no",
        ] {
            assert!(read(text) == expected, "{text}");
        }
        assert_eq!(read("server=a;user=b;password=c").database, "master");
        assert_eq!(read("server=(local), 1500;user=b;password=c").port, 1500);
        assert_eq!(read("server=.;user=b;password=c").host, "localhost");
    }

    #[test]
    fn quotes_and_braces_hold_what_parts_elsewhere() {
        for (written, meant) in [
            ("a=b==", "a=b=="),
            ("  a b  ", "a b"),
            ("'a;b'", "a;b"),
            ("\" a;b=c \"", " a;b=c "),
            ("'it''s'", "it's"),
            ("\"a\"\"b\"", "a\"b"),
            ("{a;{b}}c}", "a;{b}c"),
            ("a'b\"c", "a'b\"c"),
            ("Gehéim", "Gehéim"),
            ("", ""),
            ("''", ""),
        ] {
            assert_eq!(password(written), meant, "{written}");
        }
    }

    #[test]
    fn encryption_and_trust_are_read() {
        let of = |text: &str| {
            let server = read(&format!("server=a;user=b;password=c;{text}"));
            (server.encryption, server.trust)
        };
        assert_eq!(of("Encrypt=optional;TrustServerCertificate=Yes"), (Encryption::Off, Trust::Any));
        assert_eq!(of("encrypt=strict;Trust Server Certificate=true"), (Encryption::Strict, Trust::Any));
        assert_eq!(of("trust=true"), (Encryption::Required, Trust::Any));
        let pinned = Trust::Certificate("/a b.pem".into());
        assert_eq!(of("ServerCertificate='/a b.pem'"), (Encryption::Required, pinned));
    }

    #[test]
    fn what_is_wrong_is_reported_without_the_password() {
        let reported = |text: &str| text.parse::<NamedServer>().unwrap_err().to_string();
        let all = [
            "nonsense",
            "server=a;nonsense;pwd=Pl4nted",
            "server=a;user=b;password='Pl4nted",
            "server=a;user=b;password='Pl4nted'x",
            "user=b;password=Pl4nted",
            "server=a;password=Pl4nted",
            "server=a;user=b",
            "server=a\\SQLEXPRESS;user=b;password=Pl4nted",
            "server=a,x;user=b;password=Pl4nted",
            "server=a;user=b;password=Pl4nted;encrypt=perhaps",
            "server=a;user=b;password=Pl4nted;trustservercertificate=perhaps",
        ]
        .map(reported)
        .join("\n");
        assert!(!all.contains("Pl4nted"), "{all}");
        assert!(!format!("{:?}", read("server=a;user=b;password=Pl4nted")).contains("Pl4nted"));
        insta::assert_snapshot!(all, @r"
        DATAKIT_TEST_MSSQL: part 1 is not of the form key=value
        DATAKIT_TEST_MSSQL: part 2 is not of the form key=value
        DATAKIT_TEST_MSSQL: the value of `password` has a quote or brace that does not end it
        DATAKIT_TEST_MSSQL: the value of `password` has a quote or brace that does not end it
        DATAKIT_TEST_MSSQL: `Server` is missing
        DATAKIT_TEST_MSSQL: `User ID` is missing
        DATAKIT_TEST_MSSQL: `Password` is missing
        DATAKIT_TEST_MSSQL: `Server` names an instance: give its port instead
        DATAKIT_TEST_MSSQL: `Server` has no number as its port
        DATAKIT_TEST_MSSQL: `Encrypt` must be mandatory, optional or strict
        DATAKIT_TEST_MSSQL: `TrustServerCertificate` must be yes or no
        ");
    }
}
