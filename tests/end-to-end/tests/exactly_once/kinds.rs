//! What a round is about: source, strategy, mode and sink.

use std::fmt;

/// Where rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    SqlServer,
    Postgres,
}

/// How a table is loaded (docs/changes.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strategy {
    Full,
    Watermark,
    RowVersion,
    ChangeTracking,
    Cdc,
    CdcNet,
    Logical,
}

/// What a load does with the rows that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    Append,
    Overwrite,
    Merge,
}

/// Where rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Sink {
    Delta,
    Postgres,
}

/// One way of loading a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Kind {
    pub(crate) source: Source,
    pub(crate) strategy: Strategy,
    pub(crate) mode: Mode,
    pub(crate) sink: Sink,
}

/// Strategies and modes of SQL Server.
const OF_SQL_SERVER: [(Strategy, Mode); 14] = [
    (Strategy::Full, Mode::Append),
    (Strategy::Full, Mode::Overwrite),
    (Strategy::Full, Mode::Merge),
    (Strategy::Watermark, Mode::Append),
    (Strategy::Watermark, Mode::Merge),
    (Strategy::RowVersion, Mode::Append),
    (Strategy::RowVersion, Mode::Merge),
    (Strategy::ChangeTracking, Mode::Append),
    (Strategy::ChangeTracking, Mode::Merge),
    (Strategy::ChangeTracking, Mode::Overwrite),
    (Strategy::Cdc, Mode::Append),
    (Strategy::Cdc, Mode::Merge),
    (Strategy::CdcNet, Mode::Append),
    (Strategy::CdcNet, Mode::Merge),
];

/// Strategies and modes of PostgreSQL.
const OF_POSTGRES: [(Strategy, Mode); 8] = [
    (Strategy::Full, Mode::Append),
    (Strategy::Full, Mode::Overwrite),
    (Strategy::Full, Mode::Merge),
    (Strategy::Watermark, Mode::Append),
    (Strategy::Watermark, Mode::Merge),
    (Strategy::Logical, Mode::Append),
    (Strategy::Logical, Mode::Merge),
    (Strategy::Logical, Mode::Overwrite),
];

/// How far one round's place in the list is from that of the next one, so that few rounds in a row see many kinds.
const STEP: u64 = 5;

impl Kind {
    /// The kind of a round: even seeds read SQL Server, odd ones PostgreSQL, and following seeds go through all kinds.
    pub(crate) fn of_seed(seed: u64) -> Self {
        let source = if seed.is_multiple_of(2) { Source::SqlServer } else { Source::Postgres };
        let kinds: &[_] = match source {
            Source::SqlServer => &OF_SQL_SERVER,
            Source::Postgres => &OF_POSTGRES,
        };
        let number = seed / 2;
        let at = number.wrapping_mul(STEP) % kinds.len() as u64;
        let (strategy, mode) = kinds[usize::try_from(at).unwrap_or_default()];
        // The sink changes with each round, and for each kind with each turn through all of them.
        let turn = number / kinds.len() as u64;
        let sink = if (number + turn).is_multiple_of(2) { Sink::Delta } else { Sink::Postgres };
        Self { source, strategy, mode, sink }
    }

    /// The datakit's settings: by this strategy, and in parts of a few rows.
    pub(crate) fn settings(self) -> String {
        let strategy = match self.strategy {
            Strategy::Full => r#""strategy": {"*.orders": "full"}"#,
            Strategy::Watermark => r#""watermark": {"*.orders": {"column": "v"}}"#,
            Strategy::RowVersion => r#""strategy": {"*.orders": "row-version"}"#,
            Strategy::ChangeTracking => r#""strategy": {"*.orders": "change-tracking"}"#,
            Strategy::Cdc => r#""strategy": {"*.orders": "cdc"}"#,
            Strategy::CdcNet => r#""strategy": {"*.orders": "cdc-net"}"#,
            Strategy::Logical => r#""strategy": {"*.orders": "logical"}"#,
        };
        format!(r#"{{{strategy}, "partition_row_threshold": 200, "partition_rows": 300}}"#)
    }

    /// Whether the strategy sees deleted rows. Where it does not, none are deleted, and keys stay.
    pub(crate) fn sees_deletes(self) -> bool {
        match self.strategy {
            Strategy::Full => self.mode != Mode::Merge,
            Strategy::Watermark | Strategy::RowVersion => false,
            Strategy::ChangeTracking | Strategy::Cdc | Strategy::CdcNet | Strategy::Logical => true,
        }
    }

    /// Whether a load reads the whole table each time.
    pub(crate) fn is_whole(self) -> bool {
        self.strategy == Strategy::Full || self.mode == Mode::Overwrite
    }

    /// The table in the source.
    pub(crate) fn table(self) -> &'static str {
        match self.source {
            Source::SqlServer => "dbo.orders",
            Source::Postgres => "public.orders",
        }
    }

    /// The folder of the Delta table below the sink.
    pub(crate) fn folder(self) -> &'static str {
        match self.source {
            Source::SqlServer => "ERP/dbo/orders",
            Source::Postgres => "SHOP/public/orders",
        }
    }

    /// The schema of the table in the Postgres sink.
    pub(crate) fn sink_schema(self) -> &'static str {
        match self.source {
            Source::SqlServer => "ERP_dbo",
            Source::Postgres => "SHOP_public",
        }
    }
}

impl Source {
    /// All of them.
    pub(crate) const ALL: [Self; 2] = [Self::SqlServer, Self::Postgres];
}

impl Mode {
    /// As `--mode` has it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Overwrite => "overwrite",
            Self::Merge => "merge",
        }
    }
}

impl Strategy {
    fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Watermark => "watermark",
            Self::RowVersion => "row-version",
            Self::ChangeTracking => "change-tracking",
            Self::Cdc => "cdc",
            Self::CdcNet => "cdc-net",
            Self::Logical => "logical",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SqlServer => "sqlserver",
            Self::Postgres => "postgres",
        })
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Delta => "delta",
            Self::Postgres => "postgres",
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, strategy, mode, sink } = self;
        write!(f, "{source} {} {} {sink}", strategy.word(), mode.word())
    }
}

#[test]
fn rounds_in_a_row_see_every_kind_of_both_sources() {
    let mut kinds: Vec<Kind> = (0..60).map(Kind::of_seed).collect();
    kinds.sort();
    kinds.dedup();
    assert_eq!(kinds.len(), 2 * (OF_SQL_SERVER.len() + OF_POSTGRES.len()));
}
