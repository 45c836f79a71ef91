//! Debezium and the host on one PostgreSQL: a slot for each.

use std::collections::BTreeMap;

use datakit_tests::PostgresWorld;
use serde_json::json;

use crate::changes::{self, Row, by_key};
use crate::debezium::Debezium;
use crate::story::{self, Lists, Source, parsed, rows_query};
use crate::workload::{Dialect, Step, Table, WRITERS, Workload};
use crate::{SAMPLE, assert_recorded, assert_same_lists, shown, transactions};

struct Server {
    world: PostgresWorld,
    runtime: tokio::runtime::Runtime,
    writers: Vec<tokio_postgres::Client>,
}

impl Server {
    fn new() -> Self {
        let script = format!(
            "{} CREATE PUBLICATION bronze FOR TABLE orders, notes, items;
             CREATE PUBLICATION debezium FOR TABLE orders, notes, items, marks;",
            Dialect::Postgres.tables()
        );
        let world = PostgresWorld::with_logical_decoding(&script).with_postgres_sink();
        let ingest = "tables = [\"public.orders\", \"public.notes\", \"public.items\"]\n\
                      settings = { strategy = { \"*.*\" = \"logical\" } }";
        world.edit(
            "tables = [\"*.*\"]",
            &format!(
                "name = \"appended\"\n{ingest}\n\n[sinks.lake]\nkind = \"delta\"\nuri = \"./bronze\"\n\n[[ingest]]\n\
                 name = \"merged\"\ndatakit = \"postgres-bronze@0.1.0\"\nroles = {{ source = \"shop\" }}\nsink = \"lake\"\n\
                 mode = \"merge\"\n{ingest}"
            ),
        );
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let writers = (0..WRITERS).map(|_| runtime.block_on(world.connect())).collect();
        Self { world, runtime, writers }
    }
}

/// The end of the settings of both ingests, and the same without the column that is added.
const LAST_SETTING: &str = "\"logical\" } }";
const WITHOUT_EXTRA: &str = "\"logical\" }, columns = { \"public.items\" = { exclude = [\"extra\"] } } }";

impl Source for Server {
    fn play(&self, steps: &[Step]) {
        for step in steps {
            let result = self.runtime.block_on(self.writers[step.writer].batch_execute(&step.sql));
            result.unwrap_or_else(|error| panic!("{error:?}\n{}", step.sql));
        }
    }

    fn mark(&self, part: usize) {
        self.world.execute(&format!("INSERT INTO marks (id) VALUES ({part})"));
    }

    fn define(&self) {
        self.world.execute("ALTER TABLE items ADD extra int");
        for _ in 0..2 {
            self.world.edit(LAST_SETTING, WITHOUT_EXTRA);
        }
    }

    fn run_host(&self) {
        self.world.run(&[]);
    }

    fn rows(&self, table: Table) -> BTreeMap<Row, Row> {
        let rows = parsed(&self.world.source(&rows_query(table, table.name, "", table.key[0])));
        by_key(table, rows.iter().map(|values| changes::row(table, values, &[])))
    }

    fn ask_sink(&self, query: &str) -> String {
        self.world.sink(query)
    }

    fn sink_schema(&self) -> &'static str {
        "SHOP_public"
    }

    fn merged(&self, table: Table) -> String {
        self.world.delta(&format!("SHOP/public/{}", table.name))
    }

    fn commit_of(&self, place: &str) -> String {
        place.split_at_checked(16).expect("the place of the commit").0.to_owned()
    }
}

fn start_debezium(server: &Server) -> Debezium {
    // Its changes begin here, as those of the host begin with the first copy.
    server.world.source("SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')::text");
    let config = server.world.server().config("postgres");
    Debezium::start(
        "public",
        &json!({
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "database.hostname": config.host,
            "database.port": config.port.to_string(),
            "database.user": config.user,
            "database.password": datakit_postgres::testing::PASSWORD,
            "database.dbname": "postgres",
            "plugin.name": "pgoutput",
            "slot.name": "debezium",
            "publication.name": "debezium",
            "publication.autocreate.mode": "disabled",
            "snapshot.mode": "no_data",
            "table.include.list": "public.orders,public.notes,public.items,public.marks",
        }),
    )
}

fn read(seed: u64, transactions: usize, is_sample: bool, with_debezium: bool) -> (Option<Lists>, Lists) {
    let mut workload = Workload::new(Dialect::Postgres, seed, !is_sample);
    story::play(&Server::new(), &mut workload, transactions, with_debezium.then_some(start_debezium))
}

#[test]
#[ignore = "needs Debezium: scripts/third-witness"]
fn debezium_and_the_host_read_the_same_changes_of_postgres() {
    let (debezium, host) = read(15, transactions(), false, true);
    assert_same_lists(&debezium.unwrap(), &host, false);
}

#[test]
#[ignore = "needs Debezium: scripts/third-witness"]
fn recorded_changes_of_postgres_are_those_of_debezium() {
    let (debezium, host) = read(1, SAMPLE, true, true);
    let debezium = debezium.unwrap();
    assert_same_lists(&debezium, &host, false);
    insta::assert_snapshot!("changes", shown(&debezium, false));
}

#[test]
fn host_reads_the_changes_of_postgres_that_debezium_has_read() {
    let (_, host) = read(1, SAMPLE, true, false);
    assert_recorded(include_str!("snapshots/third_witness__postgres__changes.snap"), &shown(&host, false));
}
