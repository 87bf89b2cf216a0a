"""What the daemon says on standard error: warnings alone unless CLAIRE_LOG asks for more, each one harmless line."""

import json
import logging
import sys
import time
from asyncio import AbstractEventLoop
from collections.abc import Mapping
from typing import Any

from claire.node.errors import UsageError
from claire.ui.text import safe

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
AGAIN_S = 60.0  # the same trouble of the loop is said again after so long, and how often it came
NOISY = ("httpx", "httpcore", "hypercorn.access", "asyncio")


class Line(logging.Formatter):
    """`2026-11-22T10:15:00 warning claire.sync.runner: text`; peers' words in it cannot steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        at = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        lines = [f"{at} {record.levelname.lower()} {record.name}: {safe(record.getMessage())}"]
        if record.exc_info:
            lines += map(safe, self.formatException(record.exc_info).split("\n"))
        return "\n".join(lines)


class Json(logging.Formatter):
    """The same as one JSON object a line, for programs: CLAIRE_LOG=json or info,json."""

    def format(self, record: logging.LogRecord) -> str:
        said = {"at": record.created, "level": record.levelname.lower(), "from": record.name}
        said["message"] = record.getMessage()
        if record.exc_info:
            said["trace"] = self.formatException(record.exc_info)
        return json.dumps(said)


def configure(env: Mapping[str, str]) -> None:
    """CLAIRE_LOG: a level, `json`, or both with a comma."""
    words = [word for word in env.get("CLAIRE_LOG", "").lower().split(",") if word]
    if unknown := [word for word in words if word not in LEVELS and word != "json"]:
        raise UsageError(f"CLAIRE_LOG: {unknown[0]!r} is none of {', '.join(LEVELS)}, json")
    level = next((LEVELS[word] for word in words if word in LEVELS), logging.WARNING)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Json() if "json" in words else Line())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in NOISY:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


class Seldom:
    """The loop's exception handler: out of file descriptors it would say so thousands of times a minute."""

    def __init__(self) -> None:
        self.said: dict[str, tuple[float, int]] = {}

    def __call__(self, loop: AbstractEventLoop, context: dict[str, Any]) -> None:
        kind = f"{context['message']} {type(context.get('exception')).__name__}"
        at, times = self.said.get(kind, (-AGAIN_S, 0))
        if time.monotonic() - at < AGAIN_S:
            self.said[kind] = (at, times + 1)
            return
        self.said[kind] = (time.monotonic(), 0)
        if times:
            context = {**context, "message": f"{context['message']} ({times} times more meanwhile)"}
        loop.default_exception_handler(context)
