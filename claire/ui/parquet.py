"""The log as a Parquet file, for tools that count a year of history; needs the extra `claire[parquet]`."""

import os
from itertools import islice
from typing import TYPE_CHECKING

from claire.node import backup, log, members
from claire.node.errors import ClaireError, Refused

if TYPE_CHECKING:
    from claire.node.node import Node

GROUP_EVENTS = 50_000  # rows of a row group: what is held in memory at once
HINT = "pipx inject claire pyarrow, or pip install 'claire[parquet]'"


def write(node: "Node", path: str, since_ms: int) -> int:
    """A row for each event: what the log has, its time as a timestamp, and the name of its host; how many."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise ClaireError("writing Parquet needs pyarrow, which is not installed", HINT) from None
    if os.path.exists(path):
        raise Refused(f"{path} is there already", "choose another name")
    text = pyarrow.string()
    schema = pyarrow.schema(
        [
            ("uuid", text),
            ("happened_at", pyarrow.timestamp("ms", tz="UTC")),
            ("host", pyarrow.dictionary(pyarrow.int32(), text)),
            ("machine_id", pyarrow.dictionary(pyarrow.int32(), text)),
            ("event_type", pyarrow.dictionary(pyarrow.int32(), text)),
            ("payload", text),
            ("hlc", text),
        ]
    )
    count = 0
    os.close(backup.new_file(f"{path}.new"))
    with node.reading() as db, parquet.ParquetWriter(f"{path}.new", schema, compression="zstd") as file:
        names = members.names(db)
        events = log.in_stamp_order(db, (f"{since_ms:013d}", "") if since_ms else log.FIRST)
        while some := list(islice(events, GROUP_EVENTS)):
            columns = [
                [event.uuid for event in some],
                [int(event.hlc[:13]) for event in some],
                [names.get(event.machine_id, event.machine_id) for event in some],
                [event.machine_id for event in some],
                [event.event_type for event in some],
                [event.payload for event in some],
                [event.hlc for event in some],
            ]
            arrays = [pyarrow.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            file.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
            count += len(some)
    os.rename(f"{path}.new", path)
    return count
