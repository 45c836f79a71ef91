"""What the cases with Postgres need there: a table to read, a file to copy, and a sum of what was written."""

import os

from benchmarks.cases import HOST_PSQL, Case
from benchmarks.host import HostFolder
from benchmarks.measure import run
from benchmarks.servers import Postgres

# The 11 columns, with the distributions of the fake SQL Server's generated table.
SOURCE_TABLE = """
CREATE TABLE {table} (
    id int PRIMARY KEY, customer_id bigint NOT NULL, order_ref varchar(40) NOT NULL, amount numeric(18, 4) NOT NULL, quantity int,
    price float8 NOT NULL, created_at timestamp NOT NULL, ship_date date, is_open boolean NOT NULL, note varchar(100), guid uuid NOT NULL
);
INSERT INTO {table}
SELECT i, hashint8extended(i, 1), 'é' || left(md5(i::text), 12 + i % 20), (hashint8extended(i, 2) % 100000000000)::numeric / 10000,
       CASE WHEN i % 7 > 0 THEN i % 1000 END, (hashint8extended(i, 3) % 10000000) / 64.0::float8,
       timestamp '2019-01-01' + ((hashint8extended(i, 4) % 47000000000000 + 47000000000000) || ' microseconds')::interval,
       CASE WHEN i % 5 > 0 THEN date '2019-01-01' + i % 3000 END, i % 2 = 0,
       CASE WHEN i % 4 > 0 THEN 'note ' || left(md5(i::text || 'n') || md5(i::text || 'm'), 31 + i % 31) END, md5(i::text || 'g')::uuid
FROM generate_series(1, {rows}) AS i
"""

# The same with the moment of each row's last change, indexed, and a publication of it.
CHANGING_TABLE = SOURCE_TABLE.replace("CREATE TABLE", "CREATE UNLOGGED TABLE").format(table="made", rows="{rows}") + """;
CREATE TABLE {table} AS SELECT *, timestamp '2026-01-01' + id * interval '1 millisecond' AS changed_at FROM made;
DROP TABLE made;
ALTER TABLE {table} ADD PRIMARY KEY (id);
ALTER TABLE {table} ALTER changed_at SET NOT NULL;
CREATE INDEX ON {table} (changed_at);
CREATE PUBLICATION bench FOR TABLE {table}
"""

# So many rows get another quantity: every so many-th key from an offset on, or neighbours.
CHANGE = """
UPDATE {table} SET quantity = coalesce(quantity, 0) + 1, changed_at = timezone('UTC', clock_timestamp())
WHERE id IN (SELECT {first} + i * {step} FROM generate_series(0, {changes} - 1) AS i)
"""


def copy_file(postgres: Postgres, host: HostFolder, case: Case, folder: str) -> str:
    """The rows that the host writes, in binary COPY, from one run of it; made once. `copied_shape` is a table of their columns."""
    path = os.path.join(folder, "rows.copy")
    if not os.path.exists(path):
        table = f'"SRC_dbo".{case.name}'
        if postgres.query(f"SELECT to_regclass('{table}')") == "":
            run(host.command(HOST_PSQL, case), host.environment(), host.directory)
        postgres.query(f"CREATE TABLE copied_shape (LIKE {table})")
        postgres.query(f"\\copy {table} TO '{path}' (FORMAT binary)")
    return path


def sink_checksum(postgres: Postgres, table: str) -> dict:
    """Count and a sum over the source's columns."""
    columns = "id, customer_id, order_ref, amount, quantity, price, created_at, ship_date, is_open, note, guid"
    answer = postgres.query(f"SELECT count(*), coalesce(sum(hashtextextended(ROW({columns})::text, 7)::numeric), 0) FROM {table}")
    rows, checksum = answer.split("|")
    return {"rows": int(rows), "checksum": checksum}
