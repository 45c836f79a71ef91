//! Both readers on the server that `DATAKIT_TEST_MSSQL` names, or on the fake SQL Server reached in the same way.

use datakit_fake_sqlserver::Options;
use datakit_fake_sqlserver::named::{Encryption, NamedServer, Trust};
use datakit_model::Secret;
use datakit_sqlserver::{Encrypt, ReaderKind, SqlServerConfig, SqlServerSource};
use tiberius::{AuthMethod, Client, Config, EncryptionLevel};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::common::{READERS, query, read, reported};
use crate::world::World;

/// Each type with its greatest and least values and a null; of what a driver cannot read exactly, values that it can.
const COLUMNS: [(&str, &str, &str); 31] = [
    ("c_bit", "bit", "1"),
    ("c_tinyint", "tinyint", "255"),
    ("c_smallint", "smallint", "-32768"),
    ("c_int", "int", "-2147483648"),
    ("c_bigint", "bigint", "9223372036854775807"),
    ("c_real", "real", "CAST(0.1 AS real)"),
    ("c_float", "float", "CAST(0.1 AS float)"),
    ("c_decimal", "decimal(38, 10)", "-9999999999999999999999999999.9999999999"),
    ("c_numeric", "numeric(9, 2)", "0.01"),
    ("c_money", "money", "-12.3456"),
    ("c_smallmoney", "smallmoney", "214748.3647"),
    ("c_date", "date", "'0001-01-01'"),
    ("c_time_0", "time(0)", "'23:59:59'"),
    ("c_time_7", "time(7)", "'23:59:59.9999999'"),
    ("c_datetime", "datetime", "'9999-12-31T23:59:59.997'"),
    ("c_smalldatetime", "smalldatetime", "'2079-06-06T23:59:00'"),
    ("c_datetime2", "datetime2(3)", "'9999-12-31T23:59:59.999'"),
    ("c_datetimeoffset", "datetimeoffset(7)", "'2024-02-29T12:00:00.0000001+14:00'"),
    ("c_char", "char(10)", "'padded'"),
    ("c_varchar", "varchar(50)", "'caf' + CHAR(233)"),
    ("c_varchar_max", "varchar(max)", "REPLICATE(CAST('x' AS varchar(max)), 9000)"),
    ("c_nchar", "nchar(10)", "N'日本'"),
    ("c_nvarchar", "nvarchar(50)", "N'Zoë 🦀'"),
    ("c_nvarchar_max", "nvarchar(max)", "REPLICATE(CAST(N'é' AS nvarchar(max)), 9000)"),
    ("c_text", "text", "'old text'"),
    ("c_ntext", "ntext", "N'old 日本'"),
    ("c_xml", "xml", "N'<a>é</a>'"),
    ("c_binary", "binary(8)", "0x01"),
    ("c_varbinary_max", "varbinary(max)", "0xDEADBEEF"),
    ("c_uniqueidentifier", "uniqueidentifier", "'6F9619FF-8B86-D011-B42D-00C04FC964FF'"),
    ("c_sql_variant", "sql_variant", "CAST(N'a variant' AS nvarchar(20))"),
];

fn fake_sqlserver(world: &World) -> NamedServer {
    let Options { user, password, .. } = Options::default();
    NamedServer {
        host: "localhost".to_owned(),
        port: world.running.port(),
        user,
        password,
        database: world.engine.database().to_owned(),
        encryption: Encryption::Required,
        trust: Trust::Any,
    }
}

fn source(server: &NamedServer, reader: ReaderKind) -> SqlServerSource {
    let password = Secret::new(server.password.clone());
    let mut config = SqlServerConfig::new(&server.host, &server.database, &server.user, password);
    config.port = server.port;
    config.reader = reader;
    config.encrypt = match server.encryption {
        Encryption::Required => Encrypt::Required,
        Encryption::Strict => Encrypt::Strict,
        Encryption::Off => Encrypt::Off,
    };
    // A pin is not for tiberius; whose server it is was said by whoever named it.
    config.trust_certificate = server.encryption == Encryption::Required && server.trust != Trust::System;
    SqlServerSource::new(config).unwrap()
}

async fn client(server: &NamedServer) -> Client<Compat<TcpStream>> {
    let mut config = Config::new();
    config.host(&server.host);
    config.port(server.port);
    config.database(&server.database);
    config.authentication(AuthMethod::sql_server(&server.user, &server.password));
    config.encryption(match server.encryption {
        Encryption::Required => EncryptionLevel::Required,
        Encryption::Strict => EncryptionLevel::Strict,
        Encryption::Off => EncryptionLevel::Off,
    });
    if server.trust != Trust::System {
        config.trust_cert();
    }
    let stream = TcpStream::connect(config.get_addr()).await.unwrap();
    Client::connect(config, stream.compat_write()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn both_readers_read_every_type_alike() {
    let world = World::of("SELECT 1 AS a");
    let server = NamedServer::from_environment().unwrap().unwrap_or_else(|| fake_sqlserver(&world));
    let table = format!("dbo.[datakit readers {}]", uuid::Uuid::new_v4());
    let columns: Vec<String> = COLUMNS.iter().map(|(name, sql_type, _)| format!("{name} {sql_type} NULL")).collect();
    let values: Vec<&str> = COLUMNS.iter().map(|(_, _, value)| *value).collect();
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _, _)| *name).collect();
    let mut client = client(&server).await;
    for batch in [
        format!("CREATE TABLE {table} (id int NOT NULL PRIMARY KEY, {}, c_rowversion rowversion)", columns.join(", ")),
        format!("INSERT INTO {table} (id) VALUES (1)"),
        format!("INSERT INTO {table} (id, {}) VALUES (2, {})", names.join(", "), values.join(", ")),
    ] {
        client.simple_query(batch.as_str()).await.unwrap().into_results().await.unwrap();
    }
    let sql = format!("SELECT * FROM {table} ORDER BY id");
    // The catalog alone would go by tiberius, whichever the reader.
    let catalog = format!(
        "SELECT s.name AS schema_name, o.name AS object_name, o.type AS kind, o.create_date AS created FROM sys.objects AS o \
         INNER JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE EXISTS (SELECT 1 FROM {table}) ORDER BY o.object_id"
    );
    let mut failures = Vec::new();
    for sql in [sql, catalog] {
        let mut answers = Vec::new();
        for reader in READERS {
            match read(&source(&server, reader), query(&sql, vec![])).await {
                Ok(answer) => answers.push(answer),
                Err(failure) => failures.push(format!("{reader:?}: {sql}: {}", reported(&failure))),
            }
        }
        if let [first, second] = answers.as_slice() {
            if first.schema != second.schema {
                failures.push(format!("{sql}: {:?} is not {:?}", first.schema, second.schema));
            } else if first.one_batch() != second.one_batch() {
                failures.push(format!("{sql}: {:?} is not {:?}", first.one_batch(), second.one_batch()));
            }
        }
    }
    // Before any verdict: the table is in somebody's database.
    let drop = format!("DROP TABLE {table}");
    client.simple_query(drop.as_str()).await.unwrap().into_results().await.unwrap();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
