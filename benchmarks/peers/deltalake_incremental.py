"""What a script with deltalake does: ADBC reads the rows that changed since the last run, and they are appended, or merged by key."""

import json
import os
import time

import adbc_driver_postgresql.dbapi
import pyarrow
from deltalake import DeltaTable, write_deltalake

import shapes
from common import Job, finish

job, start = Job.read(), time.perf_counter()
(table,) = job.tables
position = job.target + ".position"
since = None
if os.path.exists(position):
    with open(position) as file:
        since = json.load(file)
names = [name for name, _ in shapes.columns(table)]
with adbc_driver_postgresql.dbapi.connect(job.url()) as connection, connection.cursor() as cursor:
    cursor.execute(f"SELECT max(changed_at)::text FROM {job.schema()}.{table}")
    (until,) = cursor.fetchone()
    # The driver gives numeric as text, and uuid as a type that Delta has not: text as well, as the others write it.
    chosen = ", ".join({"guid": "guid::text AS guid"}.get(name, name) for name in names)
    lower = f"changed_at > '{since}' AND " if since else ""
    cursor.execute(f"SELECT {chosen} FROM {job.schema()}.{table} WHERE {lower}changed_at <= '{until}'")
    reader = cursor.fetch_record_batch()
    amount = pyarrow.decimal128(18, 4)
    schema = pyarrow.schema([field.with_type(amount) if field.name == "amount" else field for field in reader.schema])
    rows = 0

    def counted():
        global rows
        for batch in reader:
            rows += batch.num_rows
            yield batch.set_column(names.index("amount"), schema.field("amount"), batch["amount"].cast(amount))

    source = pyarrow.RecordBatchReader.from_batches(schema, counted())
    if since and job.mode == "merge":
        merge = DeltaTable(job.path(table)).merge(source, predicate="t.id = s.id", source_alias="s", target_alias="t")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
    else:
        write_deltalake(job.path(table), source, mode="append")
with open(position, "w") as file:
    json.dump(until, file)
finish(start, rows)
