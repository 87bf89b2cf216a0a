"""JSON edited as text: what is inserted or removed changes, every other byte stays. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

DEPTH_MAX = 64
_SPACE = re.compile(r"[ \t\n\r]*")
_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")


@dataclass(frozen=True, slots=True)
class Item:
    """A value where it stands: text[start:end]. Members of an object have a key, and start at it."""

    start: int
    end: int
    value: Any
    items: list[Item] = field(default_factory=list)
    key: str = ""
    first: int = 0  # where the value itself begins

    def member(self, key: str) -> Item | None:
        return next((item for item in self.items if item.key == key), None)


def parse(text: str) -> Item:
    """The whole text as one value; ValueError for anything but plain JSON without doubled keys."""
    start = _skip(text, 0)
    item = _value(text, start, start, "", 0)
    if _skip(text, item.end) != len(text):
        raise ValueError(f"something follows the JSON at character {item.end}")
    return item


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found
    return found.end()


def _value(text: str, start: int, at: int, key: str, depth: int) -> Item:
    if depth > DEPTH_MAX:
        raise ValueError("nested too deeply")
    opening = text[at : at + 1]
    if opening in ("{", "["):
        return _container(text, start, at, key, depth)
    if opening == '"':
        value, end = scanstring(text, at + 1, True)
        return Item(start, end, value, key=key, first=at)
    found = _SCALAR.match(text, at)
    if not found:
        raise ValueError(f"not JSON at character {at}")
    return Item(start, found.end(), json.loads(found.group()), key=key, first=at)


def _container(text: str, start: int, at: int, key: str, depth: int) -> Item:
    closing = "}" if text[at] == "{" else "]"
    items: list[Item] = []
    position = _skip(text, at + 1)
    while text[position : position + 1] != closing:
        if items:
            if text[position : position + 1] != ",":
                raise ValueError(f"a comma or {closing} is missing at character {position}")
            position = _skip(text, position + 1)
        items.append(
            _member(text, position, depth) if closing == "}" else _value(text, position, position, "", depth + 1)
        )
        position = _skip(text, items[-1].end)
    keys = [item.key for item in items]
    if closing == "}" and len(set(keys)) < len(keys):
        raise ValueError("a key is given twice")
    value = {item.key: item.value for item in items} if closing == "}" else [item.value for item in items]
    return Item(start, position + 1, value, items, key, at)


def _member(text: str, at: int, depth: int) -> Item:
    if text[at : at + 1] != '"':
        raise ValueError(f"a key is missing at character {at}")
    key, end = scanstring(text, at + 1, True)
    colon = _skip(text, end)
    if text[colon : colon + 1] != ":":
        raise ValueError(f"a colon is missing at character {colon}")
    return _value(text, at, _skip(text, colon + 1), key, depth + 1)


def insert(text: str, container: Item, value: Any, key: str = "") -> str:
    """`value` as the last item of an array, or as the last member of an object."""
    unit, line_start = indent_of(text), _line_indent(text, container.first)
    wide = "\n" in text[container.first : container.end] or (unit and not container.items)
    said = f"{json.dumps(key, ensure_ascii=False)}: " if container.value.__class__ is dict else ""
    if not wide or not unit:
        separator = ", " if ", " in text else ","
        words = said + json.dumps(value, ensure_ascii=False)
        at = container.items[-1].end if container.items else container.first + 1
        return text[:at] + (separator if container.items else "") + words + text[at:]
    newline = "\r\n" if "\r\n" in text else "\n"
    own = _line_indent(text, container.items[-1].start) if container.items else line_start + unit
    words = said + json.dumps(value, ensure_ascii=False, indent=unit).replace("\n", f"{newline}{own}")
    if container.items:
        at = container.items[-1].end
        return f"{text[:at]},{newline}{own}{words}{text[at:]}"
    return f"{text[: container.first + 1]}{newline}{own}{words}{newline}{line_start}{text[container.end - 1 :]}"


def remove(text: str, container: Item, item: Item) -> str:
    """The container without this item, and without what only separated it."""
    number = container.items.index(item)
    if len(container.items) == 1:
        return text[: container.first + 1] + text[container.end - 1 :]
    if number == 0:
        return text[: item.start] + text[container.items[1].start :]
    return text[: container.items[number - 1].end] + text[item.end :]


def indent_of(text: str) -> str:
    """One step of indentation as this text writes it; empty for a text on one line."""
    found = re.search(r"\n([ \t]+)\S", text)
    if found:
        return found.group(1)
    return "" if text.strip() not in ("", "{}") else "  "


def _line_indent(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at]
    found = re.match(r"[ \t]*", line)
    assert found
    return found.group()
