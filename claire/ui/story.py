"""Events as sentences, for the log on the terminal and on the page; pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    Payload = dict[str, Any]
    Label = Callable[[str], str]

SHORT_CHARS = 8
ID_FIELDS = ("project_id", "into", "task_id", "blocked_by", "session_uuid", "old", "new", "machine_id", "subject")


def mentioned(payloads: Iterable[Any]) -> set[str]:
    """The ids whose names the sentences will want."""
    return {
        payload[field]
        for payload in payloads
        if isinstance(payload, dict)
        for field in ID_FIELDS
        if isinstance(payload.get(field), str)
    }


def tell(event_type: str, payload: Any, label: Label) -> str:
    """One line; `label` names a thing by its id. An event this Claire cannot read is told by its type."""
    teller = TELLERS.get(event_type)
    if teller is None or not isinstance(payload, dict):
        return f"{event_type} (cannot be read here; a newer Claire wrote it)"
    try:
        return teller(payload, label)
    except (KeyError, TypeError, AttributeError):
        return f"{event_type} (malformed)"


def _changes(payload: Payload, label: Label) -> str:
    said = [f"{field.removesuffix('_id')} {_value(field, value, label)}" for field, value in payload["set"].items()]
    return ", ".join(said)


def _value(field: str, value: Any, label: Label) -> str:
    if field.endswith("_id") and isinstance(value, str):
        return label(value)
    return str(value).replace("_", " ") if field == "status" else str(value)


def _project_changed(payload: Payload, label: Label) -> str:
    deleted = payload["set"].get("deleted")
    if deleted is not None:
        return f"project {label(payload['project_id'])} {'removed' if deleted else 'restored'}"
    return f"project {label(payload['project_id'])}: {_changes(payload, label)}"


def _task_changed(payload: Payload, label: Label) -> str:
    deleted = payload["set"].get("deleted")
    if deleted is not None:
        return f"task {label(payload['task_id'])} {'removed' if deleted else 'restored'}"
    return f"task {label(payload['task_id'])}: {_changes(payload, label)}"


def _bound(payload: Payload, label: Label) -> str:
    verb = "given to" if payload.get("lease_until_ms") is None else "claimed by"
    return f"task {label(payload['task_id'])} {verb} {label(payload['session_uuid'])}"


def _session_observed(payload: Payload, label: Label) -> str:
    seen = payload["session"]
    name = seen.get("name") or seen.get("tmux_name") or seen["session_uuid"][:SHORT_CHARS]
    state = "gone" if seen.get("gone") else seen.get("state", "unknown")
    waiting = seen.get("waiting_for")
    return f"session {name} on {seen['host']}: {state}" + (f", {waiting}" if waiting else "")


def _decision(payload: Payload, label: Label) -> str:
    about = payload.get("task_id") or payload.get("project_id")
    return f"decided for {label(about)}: {payload['text']}" if about else f"decided: {payload['text']}"


def _update(payload: Payload, label: Label) -> str:
    about = payload.get("task_id") or payload.get("session_uuid")
    return f"{payload['source']} on {label(about) if about else '?'}: {payload['payload']}"


def _delivered(payload: Payload, label: Label) -> str:
    why = f", {payload['why']}" if payload.get("why") else ""
    return f"message to {label(payload['session_uuid'])}: {payload['outcome']}{why}"


TELLERS: dict[str, Callable[[Payload, Label], str]] = {
    "project_created": lambda p, label: f"project {p['name']} begun" + (f": {p['goal']}" if p.get("goal") else ""),
    "project_changed": _project_changed,
    "project_merged": lambda p, label: f"project {label(p['project_id'])} merged into {label(p['into'])}",
    "task_created": lambda p, label: f"task {p['title']} added to {label(p['project_id'])}",
    "task_changed": _task_changed,
    "task_linked": lambda p, label: f"task {label(p['task_id'])} waits for {label(p['blocked_by'])}",
    "task_unlinked": lambda p, label: f"task {label(p['task_id'])} no longer waits for {label(p['blocked_by'])}",
    "assignment_created": _bound,
    "assignment_ended": lambda p, label: "a task taken back" + (f": {p['reason']}" if p.get("reason") else ""),
    "session_observed": _session_observed,
    "session_succeeded": lambda p, label: f"session {label(p['old'])} goes on as {label(p['new'])} ({p['reason']})",
    "group_defined": lambda p, label: f"group {p['name']} is {p['pattern']}",
    "group_removed": lambda p, label: f"group {p['name']} forgotten",
    "update_added": _update,
    "decision_logged": _decision,
    "broadcast_sent": lambda p, label: f"to {len(p['targets'])} sessions: {p['text']}",
    "broadcast_delivered": _delivered,
    "person_notified": lambda p, label: f"a person is told of {label(p['subject'])}: {p['state']}",
    "node_joined": lambda p, label: f"node {p['name']} is here",
    "node_admitted": lambda p, label: f"node {p['name']} let in",
    "node_revoked": lambda p, label: f"node {label(p['machine_id'])} cut off",
    "node_renamed": lambda p, label: f"node {label(p['machine_id'])} is now called {p['name']}",
    "events_sealed": lambda p, label: f"{p['count']} events sealed",
}
