"""A case of changes: each contestant has loaded the table, some rows change before each turn, and each reads those rows alone."""

import argparse
import os

from benchmarks import measure
from benchmarks.cases import HOST, Case
from benchmarks.contest import Contest
from benchmarks.host import WAYS, HostFolder
from benchmarks.postgres import CHANGE, CHANGING_TABLE
from benchmarks.servers import Postgres


class ChangesContest(Contest):
    """The warm-up of a contestant is its first load. Its target and its position stay from turn to turn."""

    def __init__(self, case: Case, folder: str, options: argparse.Namespace, root: str, peers: list[str]):
        self.case, self.root, self.peers, self.hosts = case, root, peers, list(case.hosts)
        self.rows = min(options.rows or case.rows, case.quick_rows if options.quick else case.rows)
        self.table_rows, self.turns = self.rows, 0
        self.folder = os.path.join(folder, case.name)
        os.makedirs(self.folder)
        self.python = os.environ["DATAKIT_BENCH_PYTHON"]
        self.servers, self.sink = [], None
        self.source = self._start(Postgres("-c wal_level=logical"))
        self.source.query(CHANGING_TABLE.format(table=case.name, rows=self.rows))
        self.source.query(f"VACUUM (ANALYZE, FREEZE) {case.name}")
        components = os.environ.get("BENCH_DATAKITS", os.path.join(root, "target", "datakits"))
        self.host = HostFolder(options.host, options.paths, os.path.join(self.folder, "host"), components)
        self.host.prepare_changes(self.source, case.mode)

    def run(self, runs: int) -> dict:
        figures = super().run(runs)
        # The rate is that of the rows that a run moves.
        return figures | {"rows": self.case.changes, "table_rows": self.table_rows}

    def _before(self, turn: int) -> None:
        changes, step = self.case.changes, self.table_rows // self.case.changes
        first = 1 + turn if self.case.spread else 1 + self.table_rows // 2 + turn
        self.source.query(CHANGE.format(table=self.case.name, first=first, step=step if self.case.spread else 1, changes=changes))
        self.turns = turn + 1

    def _once(self, name: str) -> measure.Run:
        if name in self.hosts:
            scans = self._scans()
            run = measure.run(self.host.command(name, self.case), self.host.environment(), self.host.directory)
            assert self.turns == 0 or self._scans() == scans, f"{name} read the whole table"
            return run
        script = os.path.join(self.root, "benchmarks", "peers", f"{name}.py")
        os.makedirs(self._target(name), exist_ok=True)
        return measure.run([self.python, script, self._job(self._target(name))], self._environment(), self.folder)

    def _scans(self) -> int:
        """How often the table was read from end to end."""
        return int(self.source.query(f"SELECT seq_scan FROM pg_stat_user_tables WHERE relname = '{self.case.name}'"))

    def _reference(self) -> dict:
        return {"rows": self.table_rows, "checksum": None}

    def _check(self, name: str, expected: dict, run: measure.Run) -> None:
        """Holds what a contestant has by now to the table, or to the table and every change since."""
        found = self._delta([self._delta_table(name)])
        if self.turns:
            assert run.rows == self.case.changes, f"{name} moved {run.rows} rows"
        if self.case.mode == "append":
            assert found["rows"] == self.table_rows + self.turns * self.case.changes, f"{name}: {found['rows']} rows"
            return
        if self.turns and expected["checksum"] is None:
            expected["checksum"] = self._checksum("reference", self._job(""))["checksum"]
        assert found["rows"] == self.table_rows, f"{name}: {found['rows']} rows"
        assert expected["checksum"] in (None, found["checksum"]), f"{name} wrote other values"

    def _delta_table(self, name: str) -> str:
        if name in self.hosts:
            return os.path.join(self.host.directory, WAYS[name], "SRC", "public", self.case.name)
        inside = "delta" if name.startswith("dlt_") else ""
        return os.path.join(self._target(name), inside, self.case.name)
