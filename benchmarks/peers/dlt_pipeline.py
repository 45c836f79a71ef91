"""dlt: its SQL source with one of its Arrow backends, its filesystem destination, Delta tables.

The tables are described to it beforehand, so that it reads no catalog.
"""

import logging
import os
import sys
import time
import urllib.parse

os.environ |= {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL", "DATA_WRITER__DISABLE_COMPRESSION": "true"}

import dlt
import sqlalchemy
from dlt.sources.sql_database import sql_table
from sqlalchemy.dialects import mssql, postgresql

from common import Job, finish

logging.disable(logging.WARNING)


def described(job: Job, table: str, columns: list[tuple[str, str]]) -> sqlalchemy.MetaData:
    text = {"uuid": postgresql.UUID if job.source == "postgres" else mssql.UNIQUEIDENTIFIER}
    types = {"int": sqlalchemy.Integer(), "bigint": sqlalchemy.BigInteger(), "text": sqlalchemy.String(),
             "decimal": sqlalchemy.Numeric(18, 4), "float": sqlalchemy.Double(), "timestamp": sqlalchemy.DateTime(),
             "date": sqlalchemy.Date(), "bit": sqlalchemy.Boolean()}
    metadata = sqlalchemy.MetaData(schema=job.schema())
    made = [sqlalchemy.Column(name, types[kind] if kind in types else text[kind]()) for name, kind in columns]
    sqlalchemy.Table(table, metadata, *made)
    return metadata


def run(backend: str) -> None:
    import shapes

    job, start, rows = Job.read(), time.perf_counter(), 0
    if job.source == "postgres":
        engine = sqlalchemy.create_engine(job.url().replace("postgresql:", "postgresql+psycopg2:"))
    else:
        engine = sqlalchemy.create_engine("mssql+pyodbc:///?odbc_connect=" + urllib.parse.quote_plus(job.odbc_with_driver()))
    options = {}
    if backend == "connectorx":
        options["backend_kwargs"] = {"conn": job.url(), "return_type": "arrow"}
        if len(job.tables) == 1:
            options["backend_kwargs"] |= {"partition_on": "id", "partition_num": os.cpu_count()}
    resources = []
    for table in job.tables:
        metadata = described(job, table, shapes.columns(table))
        resources.append(sql_table(engine, table=table, schema=job.schema(), metadata=metadata, backend=backend,
                                   chunk_size=100_000, **options))
    destination = dlt.destinations.filesystem("file://" + job.target)
    pipeline = dlt.pipeline("bench", destination=destination, dataset_name="delta", pipelines_dir=job.target + ".state")
    pipeline.run(resources, table_format="delta", write_disposition="replace")
    counts = pipeline.last_trace.last_normalize_info.row_counts
    rows = sum(counts.get(table, 0) for table in job.tables)
    finish(start, rows)
    sys.exit(0)
