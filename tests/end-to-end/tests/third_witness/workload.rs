//! A workload of several writers that is the same for the same seed, for PostgreSQL and for SQL Server.
//!
//! Each writer has keys of its own, so that none waits for another; their transactions overlap. The workload knows which keys are
//! there, so that a statement never fails.

use std::collections::BTreeSet;

/// How many sessions write.
pub const WRITERS: usize = 4;
/// The writer whose transactions are long.
const LONG: usize = WRITERS - 1;
/// How many keys of each table a writer has.
const KEYS: u64 = 15;

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    Postgres,
    SqlServer,
}

/// A table of the workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Table {
    pub name: &'static str,
    pub key: &'static [&'static str],
    pub columns: &'static [&'static str],
}

/// Keys change here, and are swapped.
pub const ORDERS: Table = Table { name: "orders", key: &["id"], columns: &["id", "a", "doc"] };
/// Large values that an update leaves as they are. Keys stay.
pub const NOTES: Table = Table { name: "notes", key: &["id"], columns: &["id", "a", "doc"] };
/// Many types, and a key of two columns that changes.
pub const ITEMS: Table = Table {
    name: "items",
    key: &["writer", "number"],
    columns: &["writer", "number", "price", "made_at", "made_on", "code", "flag", "raw", "ratio"],
};
/// All that is compared.
pub const TABLES: [Table; 3] = [ORDERS, NOTES, ITEMS];

impl Dialect {
    /// The tables, and a table of marks that say how far a reader has to read.
    pub fn tables(self) -> &'static str {
        match self {
            Self::Postgres => {
                "CREATE TABLE orders (id int PRIMARY KEY, a int, doc text);
                 ALTER TABLE orders ALTER COLUMN doc SET STORAGE EXTERNAL;
                 ALTER TABLE orders REPLICA IDENTITY FULL;
                 CREATE TABLE notes (id int PRIMARY KEY, a int, doc text);
                 ALTER TABLE notes ALTER COLUMN doc SET STORAGE EXTERNAL;
                 CREATE TABLE items (writer int, number int, price numeric(18,4), made_at timestamp(6), made_on date, code varchar(20),
                    flag boolean, raw bytea, ratio float8, PRIMARY KEY (writer, number));
                 CREATE TABLE marks (number serial PRIMARY KEY, id int NOT NULL);"
            }
            Self::SqlServer => {
                "CREATE TABLE dbo.orders (id int NOT NULL PRIMARY KEY, a int NULL, doc nvarchar(max) NULL)\nGO\n\
                 CREATE TABLE dbo.notes (id int NOT NULL PRIMARY KEY, a int NULL, doc nvarchar(max) NULL)\nGO\n\
                 CREATE TABLE dbo.items (writer int NOT NULL, number int NOT NULL, price decimal(18,4) NULL, made_at datetime2(6) NULL, \
                    made_on date NULL, code nvarchar(20) NULL, flag bit NULL, raw varbinary(20) NULL, ratio float NULL, \
                    PRIMARY KEY (writer, number))\nGO\n\
                 CREATE TABLE dbo.marks (number int IDENTITY(1, 1) PRIMARY KEY, id int NOT NULL)"
            }
        }
    }

    fn save(self) -> &'static str {
        match self {
            Self::Postgres => "SAVEPOINT here",
            Self::SqlServer => "SAVE TRANSACTION here",
        }
    }

    fn roll_back_to_saved(self) -> &'static str {
        match self {
            Self::Postgres => "ROLLBACK TO SAVEPOINT here",
            Self::SqlServer => "ROLLBACK TRANSACTION here",
        }
    }

    fn bytes(self, hexadecimal: &str) -> String {
        match self {
            Self::Postgres => format!("'\\x{hexadecimal}'"),
            Self::SqlServer => format!("0x{hexadecimal}"),
        }
    }

    fn text(self, text: &str) -> String {
        let prefix = if self == Self::SqlServer { "N" } else { "" };
        format!("{prefix}'{text}'")
    }

    /// A value that PostgreSQL keeps outside of the row.
    fn large(self, value: u64) -> String {
        match self {
            Self::Postgres => format!("repeat('d{value:03}', 600)"),
            Self::SqlServer => format!("N'{}'", format!("d{value:03}").repeat(20)),
        }
    }

    fn flag(self, is_set: bool) -> &'static str {
        match (self, is_set) {
            (Self::Postgres, true) => "true",
            (Self::Postgres, false) => "false",
            (Self::SqlServer, true) => "1",
            (Self::SqlServer, false) => "0",
        }
    }
}

/// A statement of a session.
#[derive(Debug, Clone)]
pub struct Step {
    pub writer: usize,
    pub sql: String,
}

/// The keys that a writer sees.
#[derive(Debug, Clone, Default)]
struct Keys {
    orders: BTreeSet<u64>,
    notes: BTreeSet<u64>,
    items: BTreeSet<u64>,
}

#[derive(Debug)]
struct Transaction {
    statements: u64,
    commits: bool,
    before: Keys,
    saved: Option<Keys>,
}

#[derive(Debug, Default)]
struct Writer {
    keys: Keys,
    open: Option<Transaction>,
}

/// Makes the steps.
#[derive(Debug)]
pub struct Workload {
    dialect: Dialect,
    state: u64,
    writers: [Writer; WRITERS],
    /// Whether one statement may change several rows; then their order is the server's.
    many_rows: bool,
}

impl Workload {
    pub fn new(dialect: Dialect, seed: u64, many_rows: bool) -> Self {
        Self { dialect, state: seed, writers: Default::default(), many_rows }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % below
    }

    /// So many transactions more are begun. Some stay open.
    pub fn part(&mut self, transactions: usize) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut begun = 0;
        while begun < transactions {
            let writer = self.random(WRITERS as u64) as usize;
            match self.writers[writer].open.take() {
                None => {
                    begun += 1;
                    steps.push(self.begin(writer));
                }
                Some(open) => self.go_on(writer, open, &mut steps),
            }
        }
        steps
    }

    /// What is open ends.
    pub fn end(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        for writer in 0..WRITERS {
            while let Some(open) = self.writers[writer].open.take() {
                self.go_on(writer, open, &mut steps);
            }
        }
        steps
    }

    fn begin(&mut self, writer: usize) -> Step {
        let statements = 1 + self.random(if writer == LONG { 30 } else { 4 });
        let commits = self.random(5) > 0;
        let before = self.writers[writer].keys.clone();
        self.writers[writer].open = Some(Transaction { statements, commits, before, saved: None });
        Step { writer, sql: "BEGIN TRANSACTION".to_owned() }
    }

    fn go_on(&mut self, writer: usize, mut open: Transaction, steps: &mut Vec<Step>) {
        if open.statements == 0 {
            if !open.commits {
                self.writers[writer].keys = open.before;
            }
            let sql = if open.commits { "COMMIT" } else { "ROLLBACK" };
            steps.push(Step { writer, sql: sql.to_owned() });
            return;
        }
        open.statements -= 1;
        let sql = match (self.random(12), open.saved.take()) {
            (0, None) => {
                open.saved = Some(self.writers[writer].keys.clone());
                self.dialect.save().to_owned()
            }
            (0 | 1, Some(saved)) => {
                self.writers[writer].keys = saved;
                self.dialect.roll_back_to_saved().to_owned()
            }
            (_, saved) => {
                open.saved = saved;
                self.change(writer)
            }
        };
        self.writers[writer].open = Some(open);
        steps.push(Step { writer, sql });
    }

    fn change(&mut self, writer: usize) -> String {
        match self.random(6) {
            0..3 => self.change_orders(writer),
            3 => self.change_notes(writer),
            _ => self.change_items(writer),
        }
    }

    /// A key of the writer, as a number that no other writer has.
    fn key(&mut self, writer: usize) -> u64 {
        self.random(KEYS) * WRITERS as u64 + writer as u64
    }

    fn change_orders(&mut self, writer: usize) -> String {
        let (id, other, value, kind) = (self.key(writer), self.key(writer), self.random(1000), self.random(8));
        let large = self.dialect.large(value);
        let many_rows = self.many_rows;
        let keys = &mut self.writers[writer].keys.orders;
        if keys.insert(id) {
            return format!("INSERT INTO orders (id, a, doc) VALUES ({id}, {value}, {large})");
        }
        match kind {
            0 => format!("UPDATE orders SET doc = {large} WHERE id = {id}"),
            1 => {
                keys.remove(&id);
                format!("DELETE FROM orders WHERE id = {id}")
            }
            2 | 3 if keys.insert(other) => {
                keys.remove(&id);
                format!("UPDATE orders SET id = {other}, a = {value} WHERE id = {id}")
            }
            2 | 3 if other != id => self.swap(writer, id, other),
            4 => format!(
                "DELETE FROM orders WHERE id = {id}; INSERT INTO orders (id, a, doc) VALUES ({id}, {value}, {large})"
            ),
            5 if many_rows => {
                format!("UPDATE orders SET a = a + 1000 WHERE id IN ({id}, {other}) OR id % 16 = {}", id % 16)
            }
            _ => format!("UPDATE orders SET a = {value} WHERE id = {id}"),
        }
    }

    /// Two rows get each other's key. SQL Server does so in one statement; PostgreSQL checks the key row by row.
    fn swap(&self, writer: usize, id: u64, other: u64) -> String {
        if self.dialect == Dialect::SqlServer && self.many_rows {
            return format!(
                "UPDATE orders SET id = CASE WHEN id = {id} THEN {other} ELSE {id} END WHERE id IN ({id}, {other})"
            );
        }
        let free = -1 - i64::try_from(writer).unwrap_or_default();
        format!(
            "UPDATE orders SET id = {free} WHERE id = {id}; UPDATE orders SET id = {id} WHERE id = {other}; \
             UPDATE orders SET id = {other} WHERE id = {free}"
        )
    }

    fn change_notes(&mut self, writer: usize) -> String {
        let (id, value, kind) = (self.key(writer), self.random(1000), self.random(6));
        let large = self.dialect.large(value);
        let keys = &mut self.writers[writer].keys.notes;
        if keys.insert(id) {
            return format!("INSERT INTO notes (id, a, doc) VALUES ({id}, {value}, {large})");
        }
        match kind {
            0 => format!("UPDATE notes SET doc = {large} WHERE id = {id}"),
            1 => format!("UPDATE notes SET doc = NULL WHERE id = {id}"),
            2 => {
                keys.remove(&id);
                format!("DELETE FROM notes WHERE id = {id}")
            }
            _ => format!("UPDATE notes SET a = {value} WHERE id = {id}"),
        }
    }

    fn change_items(&mut self, writer: usize) -> String {
        let (number, other, kind) = (self.random(KEYS), self.random(KEYS), self.random(5));
        let values = self.values();
        let keys = &mut self.writers[writer].keys.items;
        let row = format!("writer = {writer} AND number = {number}");
        if keys.insert(number) {
            let (columns, values): (Vec<&str>, Vec<String>) = values.into_iter().unzip();
            let (columns, values) = (columns.join(", "), values.join(", "));
            return format!("INSERT INTO items (writer, number, {columns}) VALUES ({writer}, {number}, {values})");
        }
        match kind {
            0 => {
                keys.remove(&number);
                format!("DELETE FROM items WHERE {row}")
            }
            1 if keys.insert(other) => {
                keys.remove(&number);
                format!("UPDATE items SET number = {other} WHERE {row}")
            }
            2 => {
                let (column, value) = &values[other as usize % values.len()];
                format!("UPDATE items SET {column} = {value} WHERE {row}")
            }
            _ => {
                let sets: Vec<String> =
                    values.into_iter().map(|(column, value)| format!("{column} = {value}")).collect();
                format!("UPDATE items SET {} WHERE {row}", sets.join(", "))
            }
        }
    }

    /// A value for each column of `items` that is not of the key; some are null.
    fn values(&mut self) -> Vec<(&'static str, String)> {
        let dialect = self.dialect;
        let number = self.random(1_000_000);
        let texts = ["", "a", "Ærø & Søn", "日本 😀", "  blank ", "x''y"];
        let values = [
            ("price", format!("{}{}.{:04}", ["", "-"][number as usize % 2], number, number % 10_000)),
            (
                "made_at",
                format!("'2026-{:02}-{:02}T03:04:{:02}.{number:06}'", 1 + number % 12, 1 + number % 28, number % 60),
            ),
            ("made_on", format!("'{:04}-{:02}-{:02}'", 1900 + number % 200, 1 + number % 12, 1 + number % 28)),
            ("code", dialect.text(texts[number as usize % texts.len()])),
            ("flag", dialect.flag(number.is_multiple_of(3)).to_owned()),
            ("raw", dialect.bytes(&format!("{number:08x}00ff"))),
            ("ratio", format!("{}.{}", number % 1000, ["0", "125", "25", "375", "5"][number as usize % 5])),
        ];
        values
            .into_iter()
            .map(|(column, value)| (column, if self.random(6) == 0 { "NULL".to_owned() } else { value }))
            .collect()
    }
}
