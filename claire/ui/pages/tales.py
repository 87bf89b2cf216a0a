"""Events as a page tells them: the sentence the terminal prints too, and where it leads."""

from sqlite3 import Connection
from typing import Any

from claire.node import history, names
from claire.node.rows import Row
from claire.ui import story

# The first of these that an event mentions is what it is about.
PLACES = (
    ("broadcast_id", "/broadcast/"),
    ("task_id", "/tasks/"),
    ("project_id", "/projects/"),
    ("session_uuid", "/sessions/"),
    ("new", "/sessions/"),
)
TEXT_CHARS_SHOWN = 500
SEARCHED_EVENTS_MAX = 20_000


def tell(db: Connection, events: list[Row]) -> list[Row]:
    """Each event with its `sentence` and the `path` of what it is about, empty if that has no page."""
    known = names.of(db, story.mentioned(event["payload"] for event in events))

    def label(id_: str) -> str:
        return known.get(id_, id_[: story.SHORT_CHARS])

    return [
        event
        | {
            "sentence": story.tell(event["event_type"], event["payload"], label)[:TEXT_CHARS_SHOWN],
            "path": place(event["payload"]),
        }
        for event in events
    ]


def recent(db: Connection, about: str, limit: int) -> list[Row]:
    """The latest events that mention an id; a page cannot wait for a search of the whole log, /log can."""
    return tell(db, history.list_events(db, about=about, limit=limit, within=SEARCHED_EVENTS_MAX))


def place(payload: Any) -> str:
    if not isinstance(payload, dict):
        return ""
    said = payload | (payload["session"] if isinstance(payload.get("session"), dict) else {})
    found = ((said.get(field), path) for field, path in PLACES)
    return next((f"{path}{id_}" for id_, path in found if isinstance(id_, str) and id_.isascii()), "")
