"""`claire backup`, `claire restore`, `claire export`, `claire import`"""

from __future__ import annotations

import os
import sys

from claire.node import backup as backups
from claire.node.errors import NotFound, Refused, UsageError
from claire.ui import text
from claire.ui.cli.context import Context, Result
from claire.ui.cli.when import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

EXIT_PARTIAL = 4
EXIT_REFUSED = 5
REFUSALS_SHOWN = 5


def backup(ctx: Context, path: str | None, with_key: bool) -> Result:
    from claire.node import members

    path = path or "."
    if os.path.isdir(path):
        with ctx.node.reading() as db:
            name = members.find(db, ctx.node.machine_id)["name"]
        path = os.path.join(path, backups.default_name(name, ctx.now_ms()))
    row = backups.make(ctx.node, path, with_key=with_key)
    notes = [] if with_key else ["without the key; to go on as this node elsewhere it takes --with-key"]
    return Result(row, [f"{text.plural(row['events'], 'event')} in {row['path']}"], notes=notes)


def restore(ctx: Context, path: str) -> Result:
    row = ctx.wiring.restore(ctx.home, path, ctx.now_ms())
    notes = [f"what was here is kept: {row['kept']}"] if row["kept"] else []
    if not row["key"]:
        notes.append(f"there is no key at {ctx.home.key_file}: this node can be read, and writes nothing")
    notes.append("what was written since comes back with: claire sync")
    return Result(row, [f"node {text.short(row['id'])} has {text.plural(row['events'], 'event')} again"], notes=notes)


def export(ctx: Context, path: str, format: str | None, since: str | None) -> Result:
    since_ms = moment(since, ctx.now_ms()) if since is not None else 0
    if format == "parquet":
        from claire.ui.parquet import write

        count = write(ctx.node, path, since_ms)
    elif path == "-":
        if ctx.json:
            raise UsageError("standard output cannot hold both the log and --json")
        if sys.stdout.isatty():
            raise UsageError("the log is not for a terminal", "give a file, or a program to read it")
        ctx.wiring.export(ctx.node, sys.stdout.buffer.write, since_ms)
        return Result({}, [])
    else:
        count = _to_file(ctx, path, since_ms)
    return Result({"path": os.path.abspath(path), "events": count}, [f"{text.plural(count, 'event')} in {path}"])


def _to_file(ctx: Context, path: str, since_ms: int) -> int:
    """Whole or not at all: a file of this name is complete."""
    if os.path.exists(path):
        raise Refused(f"{path} is there already", "choose another name")
    with open(f"{path}.new", "wb", opener=backups.new_file) as file:
        count: int = ctx.wiring.export(ctx.node, file.write, since_ms)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{path}.new", path)
    return count


def import_(ctx: Context, path: str) -> Result:
    with _opened(path) as file:
        row = ctx.wiring.bring_in(ctx.node, file)
    refused = row["refused"]
    lines = [f"{text.plural(row['accepted'], 'new event')}, {row['duplicate']:,} known, {len(refused):,} refused"]
    notes = [f"refused {text.short(r['id'])}: {r['why']}" for r in refused[:REFUSALS_SHOWN]]
    if row["cut"]:
        notes.append("the file was cut; what is whole of it is in")
    elif row["in_sync"]:
        notes.append("this node holds what that one held")
    code = EXIT_REFUSED if refused else EXIT_PARTIAL if row["cut"] else 0
    return Result(row, lines, notes=notes, code=code)


def _opened(path: str) -> BinaryIO:
    """A file that can be read twice; standard input is kept in one first."""
    if path == "-":
        from shutil import copyfileobj
        from tempfile import TemporaryFile

        kept = TemporaryFile()  # noqa: SIM115  the caller closes it
        copyfileobj(sys.stdin.buffer, kept)
        return kept
    if not os.path.exists(path):
        raise NotFound(f"there is no file {path}")
    return open(path, "rb")
