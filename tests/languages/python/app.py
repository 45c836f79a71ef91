"""Reads the one table that the operator names: a datakit in Python, from wit/ alone."""

import json
from fnmatch import fnmatchcase
from typing import Any, List, override

from componentize_py_types import Err
from extractor import LOAD_ID, ask
from wit_world import exports
from wit_world.imports import log, run
from wit_world.imports.plans import Description, DiscoveryRequest, TableDescription, TablePlan, WriteMode
from wit_world.imports.sql import Connection
from wit_world.imports.types import Error, ErrorKind, Retry, TableId

# The host checks the operator's settings against it before any other call.
SETTINGS = {
    "type": "object",
    "properties": {
        "table": {"type": "string", "pattern": r"^[^.]+\.[^.]+$", "description": "The table: schema.name."},
        "key": {"type": "string", "description": "The column that identifies a row."},
        "where": {"type": "string", "description": "Rows to keep: an expression of docs/expressions.md."},
        "raises": {"type": "string", "description": "For tests: an exception of this text that nothing catches."},
    },
    "required": ["table", "key"],
    "additionalProperties": False,
}


def settings() -> dict[str, Any]:
    value: dict[str, Any] = json.loads(run.settings())
    return value


def failure(kind: ErrorKind, number: int, message: str, **context: str) -> Err[Error]:
    """What a function raises instead of returning."""
    return Err(Error(kind, f"ONE-TABLE-PYTHON-{number:03}", Retry.NEVER, message, list(context.items())))


class Extractor(exports.Extractor):
    @override
    def describe(self) -> Description:
        description = Description("one-table-python", "0.1.0", "Reads one table.")
        description.add_role("source", ["sqlserver"], "The database of the table.")
        description.set_settings_schema(json.dumps(SETTINGS))
        return description

    @override
    def discover(self, request: DiscoveryRequest) -> List[TableDescription]:
        if "raises" in settings():
            raise RuntimeError(settings()["raises"])
        name = settings()["table"]
        include = request.include()
        included = not include or any(fnmatchcase(name, pattern) for pattern in include)
        if not included or any(fnmatchcase(name, pattern) for pattern in request.exclude()):
            log.emit(log.Level.INFO, "the operator does not select the table", [("table", name)])
            return []
        schema, table = name.split(".")
        id = TableId(None, schema, table)
        with Connection.open("source") as connection, ask(connection, "TOP (0) *", id) as reader:
            columns = reader.schema()
        key = settings()["key"]
        if key not in [column.name for column in columns]:
            raise failure(ErrorKind.CONFIG, 1, f"{name} has no column `{key}`; hint: check `key`", column=key)
        described = TableDescription(id)
        described.set_columns(columns)
        described.set_primary_key([key])
        return [described]

    @override
    def plan(self, tables: List[TableId]) -> List[TablePlan]:
        return [self.plan_of(table) for table in tables]

    def plan_of(self, table: TableId) -> TablePlan:
        plan = TablePlan(table)
        plan.add_partition(json.dumps({"where": settings().get("where")}).encode(), None)
        plan.set_write(WriteMode.APPEND)
        plan.set_keys([settings()["key"]])
        plan.set_strategy("full")
        plan.set_load_id_column(LOAD_ID)
        return plan
