"""One case: its servers, its contestants in rotation, and the proof that each moved the right rows."""

import argparse
import json
import os
import random
import shutil
import subprocess

from benchmarks import measure, report
from benchmarks.cases import BOUNDARY, DECODE, HOST_PSQL, PSQL, Case
from benchmarks.host import HostFolder
from benchmarks.postgres import SOURCE_TABLE, copy_file, sink_checksum
from benchmarks.servers import PASSWORD, FakeSqlServer, Postgres

EMPTY_TABLE = "CREATE TABLE dbo.empty (id int NOT NULL PRIMARY KEY, note nvarchar(60) NULL)"


class Contest:
    """The servers of a case and everyone who takes part."""

    def __init__(self, case: Case, folder: str, options: argparse.Namespace, root: str, peers: list[str]):
        self.case, self.root = case, root
        self.rows = min(options.rows or case.rows, case.quick_rows if options.quick else case.rows)
        self.folder = os.path.join(folder, case.name)
        os.makedirs(self.folder)
        self.python = os.environ["DATAKIT_BENCH_PYTHON"]
        self.servers: list[FakeSqlServer | Postgres] = []
        postgres = self._start(Postgres()) if "postgres" in (case.source, case.sink) else None
        if case.source == "postgres":
            self.source = postgres
            postgres.query(SOURCE_TABLE.format(table=case.name, rows=self.rows))
            postgres.query(f"VACUUM (ANALYZE, FREEZE) {case.name}")
        else:
            tables = [f"dbo.{name}={self.rows}:{case.shape}" for name in case.table_names()] if case.shape else []
            script = "" if case.shape else EMPTY_TABLE
            folder = os.path.join(self.folder, "fake-sqlserver")
            self.source = self._start(FakeSqlServer(options.fake_sqlserver, folder, tables, script))
        self.sink = postgres if case.sink == "postgres" else None
        components = os.environ.get("BENCH_DATAKITS", os.path.join(root, "target", "datakits"))
        self.host = HostFolder(options.host, options.paths, os.path.join(self.folder, "host"), components)
        self.hosts = list(case.hosts)
        if os.path.exists(self.host.component(case.source)):
            self.host.prepare(self.source, self.sink)
        else:
            report.say(f"  without the host: {self.host.component(case.source)} is not built")
            self.hosts = []
        self.peers = peers

    def _start(self, server):
        self.servers.append(server)
        return server

    def close(self) -> None:
        for server in reversed(self.servers):
            server.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, runs: int) -> dict:
        """Each contestant once to warm up and to be checked, then all in rotation, in another order each time."""
        expected = self._reference()
        contestants, failed = [], {}
        for name in [*self.hosts, *self.peers]:
            if self._attempt(name, expected, failed):
                contestants.append(name)
        taken: dict[str, list[measure.Run]] = {name: [] for name in contestants}
        order = random.Random(7)
        for turn in range(runs):
            self._before(turn)
            order.shuffle(contestants)
            for name in [name for name in contestants if name not in failed]:
                run = self._attempt(name, expected, failed, check=turn == runs - 1)
                taken[name] += [run] if run else []
        figures = {name: measure.summary(taken[name]) for name in [*self.hosts, *self.peers] if name in taken and name not in failed}
        return {"title": self.case.title, "tables": self.case.tables, "rows": self.rows * self.case.tables, "checksum": expected["checksum"],
                "contestants": figures | failed}

    def _before(self, turn: int) -> None:
        """What happens at the source before a turn: nothing, where each run reads whole tables."""

    def _attempt(self, name: str, expected: dict, failed: dict, check: bool = True) -> measure.Run | None:
        """One run; whoever fails, or moves other rows, is out and said to be, and the others go on."""
        try:
            run = self._once(name)
            if check:
                self._check(name, expected, run)
            return run
        except (measure.Failed, subprocess.CalledProcessError, AssertionError) as error:
            said = str(getattr(error, "stderr", None) or error)
            failed[name] = {"error": said[-4000:]}
            report.say(f"  {name} FAILED: {said[-400:]}")
            return None

    def _job(self, target: str) -> str:
        source = self.source
        return json.dumps({"source": self.case.source, "port": source.port, "user": source.user, "database": source.database,
                           "tables": self.case.table_names(), "target": target, "mode": self.case.mode})

    def _environment(self) -> dict[str, str]:
        environment = {**os.environ, "SOURCE_PASSWORD": PASSWORD, "HOME": self.folder}
        return environment | (self.sink.environment() if self.sink else {})

    def _target(self, name: str) -> str:
        return os.path.join(self.folder, "peers", name)

    def _once(self, name: str) -> measure.Run:
        if name in self.hosts:
            # A table that is there is overwritten, as every peer does; the files of earlier runs are no part of it.
            shutil.rmtree(os.path.join(self.host.directory, "bronze"), ignore_errors=True)
            if self.sink:
                # Into a new table, as `\\copy` does: an overwrite would also delete the rows of the run before.
                self.sink.query('DROP SCHEMA IF EXISTS "SRC_dbo" CASCADE; DROP SCHEMA IF EXISTS _datakit CASCADE')
            return measure.run(self.host.command(name, self.case), self.host.environment(name), self.host.directory)
        if name == PSQL:
            file = copy_file(self.sink, self.host, self.case, self.folder)
            self.sink.query("DROP TABLE IF EXISTS copied; CREATE TABLE copied (LIKE copied_shape)")
            command = [*self.sink.psql(), "-c", f"\\copy copied FROM '{file}' (FORMAT binary)"]
            return measure.run(command, self._environment(), self.folder)
        target = self._target(name)
        shutil.rmtree(target, ignore_errors=True)
        shutil.rmtree(target + ".state", ignore_errors=True)
        os.makedirs(target)
        script = os.path.join(self.root, "benchmarks", "peers", f"{name}.py")
        return measure.run([self.python, script, self._job(target)], self._environment(), self.folder)

    def _reference(self) -> dict:
        if not self.case.shape and self.case.source == "sqlserver":
            return {"rows": 0, "checksum": "0" * 16}
        if self.sink:
            return {"rows": self.rows, "checksum": None}
        return self._checksum("reference", self._job(""))

    def _checksum(self, *arguments: str) -> dict:
        script = os.path.join(self.root, "benchmarks", "checksum.py")
        done = subprocess.run([self.python, script, *arguments], env=self._environment(), capture_output=True, text=True, check=True)
        return json.loads(done.stdout)

    def _check(self, name: str, expected: dict, run: measure.Run) -> None:
        """Holds the rows of a contestant's last run to those of the source."""
        if name in (DECODE, BOUNDARY):
            # They write nothing, and only one reads the table.
            assert name == BOUNDARY or run.rows == expected["rows"], f"{name} read {run.rows} rows of {expected['rows']}"
            return
        if self.sink:
            # Both read the same server: whichever table comes first tells what the other must hold.
            table = "copied" if name == PSQL else self._sink_table()
            found = sink_checksum(self.sink, table)
            expected["checksum"] = expected["checksum"] or found["checksum"]
        elif name in self.hosts:
            found = self._delta(self.host.tables(self.case))
        else:
            target = self._target(name)
            inside = os.path.join(target, "delta") if name.startswith("dlt_") else target
            found = self._delta([os.path.join(inside, table) for table in self.case.table_names()])
        assert found == expected, f"{name} wrote {found}, the source holds {expected}"

    def _delta(self, directories: list[str]) -> dict:
        import benchmarks.peers.shapes as shapes

        columns = ["id", "note"] if not self.case.shape and self.case.source == "sqlserver" else [
            column for column, _ in shapes.columns(self.case.table_names()[0])]
        return self._checksum("delta", ",".join(columns), *directories)

    def _sink_table(self) -> str:
        return f'"SRC_dbo".{self.case.name}'


__all__ = ["Contest", "HOST_PSQL"]
