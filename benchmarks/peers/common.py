"""What the peers share: their arguments, the clock, and the options of a Delta writer.

Each peer is a program of its own, so that its start, its processor time and its memory are its own. Its last line says how
many rows it moved and how long it took without the start of the interpreter and without imports.
"""

import glob
import json
import os
import sys
import time
from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True)
class Job:
    """Where from, which tables, where to."""

    source: str
    port: int
    user: str
    password: str
    database: str
    tables: list[str]
    target: str
    # What becomes of the rows of the target: `overwrite`, or of a peer that reads changes `append` or `merge`.
    mode: str = "overwrite"

    @staticmethod
    def read() -> "Job":
        return Job(**json.loads(sys.argv[1]), password=os.environ["SOURCE_PASSWORD"])

    def schema(self) -> str:
        return "public" if self.source == "postgres" else "dbo"

    def query(self, table: str) -> str:
        return f"SELECT * FROM {self.schema()}.{table}"

    def path(self, table: str) -> str:
        return os.path.join(self.target, table)

    def odbc(self) -> str:
        """A connection string for Microsoft's driver, without TLS beyond the login: the rows are plain for everyone."""
        return (f"Server=127.0.0.1,{self.port};Database={self.database};UID={self.user};PWD={{{self.password}}};"
                "Encrypt=no;TrustServerCertificate=yes;")

    def odbc_with_driver(self) -> str:
        return f"Driver={microsoft_driver()};{self.odbc()}"

    def url(self) -> str:
        """A URL in the form of ConnectorX and ADBC."""
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        if self.source == "postgres":
            return f"postgresql://{login}@127.0.0.1:{self.port}/{self.database}"
        return f"mssql://{login}@127.0.0.1:{self.port}/{self.database}?encrypt=false&trust_server_certificate=true"


def microsoft_driver() -> str:
    """The shared object of Microsoft's ODBC driver 18, which the package mssql-python brings."""
    import mssql_python_odbc

    folder = os.path.dirname(mssql_python_odbc.__file__)
    return glob.glob(f"{folder}/libs/linux/debian_ubuntu/*/lib/libmsodbcsql-18*")[0]


def finish(start: float, rows: int) -> None:
    print(json.dumps({"rows": rows, "seconds": time.perf_counter() - start}), flush=True)
    # Workers of some libraries keep an interpreter from ending at once.
    sys.stdout.flush()
