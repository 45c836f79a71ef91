"""arrow-odbc over Microsoft's driver, fetching the next batch while one is written, as its documentation advises."""

import time

import pyarrow
from arrow_odbc import connect
from deltalake import write_deltalake

from common import Job, finish

job, start, rows = Job.read(), time.perf_counter(), 0
connection = connect(job.odbc_with_driver())
for table in job.tables:
    # Buffers are allocated for the longest values: fewer rows a batch of long text, and none of 2 GB a value.
    reader = connection.read_arrow_batches(
        job.query(table), batch_size=65_536 if table != "text" else 2_048, max_text_size=4_096, fetch_concurrently=True)

    def counted():
        global rows
        for batch in reader:
            rows += batch.num_rows
            yield batch

    write_deltalake(job.path(table), pyarrow.RecordBatchReader.from_batches(reader.schema, counted()), mode="overwrite")
finish(start, rows)
