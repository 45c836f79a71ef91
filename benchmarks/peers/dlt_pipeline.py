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

import shapes
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


def engine_of(job: Job) -> sqlalchemy.Engine:
    if job.source == "postgres":
        return sqlalchemy.create_engine(job.url().replace("postgresql:", "postgresql+psycopg2:"))
    return sqlalchemy.create_engine("mssql+pyodbc:///?odbc_connect=" + urllib.parse.quote_plus(job.odbc_with_driver()))


def run(backend: str) -> None:
    job, start = Job.read(), time.perf_counter()
    engine, options = engine_of(job), {}
    if backend == "connectorx":
        options["backend_kwargs"] = {"conn": job.url(), "return_type": "arrow"}
        if len(job.tables) == 1:
            options["backend_kwargs"] |= {"partition_on": "id", "partition_num": os.cpu_count()}
    resources = []
    for table in job.tables:
        metadata = described(job, table, shapes.columns(table))
        resources.append(sql_table(engine, table=table, schema=job.schema(), metadata=metadata, backend=backend,
                                   chunk_size=100_000, **options))
    load(job, resources, start, table_format="delta", write_disposition="replace")


def run_incremental() -> None:
    """Only rows whose `changed_at` is greater than in the last run, by dlt's incremental cursor."""
    job, start = Job.read(), time.perf_counter()
    (table,) = job.tables
    resource = sql_table(engine_of(job), table=table, schema=job.schema(), metadata=described(job, table, shapes.columns(table)), backend="pyarrow",
                         chunk_size=100_000, incremental=dlt.sources.incremental("changed_at", primary_key="id"))
    resource.apply_hints(primary_key="id")
    disposition = {"disposition": "merge", "strategy": "upsert"} if job.mode == "merge" else "append"
    load(job, [resource], start, table_format="delta", write_disposition=disposition)


def load(job: Job, resources: list, start: float, **options) -> None:
    destination = dlt.destinations.filesystem("file://" + job.target)
    pipeline = dlt.pipeline("bench", destination=destination, dataset_name="delta", pipelines_dir=job.target + ".state")
    pipeline.run(resources, **options)
    counts = pipeline.last_trace.last_normalize_info.row_counts
    rows = sum(counts.get(table, 0) for table in job.tables)
    finish(start, rows)
    sys.exit(0)
