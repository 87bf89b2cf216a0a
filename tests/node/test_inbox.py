"""Messages a session fetches itself: read or typed, never both, and never from whom may not type here."""

import threading
from collections.abc import Callable

import pytest

from claire.node import broadcasts, inbox, sessions
from claire.node.errors import NotFound
from claire.node.node import Node
from tests.conftest import Clock, befriend
from tests.node.doing import CLEARED, SESSION, read, saw
from tests.node.test_admit import everything


def texts(node: Node, session: str = SESSION) -> list[str]:
    return [row["text"] for row in inbox.read(node, session)]


def test_reading_is_delivery_and_stays_until_acknowledged(node: Node) -> None:
    sessions.observe(node, [saw()])
    sent = broadcasts.send(node, SESSION, "please commit")
    assert len(read(node, inbox.pending, node.machine_id, SESSION, node.now_ms())) == 1
    assert texts(node) == texts(node) == ["please commit"]
    (target,) = read(node, broadcasts.find, sent["id"])["targets"]
    assert (target["outcome"], target["why"]) == ("delivered", "read by the session itself")
    assert read(node, broadcasts.undelivered, node.machine_id) == []
    inbox.acknowledge(node, SESSION, sent["id"][:8])
    assert texts(node) == []
    with pytest.raises(NotFound):
        inbox.acknowledge(node, SESSION, sent["id"])


def test_an_empty_inbox_costs_no_event(node: Node) -> None:
    sessions.observe(node, [saw()])
    before = len(everything(node))
    assert texts(node) == []
    assert len(everything(node)) == before


def test_what_is_being_typed_is_not_read(node: Node) -> None:
    sessions.observe(node, [saw()])
    sent = broadcasts.send(node, SESSION, "please commit")
    with node.writing() as tx:
        tx.db.execute("INSERT INTO delivery_claims VALUES (?, ?, 'claimed', 0)", (sent["id"], SESSION))
    assert texts(node) == []


def test_what_expired_or_comes_from_a_stranger_is_not_read(make_node: Callable[..., Node], clock: Clock) -> None:
    here, there = make_node("here"), make_node("there")
    befriend(here, there)
    sessions.observe(here, [saw()])
    there.receive(everything(here))
    broadcasts.send(there, SESSION, "rm -rf everything")
    broadcasts.send(here, SESSION, "too late", expiry_ms=1_000)
    here.receive(everything(there))
    clock.now_ms += 1_001
    assert texts(here) == []
    assert read(here, inbox.withheld, here.machine_id, SESSION) == ["there"]
    broadcasts.allow(here, there.machine_id)
    assert texts(here) == ["rm -rf everything"]


def test_a_message_follows_the_session_over_clear(node: Node) -> None:
    sessions.observe(node, [saw(), saw(CLEARED)])
    broadcasts.send(node, SESSION, "please commit")
    sessions.succeed(node, SESSION, CLEARED, "/clear")
    assert texts(node, CLEARED) == ["please commit"]


def test_k3_no_other_host_says_which_session_reads_a_message(make_node: Callable[..., Node]) -> None:
    here, there = make_node("here"), make_node("there")
    befriend(here, there)
    sessions.observe(here, [saw(), saw(CLEARED)])
    broadcasts.send(here, SESSION, "please commit")
    there.receive(everything(here))
    sessions.succeed(there, SESSION, CLEARED, "/clear")
    here.receive(everything(there))
    assert texts(here, CLEARED) == []
    assert sessions.succeed(here, SESSION, CLEARED, "/clear"), "another's word is not ours"
    assert texts(here, CLEARED) == ["please commit"]


def test_k6_what_a_thief_writes_under_this_nodes_key_is_not_read(node: Node) -> None:
    sessions.observe(node, [saw()])
    sent = broadcasts.send(node, SESSION, "please commit")
    with node.writing() as tx:
        tx.db.execute("INSERT INTO own_elsewhere VALUES (?)", (sent["hlc"],))
    assert texts(node) == []


def test_many_readers_at_once_make_one_delivery(node: Node) -> None:
    sessions.observe(node, [saw()])
    for n in range(5):
        broadcasts.send(node, SESSION, f"message {n}")
    before = len(everything(node))
    threads = [threading.Thread(target=inbox.read, args=(node, SESSION)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(everything(node)) == before + 5
