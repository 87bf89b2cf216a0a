"""Folding is free of order: the same events give the same tables, however they come."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claire.node import conflicts, hlc, log, tasks
from claire.node.event import Event, all_types, read_body, said
from claire.node.fold import apply_event
from tests.node import events as made


@settings(max_examples=200, deadline=None)
@given(made.event_sets() | made.twins(), st.randoms(use_true_random=False), st.integers(1, 7))
def test_any_order_duplication_and_split_gives_the_tables_of_a_replay(
    events: list[Event], rng: random.Random, batch_events: int
) -> None:
    in_order = made.empty_database()
    made.take_in(in_order, events)
    expected = made.tables(in_order)
    assert made.replayed(in_order) == expected

    shuffled = events + rng.sample(events, len(events) // 2)
    rng.shuffle(shuffled)
    other = made.empty_database()
    for start in range(0, len(shuffled), batch_events):
        made.take_in(other, shuffled[start : start + batch_events])
    assert made.tables(other) == expected
    assert log.etag(other) == log.etag(in_order)
    assert log.recount(other) == {m: row for m, row in log.index(other).items() if row.count}


def test_links_whose_joined_ids_look_alike_are_one_whatever_comes_first() -> None:
    links = [tasks.TaskLinked("x", "x/x"), tasks.TaskLinked("x/x", "x")]
    events = [made.signed(made.OWN, body, made.WALL_MS + n, made.IDS[n]) for n, body in enumerate(links)]
    here, there = made.empty_database(), made.empty_database()
    made.take_in(here, events)
    made.take_in(there, events[::-1])
    assert made.tables(here) == made.tables(there)


@settings(max_examples=50, deadline=None)
@given(made.event_sets(max_size=12), st.integers(0, 12))
def test_every_prefix_equals_its_replay(events: list[Event], length: int) -> None:
    db = made.empty_database()
    for event in events[:length]:
        log.append(db, [event])
        apply_event(db, event)
    assert made.tables(db) == made.replayed(db)


@settings(max_examples=100, deadline=None)
@given(made.event_sets())
def test_heads_are_exactly_the_events_nothing_replaces(events: list[Event]) -> None:
    """Against a plain oracle: for every task field, collect who sets it and who is replaced."""
    db = made.empty_database()
    made.take_in(db, events)
    setters: dict[tuple[str, str], set[str]] = {}
    for event in events:
        body = read_body(event)
        if isinstance(body, tasks.TaskCreated):
            for field in ("project_id", "title", "description", "status", "priority"):
                setters.setdefault((body.task_id, field), set()).add(event.uuid)
        elif isinstance(body, tasks.TaskChanged):
            for field in said(body.set):
                setters.setdefault((body.task_id, field), set()).add(event.uuid)
    dead = {pair for event in events for pair in _replaced(event)}
    stored = {id_: msgspec.json.decode(text) for id_, text in db.execute("SELECT id, registers FROM tasks")}
    for (task, field), uuids in setters.items():
        alive = {uuid for uuid in uuids if (uuid, task, field) not in dead}
        assert {uuid for uuid, (_, fields) in stored[task].items() if field in fields} == alive


def _replaced(event: Event) -> set[tuple[str, str, str]]:
    """(event, task, field) values that a change of a task declares dead; replacing itself means nothing."""
    body = read_body(event)
    if not isinstance(body, tasks.TaskChanged):
        return set()
    fields = said(body.set)
    return {(uuid, body.task_id, f) for f in fields for uuid in body.on.get(f, []) if uuid != event.uuid}


def test_an_unknown_type_field_or_value_is_kept_counted_and_not_folded() -> None:
    db = made.empty_database()
    known = made.signed(made.OWN, tasks.TaskCreated(made.IDS[0], made.IDS[1], "t"), made.WALL_MS, made.IDS[0])
    for n, (event_type, payload) in enumerate(
        [
            ("task_teleported", "{}"),
            ("task_created", known.payload[:-1] + ',"colour":"red"}'),
            ("task_created", known.payload[:-1] + ',"priority":5}'),
            ("task_created", known.payload[:-1] + ',"priority":1' + "0" * 30 + "}"),
        ]
    ):
        event = Event(
            made.IDS[0][:-1] + str(n + 2),
            hlc.encode(made.WALL_MS + n, 0, made.OWN.machine_id),
            made.OWN.machine_id,
            event_type,
            payload,
            known.created_at,
            known.sig,
        )
        made.take_in(db, [event])
    assert db.execute("SELECT count(*) FROM unread_events").fetchone() == (4,)
    assert db.execute("SELECT count(*) FROM tasks").fetchone() == (0,)
    assert log.index(db)[made.OWN.machine_id].count == 4


@pytest.mark.parametrize("order", [1, -1])
def test_concurrent_edits_are_a_conflict_until_an_edit_that_saw_them(order: int) -> None:
    db = made.empty_database()
    key_a, key_b, _ = made.KEYS
    uuids = [made.IDS[0][:-1] + str(n) for n in range(5)]
    task = made.IDS[0]
    created = made.signed(key_a, tasks.TaskCreated(task, made.IDS[1], "t"), made.WALL_MS, uuids[0])
    here = made.signed(
        key_a, tasks.TaskChanged(task, tasks.TaskFields(status="todo")), made.WALL_MS + 9, uuids[1], [uuids[0]]
    )
    there = made.signed(
        key_b, tasks.TaskChanged(task, tasks.TaskFields(status="done")), made.WALL_MS + 1, uuids[2], [uuids[0]]
    )
    made.take_in(db, [created, here, there])
    (conflict,) = conflicts.list_conflicts(db)
    assert (conflict["shown"], {v["value"] for v in conflict["values"]}) == ("done", {"todo", "done"})
    assert tasks.find(db, task)["conflicts"] == ["status"]

    # Reopening after having seen "done" wins, although its machine's clock is behind.
    seen = uuids[1:3][::order]
    reopened = made.signed(
        key_b, tasks.TaskChanged(task, tasks.TaskFields(status="in_progress")), made.WALL_MS + 2, uuids[3], seen
    )
    made.take_in(db, [reopened])
    assert conflicts.list_conflicts(db) == []
    assert tasks.find(db, task)["status"] == "in_progress"


def test_every_event_type_can_be_read_from_its_golden_line() -> None:
    """The wire format is frozen: add lines, never change one."""
    import pathlib

    lines = (pathlib.Path(__file__).parent / "golden.ndjson").read_bytes().splitlines()
    events = [msgspec.json.decode(line, type=Event) for line in lines]
    assert {event.event_type for event in events} == set(all_types())
    assert [event.uuid for event in events if read_body(event) is None] == []
