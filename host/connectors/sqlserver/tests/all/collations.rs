//! Text of every collation that SQL Server documents, read by both readers and compared with Python's codecs.

use std::sync::Arc;

use arrow::array::AsArray;
use datakit_fake_sqlserver::collations::{Documented, Server, documented};
use datakit_fake_sqlserver::{FakeSqlServer, Options, Running};
use datakit_model::Secret;
use datakit_sqlserver::{ReaderKind, SqlServerConfig, SqlServerSource};

use crate::common::{READERS, query, read, reported};

struct Tables {
    running: Running,
}

impl Tables {
    fn of(collations: Vec<Documented>) -> Self {
        Self { running: FakeSqlServer::start(Options::default(), Arc::new(Server::of(collations))).unwrap() }
    }

    fn source(&self, reader: ReaderKind) -> SqlServerSource {
        let Options { user, password, .. } = Options::default();
        let mut config = SqlServerConfig::new("localhost", "testdb", user, Secret::new(password));
        config.port = self.running.port();
        config.reader = reader;
        config.trust_certificate = true;
        SqlServerSource::new(config).unwrap()
    }
}

async fn text_of(source: &SqlServerSource, collation: &str) -> Result<String, String> {
    let sql = format!("SELECT v FROM dbo.[{collation}]");
    let answer = read(source, query(&sql, vec![])).await.map_err(|failure| reported(&failure))?;
    Ok(answer.one_batch().column(0).as_string::<i32>().value(0).to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_collation_is_read_in_its_code_page_by_both_readers() {
    let collations = documented();
    assert!(collations.len() > 150);
    let tables = Tables::of(collations.clone());
    for reader in READERS {
        let source = tables.source(reader);
        for Documented { name, code_page, text, .. } in &collations {
            assert_eq!(text_of(&source, name).await.as_ref(), Ok(text), "{name}, page {code_page}, {reader:?}");
        }
    }
}

fn collation(name: &str, wire: [u8; 5], bytes: &[u8]) -> Documented {
    Documented { name: name.into(), wire, code_page: 0, bytes: bytes.to_vec(), text: String::new() }
}

#[tokio::test(flavor = "multi_thread")]
async fn collations_of_windows_locales_are_read_in_their_code_page() {
    let tables = Tables::of(vec![
        collation("mongolian_ci_as", [0x50, 0x04, 0xd0, 0, 0], b"\xd1\xe0\xe9\xed"),
        collation("no_such_name", [0x1a, 0x08, 0xd0, 0, 0], b"\xe8\xe6\x9e\xf0"),
    ]);
    for reader in READERS {
        let source = tables.source(reader);
        assert_eq!(text_of(&source, "mongolian_ci_as").await.unwrap(), "Сайн", "{reader:?}");
        assert_eq!(text_of(&source, "no_such_name").await.unwrap(), "čćžđ", "{reader:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_an_unknown_collation_is_an_error_and_not_a_guess() {
    let unknown = [0xff, 0xff, 0x0f, 0, 0];
    let tables = Tables::of(vec![collation("u_beyond", unknown, b"caf\xe9"), collation("u_ascii", unknown, b"plain")]);
    for reader in READERS {
        let source = tables.source(reader);
        assert_eq!(text_of(&source, "u_ascii").await.unwrap(), "plain");
        let refused = text_of(&source, "u_beyond").await.unwrap_err();
        assert!(refused.starts_with("DK-SRC-051") && refused.contains("(LCID 0xfffff)"), "{refused}");
    }
}
