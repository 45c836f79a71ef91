"""What is measured: tables, who reads them, and into what."""

from dataclasses import dataclass

# Peers that read SQL Server into Delta, by the name of their script in peers/.
SQLSERVER_PEERS = ["mssql_python_arrow", "arrow_odbc_reader", "connectorx_reader", "pandas_pyodbc", "dlt_connectorx", "dlt_pyarrow"]
# The same for Postgres.
POSTGRES_PEERS = ["connectorx_reader", "adbc_reader", "dlt_connectorx", "dlt_pyarrow"]
# Peers that read from Postgres what changed since their last run.
DELTALAKE_INCREMENTAL, DLT_INCREMENTAL = "deltalake_incremental", "dlt_incremental"

HOST, HOST_HASH, HOST_TLS, HOST_LOGICAL = "host", "host, row hash", "host, TLS", "host, logical"
HOST_PSQL, PSQL = "host to Postgres", "psql \\copy"
# Of bench-paths, by the name of its way.
DECODE, NATIVE, DATAKIT, THROUGH_GUEST, BOUNDARY = "decode alone", "native", "datakit", "rows through the guest", "calls alone"
PATHS = {DECODE: "decode", NATIVE: "native", DATAKIT: "datakit", THROUGH_GUEST: "through-guest", BOUNDARY: "boundary"}
OWN = {HOST, HOST_HASH, HOST_TLS, HOST_LOGICAL, HOST_PSQL, *PATHS}


@dataclass(frozen=True)
class Case:
    """One set of tables, and who moves them."""

    name: str
    title: str
    # Of the fake SQL Server's generated tables; none: a table of the script, or one of Postgres.
    shape: str | None
    tables: int
    rows: int
    quick_rows: int
    source: str = "sqlserver"
    sink: str = "delta"
    hosts: tuple[str, ...] = (HOST, HOST_HASH)
    peers: tuple[str, ...] = tuple(SQLSERVER_PEERS)
    quick: bool = True
    # Runs beyond which a case of this size tells nothing more.
    most_runs: int = 9
    # Tables whose start is all there is to measure need more.
    least_runs: int = 1
    # Rows that change in the source before each turn; 0: each run reads the whole table.
    changes: int = 0
    # What becomes of the rows of the target.
    mode: str = "overwrite"
    # Whether the changed rows are spread over the whole table, or are neighbours by key.
    spread: bool = True

    def table_names(self) -> list[str]:
        if self.tables == 1:
            return [self.name]
        return [f"{self.name}_{number:03}" for number in range(1, self.tables + 1)]


CASES = [
    Case("narrow", "4 columns", "narrow", 1, 1_000_000, 200_000),
    Case("orders", "11 columns", "orders", 1, 1_000_000, 1_000_000, hosts=(HOST, HOST_HASH, HOST_TLS)),
    Case("paths", "11 columns, the ways of one batch", "orders", 1, 1_000_000, 1_000_000, hosts=tuple(PATHS), peers=(), least_runs=15, most_runs=15),
    Case("wide", "120 columns", "wide", 1, 100_000, 20_000),
    Case("text", "nvarchar(max) of 5 KB", "text", 1, 200_000, 20_000),
    Case("small", "500 tables of 100 rows", "orders", 500, 100, 100, most_runs=3,
         # One of dlt's backends is enough to wait for: it takes longer than all others together.
         peers=tuple(peer for peer in SQLSERVER_PEERS if peer != "dlt_pyarrow")),
    Case("big", "11 columns, 10 million rows", "orders", 1, 10_000_000, 10_000_000, quick=False, most_runs=3,
         # The classical loop takes minutes here and shows what it showed with one million.
         peers=("mssql_python_arrow", "arrow_odbc_reader", "connectorx_reader")),
    Case("empty", "an empty table, datakit cached", None, 1, 0, 0, hosts=(HOST,), peers=(), least_runs=15, most_runs=15),
    Case("sink", "11 columns into Postgres", "orders", 1, 1_000_000, 200_000, sink="postgres", hosts=(HOST_PSQL,), peers=(PSQL,)),
    Case("postgres", "11 columns out of Postgres", None, 1, 1_000_000, 200_000, source="postgres", hosts=(HOST, HOST_HASH),
         peers=tuple(POSTGRES_PEERS)),
    Case("changes", "1,000 changed rows of a large table", None, 1, 10_000_000, 1_000_000, source="postgres", hosts=(HOST, HOST_LOGICAL),
         peers=(DELTALAKE_INCREMENTAL, DLT_INCREMENTAL), quick=False, changes=1000, mode="append"),
    Case("merge", "1,000 rows merged into a large table, keys of all parts", None, 1, 10_000_000, 1_000_000, source="postgres", hosts=(HOST,),
         peers=(DELTALAKE_INCREMENTAL, DLT_INCREMENTAL), quick=False, most_runs=3, changes=1000, mode="merge"),
    Case("merge_near", "the same, keys of one part", None, 1, 10_000_000, 1_000_000, source="postgres", hosts=(HOST,),
         peers=(DELTALAKE_INCREMENTAL,), quick=False, most_runs=3, changes=1000, mode="merge", spread=False),
]


def chosen(names: list[str], quick: bool) -> list[Case]:
    """The cases of these names, or all; `--quick` leaves those out that take long."""
    known = {case.name: case for case in CASES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"error: there is no case `{unknown[0]}`\nhint: one of {', '.join(known)}")
    if names:
        return [known[name] for name in names]
    return [case for case in CASES if case.quick or not quick]
