"""Changes a Delta table as another writer does.

Usage: write_delta.py append|compact|properties|add-column DIRECTORY
"""

import sys

import pyarrow
from deltalake import DeltaTable, write_deltalake
from deltalake.schema import Field, PrimitiveType

action, path = sys.argv[1:]
table = DeltaTable(path)
if action == "append":
    # One row: the type of every other column lets it be null.
    schema = pyarrow.schema(table.schema().to_arrow())
    row = {name: [1000 if name == "id" else None] for name in schema.names}
    write_deltalake(path, pyarrow.table(row, schema=schema), mode="append")
elif action == "compact":
    assert table.optimize.compact()["numFilesRemoved"] > 1
elif action == "properties":
    table.alter.set_table_properties({"delta.logRetentionDuration": "interval 7 days"})
elif action == "add-column":
    table.alter.add_columns([Field("added", PrimitiveType("string"))])
else:
    raise SystemExit(f"no such action: {action}")
