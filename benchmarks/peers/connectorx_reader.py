"""ConnectorX into Arrow, then Delta: whole tables in memory, cut by key into as many partitions as there are processors."""

import os
import time

import connectorx
from deltalake import write_deltalake

from common import Job, finish

job, start, rows = Job.read(), time.perf_counter(), 0
for table in job.tables:
    options = {"return_type": "arrow"}
    if len(job.tables) == 1:
        options |= {"partition_on": "id", "partition_num": os.cpu_count()}
    arrow = connectorx.read_sql(job.url(), job.query(table), **options)
    rows += arrow.num_rows
    write_deltalake(job.path(table), arrow, mode="overwrite")
finish(start, rows)
