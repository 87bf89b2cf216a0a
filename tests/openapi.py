"""OpenAPI of both listeners, made from what opens them: the rules of their guards, the forms of the pages, the messages
of a round. Nothing is written down twice, so it cannot fall behind."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

import claire.ui
from claire.node.event import Event
from claire.sync import introduction, pairing
from claire.sync.messages import EVENTS_PATH, RANGES_PATH, STATE_PATH, Compare
from claire.ui.guard import Guard

Schema = dict[str, Any]

TEMPLATES = Path(claire.ui.__file__).parent / "templates"
MESSAGES = (Event, Compare, pairing.Join)
SYNC_QUERY = {STATE_PATH: ["wait"], EVENTS_PATH: ["after", "since", "id", "limit"]}


def of_dashboard(guard: Guard, known: Sequence[str]) -> Schema:
    """Every page and action may be asked any field that a page sends; `known` are values that mean something."""
    value = {"anyOf": [{"enum": list(known)}, {"type": "string"}]}
    fields = sorted({name for path in TEMPLATES.iterdir() for name in re.findall(r'name="(\w+)"', path.read_text())})
    paths = {rule.path for _, rule in guard.rules}
    form = {"type": "object", "properties": dict.fromkeys([*fields, "code"], value)}
    return describe(guard, value, dict.fromkeys(paths, fields), dict.fromkeys(paths, form))


def of_sync(guard: Guard, known: Sequence[str]) -> Schema:
    refs, schemas = msgspec.json.schema_components(MESSAGES, ref_template="#/components/schemas/{name}")
    event, compare, join = refs
    lines = {"type": "array", "items": event, "maxItems": 5}
    bodies = {EVENTS_PATH: lines, introduction.PATH: lines, RANGES_PATH: compare, pairing.PAIR_PATH: join}
    value = {"anyOf": [{"enum": list(known)}, {"type": "string"}, {"type": "integer"}]}
    return {**describe(guard, value, SYNC_QUERY, bodies), "components": {"schemas": schemas}}


def describe(guard: Guard, value: Schema, query: Mapping[str, Sequence[str]], bodies: Mapping[str, Schema]) -> Schema:
    paths: dict[str, Schema] = {}
    for _, rule in guard.rules:
        path = re.sub(r"{(\w+):\w+}", r"{\1}", rule.path)
        asked = [_parameter("path", name, value) for name in re.findall(r"{(\w+)}", path)]
        for method in rule.methods - {"HEAD"}:
            operation = paths.setdefault(path, {})[method.lower()] = {
                "parameters": [*asked, *(_parameter("query", name, value) for name in query.get(rule.path, ()))],
                "responses": {"default": {"description": "anything but a failure"}},
            }
            if rule.body_type:
                operation["requestBody"] = {"content": {rule.body_type: {"schema": bodies[rule.path]}}}
    return {"openapi": "3.1.0", "info": {"title": "Claire", "version": claire.__version__}, "paths": paths}


def _parameter(where: str, name: str, value: Schema) -> Schema:
    return {"in": where, "name": name, "required": where == "path", "schema": value}
