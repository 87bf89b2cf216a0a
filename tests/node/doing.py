"""What tests of the nouns do all the time: read in a snapshot, and see sessions."""

from collections.abc import Callable
from typing import Any

from claire.node import sessions
from claire.node.node import Node

SESSION = "5e551011-0000-4000-8000-000000000001"
CLEARED = "c1ea4000-0000-4000-8000-000000000002"


def saw(uuid: str = SESSION, **fields: object) -> sessions.Observation:
    return sessions.Observation(
        **{"session_uuid": uuid, "host": "alpha", "tmux_name": uuid[:4], "state": "idle", **fields}
    )


def read(node: Node, query: Callable[..., Any], *args: object, **kwargs: object) -> Any:
    with node.reading() as db:
        return query(db, *args, **kwargs)
