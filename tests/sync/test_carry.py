"""A file carried on a stick is a way to sync: nothing lost, nothing taken on trust."""

import io
from collections.abc import Callable

import pytest

from claire.node import log, projects, updates
from claire.node.errors import UsageError
from claire.node.node import Node
from claire.sync import carry
from tests.conftest import Clock, befriend
from tests.node.test_node import sound

Make = Callable[..., Node]


def exported(node: Node, since_ms: int = 0) -> bytes:
    lines: list[bytes] = []
    carry.export(node, lines.append, since_ms)
    return b"".join(lines)


def bring(node: Node, text: bytes) -> carry.Carried:
    return carry.bring_in(node, io.BytesIO(text))


def test_both_ways_and_both_hold_the_same(make_node: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carry, "BATCH_EVENTS", 3)
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    for n in range(10):
        projects.create(a, f"a{n}")
        projects.create(b, f"b{n}")
    assert not bring(b, exported(a)).in_sync
    back = bring(a, exported(b))
    assert back.in_sync and back.duplicate == 12
    assert bring(a, exported(b)).accepted == 0
    with a.reading() as one, b.reading() as other:
        assert log.etag(one) == log.etag(other)
    sound(b)


def test_a_machine_admitted_further_down_is_taken_in_too(
    make_node: Make, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carry, "BATCH_EVENTS", 1)
    a, b, c = make_node("a"), make_node("b"), make_node("c")
    projects.create(c, "early")
    clock.now_ms += 10
    befriend(a, b)
    befriend(b, c)
    bring(b, exported(c))
    assert not bring(a, exported(b)).refused
    with a.reading() as db:
        assert [row["name"] for row in projects.list_projects(db)] == ["early"]


def test_a_cut_file_brings_what_is_whole_of_it(make_node: Make) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    projects.create(a, "api")
    whole = exported(a)
    for end in range(0, len(whole), 97):
        carried = bring(b, whole[:end])
        assert carried.etag == "" and not carried.refused
    assert bring(b, whole).etag
    sound(b)


def test_forged_strange_and_broken_lines(make_node: Make) -> None:
    a, b, stranger = make_node("a"), make_node("b"), make_node("stranger")
    befriend(a, b)
    projects.create(a, "api")
    forged = exported(a).replace(b"api", b"xxx")
    assert [refusal.why for refusal in bring(b, forged).refused] == ["the signature does not verify"]
    assert len(bring(b, exported(stranger)).refused) == 1
    with pytest.raises(UsageError, match="line 2 is no event"):
        bring(b, exported(a).split(b"\n")[0] + b"\nhello\n")
    with b.reading() as db:
        assert projects.list_projects(db) == []
    sound(b)


def test_since_leaves_out_what_is_older(make_node: Make, clock: Clock) -> None:
    a = make_node("a")
    clock.now_ms += 1_000
    projects.create(a, "late")
    assert exported(a, clock.now_ms).count(b"\n") == 2


def test_no_event_is_missed_where_stamps_repeat(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do where one key writes on two hosts; a page must not lose one of a pair."""
    monkeypatch.setattr(log, "ARRIVAL_PAGE_EVENTS", 7)
    task = projects.create(node, "api")["id"]
    with node.writing() as tx:
        for n in range(50):
            tx.record(updates.UpdateAdded("note", str(n), task))
        tx.db.execute("UPDATE events SET hlc = (SELECT min(hlc) FROM events)")
        assert len(list(log.in_stamp_order(tx.db))) == 52
