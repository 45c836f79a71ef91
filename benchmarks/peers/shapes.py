"""The columns of the benchmark's tables, for a peer that wants them told. Names and order are the fake SQL Server's generated tables'."""

ORDERS = [("id", "int"), ("customer_id", "bigint"), ("order_ref", "text"), ("amount", "decimal"), ("quantity", "int"),
          ("price", "float"), ("created_at", "timestamp"), ("ship_date", "date"), ("is_open", "bit"), ("note", "text"), ("guid", "uuid")]
NARROW = [("id", "int"), ("value", "int"), ("amount", "decimal"), ("created_at", "timestamp")]
TEXT = [("id", "int"), ("title", "text"), ("body", "text")]
CHANGES = ORDERS + [("changed_at", "timestamp")]
_WIDE = ["int", "text", "decimal", "timestamp", "text", "float", "bit", "date"]
WIDE = [("id", "int")] + [(f"c{number:03}", _WIDE[number % len(_WIDE)]) for number in range(1, 120)]


def columns(table: str) -> list[tuple[str, str]]:
    """The columns of a table, by the name of its case."""
    return {"narrow": NARROW, "wide": WIDE, "text": TEXT, "changes": CHANGES, "merge": CHANGES, "merge_near": CHANGES}.get(table, ORDERS)
