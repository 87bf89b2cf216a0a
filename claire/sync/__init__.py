"""How nodes come to know the same: a pure core and a thin network shell."""

from typing import Any

_NETWORK = {"exchange", "pull_from_peer", "push_to_peer"}  # imported when asked for: httpx costs 100 ms


def __getattr__(name: str) -> Any:
    if name in _NETWORK:
        from claire.sync import peer

        return getattr(peer, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
