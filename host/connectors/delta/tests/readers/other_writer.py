"""Changes a Delta table as another writer does.

Usage: other_writer.py OPERATION DIRECTORY [ARGUMENT]

append-later reads the table, prints a line, waits for one, and then appends behind whatever was committed meanwhile.
"""

import sys

import pyarrow
from deltalake import DeltaTable, write_deltalake

SCHEMA = pyarrow.schema([pyarrow.field("id", pyarrow.int32(), nullable=False), pyarrow.field("name", pyarrow.string())])


def rows(first):
    return pyarrow.table({"id": [first, first + 1], "name": ["theirs", None]}, schema=SCHEMA)


def append_later(table):
    print("read", flush=True)
    sys.stdin.readline()
    write_deltalake(table, rows(1000), mode="append")


OPERATIONS = {
    "append": lambda table, first: write_deltalake(table, rows(int(first)), mode="append"),
    "append-later": append_later,
    "checkpoint": lambda table: table.create_checkpoint(),
    "delete": lambda table, predicate: table.delete(predicate),
    "optimize": lambda table: table.optimize.compact(),
    "overwrite": lambda table: write_deltalake(table, rows(2000), mode="overwrite"),
    "replace": lambda table: DeltaTable.create(table.table_uri, table.schema(), mode="overwrite"),
    "restore": lambda table, version: table.restore(int(version)),
    "transaction": lambda table, app: print(table.transaction_version(app)),
    "vacuum": lambda table: print(
        table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    ),
}

operation, directory, *arguments = sys.argv[1:]
OPERATIONS[operation](DeltaTable(directory), *arguments)
