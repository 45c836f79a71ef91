"""Prints a Delta table's rows as sorted lines of JSON, read by polars (delta-rs for the log, its own Parquet reader)."""

import datetime
import decimal
import json
import os
import sys

import polars


def plain(value):
    match value:
        case bytes():
            return value.hex()
        case decimal.Decimal() | datetime.date() | datetime.datetime():
            return str(value)
        case _:
            return value


options = {name.lower(): value for name, value in os.environ.items() if name.startswith(("AWS_", "AZURE_"))}
frame = polars.read_delta(sys.argv[1], storage_options=options or None)
print(json.dumps({name: str(dtype) for name, dtype in frame.schema.items()}, ensure_ascii=False))
rows = [json.dumps({k: plain(v) for k, v in row.items()}, ensure_ascii=False) for row in frame.iter_rows(named=True)]
print("\n".join(sorted(rows)))
