"""A copy of the database that is whole while others write to it, and the way back from one."""

import math
import os
import shutil
import sqlite3
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from claire.config import Home
from claire.node import identity, store
from claire.node.errors import Corrupt, NotFound, Refused
from claire.node.node import Node
from claire.node.rows import Row

CHECK_STEPS = 10_000  # of SQLite's machine, from one look at the clock to the next
KEY_SUFFIX = ".key"
SIDES = ("", "-wal", "-shm")  # of a database: the file and what stands beside it
SECRETS = ("logins", "invites")  # hashed, and still no business of whoever finds a backup


def default_name(name: str, now_ms: int) -> str:
    kept = "".join(c if c.isalnum() or c in "-_" else "-" for c in name)
    return f"claire-{kept}-{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%d-%H%M%S}.db"


def new_file(path: str, flags: int = os.O_WRONLY) -> int:
    """A file of ours (0600) to write; not into what is there, nor through a link: the folder may be everybody's."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # an earlier try was cut
    return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)


def make(node: Node, path: str, *, with_key: bool = False) -> Row:
    """Write a backup (0600) that appears under its name when it is complete. Never over something that is there."""
    paths = [path, *([path + KEY_SUFFIX] if with_key else [])]
    for taken in filter(os.path.exists, paths):
        raise Refused(f"{taken} is there already", "choose another name")
    unfinished = f"{path}.new"
    with store.words(unfinished):
        os.close(new_file(unfinished))
        target = sqlite3.connect(unfinished, isolation_level=None)
        try:
            with node.reading() as db:
                db.backup(target)
            target.execute("PRAGMA journal_mode = DELETE")  # one file, to be carried
            target.execute("PRAGMA secure_delete = ON")
            for table in SECRETS:
                target.execute(f"DELETE FROM {table}")
            whole(target, path)
            (events,) = target.execute("SELECT count(*) FROM events").fetchone()
        finally:
            target.close()
        if with_key:
            _copy(node.home.key_file, path + KEY_SUFFIX)
        _sync(unfinished)
        os.rename(unfinished, path)
    return {
        "id": node.machine_id,
        "path": os.path.abspath(path),
        "events": events,
        "bytes": os.path.getsize(path),
        "key": os.path.abspath(path + KEY_SUFFIX) if with_key else None,
    }


def restore(home: Home, path: str, now_ms: int) -> Row:
    """Put a backup in the place of this home's database, which is kept aside. No daemon may run meanwhile.

    What was written since the backup comes back from peers. The key stays the one that is here; where there is none,
    one that was backed up along is taken.
    """
    if not os.path.isfile(path):
        raise NotFound(f"there is no backup at {path}")
    try:
        machine_id, events = _checked(path)
    except Corrupt as error:
        raise Corrupt(error.message, "take another backup") from None  # what is here may be in order
    with store.words(home.database):
        for folder in home.folders:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        key = home.key_file if os.path.exists(home.key_file) else path + KEY_SUFFIX
        if os.path.exists(key) and identity.load(key).machine_id != machine_id:
            raise Refused(
                f"{path} is a backup of node {machine_id[:8]}, and {key} is another node's key",
                "restore it under its own CLAIRE_HOME",
            )
        if os.path.exists(key) and key != home.key_file:
            _copy(key, home.key_file)
        unfinished = f"{home.database}.new"
        if os.path.exists(unfinished):
            os.remove(unfinished)
        _copy(path, unfinished)
        aside = set_aside(home.database, "replaced", now_ms)
        os.rename(unfinished, home.database)
    has_key = os.path.exists(home.key_file)
    return {"id": machine_id, "events": events, "database": home.database, "kept": aside or None, "key": has_key}


def set_aside(path: str, why: str, now_ms: int) -> str:
    """Rename a database and what belongs to it; its new name, or "" if there is none. Nothing is ever deleted."""
    aside = f"{path}.{why}-{datetime.fromtimestamp(now_ms / 1000, UTC):%Y%m%d-%H%M%S-%f}"
    for side in SIDES:
        if os.path.exists(path + side):
            os.rename(path + side, aside + side)
    return aside if os.path.exists(aside) else ""


def whole(db: sqlite3.Connection, path: str, s_max: float = math.inf) -> None:
    """Corrupt, unless SQLite finds every page of it in order, or as far as it came in so many seconds."""
    until = time.monotonic() + s_max
    db.set_progress_handler(lambda: time.monotonic() > until, CHECK_STEPS)
    try:
        with store.words(path):
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        db.set_progress_handler(None, 0)
    if said != "ok":
        raise Corrupt(f"{path} is damaged: {' '.join(str(said).split())}", store.RECOVER)


def _checked(path: str) -> tuple[str, int]:
    """Whose backup this is, and how many events it holds. Corrupt or NewerSchema if it cannot be used."""
    with store.words(path):
        db = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
        try:
            store.version(db, path)
            whole(db, path)
            machine_id = store.machine_id(db, path)
            (events,) = db.execute("SELECT count(*) FROM events").fetchone()
        finally:
            db.close()
    return machine_id, events


def _copy(source: str, target: str) -> None:
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(source, "rb") as read, os.fdopen(fd, "wb") as written:
        shutil.copyfileobj(read, written)
        written.flush()
        os.fsync(written.fileno())


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
