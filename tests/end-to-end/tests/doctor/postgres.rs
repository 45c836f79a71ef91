//! PostgreSQL as a source.

use datakit_tests::PostgresWorld;

use crate::{JSON, chain, expect, status};

const SCRIPT: &str = "\
CREATE TABLE public.t (id int PRIMARY KEY);
CREATE SCHEMA hidden;
CREATE TABLE hidden.\"odd \"\"name\" (id int);
CREATE ROLE reader LOGIN PASSWORD 'Pl4nted test password';
GRANT SELECT ON public.t TO reader;
";

#[test]
fn each_link_of_a_postgres_source() {
    let world = PostgresWorld::new(SCRIPT);
    let document = world.host(&JSON).success().json();
    let whole = chain(&document, "shop");
    assert_eq!(["kerberos", "tls", "tables"].map(|link| status(whole, link)), ["not_used", "not_used", "ok"]);
    assert!(whole.to_string().contains("GSSAPI is not offered for PostgreSQL: tokio-postgres does not speak it"));

    let mut command = world.command(&JSON);
    command.env("PG_PASSWORD", "Pl4nted-wrong-password");
    expect(&world.finish(command), "login", "DK-SRC-130", "pg_hba.conf");
    world.edit("user = \"postgres\"", "user = \"reader\"");
    let denied = expect(&world.host(&JSON), "tables", "DK-SRC-132", "GRANT USAGE ON SCHEMA \"hidden\" TO \"reader\";");
    assert!(denied.hint.contains("GRANT SELECT ON \"hidden\".\"odd \"\"name\" TO \"reader\";"), "{}", denied.hint);
    assert!(!denied.hint.contains("\"public\""), "{}", denied.hint);
    world.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC");
    expect(&world.host(&JSON), "database", "DK-SRC-131", "GRANT CONNECT ON DATABASE \"postgres\" TO \"reader\"");
    world.edit("database = \"postgres\"", "database = \"nothing\"");
    let unknown = expect(&world.host(&JSON), "database", "DK-SRC-131", "database");
    assert_eq!(unknown.status("login"), "ok");
    world.edit("encrypt = \"off\"", "encrypt = \"required\"");
    expect(&world.host(&JSON), "tls", "DK-SRC-125", "TLS");
    world.edit("port = ", "port = 1 # ");
    expect(&world.host(&JSON), "tcp", "DK-SRC-111", "listen_addresses");
}
