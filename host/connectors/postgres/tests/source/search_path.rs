//! The role's search path holds for functions that views call, and for nothing in a datakit's text.

use datakit_model::source::{Isolation, Query, QueryOptions, Source};
use tokio_postgres::SimpleQueryMessage;

use crate::world::{World, access, query, read, rest};

/// Functions whose bodies name tables and functions without a schema: run, inlined, and in a query of their own.
const RATES: &str = "
    CREATE SCHEMA shop;
    SET search_path = shop;
    CREATE TABLE rates (cur text, rate numeric(10,4));
    INSERT INTO rates VALUES ('EUR', 1.1);
    CREATE FUNCTION shout(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT t || '!' $$;
    CREATE FUNCTION rate_of(c text) RETURNS numeric LANGUAGE plpgsql STABLE AS
        $$ BEGIN RETURN (SELECT rate FROM rates WHERE cur = c); END $$;
    CREATE FUNCTION loud(t text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT shout(t) $$;
    CREATE FUNCTION all_rates() RETURNS SETOF numeric LANGUAGE sql STABLE AS $$ SELECT rate FROM rates $$;
    CREATE VIEW v AS SELECT cur, rate_of(cur)::numeric(10,4) AS r, loud(cur) AS l FROM rates;
    CREATE VIEW w AS SELECT a::numeric(10,4) AS r FROM all_rates() AS a;
    ALTER ROLE postgres SET search_path = shop;";

#[tokio::test]
async fn views_over_functions_with_unqualified_names_are_read() {
    let world = World::of(RATES).await;
    let source = world.source();
    for isolation in [None, Some(Isolation::ReadCommitted), Some(Isolation::Serializable)] {
        for (sql, expected) in
            [("SELECT cur, r, l FROM shop.v", "EUR | 1.1000 | EUR!"), ("SELECT r FROM shop.w", "1.1000")]
        {
            let session = source.connect(access("run-1")).await.unwrap();
            let options = QueryOptions { isolation, ..QueryOptions::default() };
            let answer = rest(session.query(Query { options, ..query(sql) }).await.unwrap()).await.unwrap();
            let columns = answer.columns();
            let values: Vec<&str> = columns.lines().map(|line| line.rsplit_once("= ").unwrap().1).collect();
            assert_eq!(values.join(" | "), expected, "{isolation:?}");
        }
    }
}

const VALUES: &str = "
    CREATE SCHEMA s;
    CREATE TABLE s.t (i int, b bigint, n numeric(10,2), f float8, v varchar(20), t text, c char(3), d date, p boolean);
    INSERT INTO s.t VALUES
        (1, 10, 1.50, 0.5, 'a', 'A', 'abc', '2024-02-29', true), (2, 20, -2.25, 2, 'b%', 'b', 'b', '2024-03-01', false),
        (3, 30, 0, -1, '', 'c_d', 'c', '1999-12-31', NULL), (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, true);";

/// Somebody's operators, functions and types that fit better than the system's own, first in the path. All of them fail.
const HIJACKERS: &str = "
    CREATE SCHEMA trap;
    DO $do$ DECLARE
        l text; r text; o text;
        types text[] := ARRAY['int4', 'int8', 'numeric', 'float8', 'varchar', 'text', 'bpchar', 'date', 'bool'];
        fails text := 'RETURNS bool LANGUAGE plpgsql AS $f$ BEGIN RAISE EXCEPTION $m$hijacked$m$; END $f$';
    BEGIN
        FOREACH l IN ARRAY types LOOP
            EXECUTE format('CREATE FUNCTION trap.one(pg_catalog.%s) %s', l, fails);
            FOREACH o IN ARRAY ARRAY['upper', 'lower', 'abs', 'length', 'max', 'round', 'floor', 'substring'] LOOP
                EXECUTE format('CREATE FUNCTION trap.%I(pg_catalog.%s) %s', o, l, fails);
            END LOOP;
            FOREACH o IN ARRAY ARRAY['-', '+'] LOOP
                EXECUTE format('CREATE OPERATOR trap.%s (rightarg = pg_catalog.%s, function = trap.one)', o, l);
            END LOOP;
            FOREACH r IN ARRAY types LOOP
                EXECUTE format('CREATE FUNCTION trap.two(pg_catalog.%s, pg_catalog.%s) %s', l, r, fails);
                FOREACH o IN ARRAY ARRAY['=', '<>', '<', '>', '<=', '>=', '+', '-', '*', '/', '%', '||', '~~', '!~~'] LOOP
                    EXECUTE format('CREATE OPERATOR trap.%s (leftarg = pg_catalog.%s, rightarg = pg_catalog.%s, \
                        function = trap.two)', o, l, r);
                END LOOP;
            END LOOP;
        END LOOP;
    END $do$;
    CREATE DOMAIN trap.text AS pg_catalog.int4;
    CREATE DOMAIN trap.date AS pg_catalog.int4;
    ALTER ROLE postgres SET search_path = trap, pg_catalog;";

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    /// An expression as a person writes it: parentheses only where chance wants them.
    fn boolean(&mut self, depth: usize) -> String {
        let depth = depth.saturating_sub(1);
        if depth == 0 {
            return self.comparison(0);
        }
        match self.below(6) {
            0 => format!("{} OR {}", self.boolean(depth), self.boolean(depth)),
            1 => format!("{} AND {}", self.boolean(depth), self.boolean(depth)),
            2 => format!("NOT {}", self.comparison(depth)),
            3 => format!("({})", self.boolean(depth)),
            4 => format!("({}) IS {}", self.boolean(depth), self.one(&["NULL", "NOT NULL", "TRUE", "NOT FALSE"])),
            _ => self.comparison(depth),
        }
    }

    fn comparison(&mut self, depth: usize) -> String {
        let not = self.one(&["", "NOT "]);
        match self.below(9) {
            0 => format!("{} {not}BETWEEN {} AND {}", self.sum(depth), self.sum(depth), self.sum(depth)),
            1 => format!("{} {not}IN ({}, {})", self.sum(depth), self.sum(depth), self.sum(depth)),
            2 => format!("{} {not}LIKE {}", self.text(depth), self.one(&["'a%'", "'%b'", "'c!_d' ESCAPE '!'", "t"])),
            3 => format!("({} IS {not}DISTINCT FROM {})", self.sum(depth), self.sum(depth)),
            4 => format!("{} {} {}", self.text(depth), self.one(&["=", "<>", "<", ">="]), self.text(depth)),
            5 => format!("d {} '2024-02-29'", self.one(&["=", "<", ">", "<="])),
            6 => format!("{} {not}IN (SELECT i FROM s.t WHERE {})", self.sum(depth), self.boolean(depth)),
            7 => format!("{}EXISTS (SELECT 1 FROM s.t AS u WHERE u.i = t.i AND {})", not, self.boolean(depth)),
            _ => format!("{} {} {}", self.sum(depth), self.one(&["=", "<>", "<", ">", "<=", ">="]), self.sum(depth)),
        }
    }

    fn sum(&mut self, depth: usize) -> String {
        let depth = depth.saturating_sub(1);
        if depth == 0 {
            return self.one(&["i", "b", "n", "f", "1", "-2", "2.5", "t.i"]).to_owned();
        }
        match self.below(9) {
            0 => format!("{} + {}", self.sum(depth), self.sum(depth)),
            1 => format!("{} - {}", self.sum(depth), self.sum(depth)),
            2 => format!("{} * {}", self.sum(depth), self.sum(depth)),
            3 => format!("{} / 2", self.sum(depth)),
            4 => format!("- {}", self.sum(depth)),
            5 => format!("({})", self.sum(depth)),
            6 => format!("{}::numeric(20, 3)", self.sum(0)),
            // A second argument of a wider type would widen the first one for the server, and does not for the host.
            7 => format!("nullif({}, 1)", self.sum(depth)),
            _ => format!("coalesce(abs({}), length({}))", self.sum(depth), self.text(depth)),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        let depth = depth.saturating_sub(1);
        if depth == 0 {
            return self.one(&["v", "t", "c", "'a'", "'it''s'", "v COLLATE \"C\""]).to_owned();
        }
        match self.below(6) {
            0 => format!("{} || {}", self.text(depth), self.text(depth)),
            1 => format!("upper({})", self.text(depth)),
            2 => format!("CASE i WHEN {} THEN {} ELSE {} END", self.sum(depth), self.text(depth), self.text(depth)),
            3 => format!("substring({}, 1, 2)", self.text(depth)),
            4 => format!("({})::varchar(2)", self.text(depth)),
            _ => format!("trim({})", self.text(depth)),
        }
    }
}

/// The witness: the server itself, with the text as it was written and nothing but its own names in the path.
async fn by_the_server(world: &World, sql: &str) -> Result<Vec<String>, String> {
    let answer = world.admin.simple_query(sql).await.map_err(|error| error.as_db_error().unwrap().to_string())?;
    Ok(answer
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("null").to_owned()),
            _ => None,
        })
        .collect())
}

#[tokio::test]
async fn what_is_sent_means_what_was_written_and_calls_nobodys_functions() {
    let world = World::of(VALUES).await;
    world.admin.batch_execute(HIJACKERS).await.unwrap();
    world.admin.batch_execute("SET search_path = pg_catalog").await.unwrap();
    let source = world.source();
    let mut random = Random(0x5eed_1058);
    let (mut same, mut refused) = (0, Vec::new());
    for round in 0..400 {
        let depth = 1 + round % 5;
        let expression = match round % 3 {
            0 => random.boolean(depth),
            1 => random.sum(depth),
            _ => random.text(depth),
        };
        let sql = format!("SELECT ({expression})::text AS x FROM s.t ORDER BY i");
        let expected = by_the_server(&world, &sql).await;
        match (read(&source, &sql).await, expected) {
            (Ok(answer), Ok(expected)) => {
                let columns = answer.columns();
                let found = columns.split_once("= ").unwrap().1;
                assert_eq!(found, expected.join(" | "), "{sql}");
                same += 1;
            }
            (Err(failure), Err(_)) => refused.push(format!("{failure}: {sql}")),
            (Ok(_), Err(error)) => panic!("the server refuses {sql}: {error}"),
            (Err(failure), Ok(_)) => panic!("{failure}: {sql}"),
        }
    }
    assert!(refused.iter().all(|text| !text.contains("hijacked")), "{refused:#?}");
    assert!(same > 300, "only {same} of 400 could be compared: {refused:#?}");
}

#[tokio::test]
async fn traps_in_the_path_catch_what_is_not_qualified() {
    let world = World::of(VALUES).await;
    world.admin.batch_execute(HIJACKERS).await.unwrap();
    let role = crate::world::admin(&world.server).await;
    for sql in [
        "SELECT i = 1 FROM s.t",
        "SELECT upper(v) FROM s.t",
        "SELECT v LIKE 'a' FROM s.t",
        "SELECT i IN (1, 2) FROM s.t",
        "SELECT nullif(i, 1) FROM s.t",
    ] {
        let error = role.simple_query(sql).await.unwrap_err();
        assert!(error.as_db_error().unwrap().message().contains("hijacked"), "{sql}: {error}");
    }
}
