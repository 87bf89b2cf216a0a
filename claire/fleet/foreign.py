"""Text that others wrote, made fit for an event: encodable, and of a bounded length. Pure."""

from __future__ import annotations

from typing import Any

CHARS_MAX = 1_000  # of a folder, a name, a version


def text(value: Any, limit: int = CHARS_MAX) -> str:
    """Empty for anything but text. NUL and half a surrogate pair, which no event can hold, become `?`."""
    if not isinstance(value, str):
        return ""
    return value[:limit].replace("\0", "?").encode("utf-8", "replace").decode()
