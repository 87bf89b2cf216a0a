"""First run: folders, key, database, and the node's own first event."""

import os
from collections.abc import Callable

from claire.config import Home
from claire.node import identity, log, members, store
from claire.node.node import Node, wall_ms


def init(
    home: Home,
    name: str,
    *,
    now_ms: Callable[[], int] = wall_ms,
    entropy: Callable[[int], bytes] = os.urandom,
) -> Node:
    """Make what is missing and open the node; what is there stays as it is. Running it again changes nothing.

    A database without its key, or a key without its database, is never papered over: the one may be in a backup.
    """
    for folder in home.folders:
        with store.words(folder):
            os.makedirs(folder, mode=0o700, exist_ok=True)
    if os.path.exists(home.database):
        node = Node(home, now_ms=now_ms, entropy=entropy)
        with node.reading() as db:
            begun = log.newest_own(db, node.machine_id) is not None
        if not begun:  # the first run was cut short
            members.announce(node, name, [], "")
        return node
    with store.words(home.key_file):
        key = (
            identity.load(home.key_file)
            if os.path.exists(home.key_file)
            else identity.create(home.key_file, entropy(identity.KEY_BYTES))
        )
    store.create(home.database, key.machine_id, key.public_key.hex(), name)
    node = Node(home, now_ms=now_ms, entropy=entropy)
    members.announce(node, name, [], "")
    return node
