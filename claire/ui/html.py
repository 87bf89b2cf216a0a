"""Rows become HTML: the template environment, its few filters, and the hash that names the static files."""

import re
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from claire.ui.text import STATES, age

HERE = Path(__file__).parent
STATIC = HERE / "static"
SHORT_CHARS = 8
WORD_CHARS_MAX = 24  # a state this Claire does not know may be any text

# What a style of the terminal is called in the stylesheet: one table of states serves both.
TONES = {"green": "works", "wait": "needs", "alarm": "stuck", "dim": "off", "": "rest"}
TASK_TONES = {"in_progress": "calm", "done": "works"}  # as the parts of a progress bar

# Controls and bidi overrides: a person cannot see them, and they can turn a line around.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def visible(value: Any) -> Any:
    """What every expression of a template passes through before it is escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNSEEN.sub(lambda found: f"\\x{ord(found.group()):02x}", value)
    return value


def iso(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def stamp_ms(hlc: str | None) -> int | None:
    """The wall clock inside a stamp."""
    return int(hlc[:13]) if hlc else None


def _assets() -> str:
    found = blake2b(digest_size=6)
    for path in sorted(STATIC.iterdir()):
        found.update(path.read_bytes())
    return found.hexdigest()


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "age": age,
        "iso": iso,
        "ms": stamp_ms,
        "short": lambda text: (text or "")[:SHORT_CHARS],
        "words": lambda word: (word or "unknown").replace("_", " ")[:WORD_CHARS_MAX],
        "glyph": lambda word: STATES.get(word, ("?", ""))[0],
        "tone": lambda word: TASK_TONES.get(word) or TONES.get(STATES.get(word, ("?", "dim"))[1], "rest"),
        "first": lambda text: (text or "").strip().split("\n", 1)[0],
    }
    return made


ASSETS = _assets()
environment = _environment()


def render(template: str, **context: Any) -> str:
    return environment.get_template(template).render(assets=ASSETS, **context)
