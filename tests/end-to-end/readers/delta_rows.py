"""Prints a Delta table's rows as sorted lines of JSON, read by polars (delta-rs for the log, its own Parquet reader).

Without an argument it reads tables as their paths come, a line each, and prints an empty line behind the rows of each."""

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


def lines(frame):
    rows = (json.dumps({k: plain(v) for k, v in row.items()}, ensure_ascii=False) for row in frame.iter_rows(named=True))
    return "".join(f"{row}\n" for row in sorted(rows))


if len(sys.argv) == 1:
    for line in sys.stdin:
        print(lines(polars.read_delta(line.removesuffix("\n"))), flush=True)
    sys.exit()

options = {name.lower(): value for name, value in os.environ.items() if name.startswith(("AWS_", "AZURE_"))}
frame = polars.read_delta(sys.argv[1], storage_options=options or None)
print(json.dumps({name: str(dtype) for name, dtype in frame.schema.items()}, ensure_ascii=False))
print(lines(frame) or "\n", end="")
