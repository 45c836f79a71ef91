//! Sinks: whether they could be written to, found out without writing.

use datakit_stores::testing::ObjectStoreServer;
use datakit_tests::{Output, World};

use crate::{JSON, SCRIPT, chain, expect, status};

const BRONZE: [&str; 4] = ["doctor", "bronze", "--output", "json"];

fn bronze(world: &World) -> Output {
    world.host(&BRONZE)
}

#[test]
fn a_folder() {
    let world = World::new(SCRIPT);
    bronze(&world).success();
    assert!(world.nothing_written());
    world.edit("./bronze", "./warehouse.toml/bronze");
    expect(&bronze(&world), "writable", "DK-SNK-014", "is a file");
    // Nobody makes files there, not even root.
    world.edit("./warehouse.toml/bronze", "/sys/datakit");
    expect(&bronze(&world), "writable", "DK-SNK-013", "right to write");
    world.edit("/sys/datakit", "ftp://somewhere/bronze");
    expect(&bronze(&world), "settings", "DK-SNK-001", "s3://");
}

#[test]
fn object_stores() {
    for server in [ObjectStoreServer::s3().unwrap(), ObjectStoreServer::azure().unwrap()] {
        let uri = server.uri().to_owned();
        let world = World::new(SCRIPT).with_object_store(server);
        let document = bronze(&world).success().json();
        assert_eq!(status(chain(&document, "bronze"), "store"), "ok");
        // A bucket or container that is not there.
        world.edit(&uri, &uri.replace("lake", "sea"));
        expect(&bronze(&world), "store", "DK-SNK-014", "bucket or container");
        let mut command = world.command(&BRONZE);
        for variable in ["AWS_ENDPOINT_URL", "AZURITE_BLOB_STORAGE_URL"] {
            command.env(variable, "http://127.0.0.1:9");
        }
        expect(&world.finish(command), "store", "DK-SNK-014", "endpoint");
    }
}

#[test]
fn postgres() {
    let world = World::new(SCRIPT).with_postgres();
    let document = world.host(&JSON).success().json();
    let sink = chain(&document, "bronze");
    assert_eq!((status(sink, "kerberos"), status(sink, "writable")), ("not_used", "ok"));
    let made = || world.postgres("SELECT count(*)::text FROM pg_namespace WHERE nspname = '_datakit'");
    assert_eq!(made(), "0");

    let mut command = world.command(&BRONZE);
    command.env("PG_PASSWORD", "Pl4nted-wrong-password");
    expect(&world.finish(command), "login", "DK-SNK-021", "pg_hba.conf");
    world.postgres_execute("CREATE ROLE writer LOGIN PASSWORD 'Pl4nted test password'");
    world.edit("user = \"postgres\"", "user = \"writer\"");
    let denied = expect(&bronze(&world), "writable", "DK-SNK-024", "CREATE on the database");
    assert!(denied.chain.to_string().contains("GRANT CREATE ON DATABASE"), "{}", denied.chain);
    world.postgres_execute("GRANT CREATE ON DATABASE postgres TO writer");
    bronze(&world).success();
    assert_eq!(made(), "0");
    world.run(&[]);
    bronze(&world).success();
    world.postgres_execute("REVOKE INSERT ON _datakit.ledger FROM writer");
    expect(&bronze(&world), "writable", "DK-SNK-024", "own the schema");
    world.postgres_execute("ALTER ROLE writer SET default_transaction_read_only = on");
    expect(&bronze(&world), "writable", "DK-SNK-027", "primary");
    world.edit("database = \"postgres\"", "database = \"nothing\"");
    expect(&bronze(&world), "database", "DK-SNK-023", "createdb");
    world.edit("password = { env = \"PG_PASSWORD\" }\nencrypt = \"off\"", "password = { env = \"PG_PASSWORD\" }");
    expect(&bronze(&world), "tls", "DK-SNK-022", "certificate");
}
