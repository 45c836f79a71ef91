"""The host's side: its warehouse file, its datakits, and the command of each contestant."""

import json
import os
import subprocess

import benchmarks.peers.shapes as shapes
from benchmarks.cases import BOUNDARY, DATAKIT, HOST, HOST_HASH, HOST_LOGICAL, HOST_PSQL, HOST_TLS, PATHS, Case
from benchmarks.servers import PASSWORD, FakeSqlServer, Postgres

DATAKITS = {"sqlserver": "sqlserver-bronze", "postgres": "postgres-bronze"}
# The ingest of each contestant.
WAYS = {HOST: "plain", HOST_HASH: "plain", HOST_TLS: "tls", HOST_PSQL: "psql", HOST_LOGICAL: "logical"}


def _postgres(server: Postgres, password: str) -> str:
    return (f'host = "127.0.0.1"\nport = {server.port}\ndatabase = "{server.database}"\nuser = "{server.user}"\n'
            f'password = {{ env = "{password}" }}\n')


class HostFolder:
    """A folder with a warehouse file and a published datakit."""

    def __init__(self, binary: str, paths: str, directory: str, components: str):
        self.binary, self.paths, self.directory, self.components = binary, paths, directory, components
        os.makedirs(directory, exist_ok=True)

    def environment(self, contestant: str = "") -> dict[str, str]:
        # The host tells the allocator itself what this tells it for the program that is made of the host's parts.
        allocator = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "4194304", "MALLOC_TRIM_THRESHOLD_": "4194304"}
        return (allocator if contestant in PATHS else {}) | {"PATH": os.environ["PATH"], "HOME": self.directory, "DATAKIT_CACHE": os.path.join(self.directory, "cache"),
                "SOURCE_PASSWORD": PASSWORD, "SINK_PASSWORD": PASSWORD}

    def component(self, source: str) -> str:
        return os.path.join(self.components, f"{DATAKITS[source]}.wasm")

    def prepare(self, source: FakeSqlServer | Postgres, sink: Postgres | None) -> None:
        """Writes the warehouse file, publishes the datakit and pins it."""
        if isinstance(source, FakeSqlServer):
            kind = "sqlserver"
            plain = (f'server = "localhost"\nport = {source.port}\ndatabase = "{source.database}"\n'
                     f'auth = {{ user = "{source.user}", password = {{ env = "SOURCE_PASSWORD" }} }}\n')
            secure = plain + f'certificate_file = "{source.certificate_file}"\n'
        else:
            kind, plain, secure = "postgres", _postgres(source, "SOURCE_PASSWORD"), None
        datakit = f"{DATAKITS[kind]}@0.1.0"
        text = '[warehouse]\nname = "bench"\nregistry = "oci:registry"\n\n'
        text += f'[connections.plain]\nkind = "{kind}"\nsource_system = "SRC"\n{plain}encrypt = "off"\n\n'
        if secure:
            text += f'[connections.tls]\nkind = "{kind}"\nsource_system = "SRC"\n{secure}\n'
        text += '[sinks.lake]\nkind = "delta"\nuri = "./bronze"\n\n'
        ways = [("plain", "plain", "lake")] + ([("tls", "tls", "lake")] if secure else [])
        if sink:
            text += f'[sinks.warehouse]\nkind = "postgres"\n{_postgres(sink, "SINK_PASSWORD")}encrypt = "off"\n\n'
            ways.append(("psql", "plain", "warehouse"))
        for name, connection, target in ways:
            text += (f'[[ingest]]\nname = "{name}"\ndatakit = "{datakit}"\nroles = {{ source = "{connection}" }}\n'
                     f'sink = "{target}"\ntables = ["*.*"]\nmode = "overwrite"\n\n')
        self._publish(kind, text)
        self.source = source

    def prepare_changes(self, source: Postgres, mode: str) -> None:
        """The same for runs that read what changed: one ingest by the watermark, one by logical decoding, each into tables of its own."""
        text = '[warehouse]\nname = "bench"\nregistry = "oci:registry"\n\n'
        text += f'[connections.plain]\nkind = "postgres"\nsource_system = "SRC"\n{_postgres(source, "SOURCE_PASSWORD")}encrypt = "off"\n'
        text += 'slot = "bench"\npublication = "bench"\n\n'
        strategies = {HOST: '{ watermark = { "*.*" = { column = "changed_at" } }, row_hash = false }', HOST_LOGICAL: '{ strategy = { "*.*" = "logical" }, row_hash = false }'}
        for contestant, settings in strategies.items():
            way = WAYS[contestant]
            text += (f'[sinks.{way}]\nkind = "delta"\nuri = "./{way}"\n\n[[ingest]]\nname = "{way}"\ndatakit = "{DATAKITS["postgres"]}@0.1.0"\n'
                     f'roles = {{ source = "plain" }}\nsink = "{way}"\ntables = ["*.*"]\nmode = "{mode}"\nsettings = {settings}\n\n')
        self._publish("postgres", text)

    def _publish(self, kind: str, warehouse: str) -> None:
        with open(os.path.join(self.directory, "warehouse.toml"), "w") as file:
            file.write(warehouse)
        self._run("publish", self.component(kind))
        self._run("lock")

    def _run(self, *arguments: str) -> None:
        done = subprocess.run([self.binary, *arguments], cwd=self.directory, env=self.environment(), capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"host {' '.join(arguments)}: {done.stderr}")

    def command(self, contestant: str, case: Case) -> list[str]:
        """`host run` as the contestant's name has it, or one way of bench-paths."""
        if contestant in PATHS:
            return self._path(contestant, case)
        way = WAYS[contestant]
        schema = "public" if case.source == "postgres" else "dbo"
        tables = [f"{schema}.{case.name}" if case.tables == 1 else f"{schema}.{case.name}_*"]
        command = [self.binary, "run", "--locked", "--ingest", way, "--output", "json"]
        if not case.changes:
            command += ["--settings", json.dumps({"row_hash": contestant == HOST_HASH})]
        return [*command, "--tables", *tables]

    def _path(self, contestant: str, case: Case) -> list[str]:
        component = self.component(case.source) if contestant == DATAKIT else os.path.join(self.components, "bench-passthrough.wasm")
        command = [self.paths, PATHS[contestant], "--component", component, "--code-cache", os.path.join(self.directory, "cache", "code")]
        if contestant == BOUNDARY:
            return command
        columns = ",".join(column for column, _ in shapes.columns(case.name))
        return command + ["--port", str(self.source.port), "--user", self.source.user, "--database", self.source.database,
                          "--table", case.name, "--columns", columns, "--target", "./bronze"]

    def tables(self, case: Case) -> list[str]:
        """Where the Delta tables of a run are."""
        schema = "public" if case.source == "postgres" else "dbo"
        return [os.path.join(self.directory, "bronze", "SRC", schema, name) for name in case.table_names()]
