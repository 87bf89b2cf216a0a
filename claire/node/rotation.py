"""Rotation: a node takes a new key and with it a new machine id; the old one vouches for it, and is retired or left to
the host this one was copied from."""

import os
from typing import TYPE_CHECKING

from claire.node import identity, members
from claire.node.identity import Identity
from claire.node.members import NodeAdmitted, NodeJoined, NodeRenamed, NodeRevoked
from claire.node.rows import Row

if TYPE_CHECKING:
    from claire.node.node import Node, Transaction


def rotate(node: "Node", is_copy: bool = False) -> Row:
    """Give the node a new key; the row of the member it is from now on. No daemon may run meanwhile.

    The old key's last word admits the new one, the new key's first words retire the old one at exactly that word: a
    thief of the old key can add nothing any more, and what the node wrote stays. A copy retires nothing: the host it
    was copied from goes on under the old key.
    """
    old = node.identity
    new = identity.create(_next(node), node.entropy(identity.KEY_BYTES))
    try:
        with node.writing() as tx:
            _hand_over(node, tx, old, new, is_copy)
            row = members.find(tx.db, new.machine_id)
    except BaseException:
        node.become(old)
        raise
    os.replace(node.home.next_key_file, node.home.key_file)  # a crash before this is mended by Node.identity
    return row


def _next(node: "Node") -> str:
    """Where the new key is written first; what an earlier attempt left there never came to be."""
    path = node.home.next_key_file
    if os.path.exists(path):
        os.remove(path)
    return path


def _hand_over(node: "Node", tx: "Transaction", old: Identity, new: Identity, is_copy: bool) -> None:
    said = members.find(tx.db, old.machine_id)
    last = tx.record(NodeAdmitted(new.machine_id, new.public_key.hex(), said["name"])).hlc
    tx.db.execute("UPDATE meta SET value = ? WHERE key = 'machine_id'", (new.machine_id,))
    tx.db.execute("INSERT INTO pins VALUES (?, ?, ?)", (new.machine_id, new.public_key.hex(), said["name"]))
    node.become(new)
    # Who joins later knows the new key alone: it has to vouch for the old one, or its events would be a stranger's.
    tx.record(NodeAdmitted(old.machine_id, old.public_key.hex(), said["name"]))
    if is_copy:
        tx.record(NodeJoined(f"{said['name']}~{new.machine_id[:4]}", [], said["version"]))
        return
    tx.record(NodeRevoked(old.machine_id, last))
    tx.record(NodeRenamed(old.machine_id, f"{said['name']}~{old.machine_id[:4]}"))
    tx.record(NodeJoined(said["name"], said["addresses"], said["version"]))
