"""A seal vouches for exactly what it covers; anything else is checked one by one, and forged events stay outside."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from claire.node import identity, log, projects, seals, tasks
from claire.node.event import Event
from claire.node.node import SEAL_EVENTS, Node
from tests.conftest import befriend
from tests.node import events as made


def write_many(node: Node, count: int) -> list[Event]:
    project = projects.create(node, "api")
    with node.writing() as tx:
        for number in range(count - 2):  # node_joined and project_created came before
            tx.record(tasks.TaskCreated(node.new_id(), project["id"], f"step {number}"))
    with node.reading() as db:
        return log.after(db, {node.machine_id: ""}, 10 * SEAL_EVENTS)


def signatures_checked(events: list[Event], trusted: Callable[[Event], bool] = lambda event: True) -> tuple[int, int]:
    """How many signatures `proven` verifies, and for how many events it vouches."""
    asked: list[Event] = []

    def signed(event: Event) -> bool:
        asked.append(event)
        return trusted(event)

    with contextlib.closing(made.empty_database()) as nothing:
        return len(seals.proven(nothing, seals.hashed(events), signed)), len(asked)


@pytest.fixture
def sealed(make_node: Callable[..., Node]) -> tuple[Node, list[Event]]:
    author = make_node("author")
    return author, write_many(author, 2 * SEAL_EVENTS + 10)


def test_every_thousand_events_end_in_a_seal_over_them(sealed: tuple[Node, list[Event]]) -> None:
    _, events = sealed
    at = [n for n, event in enumerate(events) if event.event_type == "events_sealed"]
    assert at == [SEAL_EVENTS, 2 * SEAL_EVENTS]
    assert signatures_checked(events) == (2 * SEAL_EVENTS - 1, 2)
    assert signatures_checked(events[: SEAL_EVENTS + 1])[0] == SEAL_EVENTS
    assert signatures_checked(events[SEAL_EVENTS + 1 :])[0] == SEAL_EVENTS - 1


def test_a_receiver_takes_sealed_and_unsealed_events_alike(
    sealed: tuple[Node, list[Event]], make_node: Callable[..., Node]
) -> None:
    author, events = sealed
    receiver = make_node("receiver")
    befriend(author, receiver)
    receipt = receiver.receive(events[:1500])
    assert (receipt.accepted, receipt.refused) == (1500, [])
    receipt = receiver.receive(events)
    assert (receipt.duplicate, receipt.refused) == (1500, [])
    with receiver.reading() as db:
        assert log.recount(db) == {m: row for m, row in log.index(db).items() if row.count}


@pytest.mark.parametrize("field", ["payload", "created_at", "sig", "uuid", "hlc"])
def test_one_changed_byte_under_a_seal_is_found(
    sealed: tuple[Node, list[Event]], make_node: Callable[..., Node], field: str
) -> None:
    author, events = sealed
    receiver = make_node("receiver")
    befriend(author, receiver)
    forged = list(events)
    text = getattr(events[500], field)
    at = 12 if field == "hlc" else len(text) - 3
    other = ("1" if text[at] != "1" else "2") + text[at + 1 :]
    forged[500] = msgspec.structs.replace(events[500], **{field: text[:at] + other})
    receipt = receiver.receive(forged)
    assert receipt.accepted == 500
    assert receipt.refused[0].uuid == forged[500].uuid


def test_a_seal_of_somebody_else_proves_nothing(sealed: tuple[Node, list[Event]]) -> None:
    _, events = sealed
    assert signatures_checked(events, lambda event: False) == (0, 2)
    foreign = msgspec.structs.replace(events[SEAL_EVENTS], machine_id="x")
    assert signatures_checked([*events[:SEAL_EVENTS], foreign])[0] == 0


def test_a_segment_with_a_hole_is_not_proven(sealed: tuple[Node, list[Event]]) -> None:
    _, events = sealed
    assert signatures_checked(events[:10] + events[11:]) == (SEAL_EVENTS - 1, 1)


def test_overlapping_seals_are_hashed_once(make_node: Callable[..., Node]) -> None:
    author = make_node("author")
    events = write_many(author, 100)
    body = seals.EventsSealed(events[0].hlc, events[-1].hlc, len(events), seals.seal_hash(seals.hashed(events)))
    with author.writing() as tx:
        events += [tx.record(body) for _ in range(50)]
    assert signatures_checked(events) == (100, 1)


def test_the_golden_seal_covers_the_golden_lines() -> None:
    """How a seal hashes is frozen with the wire format."""
    lines = (Path(__file__).parent / "golden.ndjson").read_bytes().splitlines()
    events = [msgspec.json.decode(line, type=Event) for line in lines]
    assert signatures_checked(events) == (21, 1)


def test_a_segment_may_be_partly_in_the_log_already(
    sealed: tuple[Node, list[Event]], make_node: Callable[..., Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    author, events = sealed
    receiver = make_node("receiver")
    befriend(author, receiver)
    receiver.receive(events[:400])
    verified: list[bytes] = []
    verify = identity.verify
    monkeypatch.setattr(identity, "verify", lambda key, *rest: verified.append(key) or verify(key, *rest))
    assert receiver.receive(events[400 : SEAL_EVENTS + 1]).accepted == SEAL_EVENTS + 1 - 400
    assert len(verified) == 2  # the seal vouches for the rest; then it is checked as an event itself
