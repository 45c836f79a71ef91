"""The classical loop: pandas reads chunks through pyodbc, adds the Bronze columns and a hash a row, appends to Delta."""

import hashlib
import time
import uuid
import warnings
from datetime import UTC, datetime

import pandas
import pyarrow
import pyodbc
from deltalake import write_deltalake

import shapes
from common import Job, finish

# pandas wants SQLAlchemy for anything but SQLite, and says so; with it the loop is slower.
warnings.filterwarnings("ignore", message="pandas only supports SQLAlchemy")
CHUNK_ROWS = 100_000


def row_hash(row: tuple) -> str:
    return hashlib.sha256("\x1f".join("" if value is None or value is pandas.NA else str(value) for value in row).encode()).hexdigest()


def widest(field: pyarrow.Field) -> pyarrow.Field:
    """Digits are counted in one chunk; another may have more."""
    if pyarrow.types.is_decimal(field.type):
        return field.with_type(pyarrow.decimal128(38, field.type.scale)).with_nullable(True)
    return field.with_nullable(True)


job, start, rows = Job.read(), time.perf_counter(), 0
loaded_at, batch_id = datetime.now(UTC), str(uuid.uuid4())
connection = pyodbc.connect(job.odbc_with_driver())
for table in job.tables:
    mode = "overwrite"
    schema = None
    # With `coerce_float`, decimals become floating-point numbers.
    # Integers with nulls do so too, unless their type is told.
    integers = {name: "Int64" for name, kind in shapes.columns(table) if kind in ("int", "bigint")}
    for chunk in pandas.read_sql_query(job.query(table), connection, chunksize=CHUNK_ROWS, coerce_float=False, dtype=integers):
        rows += len(chunk)
        source = list(chunk.itertuples(index=False, name=None))
        chunk["_bronze_loaded_at"] = loaded_at
        chunk["_bronze_source_system"] = "SRC"
        chunk["_bronze_source_schema"] = "dbo"
        chunk["_bronze_source_table"] = table
        chunk["_bronze_batch_id"] = batch_id
        chunk["_bronze_row_hash"] = [row_hash(row) for row in source]
        arrow = pyarrow.Table.from_pandas(chunk, preserve_index=False)
        schema = schema or pyarrow.schema([widest(field) for field in arrow.schema])
        write_deltalake(job.path(table), arrow.cast(schema), mode=mode)
        mode = "append"
finish(start, rows)
