"""Opening the database: connections with the settings they must have, creation, upgrade, and errors in words."""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from claire.node.errors import Corrupt, NewerSchema, NoDatabase, StorageError
from claire.node.schema import LOCAL_SCHEMA, PROJECTIONS, PROJECTIONS_SCHEMA, SCHEMA, SCHEMA_VERSION

BUSY_TIMEOUT_MS = 10_000
CACHE_KIB = 8_192  # SQLite's own 2 MiB send the sorting of ten thousand rows to a temporary file
CHECKPOINT_PAGES = 4_096  # 16 MiB of WAL: a page that every batch of a catch-up touches is copied once for several
RECOVER = "run `claire doctor --recover`"


def connect(path: str) -> sqlite3.Connection:
    """A connection that commits durably (WAL, synchronous=FULL) and opens transactions only where told to."""
    if not os.path.exists(path):
        raise NoDatabase(f"there is no database at {path}", "run `claire init`")
    with words(path):
        if os.path.getsize(path) == 0:  # SQLite would take it for a new one, and write into it
            raise Corrupt(f"{path} is empty", RECOVER)
        db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
        try:
            db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
            db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
            db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
        except sqlite3.DatabaseError:
            db.close()
            raise
        return db


def connect_read_only(path: str) -> sqlite3.Connection:
    """A connection that cannot write, for a folder or file system that lets nobody write.

    Beside a running writer SQLite shares its -wal. Where there is none and none can be made, the file is read as it
    is: what stands in a -wal only is not seen, so a reader has to be told that the newest may be missing.
    """
    from urllib.parse import quote  # not for commands on a healthy disk

    uri = f"file:{quote(path)}?"
    try:
        return _opened_to_read(uri + "mode=ro")
    except sqlite3.OperationalError:
        with words(path):
            return _opened_to_read(uri + "mode=ro&immutable=1")


def _opened_to_read(uri: str) -> sqlite3.Connection:
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        db.execute("SELECT 1 FROM sqlite_master").fetchone()
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def create(path: str, machine_id: str, public_key: str, name: str) -> None:
    """Make a node's database (0600), whole or not at all: it gets its name when it is complete. `public_key` is hex."""
    unfinished = f"{path}.new"
    with words(path):
        if os.path.exists(unfinished):
            os.remove(unfinished)
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        with closing(sqlite3.connect(unfinished, isolation_level=None)) as db:
            # In one transaction: each table by itself would be a sync of the disk.
            db.executescript(f"BEGIN; {SCHEMA}; PRAGMA user_version = {SCHEMA_VERSION};")
            db.execute("INSERT INTO meta VALUES ('machine_id', ?)", (machine_id,))
            db.execute("INSERT INTO pins VALUES (?, ?, ?)", (machine_id, public_key, name))
            db.execute("COMMIT")
        os.rename(unfinished, path)


@contextmanager
def locked(path: str) -> Iterator[None]:
    """One process at a time.

    The file lock makes writers queue instead of failing busy, and keeps two connections from writing and
    checkpointing at once, which SQLite before 3.51.3 can corrupt a database by.
    """
    with words(path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def remake_projections(db: sqlite3.Connection) -> None:
    """Drop and create the projection tables, in the caller's transaction; the caller replays the log into them.

    Local tables that are new get made; those that are there stay as they are.
    """
    for table in PROJECTIONS:
        db.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in f"{PROJECTIONS_SCHEMA};\n{LOCAL_SCHEMA}".split(";\n"):
        if statement.strip():
            db.execute(statement)


def version(db: sqlite3.Connection, path: str) -> int:
    """The schema version of an open database; NewerSchema if this Claire is older than that."""
    with words(path):
        (found,) = db.execute("PRAGMA user_version").fetchone()
    if found > SCHEMA_VERSION:
        raise NewerSchema(
            f"{path} was written by a newer Claire (schema {found}, this one knows {SCHEMA_VERSION})",
            "upgrade Claire on this host, and start `claire node` anew",
        )
    if found == 0:
        raise Corrupt(f"{path} is empty or not a Claire database", RECOVER)
    return int(found)


def machine_id(db: sqlite3.Connection, path: str) -> str:
    """Whose database this is."""
    with words(path):
        row = db.execute("SELECT value FROM meta WHERE key = 'machine_id'").fetchone()
    if row is None:
        raise Corrupt(f"{path} does not say whose it is", RECOVER)
    return str(row[0])


@contextmanager
def words(path: str) -> Iterator[None]:
    """Turn what SQLite and the file system raise into a StorageError that says what is wrong and what to do."""
    try:
        with words_of_sqlite(path):
            yield
    except OSError as error:
        raise StorageError(
            f"{error.filename or path}: {os.strerror(error.errno or errno.EIO)}", _hint(error)
        ) from error


@contextmanager
def words_of_sqlite(path: str) -> Iterator[None]:
    """The same for SQLite alone, around what may do other things too: a pipe that closes is not the database's."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        explained = _explain(error, path)
        if explained is None:
            raise
        raise explained from error


def _explain(error: sqlite3.DatabaseError, path: str) -> StorageError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    undecodable = str(error).startswith("Could not decode to UTF-8")  # said by Python, without a code
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or undecodable:
        return Corrupt(f"{path} is damaged", RECOVER)
    if code == sqlite3.SQLITE_FULL:
        return StorageError("the disk is full; nothing was written", "free some space and try again")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return StorageError(
            f"{path} cannot be opened for writing", f"check owner and mode: ls -l {os.path.dirname(path)}"
        )
    if code == sqlite3.SQLITE_IOERR:
        return StorageError(f"the disk failed while using {path}; nothing was half-written", "run `claire doctor`")
    if code == sqlite3.SQLITE_BUSY:
        return StorageError(f"{path} is held by another program", "end it and try again")
    return None


def _hint(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return "free some space and try again"
    return "check the owner and mode of the folder" if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else ""
