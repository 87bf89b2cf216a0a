"""Events as sentences: what a person reads of the log. One line of the table an event type."""

from collections.abc import Callable
from sqlite3 import Connection
from typing import Any

from claire.node.rows import Row

TEXT_CHARS_SHOWN = 400


def tell(db: Connection, events: list[Row]) -> list[Row]:
    """Each event with `verb`, what it is about (`path`, `label`) and `words`."""
    return [event | _tale(db, event["event_type"], event["payload"]) for event in events]


def _tale(db: Connection, event_type: str, payload: Any) -> Row:
    teller = TELLERS.get(event_type)
    try:
        if teller is None or not isinstance(payload, dict):
            raise TypeError(event_type)
        return teller(db, payload)
    except (KeyError, TypeError, AttributeError):
        # Stored and relayed, but written by a newer Claire: shown as what it calls itself.
        return _about("", "", event_type.replace("_", " "), "this Claire cannot read it")


def _about(path: str, label: str, verb: str, words: str = "") -> Row:
    return {"path": path, "label": label, "verb": verb, "words": words[:TEXT_CHARS_SHOWN]}


def _name(db: Connection, table: str, column: str, id_: str) -> str:
    row = db.execute(f"SELECT {column} FROM {table} WHERE id = ?", (id_,)).fetchone()
    return (row[0] if row else None) or id_[:8]


def _project(verb: str) -> Callable[[Connection, dict[str, Any]], Row]:
    def tale(db: Connection, said: dict[str, Any]) -> Row:
        id_ = said["project_id"]
        return _about(f"/projects/{id_}", _name(db, "projects", "name", id_), verb, _changes(said))

    return tale


def _task(verb: str) -> Callable[[Connection, dict[str, Any]], Row]:
    def tale(db: Connection, said: dict[str, Any]) -> Row:
        id_ = said["task_id"]
        return _about(f"/tasks/{id_}", _name(db, "tasks", "title", id_), verb, _changes(said))

    return tale


def _changes(said: dict[str, Any]) -> str:
    fields = said.get("set", {})
    return ", ".join(f"{field.replace('_', ' ')}: {_value(value)}" for field, value in fields.items())


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value).replace("in_progress", "in progress")


def _assigned(db: Connection, said: dict[str, Any]) -> Row:
    task, session = said["task_id"], _session_name(db, said["session_uuid"])
    return _about(f"/tasks/{task}", _name(db, "tasks", "title", task), "assigned", f"to {session}")


def _ended(db: Connection, said: dict[str, Any]) -> Row:
    row = db.execute("SELECT task_id FROM assignments WHERE id = ?", (said["assignment_id"],)).fetchone()
    task = (row[0] if row else None) or ""
    label = _name(db, "tasks", "title", task) if task else "an assignment"
    return _about(f"/tasks/{task}" if task else "", label, "released", said.get("reason", ""))


def _session_name(db: Connection, id_: str) -> str:
    row = db.execute("SELECT name, tmux_name FROM sessions WHERE id = ?", (id_,)).fetchone()
    return (row and (row[0] or row[1])) or id_[:8]


def _observed(db: Connection, said: dict[str, Any]) -> Row:
    seen = said["session"]
    id_ = seen["session_uuid"]
    state = "gone" if seen.get("gone") else seen.get("state", "unknown")
    waits = f": {seen['waiting_for']}" if seen.get("waiting_for") else ""
    return _about(f"/sessions/{id_}", _session_name(db, id_), state.replace("_", " "), f"{seen.get('cwd', '')}{waits}")


def _succeeded(db: Connection, said: dict[str, Any]) -> Row:
    new = said["new"]
    return _about(f"/sessions/{new}", _session_name(db, new), "continues", f"{said['old'][:8]} ({said['reason']})")


def _update(db: Connection, said: dict[str, Any]) -> Row:
    if task := said.get("task_id"):
        return _about(f"/tasks/{task}", _name(db, "tasks", "title", task), said["source"], said["payload"])
    id_ = said.get("session_uuid") or ""
    return _about(f"/sessions/{id_}" if id_ else "", _session_name(db, id_), said["source"], said["payload"])


def _decision(db: Connection, said: dict[str, Any]) -> Row:
    if task := said.get("task_id"):
        return _about(f"/tasks/{task}", _name(db, "tasks", "title", task), "decided", said["text"])
    id_ = said.get("project_id") or ""
    label = _name(db, "projects", "name", id_) if id_ else ""
    return _about(f"/projects/{id_}" if id_ else "", label, "decided", said["text"])


def _sent(db: Connection, said: dict[str, Any]) -> Row:
    count = len(said["targets"])
    words = f"to {count} session{'' if count == 1 else 's'}: {said['text']}"
    return _about(f"/broadcast/{said['broadcast_id']}", "broadcast", "sent", words)


def _delivered(db: Connection, said: dict[str, Any]) -> Row:
    why = f" ({said['why']})" if said.get("why") else ""
    words = f"{said['outcome']} to {_session_name(db, said['session_uuid'])}{why}"
    return _about(f"/broadcast/{said['broadcast_id']}", "broadcast", "delivery", words)


def _group(verb: str) -> Callable[[Connection, dict[str, Any]], Row]:
    return lambda _, said: _about("/sessions", said["name"], verb, said.get("pattern", ""))


def _node(verb: str) -> Callable[[Connection, dict[str, Any]], Row]:
    def tale(db: Connection, said: dict[str, Any]) -> Row:
        label = said.get("name") or _name(db, "members", "name", said["machine_id"])
        return _about("/peers", label, verb, ", ".join(said.get("addresses", [])))

    return tale


TELLERS: dict[str, Callable[[Connection, dict[str, Any]], Row]] = {
    "project_created": _project("new project"),
    "project_changed": _project("changed"),
    "project_merged": _project("merged into another"),
    "task_created": _task("new task"),
    "task_changed": _task("changed"),
    "task_linked": _task("waits for another"),
    "task_unlinked": _task("waits no longer"),
    "assignment_created": _assigned,
    "assignment_ended": _ended,
    "session_observed": _observed,
    "session_succeeded": _succeeded,
    "group_defined": _group("group"),
    "group_removed": _group("group removed"),
    "update_added": _update,
    "decision_logged": _decision,
    "broadcast_sent": _sent,
    "broadcast_delivered": _delivered,
    "node_joined": _node("joined"),
    "node_admitted": _node("admitted"),
    "node_revoked": _node("revoked"),
    "node_renamed": _node("renamed"),
}
