"""Prints a Delta table as another engine reads it: {"columns": [...], "rows": [[text or null, ...], ...]}.

Usage: read_delta.py polars|duckdb|deltalake DIRECTORY
"""

import datetime
import decimal
import json
import sys


def polars_rows(path):
    import polars

    frame = polars.read_delta(path)
    return frame.columns, frame.rows()


def duckdb_rows(path):
    import duckdb
    import duckdb_ext

    connection = duckdb_ext.init(duckdb.connect())
    connection.execute("LOAD delta")
    connection.execute("SET TimeZone = 'UTC'")
    # Timestamps with zone would need pytz to become Python objects.
    columns = connection.execute("DESCRIBE SELECT * FROM delta_scan(?)", [path]).fetchall()
    quoted = [(name.replace('"', '""'), kind) for name, kind, *_ in columns]
    select = ", ".join(
        f'"{name}" AT TIME ZONE \'UTC\'' if kind == "TIMESTAMP WITH TIME ZONE" else f'"{name}"'
        for name, kind in quoted
    )
    rows = connection.execute(f"SELECT {select} FROM delta_scan(?)", [path]).fetchall()
    return [name for name, *_ in columns], rows


def deltalake_rows(path):
    import polars
    from deltalake import DeltaTable

    table = DeltaTable(path)
    # Files of before a column was added do not have it.
    frame = polars.concat([polars.read_parquet(uri) for uri in table.file_uris()], how="diagonal")
    frame = frame.select([field.name for field in table.schema().fields])
    return frame.columns, frame.rows()


def text(value):
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            value = value.astimezone(datetime.timezone.utc).replace(tzinfo=None)
        return value.isoformat(timespec="microseconds")
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, float):
        return repr(value)
    return str(value)


if __name__ == "__main__":
    engine, path = sys.argv[1:]
    columns, rows = {"polars": polars_rows, "duckdb": duckdb_rows, "deltalake": deltalake_rows}[engine](path)
    json.dump({"columns": columns, "rows": [[text(value) for value in row] for row in rows]}, sys.stdout)
