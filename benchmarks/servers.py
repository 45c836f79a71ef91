"""The servers a benchmark reads from and writes to, on free ports of this machine, ended by their process id."""

import contextlib
import glob
import json
import os
import shutil
import socket
import subprocess
import tempfile

PASSWORD = "Bench-mark 1"


class FakeSqlServer:
    """The fake SQL Server with generated tables."""

    def __init__(self, binary: str, directory: str, fast_tables: list[str], script: str = ""):
        os.makedirs(directory, exist_ok=True)
        arguments = [binary, "--encrypt", "on", "--user", "bench", "--database-name", "erp"]
        arguments += ["--certificate-dir", os.path.join(directory, "certificates")]
        for table in fast_tables:
            arguments += ["--fast-table", table]
        if script:
            path = os.path.join(directory, "start.sql")
            with open(path, "w") as file:
                file.write(script)
            arguments += ["--script", path]
        self.log = open(os.path.join(directory, "fake-sqlserver.log"), "wb")
        environment = {**os.environ, "FAKE_SQLSERVER_PASSWORD": PASSWORD}
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=self.log, env=environment)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the fake SQL Server did not start: see {self.log.name}")
        ready = json.loads(line)
        self.port = ready["port"]
        self.certificate_file = os.path.abspath(ready["certificate_file"])
        self.user, self.database = ready["user"], ready["database"]

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.log.close()


class Postgres:
    """A cluster of its own, as fast as a durable one can be on this disk: nothing is turned off that a warehouse has on."""

    def __init__(self, settings: str = ""):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"), key=lambda path: int(path.split("/")[4]))
        if not found:
            raise RuntimeError("there is no Postgres: install postgresql-15")
        self.bin = found[-1]
        # Postgres refuses root, and its user may not enter a home directory.
        self.directory = tempfile.mkdtemp(prefix="datakit-bench-", dir="/tmp")
        self.user, self.database, self.password = "bench", "postgres", PASSWORD
        password_file = os.path.join(self.directory, "password")
        with open(password_file, "w") as file:
            file.write(PASSWORD)
        if os.getuid() == 0:
            subprocess.run(["chown", "-R", "postgres:", self.directory], check=True)
        data = os.path.join(self.directory, "data")
        self._as_postgres("initdb", "-D", data, "-U", self.user, "--pwfile", password_file, "-A", "scram-sha-256",
                          "--no-sync", "--locale", "C.UTF-8", "-E", "UTF8")
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        options = (f"-c listen_addresses=127.0.0.1 -c port={self.port} -c unix_socket_directories='' "
                   f"-c max_wal_size=8GB -c shared_buffers=512MB -c checkpoint_timeout=30min {settings}")
        self._as_postgres("pg_ctl", "-D", data, "-w", "-s", "-l", os.path.join(self.directory, "log"), "-o", options, "start")

    def _as_postgres(self, program: str, *arguments: str) -> None:
        command = [os.path.join(self.bin, program), *arguments]
        if os.getuid() == 0:
            command = ["runuser", "-u", "postgres", "--", *command]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)

    def environment(self) -> dict[str, str]:
        return {"PGPASSWORD": PASSWORD, "PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": self.user,
                "PGDATABASE": self.database}

    def psql(self) -> list[str]:
        return [os.path.join(self.bin, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]

    def query(self, sql: str) -> str:
        command = [*self.psql(), "-A", "-t", "-c", sql]
        environment = {**os.environ, **self.environment()}
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()

    def close(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._as_postgres("pg_ctl", "-D", os.path.join(self.directory, "data"), "-m", "immediate", "-s", "stop")
        shutil.rmtree(self.directory, ignore_errors=True)
