"""The rows of a partition. componentize-py looks for the resource `extraction` in a module named like its interface."""

import json
from typing import List, Optional, Self, override

from wit_world.exports import extractor
from wit_world.imports.batches import Batch, Reader
from wit_world.imports.plans import Partition
from wit_world.imports.projections import Projection, ProjectionBuilder
from wit_world.imports.sql import Connection, Isolation, Query
from wit_world.imports.types import Field, TableId

LOAD_ID = "_load_id"
ROW_HASH = "_row_hash"


def quoted(table: TableId) -> str:
    return ".".join("[" + name.replace("]", "]]") + "]" for name in (table.schema, table.name))


def ask(connection: Connection, select: str, table: TableId) -> Reader:
    query = Query(f"SELECT {select} FROM {quoted(table)}")
    query.set_isolation(Isolation.READ_COMMITTED)
    return connection.execute(query)


class Extraction(extractor.Extraction):
    def __init__(self, connection: Connection, reader: Reader, projection: Projection) -> None:
        self.connection = connection
        self.reader = reader
        self.projection = projection

    @override
    @classmethod
    def open(cls, partition: Partition) -> Self:
        connection = Connection.open("source")
        reader = ask(connection, "*", partition.table())
        columns = reader.schema()
        builder = ProjectionBuilder(columns)
        for column in columns:
            builder.add_input(column.name, column.name)
        builder.add_load_id(LOAD_ID)
        builder.add_row_hash(ROW_HASH, [column.name for column in columns])
        where = json.loads(partition.state())["where"]
        if where is not None:
            builder.set_filter(where)
        return cls(connection, reader, builder.compile())

    @override
    def output(self) -> List[Field]:
        return self.projection.output()

    @override
    def next(self) -> Optional[Batch]:
        batch = self.reader.next()
        if batch is None:
            return None
        with batch:
            return self.projection.apply(batch)

    @override
    def watermark(self) -> Optional[str]:
        return None
