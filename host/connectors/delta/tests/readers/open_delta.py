"""Prints the ids of a Delta table in their order, as another engine reads them: [1, 2, ...].

Usage: open_delta.py ENGINE DIRECTORY
"""

import json
import os
import socket
import subprocess
import sys
import time


def polars_ids(path):
    import polars

    return polars.read_delta(path)["id"].to_list()


def duckdb_ids(path):
    import duckdb
    import duckdb_ext

    connection = duckdb_ext.init(duckdb.connect())
    connection.execute("LOAD delta")
    return [id for (id,) in connection.execute("SELECT id FROM delta_scan(?)", [path]).fetchall()]


def deltalake_ids(path):
    from deltalake import DeltaTable

    return DeltaTable(path).to_pyarrow_table(columns=["id"])["id"].to_pylist()


def chdb_ids(path):
    import chdb

    # It reads nothing outside the working directory.
    os.chdir(path)
    # ClickHouse's own reader of the log, not the Rust library that others share.
    settings = "SETTINGS allow_experimental_delta_kernel_rs = 0"
    rows = str(chdb.query(f"SELECT id FROM deltaLakeLocal('{path}') {settings}", "JSONCompactEachRow"))
    return [json.loads(line)[0] for line in rows.splitlines()]


def sail_ids(path):
    from pyspark.sql import SparkSession

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    sail = os.path.join(os.path.dirname(sys.executable), "sail")
    server = subprocess.Popen(
        [sail, "spark", "server", "--ip", "127.0.0.1", "--port", port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(300):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", int(port))) == 0:
                    break
            time.sleep(0.1)
        spark = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
        return [row.id for row in spark.read.format("delta").load(path).select("id").collect()]
    finally:
        server.kill()
        server.wait()


engine, path = sys.argv[1:]
engines = {"polars": polars_ids, "duckdb": duckdb_ids, "deltalake": deltalake_ids, "chdb": chdb_ids, "sail": sail_ids}
print(json.dumps(sorted(engines[engine](path))), flush=True)
# Threads of the Spark client would keep the process.
os._exit(0)
