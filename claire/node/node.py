"""The node: one log, one door in. `writing` is for what happened here, `receive` for what a peer sent; both append
and fold in one transaction."""

import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from claire.config import Home
from claire.node import hlc, log, store
from claire.node.errors import Corrupt, NewerSchema, NoDatabase, Refused, StorageError, UsageError
from claire.node.event import (
    EVENT_BYTES_MAX,
    Body,
    Event,
    read_body,
    signing_text,
    write_payload,
)
from claire.node.fold import Fold, replay_events
from claire.node.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from claire.node.admit import Receipt
    from claire.node.identity import Identity


SEAL_EVENTS = 1_000  # own events from one seal to the next


def wall_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def utc_text(now_ms: int) -> str:
    """RFC 3339 with milliseconds, for people; a clock beyond what the calendar can say reads as its end."""
    seconds = min(max(now_ms, 0), hlc.WALL_MS_MAX) / 1000
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def time_ordered_uuid(at_ms: int, entropy: bytes) -> str:
    """UUID version 7 (RFC 9562): 48 bits of Unix milliseconds, then 74 random bits of the 10 bytes of entropy."""
    bits = int.from_bytes(entropy, "big")
    return uuid_text(at_ms << 80 | 0x7 << 76 | (bits >> 62 & 0xFFF) << 64 | 0b10 << 62 | bits & (1 << 62) - 1)


def uuid_text(bits: int) -> str:
    text = f"{bits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


class Transaction:
    """A write in progress: read through `db`, add facts with `record`."""

    def __init__(self, node: "Node", db: sqlite3.Connection) -> None:
        self.db = db
        self.wrote = False
        self._node = node

    def record(self, body: Body) -> Event:
        """Stamp, sign, append and fold one fact of this node. The projections in `db` show it at once."""
        event = self._node.stamp(self.db, body)
        counts = log.append(self.db, [event])
        fold = Fold(self.db)
        fold.apply(event, read_body(event))
        fold.flush()
        self.wrote = True
        if counts[event.machine_id] % SEAL_EVENTS == 0:
            from claire.node import seals  # once in a thousand

            seals.seal(self, event.machine_id)
        return event


class Node:
    """An open database with its key. Safe for several threads; any number of processes may have it open."""

    def __init__(
        self,
        home: Home,
        *,
        now_ms: Callable[[], int] = wall_ms,
        entropy: Callable[[int], bytes] = os.urandom,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Open the node in `home`. NoDatabase, Corrupt or StorageError say what is in the way.

        The first opening after an upgrade replays the log; `progress` hears how many events are folded.

        Where only writing is impossible (a newer Claire's database, a disk that is read-only), `read_only` says why,
        and every `writing` raises it.
        """
        self.home = home
        self.now_ms = now_ms
        self.entropy = entropy
        self.boot = entropy(8).hex()  # no other opening has it: tells us from a live copy of our home
        self.read_only: StorageError | None = None
        self._connect = store.connect
        self._writer_lock = threading.Lock()
        self._readers: deque[sqlite3.Connection] = deque()
        self._writer = self._open()
        with ExitStack() as until_ready:
            until_ready.callback(self._writer.close)
            try:
                version = store.version(self._writer, home.database)
            except NewerSchema as error:
                self.read_only = error
            else:
                if version < SCHEMA_VERSION:
                    self._upgrade(progress)
            self.machine_id: str = store.machine_id(self._writer, home.database)
            until_ready.pop_all()

    def _open(self) -> sqlite3.Connection:
        try:
            return store.connect(self.home.database)
        except (Corrupt, NoDatabase):
            raise
        except StorageError as error:
            why = f"{error.message}; what was written last may be missing"
            self._connect, self.read_only = store.connect_read_only, StorageError(why, error.hint)
            return store.connect_read_only(self.home.database)

    def __enter__(self) -> "Node":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        while self._readers:
            self._readers.pop().close()
        self._writer.close()

    @cached_property
    def identity(self) -> "Identity":
        """The key pair, read when first needed; Refused if the key file is another node's."""
        from claire.node import (
            identity,  # signing costs a third of a command's start; reading needs none of it
        )

        loaded = identity.load(self.home.key_file)
        if loaded.machine_id != self.machine_id and os.path.exists(self.home.next_key_file):
            loaded = identity.load(self.home.next_key_file)  # a rotation was cut after its commit
            if loaded.machine_id == self.machine_id:
                os.replace(self.home.next_key_file, self.home.key_file)
        if loaded.machine_id != self.machine_id:
            raise Refused(
                f"the key in {self.home.key_file} is not the one this database was made with",
                "restore the matching key file, or run `claire doctor`",
            )
        return loaded

    def become(self, identity: "Identity") -> None:
        """Write under another key from now on. For a rotation alone, in its transaction."""
        self.machine_id, self.identity = identity.machine_id, identity

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one consistent snapshot."""
        with store.words_of_sqlite(self.home.database):
            try:
                db = self._readers.pop()
            except IndexError:
                db = self._connect(self.home.database)
            try:
                db.execute("BEGIN")
                yield db
            except sqlite3.OperationalError as error:
                if isinstance(self.read_only, NewerSchema):
                    raise self.read_only from error  # a table or column that only the newer Claire knows
                raise
            finally:
                if db.in_transaction:  # SQLite ends it itself where a disk fails or is full
                    db.execute("ROLLBACK")
                self._readers.append(db)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        """One BEGIN IMMEDIATE transaction; it commits when the block ends, and rolls back if it raises."""
        if self.read_only is not None:
            raise self.read_only
        with store.words_of_sqlite(self.home.database), self._locked():
            db = self._writer
            db.execute("BEGIN IMMEDIATE")
            try:
                store.version(db, self.home.database)  # a newer Claire may have upgraded it since we opened it
                transaction = Transaction(self, db)
                yield transaction
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
        if transaction.wrote:
            self._ring()

    def receive(self, events: Sequence[Event]) -> "Receipt":
        """Take in events from elsewhere: append and fold those that belong to the set.

        A machine's events after a refused one are refused too, so that its newest stamp never hides a hole. Events of
        machines that an admission in the same batch makes members are taken in after it.
        """
        from claire.node import admit  # verifying needs the cryptography library; most commands do not

        return admit.receive(self, events)

    def new_id(self) -> str:
        """UUID version 4 (RFC 9562), for what people address: its first characters make a good short id."""
        bits = int.from_bytes(self.entropy(16), "big")
        return uuid_text(bits & ~(0xF << 76) & ~(0b11 << 62) | 0x4 << 76 | 0b10 << 62)

    def stamp(self, db: sqlite3.Connection, body: Body) -> Event:
        """A signed event of this node with the next stamp; nothing is stored yet."""
        (own,) = db.execute("SELECT value FROM meta WHERE key = 'machine_id'").fetchone()
        if own != self.machine_id:
            raise Refused("this node has taken a new key meanwhile", "run the command again")
        try:
            payload = write_payload(body)
        except ValueError:
            raise UsageError(
                "the text holds a character that cannot be stored", "leave NUL and broken Unicode out"
            ) from None
        if len(payload.encode()) > EVENT_BYTES_MAX:
            raise UsageError(f"the text is too long: an event holds at most {EVENT_BYTES_MAX // 1024} KiB")
        now_ms = self.now_ms()
        stamp = hlc.tick(
            log.newest_own(db, self.machine_id),
            log.newest_seen(db, hlc.horizon(now_ms)),
            now_ms,
            self.machine_id,
        )
        uuid = time_ordered_uuid(hlc.decode(stamp)[0], self.entropy(10))
        created_at = utc_text(now_ms)
        message = signing_text(uuid, stamp, body.wire_name, created_at, payload)
        signature = self.identity.sign_text(message)
        return Event(uuid, stamp, self.machine_id, body.wire_name, payload, created_at, signature)

    def _upgrade(self, progress: Callable[[int], None] | None) -> None:
        """Rebuild the projections for this Claire, whole or not at all."""
        with store.words_of_sqlite(self.home.database), self._locked():
            db = self._writer
            db.execute("BEGIN IMMEDIATE")
            try:
                if store.version(db, self.home.database) < SCHEMA_VERSION:
                    store.remake_projections(db)
                    replay_events(db, progress)
                    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The one writer of this database, among threads and processes."""
        with self._writer_lock, store.locked(self.home.write_lock):
            yield

    def _ring(self) -> None:
        """Tell a running daemon that there is something new; one that is not there polls or does not care."""
        if not os.path.exists(self.home.doorbell):
            return
        import socket  # only where a daemon listens

        # A stale file, a full queue, no descriptor left: what is committed stays, and the daemon polls, too.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as bell:
            bell.sendto(b"", self.home.doorbell)
