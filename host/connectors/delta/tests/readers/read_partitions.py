"""Prints a partitioned Delta table as another engine reads it: {"rows": [[id, text or null, ...], ...], "files": {column: [[value, number], ...]}}.

The rows are `id` and the given columns. For each value of each column the engine also filters by it: the rows must be those that
the whole table has with this value, and `files` has how many files it read for that, where the engine tells.

Usage: read_partitions.py polars|duckdb|deltalake DIRECTORY COLUMN...
"""

import datetime
import decimal
import json
import re
import sys

from read_delta import text


class Polars:
    def __init__(self, path):
        import polars

        self.polars = polars
        self.frame = polars.scan_delta(path)

    def rows(self, columns):
        return self.frame.select("id", *columns).collect().rows()

    def ids(self, column, value):
        matching = self.polars.col(column).is_null() if value is None else self.polars.col(column) == value
        return self.frame.filter(matching).select("id").collect()["id"].to_list(), None


class Duckdb:
    def __init__(self, path):
        import duckdb
        import duckdb_ext

        self.connection = duckdb_ext.init(duckdb.connect())
        self.connection.execute("LOAD delta")
        self.connection.execute("SET TimeZone = 'UTC'")
        self.path = path
        described = self.connection.execute("DESCRIBE SELECT * FROM delta_scan(?)", [path]).fetchall()
        self.zoned = {name for name, kind, *_ in described if kind == "TIMESTAMP WITH TIME ZONE"}

    def rows(self, columns):
        names = [f"\"{name}\" AT TIME ZONE 'UTC'" if name in self.zoned else f'"{name}"' for name in columns]
        return self.connection.execute(f"SELECT id, {', '.join(names)} FROM delta_scan(?)", [self.path]).fetchall()

    def ids(self, column, value):
        if value is None:
            matching, parameters = f'"{column}" IS NULL', []
        elif column in self.zoned:
            matching, parameters = f"\"{column}\" = TIMESTAMPTZ '{value}+00'", []
        else:
            matching, parameters = f'"{column}" = ?', [value]
        query = f"SELECT id FROM delta_scan(?) WHERE {matching}"
        ids = [id for (id,) in self.connection.execute(query, [self.path, *parameters]).fetchall()]
        plan = "".join(row[1] for row in self.connection.execute("EXPLAIN ANALYZE " + query, [self.path, *parameters]).fetchall())
        files = re.search(r"Scanning Files:[^0-9]*(\d+)/\d+", plan)
        return ids, files and int(files.group(1))


class Deltalake:
    """Rust code that shares only the kernel with the two others."""

    def __init__(self, path):
        from deltalake import DeltaTable, QueryBuilder

        self.builder = QueryBuilder().register("t", DeltaTable(path))

    def query(self, sql):
        import polars

        return polars.DataFrame(self.builder.execute(sql).read_all())

    def rows(self, columns):
        return self.query(f"SELECT id, {', '.join(quoted(name) for name in columns)} FROM t").rows()

    def ids(self, column, value):
        matching = f"{quoted(column)} IS NULL" if value is None else f"{quoted(column)} = {literal(value)}"
        return self.query(f"SELECT id FROM t WHERE {matching}")["id"].to_list(), None


def quoted(name):
    return f'"{name}"'


def literal(value):
    if isinstance(value, (bool, int)):
        return str(value)
    if isinstance(value, datetime.datetime):
        # Not TIMESTAMP: that has nanoseconds, which end in 2262.
        zone = 'Some("UTC")' if value.tzinfo else "None"
        return f"arrow_cast('{value.isoformat()}', 'Timestamp(Microsecond, {zone})')"
    if isinstance(value, decimal.Decimal):
        return f"CAST('{value}' AS DECIMAL(18, 4))"
    return "'" + str(value).replace("'", "''") + "'"


engine, path, *columns = sys.argv[1:]
table = {"polars": Polars, "duckdb": Duckdb, "deltalake": Deltalake}[engine](path)
rows = table.rows(columns)
files = {}
for place, column in enumerate(columns, start=1):
    for value in {row[place] for row in rows}:
        ids, read = table.ids(column, value)
        expected = [row[0] for row in rows if row[place] == value]
        if sorted(ids) != sorted(expected):
            raise SystemExit(f"{column} = {value!r} gives {sorted(ids)}, not {sorted(expected)}")
        if read is not None:
            files.setdefault(column, []).append([text(value), read])
json.dump({"rows": [[text(value) for value in row] for row in rows], "files": files}, sys.stdout)
