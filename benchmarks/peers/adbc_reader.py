"""ADBC: Arrow batches straight from Postgres' binary COPY, written as they come."""

import time

import adbc_driver_postgresql.dbapi
import pyarrow
from deltalake import write_deltalake

import shapes
from common import Job, finish

job, start, rows = Job.read(), time.perf_counter(), 0
with adbc_driver_postgresql.dbapi.connect(job.url()) as connection:
    for table in job.tables:
        with connection.cursor() as cursor:
            # The driver gives numeric as text, and uuid as a type that Delta has not: text as well, as the others write it.
            names = [name for name, _ in shapes.columns(table)]
            chosen = ", ".join({"guid": "guid::text AS guid"}.get(name, name) for name in names)
            cursor.execute(f"SELECT {chosen} FROM {job.schema()}.{table}")
            reader = cursor.fetch_record_batch()
            schema = pyarrow.schema([f.with_type(pyarrow.decimal128(18, 4)) if f.name == "amount" else f for f in reader.schema])

            def counted():
                global rows
                for batch in reader:
                    rows += batch.num_rows
                    yield batch.set_column(names.index("amount"), schema.field("amount"), batch["amount"].cast(pyarrow.decimal128(18, 4)))

            write_deltalake(job.path(table), pyarrow.RecordBatchReader.from_batches(schema, counted()), mode="overwrite")
finish(start, rows)
