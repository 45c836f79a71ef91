"""ADBC: Arrow batches straight from Postgres' binary COPY, written as they come."""

import time

import adbc_driver_postgresql.dbapi
import pyarrow
from deltalake import write_deltalake

from common import Job, finish

job, start, rows = Job.read(), time.perf_counter(), 0
with adbc_driver_postgresql.dbapi.connect(job.url()) as connection:
    for table in job.tables:
        with connection.cursor() as cursor:
            # numeric has no Arrow type of its own in this driver; as text it would not be a number in Delta.
            columns = [column.name for column in connection.adbc_get_table_schema(table)]
            chosen = ", ".join(f"{name}::float8" if name == "amount" else name for name in columns)
            cursor.execute(f"SELECT {chosen} FROM {job.schema()}.{table}")
            reader = cursor.fetch_record_batch()

            def counted():
                global rows
                for batch in reader:
                    rows += batch.num_rows
                    yield batch

            write_deltalake(job.path(table), pyarrow.RecordBatchReader.from_batches(reader.schema, counted()), mode="overwrite")
finish(start, rows)
