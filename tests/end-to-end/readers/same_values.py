"""Compares a file with the Delta table that was loaded from it: FILE TABLE REJECTED_TABLE.

Each row of the file has to be in the table with the values that its text says, or be a rejected row. The file is read by
Python's own csv or json, the tables by polars. Prints the number of loaded rows, and line and text of each rejected one.
"""

import csv
import datetime
import decimal
import json
import re
import sys

import polars

NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")


def is_same(text, value):
    match value:
        case None:
            return text == ""
        case bool():
            return text.lower() == str(value).lower()
        case int():
            return text == str(value)
        case decimal.Decimal():
            return bool(NUMBER.fullmatch(text)) and decimal.Decimal(text) == value
        case float():
            return bool(NUMBER.fullmatch(text)) and decimal.Decimal(text) == decimal.Decimal(repr(value))
        case datetime.datetime():
            found = datetime.datetime.fromisoformat(text)
            return (found.tzinfo is None) == (value.tzinfo is None) and found == value
        case datetime.date():
            return text == value.isoformat()
        case _:
            return text == value


def is_same_json(wanted, value):
    if isinstance(wanted, str):
        return isinstance(value, str) and wanted == value
    if wanted is None or isinstance(wanted, bool):
        return wanted is value
    return not isinstance(value, (bool, str)) and decimal.Decimal(str(wanted)) == decimal.Decimal(str(value))


file, table, rejected_table = sys.argv[1:]
rejected = {row["source_line"]: row["text"] for row in polars.read_delta(rejected_table).iter_rows(named=True)}
loaded = {row["id"]: row for row in polars.read_delta(table).iter_rows(named=True)}
if file.endswith(".csv"):
    lines = open(file, encoding="utf-8", newline="")
    rows, same = list(csv.DictReader(lines)), is_same
    first_line = 2
else:
    rows = [json.loads(line, parse_float=decimal.Decimal) for line in open(file, encoding="utf-8")]
    same, first_line = is_same_json, 1
for line, row in enumerate(rows, first_line):
    if line in rejected:
        continue
    found = loaded.pop(int(row["id"]))
    for name, text in row.items():
        assert same(text, found[name]), f"line {line}: {name} is {text!r} in the file and {found[name]!r} in the table"
assert not loaded, loaded
print(json.dumps({"loaded": len(rows) - len(rejected), "rejected": sorted(rejected.items())}))
