"""`claire doctor --recover`: a new database from what can be read of a damaged one, and from peers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

from claire.config import Home
from claire.node import admit, backup, identity, log, members, salvage, store
from claire.node.errors import Refused, StorageError
from claire.node.event import Event
from claire.node.node import Node
from claire.node.rows import Row

BATCH_EVENTS = 2_000
RECOVERING = "recovering"  # in `meta`: the damaged file, until all that can be read of it is here
LOST = "on another host: claire peer invite; here: claire init, then claire peer join; its log comes back from there"


def recover(home: Home, name: str, now_ms: int) -> Row:
    """Keep the damaged file aside, rebuild. `name` is what the node is called if nothing of it can be read."""
    from claire.runtime import alone
    from claire.sync.once import sync_now

    if not os.path.exists(home.database):
        raise Refused(f"there is no database at {home.database}", LOST)
    key = identity.load(home.key_file)
    with alone(home):
        if is_sound(home):
            aside = _unfinished(home)
        else:
            with store.words(home.database):
                aside = backup.set_aside(home.database, "damaged", now_ms)
                store.create(home.database, key.machine_id, key.public_key.hex(), name)
        with Node(home) as node:
            _remember(node, aside)
            salvaged = _salvage(node, aside)
            if not _announced(node):
                members.announce(node, name, [], "")
            peers = sync_now(node, None)
            with node.writing() as tx:
                # Own events that come back are what recovering is; a flipped bit is no forger.
                tx.db.execute("DELETE FROM alarms")
                tx.db.execute("DELETE FROM meta WHERE key = ?", (RECOVERING,))
                (events,) = tx.db.execute("SELECT count(*) FROM events").fetchone()
    return {"id": key.machine_id, "kept": aside, "salvaged": salvaged, "events": events, "peers": peers}


def is_sound(home: Home) -> bool:
    """Whether SQLite finds every page in order, and the index says what the rows say."""
    try:
        with Node(home) as node, node.reading() as db:
            backup.whole(db, home.database)
            stored = {machine: row for machine, row in log.index(db).items() if row.count}
            return log.recount(db) == stored
    except StorageError:
        return False


def _remember(node: Node, aside: str) -> None:
    """A recovery takes long: cut short, it goes on from the same file when asked again."""
    with node.writing() as tx:
        tx.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (RECOVERING, aside))


def _unfinished(home: Home) -> str:
    """The damaged file of a recovery that was cut short; Refused where there was none."""
    with Node(home) as node, node.reading() as db:
        row = db.execute("SELECT value FROM meta WHERE key = ?", (RECOVERING,)).fetchone()
    if row is None:
        raise Refused("the database is in order; there is nothing to recover", "claire doctor")
    return str(row[0])


def _announced(node: Node) -> bool:
    with node.reading() as db:
        return db.execute("SELECT 1 FROM announcements WHERE id = ?", (node.machine_id,)).fetchone() is not None


def _salvage(node: Node, aside: str) -> int:
    """How many events came over. Once more while a pass brought any: who admits a machine may be found late."""
    with node.writing() as tx:
        for pin in salvage.pins(aside):
            tx.db.execute("INSERT OR IGNORE INTO pins VALUES (?, ?, ?)", pin)
        members.settle(tx.db, ())
    salvaged = 0
    while brought := sum(_receive(node, some) for some in _batches(salvage.events(aside))):
        salvaged += brought
    return salvaged


def _batches(events: Iterator[Event]) -> Iterator[list[Event]]:
    while some := list(islice(events, BATCH_EVENTS)):
        yield sorted(some, key=lambda event: (event.hlc, event.uuid))


def _receive(node: Node, events: list[Event]) -> int:
    """Receive all that verify: a damaged one does not take the rest of its machine along, as a peer's would."""
    accepted = 0
    while events:
        receipt = node.receive(events)
        accepted += receipt.accepted
        follow = {refusal.uuid for refusal in receipt.refused if refusal.why == admit.FOLLOWS}
        events = [event for event in events if event.uuid in follow]
    return accepted
