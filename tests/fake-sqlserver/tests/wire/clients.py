"""Reads the fake SQL Server with one client and compares every value with what the fake SQL Server says it holds.

    clients.py CLIENT PORT EXPECTED.json CA.pem

Prints one line a check that held; what does not hold ends the script.
"""

import datetime
import decimal
import glob
import json
import os
import sys
import uuid
from decimal import Decimal

import mssql_python_odbc

# More digits than any decimal has: nothing is rounded here.
decimal.getcontext().prec = 60
PASSWORD = "Pl4nted 1!"
CLIENT, PORT = sys.argv[1], int(sys.argv[2])
EXPECTED = json.load(open(sys.argv[3]))
DRIVER = glob.glob(os.path.dirname(mssql_python_odbc.__file__) + "/libs/linux/debian_ubuntu/*/lib/libmsodbcsql-18*")[0]
EPOCH_1900 = datetime.date(1900, 1, 1).toordinal()

# What a client cannot read of SQL Server at all, whoever the server is.
UNREADABLE = {
    # An empty text inside a sql_variant: SQLGetData fails. Other variants are read, see `variants`.
    "mssql_python": {"c_sql_variant"},
    # No SQL type -155 (without a converter), -151, and no integers inside a sql_variant.
    "pyodbc": {"c_datetimeoffset", "c_sql_variant", "c_hierarchyid", "c_geometry", "c_geography"},
    "arrow_odbc": {"c_sql_variant"},
    # tiberius inside: no variants, no CLR types; no xml of its own; decimals by ten digits after the point.
    "connectorx": {"c_sql_variant", "c_hierarchyid", "c_geometry", "c_geography", "c_xml", "c_decimal_38_0", "c_decimal_38_38"},
}


def connection_string(password=PASSWORD, encrypt="no"):
    return f"Server=127.0.0.1,{PORT};Database=erp;UID=sa;PWD={{{password}}};Encrypt={encrypt};TrustServerCertificate=yes;"


def url(password=PASSWORD, encrypt="false"):
    from urllib.parse import quote

    return f"mssql://sa:{quote(password, safe='')}@127.0.0.1:{PORT}/erp?encrypt={encrypt}&trust_server_certificate=true"


def moment(days, ticks):
    """Microseconds, the digit below cut: as far as Python's own type goes."""
    return datetime.datetime.combine(datetime.date.fromordinal(days + 1), datetime.time()) + datetime.timedelta(microseconds=ticks // 10)


def clock(ticks):
    return (datetime.datetime.min + datetime.timedelta(microseconds=ticks // 10)).time()


def shown(cell):
    """What a Python client with all of Python's types gives for a value."""
    if not isinstance(cell, dict):
        return cell
    [(kind, value)] = cell.items()
    if kind == "decimal":
        return Decimal(value[0]).scaleb(-value[1])
    if kind == "bytes":
        return bytes.fromhex(value)
    if kind == "date":
        return datetime.date.fromordinal(value + 1)
    if kind == "time":
        return clock(value)
    if kind == "datetime":
        # Of 1/300 s: .000, .003, .007.
        day = datetime.datetime.fromordinal(EPOCH_1900 + value[0])
        return day + datetime.timedelta(milliseconds=(value[1] * 10 + 1) // 3)
    if kind == "smalldatetime":
        return datetime.datetime.fromordinal(EPOCH_1900 + value[0]) + datetime.timedelta(minutes=value[1])
    if kind == "datetime2":
        return moment(*value)
    if kind == "datetimeoffset":
        zone = datetime.timezone(datetime.timedelta(minutes=value[2]))
        # Local time beside its offset; the extremes have no UTC in Python.
        return (moment(value[0], value[1]) + datetime.timedelta(minutes=value[2])).replace(tzinfo=zone)
    assert kind == "uuid", kind
    return uuid.UUID(value)


def as_read(cell, column):
    """The same for the client under test, where it gives something else."""
    value = shown(cell)
    if value is None:
        return None
    kind = next(iter(cell)) if isinstance(cell, dict) else None
    if kind == "uuid" and CLIENT != "mssql_python":
        return str(value) if CLIENT == "connectorx" else str(value).upper()
    if CLIENT == "arrow_odbc":
        if kind == "datetimeoffset":
            days, ticks, offset = cell[kind]
            sign, minutes = "-" if offset < 0 else "+", abs(offset)
            local = value.replace(tzinfo=None)
            return f"{local.isoformat(' ', 'seconds')}.{ticks % 10_000_000:07} {sign}{minutes // 60:02}:{minutes % 60:02}"
        if column in ("c_hierarchyid", "c_geometry", "c_geography"):
            return value.hex().upper()
    if CLIENT == "connectorx":
        if column in ("c_money", "c_smallmoney"):
            # A floating-point number is made of the integer first.
            return float(int(cell["decimal"][0])) / 1e4
        if kind == "datetime":
            # 1/300 s as it is, down to the microsecond.
            days, parts = cell[kind]
            return datetime.datetime.fromordinal(EPOCH_1900 + days) + datetime.timedelta(microseconds=parts * 10_000 // 3)
        if kind == "datetimeoffset":
            # It takes the UTC of the wire for local time, and subtracts the offset once more.
            days, ticks, offset = cell[kind]
            return (moment(days, ticks) - datetime.timedelta(minutes=offset)).replace(tzinfo=datetime.timezone.utc)
    return value


def same(left, right):
    if isinstance(left, float) and isinstance(right, float):
        return left.hex() == right.hex()
    if isinstance(left, datetime.datetime) and isinstance(right, datetime.datetime) and left.tzinfo and right.tzinfo:
        # By wall clock and offset: the extremes have no UTC that Python could compare.
        return left.replace(tzinfo=None) == right.replace(tzinfo=None) and left.utcoffset() == right.utcoffset()
    return type(left) is type(right) and left == right


def compare(table, columns, rows, wanted=lambda row: True):
    held = EXPECTED[table]
    places = [held["columns"].index(column) for column in columns]
    expected = [[as_read(row[at], held["columns"][at]) for at in places] for row in held["rows"] if wanted(row)]
    assert len(rows) == len(expected), (table, len(rows), len(expected))
    for number, (got, want) in enumerate(zip(rows, expected)):
        for column, left, right in zip(columns, got, want):
            assert same(left, right), f"{table} row {number} {column}: {left!r}, but it holds {right!r}"


def readable(table):
    return [column for column in EXPECTED[table]["columns"] if column not in UNREADABLE[CLIENT]]


def query(table, columns, more=""):
    return f"SELECT {', '.join(columns)} FROM {table} {more}"


def refuses(connect):
    try:
        connect()
    except BaseException as error:
        # The pool inside ConnectorX keeps the server's answer to itself and tries for half a minute.
        told = "Timed out in bb8" if CLIENT == "connectorx" else "Login failed for user 'sa'"
        assert told in str(error), error
        return
    raise AssertionError("a wrong password was taken")


PARAMETERS = [
    ("id < ?", [50], lambda row: row[0] < 50),
    ("c_varchar = ?", ["l'œuf – 5 €"], lambda row: row[24] == "l'œuf – 5 €"),
    ("c_nvarchar = ?", ["Ünïcödé"], lambda row: row[27] == "Ünïcödé"),
    ("c_decimal_18_4 > ? AND c_float < ?", [Decimal("1000.5"), 0.25],
     lambda row: row[8] is not None and row[7] is not None and shown(row[8]) > Decimal("1000.5") and row[7] < 0.25),
    ("c_date >= ? AND c_datetime2_3<?", [datetime.date(2020, 1, 1), datetime.datetime(2023, 1, 1, 12)],
     lambda row: row[14] and row[20] and shown(row[14]) >= datetime.date(2020, 1, 1) and shown(row[20]) < datetime.datetime(2023, 1, 1, 12)),
    ("c_bit = ? AND c_bigint > ?", [True, 2**40], lambda row: row[1] is True and row[5] is not None and row[5] > 2**40),
    ("c_varbinary = ?", [b"\x00"], lambda row: row[34] == {"bytes": "00"}),
    ("id = ? OR ? IS NULL", [3, None], lambda row: True),
]


def ask_with_parameters(cursor):
    columns = readable("dbo.all_types")
    for condition, values, wanted in PARAMETERS:
        rows = cursor.execute(query("dbo.all_types", columns, f"WHERE {condition} ORDER BY id"), values).fetchall()
        compare("dbo.all_types", columns, [list(row) for row in rows], wanted)
    # The same statement again, prepared; then one that fails, and one after it.
    for bound in (10, 20):
        found = cursor.execute("SELECT COUNT(*) FROM dbo.fast WHERE id <= ?", [bound]).fetchall()
        assert found[0][0] == bound, found
    try:
        cursor.execute("SELECT nothing FROM dbo.fast WHERE id = ?", [1])
        raise AssertionError("a column that is not there was read")
    except AssertionError:
        raise
    except Exception as error:
        assert "Invalid column name 'nothing'" in str(error), error
    assert cursor.execute("SELECT 1 AS one").fetchall()[0][0] == 1
    print(f"parameters: {len(PARAMETERS)} conditions, a prepared statement twice, an error between")


def rows_client(connect):
    connection = connect()
    cursor = connection.cursor()
    for table in EXPECTED:
        columns = readable(table)
        rows = cursor.execute(query(table, columns, "ORDER BY id")).fetchall()
        compare(table, columns, [list(row) for row in rows])
        print(f"{table}: {len(rows)} rows, {len(columns)} columns")
    ask_with_parameters(cursor)
    # A result not read to its end: the driver sends an attention.
    cursor.execute("SELECT * FROM dbo.fast")
    assert cursor.fetchone()[0] == 1
    cursor.close()
    assert connection.cursor().execute("SELECT COUNT(*) FROM dbo.fast").fetchone()[0] == len(EXPECTED["dbo.fast"]["rows"])
    print("a result given up after one row")


def mssql_python_client():
    import mssql_python

    rows_client(lambda: mssql_python.connect(connection_string()))
    cursor = mssql_python.connect(connection_string(encrypt="yes")).cursor()
    columns = readable("dbo.fast")
    cursor.execute(query("dbo.fast", columns))
    table = cursor.arrow(batch_size=3_000)
    identifiers = table.column_names.index("guid")
    rows = [list(row.values()) for row in table.to_pylist()]
    for row in rows:
        row[identifiers] = uuid.UUID(row[identifiers])
    compare("dbo.fast", columns, rows)
    print(f"as Arrow, encrypted: {table.num_rows} rows")
    # By one, because of the one that fails.
    read = 0
    for number, row in enumerate(EXPECTED["dbo.all_types"]["rows"][:60], 1):
        if row[39] != "":
            value = cursor.execute("SELECT c_sql_variant FROM dbo.all_types WHERE id = ?", [number]).fetchall()[0][0]
            kind = next(iter(row[39])) if isinstance(row[39], dict) else None
            want = shown(row[39])
            # One with an offset comes as text.
            want = f"{want:%Y-%m-%d %H:%M:%S} {str(want)[-6:]}" if kind == "datetimeoffset" else want
            assert value == want, (number, value, want)
            read += 1
    print(f"variants: {read}")
    refuses(lambda: mssql_python.connect(connection_string("wrong")))


def pyodbc_client():
    import pyodbc

    rows_client(lambda: pyodbc.connect(f"Driver={DRIVER};" + connection_string()))
    connection = pyodbc.connect(f"Driver={DRIVER};" + connection_string(encrypt="yes"))
    columns = readable("dbo.fast")
    rows = connection.cursor().execute(query("dbo.fast", columns)).fetchall()
    compare("dbo.fast", columns, [list(row) for row in rows])
    print(f"encrypted: {len(rows)} rows")
    refuses(lambda: pyodbc.connect(f"Driver={DRIVER};" + connection_string("wrong")))


def arrow_odbc_client():
    from arrow_odbc import read_arrow_batches_from_odbc

    def read(text, parameters=None, password=PASSWORD, encrypt="no"):
        reader = read_arrow_batches_from_odbc(
            text, connection_string=f"Driver={DRIVER};" + connection_string(password, encrypt), batch_size=1_000, parameters=parameters,
            max_text_size=40_000, max_binary_size=40_000)
        return [list(row.values()) for batch in reader for row in batch.to_pylist()]

    fast, every = readable("dbo.fast"), readable("dbo.all_types")
    compare("dbo.fast", fast, read(query("dbo.fast", fast)))
    compare("dbo.fast", fast, read(query("dbo.fast", fast), encrypt="yes"))
    print(f"dbo.fast: {len(fast)} columns, plain and encrypted")
    # A datetime2(7) becomes nanoseconds, for which the first and last years are too far.
    compare("dbo.all_types", [c for c in every if c != "c_datetime2_7"], read(query("dbo.all_types", [c for c in every if c != "c_datetime2_7"], "ORDER BY id")))
    reader = read_arrow_batches_from_odbc(
        "SELECT id, c_datetime2_7 FROM dbo.all_types WHERE id > 3 ORDER BY id", connection_string=f"Driver={DRIVER};" + connection_string())
    since_1970 = [pair for batch in reader for pair in zip(batch["id"].to_pylist(), batch["c_datetime2_7"].cast("int64").to_pylist())]
    held = EXPECTED["dbo.all_types"]
    place, first = held["columns"].index("c_datetime2_7"), datetime.date(1970, 1, 1).toordinal() - 1
    moments = [(row[0], row[place] and row[place]["datetime2"]) for row in held["rows"][3:]]
    assert since_1970 == [(id, m and (m[0] - first) * 86_400_000_000_000 + m[1] * 100) for id, m in moments]
    print(f"dbo.all_types: {len(every)} columns")
    compare("dbo.fast", fast, read(query("dbo.fast", fast, "WHERE id<? ORDER BY id"), ["500"]), lambda row: row[0] < 500)
    compare("dbo.fast", fast, read(query("dbo.fast", fast, "WHERE order_ref = ? ORDER BY id"), [EXPECTED["dbo.fast"]["rows"][0][2]]),
            lambda row: row[2] == EXPECTED["dbo.fast"]["rows"][0][2])
    print("parameters: 2")
    refuses(lambda: read("SELECT 1 AS one", password="wrong"))


def connectorx_client():
    import connectorx

    def read(text, at=None, **options):
        table = connectorx.read_sql(at or url(), text, return_type="arrow", **options)
        return [list(row.values()) for row in table.to_pylist()]

    fast, every = readable("dbo.fast"), readable("dbo.all_types")
    compare("dbo.fast", fast, read(query("dbo.fast", fast)))
    compare("dbo.fast", fast, read(query("dbo.fast", fast), url(encrypt="true")))
    print(f"dbo.fast: {len(fast)} columns, plain and encrypted")
    for partitions in (2, 3):
        rows = read(query("dbo.fast", fast), partition_on="id", partition_num=partitions)
        compare("dbo.fast", fast, sorted(rows, key=lambda row: row[0]))
    rows = read(query("dbo.all_types", ["id", "c_nvarchar"], "WHERE id > 7"), partition_on="id", partition_num=4)
    compare("dbo.all_types", ["id", "c_nvarchar"], sorted(rows, key=lambda row: row[0]), lambda row: row[0] > 7)
    print("cut by key into 2, 3 and 4 partitions")
    # The extremes of a datetimeoffset are outside of Python's range in UTC.
    plain = [column for column in every if column != "c_datetimeoffset"]
    compare("dbo.all_types", plain, read(query("dbo.all_types", plain, "ORDER BY id")))
    compare("dbo.all_types", ["c_datetimeoffset"], read(query("dbo.all_types", ["c_datetimeoffset"], "WHERE id > 3 ORDER BY id")), lambda row: row[0] > 3)
    print(f"dbo.all_types: {len(every)} columns")
    refuses(lambda: read("SELECT 1 AS one", url("wrong")))


{"mssql_python": mssql_python_client, "pyodbc": pyodbc_client, "arrow_odbc": arrow_odbc_client, "connectorx": connectorx_client}[CLIENT]()
print("a wrong password refused")
