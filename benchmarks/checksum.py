"""Count and checksum of Delta tables, or of what a query answers: the same rows give the same sum whoever wrote them.

    checksum.py delta DIRECTORY COLUMN,COLUMN…      one line of JSON a directory; more directories may follow
    checksum.py reference JOB                       read by pyodbc from the source itself (see peers/common.py)

Types differ between writers: an identifier is text here and bytes there, a decimal has more digits. Each column is brought to one
form before it is summed; the sum of a row binds its columns together, and the sum over rows does not ask for their order.
"""

import json
import os
import sys

import polars


def canonical(name: str, kind: polars.DataType) -> polars.Expr:
    column = polars.col(name)
    if kind.is_integer() or kind == polars.Boolean:
        return column.cast(polars.Int64)
    if kind.is_decimal():
        # Ten fraction digits are the most that a peer makes of a decimal.
        return (column.cast(polars.Decimal(38, 10)) * 10_000).cast(polars.Decimal(38, 0)).cast(polars.Int128).cast(polars.Int64)
    if kind.is_float():
        return column.cast(polars.Float64)
    if kind == polars.Date:
        return column.cast(polars.Int64)
    if kind.is_temporal():
        return column.cast(polars.Datetime("us")).dt.replace_time_zone(None).cast(polars.Int64)
    if kind == polars.Binary:
        return column.bin.encode("hex")
    # An identifier is written in capitals by one, in small letters by another.
    is_identifier = name == "guid"
    return column.str.to_lowercase().str.replace_all("-", "") if is_identifier else column.cast(polars.String)


def checksum(frame: polars.DataFrame) -> int:
    if not frame.height:
        return 0
    forms = frame.select([canonical(name, kind).alias(name) for name, kind in frame.schema.items()])
    row = None
    for at, column in enumerate(forms):
        hashed = column.hash(seed=at + 1)
        row = hashed if row is None else row + hashed
    # Hashed once more, so that values cannot change places between rows.
    return int(row.hash(seed=99).cast(polars.Int128).sum() % (1 << 64))


def of_delta(directory: str, columns: list[str]) -> dict:
    from deltalake import DeltaTable

    rows, total = 0, 0
    for uri in DeltaTable(directory).file_uris():
        path = uri.removeprefix("file://")
        for frame in in_parts(path, columns):
            rows += frame.height
            total = (total + checksum(frame)) % (1 << 64)
    return {"rows": rows, "checksum": f"{total:016x}"}


def in_parts(path: str, columns: list[str]):
    import pyarrow.parquet

    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=100_000, columns=columns):
        yield polars.from_arrow(batch).select(columns)


def of_source(job: dict) -> list[dict]:
    """The rows as Microsoft's driver reads them one by one: the way no contestant goes."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
    import common
    import shapes

    job = common.Job(**job, password=os.environ["SOURCE_PASSWORD"])
    if job.source == "postgres":
        import psycopg2

        connection = psycopg2.connect(host="127.0.0.1", port=job.port, user=job.user, password=job.password, dbname=job.database)
        connection.set_session(readonly=True)
    else:
        import pyodbc

        connection = pyodbc.connect(job.odbc_with_driver())
    kinds = {"int": polars.Int32, "bigint": polars.Int64, "text": polars.String, "decimal": polars.Decimal(18, 4), "float": polars.Float64,
             "timestamp": polars.Datetime("us"), "date": polars.Date, "bit": polars.Boolean, "uuid": polars.String}
    sums = []
    for table in job.tables:
        schema = {name: kinds[kind] for name, kind in shapes.columns(table)}
        cursor = connection.cursor(name="reference") if job.source == "postgres" else connection.cursor()
        cursor.execute(job.query(table))
        rows, total = 0, 0
        while part := cursor.fetchmany(50_000):
            frame = polars.DataFrame([tuple(row) for row in part], schema=schema, orient="row")
            rows += frame.height
            total = (total + checksum(frame)) % (1 << 64)
        cursor.close()
        sums.append({"rows": rows, "checksum": f"{total:016x}"})
    return sums


def main() -> None:
    if sys.argv[1] == "reference":
        sums = of_source(json.loads(sys.argv[2]))
    else:
        columns = sys.argv[2].split(",")
        sums = [of_delta(directory, columns) for directory in sys.argv[3:]]
    total = sum(int(each["checksum"], 16) for each in sums) % (1 << 64)
    print(json.dumps({"rows": sum(each["rows"] for each in sums), "checksum": f"{total:016x}"}))


if __name__ == "__main__":
    main()
