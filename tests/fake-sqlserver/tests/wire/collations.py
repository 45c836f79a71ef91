"""Reads one table for each collation with Microsoft's ODBC driver and compares the text.

    collations.py PORT EXPECTED.json

Prints how many collations of each code page held; what does not hold ends the script.
"""

import collections
import glob
import json
import os
import sys
import unicodedata

import mssql_python_odbc
import pyodbc

PORT, EXPECTED = int(sys.argv[1]), json.load(open(sys.argv[2]))
DRIVER = glob.glob(os.path.dirname(mssql_python_odbc.__file__) + "/libs/linux/debian_ubuntu/*/lib/libmsodbcsql-18*")[0]
connection = pyodbc.connect(
    f"Driver={DRIVER};Server=127.0.0.1,{PORT};Database=testdb;UID=sa;PWD={{Pl4nted 1!}};Encrypt=no;TrustServerCertificate=yes;",
    autocommit=True,
)
# Sort ids that the driver does not know; the JDBC driver does. Their bytes come as U+FFFD.
UNKNOWN = ("SQL_AltDiction2_", "SQL_EBCDIC", "SQL_Latin1_General_CP437_BIN2", "SQL_Latin1_General_CP850_BIN2")


def nfc(text):
    return unicodedata.normalize("NFC", text)


held, failed = collections.Counter(), []
for name, (page, text) in EXPECTED.items():
    [(found,)] = connection.execute(f"SELECT v FROM dbo.[{name}]").fetchall()
    if name.startswith(UNKNOWN):
        assert "\ufffd" in found, name
        continue
    # It composes the combining marks of page 1258.
    if found == text or (page == 1258 and nfc(found) == nfc(text)):
        held[page] += 1
    else:
        failed.append((name, page, [(i, a, b) for i, (a, b) in enumerate(zip(found, text)) if a != b][:5], len(found), len(text)))
for failure in failed:
    print(*failure, file=sys.stderr)
for page, count in sorted(held.items()):
    print(f"page {page}: {count} collations")
sys.exit(1 if failed else 0)
