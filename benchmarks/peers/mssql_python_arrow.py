"""mssql-python: Microsoft's driver, fetched as Arrow batches, written as they come."""

import time

import mssql_python
import pyarrow
from deltalake import write_deltalake

from common import Job, finish

BATCH_ROWS = 65_536


def batches(cursor):
    # `arrow_reader` of version 1.16 ends at once on a fresh cursor: it asks for an empty batch first. This is its loop.
    while (batch := cursor.arrow_batch(BATCH_ROWS)).num_rows:
        yield batch


job, start, rows = Job.read(), time.perf_counter(), 0
connection = mssql_python.connect(job.odbc())
for table in job.tables:
    cursor = connection.cursor()
    cursor.execute(job.query(table))
    source = batches(cursor)
    first = next(source)

    def counted():
        global rows
        batch = first
        while batch is not None:
            rows += batch.num_rows
            yield batch
            batch = next(source, None)

    write_deltalake(job.path(table), pyarrow.RecordBatchReader.from_batches(first.schema, counted()), mode="overwrite")
    cursor.close()
finish(start, rows)
