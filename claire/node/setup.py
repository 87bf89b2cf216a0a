"""First run: folders, key, database, and the node's own first event."""

import os
from collections.abc import Callable
from contextlib import ExitStack

from claire.config import Home
from claire.node import backup, identity, log, members, store
from claire.node.node import Node, wall_ms


def init(
    home: Home,
    name: str,
    *,
    now_ms: Callable[[], int] = wall_ms,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Node:
    """Make what is missing and open the node; what is there stays as it is. Running it again changes nothing.

    A database without its key is not papered over: the key may be in a backup. A key without its database gets a new
    one, into which peers bring back what the node wrote.
    """
    members.check_name(name)
    for folder in home.folders:
        with store.words(folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
    with store.locked(home.write_lock), store.words(home.data):
        if not os.path.exists(home.database):
            _make(home, name, now_ms(), entropy)
    with ExitStack() as until_ready:
        node = until_ready.enter_context(Node(home, now_ms=now_ms, entropy=entropy))
        _ = node.identity  # a lost key is said now, not at the first write
        with node.reading() as db:
            begun = log.newest_own(db, node.machine_id) is not None
        if not begun:  # this is the first run, or the first one was cut short
            members.announce(node, name, [], "")
        until_ready.pop_all()
    return node


def _make(home: Home, name: str, now_ms: int, entropy: Callable[[int], bytes]) -> None:
    """The key, where there is none, and the database."""
    if not os.path.exists(home.key_file):
        identity.create(home.key_file, entropy(identity.KEY_BYTES))
    key = identity.load(home.key_file)
    # Of a database that is gone the -wal may still be there: SQLite would play it into the new one.
    backup.set_aside(home.database, "gone", now_ms)
    store.create(home.database, key.machine_id, key.public_key.hex(), name)
