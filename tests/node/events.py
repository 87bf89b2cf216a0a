"""Event sets for property tests: any mixture of facts about a few things, replacing whichever others they like."""

import sqlite3
import uuid as uuid_module
from typing import Any

from hypothesis import strategies as st

from claire.node import (
    assignments,
    broadcasts,
    decisions,
    groups,
    hlc,
    identity,
    log,
    members,
    notices,
    projects,
    sessions,
    tasks,
    updates,
)
from claire.node.event import Body, Event, read_body, write_payload
from claire.node.fold import Fold, replay_events
from claire.node.node import time_ordered_uuid, utc_text
from claire.node.schema import PROJECTIONS, SCHEMA

KEYS = [identity.Identity(bytes([n]) * 32) for n in range(1, 4)]
OWN = KEYS[0]
WALL_MS = 1_790_000_000_000
IDS = [str(uuid_module.UUID(int=n, version=4)) for n in range(1, 4)]
TEXTS = st.sampled_from(["", "api", "web", "naïve ☃", "x" * 300, "\x1b[31m'\"<b>"])

ids = st.sampled_from(IDS)
maybe_ids = st.none() | ids
statuses = st.sampled_from([*tasks.STATUSES, "cancelled"])
ons = st.lists(st.integers(0, 30), max_size=3)  # indices of events, resolved when the set is complete


def _fields(kind: type[Any], **values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({}, optional=values).map(lambda chosen: kind(**chosen))


KINDS: list[st.SearchStrategy[Any]] = [
    st.builds(projects.ProjectCreated, ids, TEXTS, TEXTS, TEXTS),
    st.builds(
        projects.ProjectChanged, ids, _fields(projects.ProjectFields, name=TEXTS, goal=TEXTS, deleted=st.booleans())
    ),
    st.builds(projects.ProjectMerged, ids, ids),
    st.builds(tasks.TaskCreated, ids, ids, TEXTS, TEXTS, statuses, st.integers(0, 4)),
    st.builds(
        tasks.TaskChanged,
        ids,
        _fields(tasks.TaskFields, title=TEXTS, status=statuses, priority=st.integers(0, 4), deleted=st.booleans()),
    ),
    st.builds(tasks.TaskLinked, ids, ids),
    st.builds(tasks.TaskUnlinked, ids, ids),
    st.builds(assignments.AssignmentCreated, ids, ids, ids, st.none() | st.integers(0, 1 << 53)),
    st.builds(assignments.AssignmentEnded, ids, TEXTS),
    st.builds(
        sessions.SessionObserved,
        st.builds(sessions.Observation, session_uuid=ids, host=TEXTS, state=TEXTS, gone=st.booleans()),
    ),
    st.builds(sessions.SessionSucceeded, ids, ids, TEXTS),
    st.builds(groups.GroupDefined, TEXTS, TEXTS),
    st.builds(groups.GroupRemoved, TEXTS),
    st.builds(updates.UpdateAdded, TEXTS, TEXTS, maybe_ids, maybe_ids, maybe_ids),
    st.builds(decisions.DecisionLogged, TEXTS, maybe_ids, maybe_ids),
    st.builds(broadcasts.BroadcastSent, ids, TEXTS, TEXTS, st.just([]), st.integers(0, 1 << 53)),
    st.builds(broadcasts.BroadcastDelivered, ids, ids, TEXTS, TEXTS),
    st.builds(notices.PersonNotified, ids, TEXTS, st.integers(0, 3)),
    st.builds(members.NodeJoined, TEXTS, st.just([]), TEXTS),
    st.builds(members.NodeRenamed, st.sampled_from(KEYS).map(lambda key: key.machine_id), TEXTS),
]
bodies: st.SearchStrategy[Body] = st.one_of(KINDS)


@st.composite
def event_sets(draw: st.DrawFn, max_size: int = 30) -> list[Event]:
    """Signed events of three machines, stamps increasing per machine, each replacing any others of the set."""
    chosen = draw(st.lists(st.tuples(st.integers(0, 2), bodies, st.integers(0, 5), ons), min_size=1, max_size=max_size))
    walls = [WALL_MS, WALL_MS, WALL_MS + 10]
    uuids = [time_ordered_uuid(WALL_MS, n.to_bytes(10, "big")) for n in range(len(chosen))]
    events = []
    for n, (machine, body, later_ms, replaced) in enumerate(chosen):
        walls[machine] += later_ms + 1
        events.append(signed(KEYS[machine], body, walls[machine], uuids[n], [uuids[i % len(uuids)] for i in replaced]))
    return events


@st.composite
def twins(draw: st.DrawFn) -> list[Event]:
    """Events of one kind with one stamp: two clones of a machine can say different things in the same millisecond."""
    chosen = draw(st.lists(draw(st.sampled_from(KINDS)), min_size=2, max_size=6))
    uuids = [time_ordered_uuid(WALL_MS, n.to_bytes(10, "big")) for n in range(len(chosen))]
    return [signed(OWN, body, WALL_MS, uuid) for body, uuid in zip(chosen, uuids, strict=True)]


def signed(
    key: identity.Identity, body: Body, wall_ms: int, uuid: str, on: list[str] | None = None, counter: int = 0
) -> Event:
    """One event as its node would have made it."""
    if on and "on" in body.__struct_fields__:
        fields = list(getattr(body, "set", body).__struct_fields__)
        body = type(body)(
            **{**_values(body), "on": on if isinstance(getattr(body, "on", None), list) else dict.fromkeys(fields, on)}
        )
    payload, stamp = write_payload(body), hlc.encode(wall_ms, counter, key.machine_id)
    unsigned = Event(uuid, stamp, key.machine_id, body.wire_name, payload, utc_text(wall_ms), "")
    return resigned(unsigned, key)


def resigned(event: Event, key: identity.Identity) -> Event:
    from claire.node.event import signed_bytes

    values = {name: getattr(event, name) for name in event.__struct_fields__}
    return Event(**{**values, "sig": key.sign_text(signed_bytes(event))})


def _values(body: Body) -> dict[str, Any]:
    return {name: getattr(body, name) for name in body.__struct_fields__}


class Database(sqlite3.Connection):
    """Closed when nobody holds it any more: Python 3.13 warns of every other."""

    def __del__(self) -> None:
        self.close()


def empty_database() -> sqlite3.Connection:
    """The product's schema in memory, with the three machines as members."""
    db = sqlite3.connect(":memory:", isolation_level=None, factory=Database)
    db.executescript(SCHEMA)
    db.execute("INSERT INTO meta VALUES ('machine_id', ?)", (OWN.machine_id,))
    for key in KEYS:
        db.execute("INSERT INTO pins VALUES (?, ?, 'n')", (key.machine_id, key.public_key.hex()))
    members.settle(db, ())
    return db


def take_in(db: sqlite3.Connection, batch: list[Event]) -> None:
    """Append and fold a batch, as a node does with events it has checked."""
    known = log.known(db, [event.uuid for event in batch])
    fresh = list({event.uuid: event for event in batch if event.uuid not in known}.values())
    log.append(db, fresh)
    fold = Fold(db)
    for event in fresh:
        fold.apply(event, read_body(event))
    fold.flush()


def tables(db: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Everything the projections hold, in an order of its own."""
    return {table: sorted(db.execute(f"SELECT * FROM {table}"), key=repr) for table in PROJECTIONS}


def replayed(db: sqlite3.Connection) -> dict[str, list[tuple[Any, ...]]]:
    replay_events(db)
    return tables(db)
