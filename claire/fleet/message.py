"""What a broadcast looks like in a composer: harmless to the terminal, disarmed, and recognisable. Pure."""

from __future__ import annotations

import re

from claire.fleet.obstacles import Obstacle

MESSAGE_BYTES_MAX = 60_000
TAB_SPACES = 4
NAME_CHARS_MAX = 40
MEANS_SOMETHING = ("/", "!", "#", "@", "&")
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def clean(text: str) -> str:
    """Without anything a terminal could obey: tmux passes `ESC[201~` and CR straight through."""
    lines = text.replace("\r\n", "\n").replace("\t", " " * TAB_SPACES)
    return _CONTROL.sub("", lines).strip("\n ")


def message(text: str, broadcast_id: str, author: str = "", raw: bool = False) -> str | Obstacle:
    """What will stand in the composer. The prefix disarms the first character and makes the receipt exact."""
    cleaned = clean(text)
    if not cleaned:
        return Obstacle("the text is empty")
    if raw:
        framed = cleaned
    elif cleaned.startswith(MEANS_SOMETHING):
        return Obstacle(f"a leading {cleaned[0]} is a command to Claude Code; allow it with --raw")
    else:
        frame = f"[claire:{broadcast_id[:8]}{f' from {author[:NAME_CHARS_MAX]}' if author else ''}]"
        framed = f"{clean(frame).replace(chr(10), ' ')} {cleaned}"  # id and name are foreign text, too
    if len(framed.encode()) > MESSAGE_BYTES_MAX:
        return Obstacle(f"the text is longer than {MESSAGE_BYTES_MAX} bytes")
    return framed
