"""Whole rounds between real nodes, without a network: what one holds, the other holds afterwards."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from functools import partial

import msgspec
import pytest

from claire.config import Home
from claire.node import event as event_module
from claire.node import log, projects
from claire.node.event import Body, Event
from claire.node.fold import Fold, replay_events
from claire.node.node import Node
from claire.sync import answers, wire
from claire.sync.answers import answer
from claire.sync.messages import EVENTS_PATH, RANGES_PATH, STATE_PATH, Answer, Ask, Compare, Span, encode
from claire.sync.round import Cut, Exchange, PeerError, news_steps
from tests.conftest import befriend
from tests.sync.talk import converse, play

MakeNode = Callable[..., Node]


def etag(node: Node) -> str:
    with node.reading() as db:
        return log.etag(db)


def names(node: Node) -> set[str]:
    with node.reading() as db:
        return {row["name"] for row in projects.list_projects(db)}


@pytest.fixture
def pair(make_node: MakeNode) -> tuple[Node, Node]:
    nodes = make_node("alpha"), make_node("beta")
    befriend(*nodes)
    return nodes


def test_both_sides_hold_everything_after_one_round(pair: tuple[Node, Node]) -> None:
    a, b = pair
    projects.create(a, "api")
    projects.create(b, "web")
    tally = converse(a, b)
    assert tally.in_sync and tally.received and tally.sent and not tally.refused
    assert (tally.machine_id, tally.behind, tally.ahead) == (b.machine_id, {}, {})
    assert etag(a) == etag(b)
    assert names(a) == names(b) == {"api", "web"}


def test_an_idle_round_is_one_request(pair: tuple[Node, Node]) -> None:
    a, b = pair
    converse(a, b)
    asked: list[Ask] = []
    assert converse(a, b, asked).in_sync
    assert [(ask.method, ask.path) for ask in asked] == [("GET", STATE_PATH)]


def test_a_push_is_two_requests(pair: tuple[Node, Node]) -> None:
    a, b = pair
    converse(a, b)
    projects.create(a, "api")
    asked: list[Ask] = []
    assert converse(a, b, asked).sent == 1
    assert [(ask.method, ask.path) for ask in asked] == [("GET", STATE_PATH), ("POST", EVENTS_PATH)]


def told(node: Node, other: Node, agreed: dict[str, str]) -> tuple[Exchange, list[tuple[str, str]]]:
    """What a node sends that last agreed with the other at `agreed`, and what it asked for that."""
    asked: list[Ask] = []
    tally = play(node, lambda ask: answer(other, ask), asked, partial(news_steps, agreed=agreed))
    return tally, [(ask.method, ask.path) for ask in asked]


def test_news_of_our_own_is_one_request_to_a_peer_we_agreed_with(pair: tuple[Node, Node]) -> None:
    a, b = pair
    agreed = converse(a, b).agreed
    projects.create(a, "api")
    tally, asked = told(a, b, agreed)
    assert (tally.sent, tally.in_sync, asked) == (1, True, [("POST", EVENTS_PATH)])
    assert told(a, b, tally.agreed)[1] == [("GET", STATE_PATH)]


def test_news_where_the_peer_has_some_too_end_in_a_whole_round(pair: tuple[Node, Node]) -> None:
    a, b = pair
    agreed = converse(a, b).agreed
    projects.create(a, "api")
    projects.create(b, "web")
    tally, _ = told(a, b, agreed)
    assert tally.in_sync and names(a) == names(b) == {"api", "web"}
    assert told(b, a, agreed)[0].in_sync


def test_late_relay_loses_nothing(make_node: MakeNode) -> None:
    """A has seen newer events of B when B learns older ones of C: one cursor would skip those for ever."""
    a, b, c = make_node("a"), make_node("b"), make_node("c")
    befriend(a, b, c)
    projects.create(c, "old")
    c_clock = c.now_ms
    assert c_clock() == b.now_ms()
    b.now_ms = lambda: c_clock() + 50_000
    projects.create(b, "new")
    converse(a, b)
    assert names(a) == {"new"}
    converse(b, c)
    converse(a, b)
    assert names(a) == {"new", "old"}
    assert etag(a) == etag(b)


def test_a_machine_admitted_by_the_peer_is_learnt_in_the_same_round(make_node: MakeNode) -> None:
    a, b, c = make_node("a"), make_node("b"), make_node("c")
    befriend(a, b)
    befriend(b, c)
    projects.create(c, "far")
    converse(b, c)
    assert converse(a, b).in_sync
    assert names(a) == {"far"}
    assert converse(c, b).in_sync and etag(a) == etag(c)


def test_many_pages_both_ways(pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pair
    for number in range(30):
        projects.create(a, f"a{number}")
        projects.create(b, f"b{number}")
    monkeypatch.setattr(wire, "PAGE_EVENTS", 4)
    monkeypatch.setattr(wire, "PAGE_BYTES", 2000)
    assert converse(a, b).in_sync
    assert len(names(a)) == 60 and etag(a) == etag(b)


def test_a_cut_answer_keeps_what_was_whole_and_the_next_round_resumes(pair: tuple[Node, Node]) -> None:
    a, b = pair
    for number in range(10):
        projects.create(b, f"b{number}")

    def cut(ask: Ask) -> Answer:
        given = answer(b, ask)
        lines = given.body.split(b"\n")
        return Answer(200, b"\n".join(lines[:5]) + b"\n") if ask.path == EVENTS_PATH else given

    with pytest.raises(Cut):
        play(a, cut)
    assert 0 < len(names(a)) < 10
    assert converse(a, b).in_sync and len(names(a)) == 10


def test_a_restored_backup_heals(pair: tuple[Node, Node], make_node: MakeNode) -> None:
    a, b = pair
    for number in range(5):
        projects.create(a, f"a{number}")
    backup = copy_home(a, "backup")
    for number in range(5, 10):
        projects.create(a, f"a{number}")
    assert converse(a, b).in_sync
    a.now_ms = lambda: b.now_ms() + 1000
    with open_home(backup, a) as restored:
        for number in range(10, 13):
            projects.create(restored, f"a{number}")
        tally = converse(restored, b)
        assert tally.in_sync and tally.sent == 3
        assert names(restored) == names(b) == {f"a{number}" for number in range(13)}


def test_two_live_clones_heal_even_with_equal_stamps(pair: tuple[Node, Node]) -> None:
    a, b = pair
    with open_home(copy_home(a, "clone"), a) as clone:
        for number in range(200):
            projects.create(a, f"a{number}")
            projects.create(clone, f"c{number}")
        for _ in range(3):
            converse(a, b)
            converse(clone, b)
        assert etag(a) == etag(b) == etag(clone)
        assert len(names(b)) == 400


def test_a_peer_that_sends_the_same_page_for_ever_is_left(pair: tuple[Node, Node]) -> None:
    a, b = pair
    projects.create(b, "api")

    def reply(ask: Ask) -> Answer:
        given = answer(b, ask)
        if ask.path != EVENTS_PATH or ask.method != "GET":
            return given
        return Answer(200, given.body.replace(b'{"more":false', b'{"more":true'))

    with pytest.raises(PeerError, match="sends nothing new"):
        play(a, reply)
    assert names(a) == {"api"}, "what came is kept"


@pytest.mark.parametrize(("at_a_time", "requests_max"), [(answers.COMPARED_EVENTS_MAX, 3), (100, 20)])
def test_holes_are_found_by_ranges_with_few_bytes(
    at_a_time: int, requests_max: int, pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "COMPARED_EVENTS_MAX", at_a_time)
    a, b = pair
    for number in range(600):
        projects.create(a, f"a{number}")
    converse(b, a)
    with sqlite3.connect(b.home.database) as db:  # a hole that no node makes in ordinary running
        db.execute("DELETE FROM events WHERE rowid IN (SELECT rowid FROM events ORDER BY rowid LIMIT 3 OFFSET 300)")
    with b.writing() as tx:
        log.reindex(tx.db, a.machine_id)
    asked: list[Ask] = []
    tally = converse(b, a, asked)
    assert tally.in_sync and tally.received == 3
    assert sum(ask.path == RANGES_PATH for ask in asked) <= requests_max


def test_a_peer_that_lost_nearly_everything_in_the_middle_gets_it_back(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("claire.sync.round.READ_EVENTS", 7)
    a, b = pair
    for number in range(100):
        projects.create(a, f"a{number}")
    converse(b, a)
    with sqlite3.connect(b.home.database) as db:
        db.execute(
            "DELETE FROM events WHERE machine_id = ? AND rowid NOT IN (SELECT max(rowid) FROM events)", (a.machine_id,)
        )
    with b.writing() as tx:
        log.reindex(tx.db, a.machine_id)
    for asker, other in ((a, b), (b, a)):
        assert converse(asker, other).in_sync
    assert len(names(b)) == 100


def test_ranges_that_overlap_are_refused(pair: tuple[Node, Node]) -> None:
    a, _ = pair
    whole = Span(("", ""), ("~", "~"))
    given = answer(a, Ask("POST", RANGES_PATH, body=encode(Compare(a.machine_id, [whole, whole]))))
    assert given.status == 400 and b"overlap" in given.body


def test_p8_what_nobody_can_read_yet_travels_and_is_folded_after_an_upgrade(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer node writes a type the others do not know; the one in the middle passes it on unharmed."""
    a, b, c = make_node("a"), make_node("b"), make_node("c")
    befriend(a, b)
    befriend(b, c)

    class MoodNoted(Body):
        mood: str

        def fold(self, fold: Fold, event: Event) -> None:
            fold.row("projects", event.uuid)["name"] = self.mood

    MoodNoted.wire_name = "mood_noted"
    with a.writing() as tx:
        written = tx.record(MoodNoted("fine"))
    converse(a, b)
    converse(c, b)
    with c.reading() as db:
        assert log.get(db, [written.uuid]) == [written]
        assert db.execute("SELECT event_type FROM unread_events").fetchall() == [("mood_noted",)]
    monkeypatch.setitem(event_module._types, "mood_noted", (MoodNoted, msgspec.json.Decoder(MoodNoted)))
    with c.writing() as tx:
        replay_events(tx.db)
        assert tx.db.execute("SELECT name FROM projects").fetchall() == [("fine",)]


def test_a_refused_event_stops_only_its_machine(make_node: MakeNode) -> None:
    a, b, c = make_node("a"), make_node("b"), make_node("c")
    befriend(a, b, c)
    for number in range(3):
        projects.create(c, f"c{number}")
    projects.create(b, "b")
    converse(b, c)

    def forge(ask: Ask) -> Answer:
        given = answer(b, ask)
        return Answer(given.status, given.body.replace(b'\\"c1\\"', b'\\"c9\\"'))

    tally = play(a, forge)
    assert names(a) == {"b", "c0"}
    assert len(tally.refused) >= 1 and not tally.in_sync
    assert converse(a, b).in_sync
    assert names(a) == {"b", "c0", "c1", "c2"}


def test_a_newer_protocol_is_named(pair: tuple[Node, Node]) -> None:
    a, b = pair

    def newer(ask: Ask) -> Answer:
        given = answer(b, ask)
        return Answer(given.status, given.body.replace(b'"proto":[1]', b'"proto":[2,3]'))

    with pytest.raises(PeerError, match="protocol 3"):
        play(a, newer)


def test_unknown_fields_in_answers_are_ignored(pair: tuple[Node, Node]) -> None:
    a, b = pair

    def richer(ask: Ask) -> Answer:
        given = answer(b, ask)
        if ask.path == EVENTS_PATH and ask.method == "GET":
            return given
        return Answer(given.status, given.body.replace(b"{", b'{"later":1,', 1))

    assert play(a, richer).in_sync


def copy_home(node: Node, name: str) -> Home:
    """A copy of a node's whole home, as a backup or `cp -r` makes it."""
    root = os.path.dirname(node.home.data)
    shutil.copytree(root, f"{root}-{name}")
    return Home.from_env({"CLAIRE_HOME": f"{root}-{name}"})


def open_home(home: Home, like: Node) -> Node:
    return Node(home, now_ms=like.now_ms)
