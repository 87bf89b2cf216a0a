"""rclaude by its contract: every shape of answer, every way to fail, a real script as the tool."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from claire.fleet import rclaude
from claire.fleet.obstacles import Outcome, Result
from claire.fleet.rclaude import Contract, Found, Listing
from claire.fleet.state import State
from claire.node.errors import UsageError
from tests.fleet.kit import CAPTURES, needs_kit

UUID = "11111111-2222-3333-4444-555555555555"
ROW = {"host": "web1", "session_uuid": UUID, "cwd": "/srv", "tmux_name": "api", "last_seen_mtime": 1.5}
WHERE = {"session": UUID, "host": "web1", "tmux_name": "api"}
FOUND = Found(UUID, "web1", "/srv", "api", 1.5)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    return {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}


def tool(tmp_path: Path, script: str, name: str = "rclaude") -> None:
    path = tmp_path / "bin" / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    "text",
    [json.dumps([ROW]), json.dumps({"sessions": [ROW]}), json.dumps(ROW), f"{json.dumps(ROW)}\n\n{json.dumps(ROW)}\n"],
)
def test_shapes(text: str) -> None:
    assert set(rclaude.parse(text, Contract()).found) == {FOUND}


def test_a_dead_host_is_not_an_empty_one() -> None:
    hosts = [{"host": "web1", "ok": True}, {"host": "web2", "ok": False, "error": "timeout"}, {"host": "web3"}]
    listing = rclaude.parse(json.dumps({"sessions": [ROW], "hosts": hosts}), Contract())
    assert listing.answered == {"web1", "web3"}
    assert listing.problems == ("web2: timeout",)


@pytest.mark.parametrize("text", ["", "usage: rclaude", "[1", "42", "null", '"x"', "[" * 100_000, '{"a":1}\nno\n'])
def test_garbage_is_a_problem(text: str) -> None:
    listing = rclaude.parse(text, Contract())
    assert (listing.found, listing.answered) == ((), frozenset())
    assert listing.problems


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"session_uuid": 3},
        {"session_uuid": "../x"},
        {**ROW, "entrypoint": "sdk-cli"},
        {**ROW, "kind": "background", "state": "stopped"},
        {**ROW, "kind": "somewhere", "status": "idle"},
    ],
)
def test_rows_that_are_no_session(row: dict[str, Any]) -> None:
    assert rclaude.parse(json.dumps([row, 1, None]), Contract()).found == ()


@pytest.mark.parametrize(
    ("more", "state"),
    [
        ({"status": "busy"}, State.WORKING),
        ({"status": "waiting", "waitingFor": "permission prompt"}, State.PERMISSION),
        ({"status": "rate-limited"}, State.RATE_LIMITED),
        ({"status": "sleeping"}, State.UNKNOWN),
        ({}, State.UNKNOWN),
    ],
)
def test_states(more: dict[str, str], state: State) -> None:
    [found] = rclaude.parse(json.dumps([{**ROW, **more}]), Contract()).found
    assert found.state is state


def test_other_names_for_the_fields() -> None:
    spoken = rclaude.contract({"rclaude": {"map": {"session_uuid": "id.claude", "host": "node|machine"}}})
    row = {"id": {"claude": UUID.upper()}, "machine": "web1", "tmux": {"session": "api"}}
    [found] = rclaude.parse(json.dumps([row]), spoken).found
    assert (found.session_uuid, found.host, found.tmux_name) == (UUID, "web1", "api")


@needs_kit
def test_claude_agents_is_a_listing_too() -> None:
    [found] = rclaude.parse((CAPTURES / "agents_2.1.330.json").read_text(), Contract()).found
    assert (found.state, found.host) == (State.IDLE, os.uname().nodename)


def test_an_agent_in_the_background_is_a_session_without_a_pane() -> None:
    row = {"sessionId": UUID, "kind": "background", "id": "9d088b46", "name": "asker", "state": "blocked"}
    more = {"status": "waiting", "waitingFor": "input needed"}
    [found] = rclaude.parse(json.dumps([{**row, **more}]), Contract()).found
    assert (found.state, found.name, found.pane) == (State.QUESTION, "asker", "background 9d088b46")


@pytest.mark.parametrize("part", [{"lst": ["x"]}, {"list": "rclaude list"}, {"timeout_s": {"list": "long"}}])
def test_a_contract_that_cannot_be(part: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"fleet\.rclaude"):
        rclaude.contract({"rclaude": part})


def test_listing(tmp_path: Path, env: dict[str, str]) -> None:
    assert not rclaude.is_installed(Contract(list=("rclaude-of-this-test",)), env)
    tool(tmp_path, f"test \"$*\" = 'list --json' && echo '{json.dumps([ROW])}'")
    assert rclaude.is_installed(Contract(), env)
    assert not rclaude.is_installed(Contract(list=()), env)
    listing = rclaude.sessions(Contract(), env)
    assert replace(listing, asked_ms=0) == Listing((FOUND,), frozenset({"web1"}))


@pytest.mark.parametrize(
    ("script", "spoken", "problem"),
    [
        ("echo broken >&2; exit 1", Contract(), "exit 1 broken"),
        ("exec sleep 99", Contract(timeout_s={"list": 0.2}), "no answer in 0.2 s"),
        ("exit 0", Contract(), "not JSON"),
    ],
)
def test_listing_fails(tmp_path: Path, env: dict[str, str], script: str, spoken: Contract, problem: str) -> None:
    tool(tmp_path, script)
    listing = rclaude.sessions(spoken, env)
    assert listing.found == () and problem in listing.problems[0]


def test_listing_without_the_tool(tmp_path: Path) -> None:
    assert rclaude.sessions(Contract(), {"PATH": str(tmp_path)}).problems


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        (0, Outcome.DELIVERED),
        (2, Outcome.REFUSED),
        (3, Outcome.REFUSED),
        (4, Outcome.REFUSED),
        (5, Outcome.UNVERIFIED),
        (6, Outcome.REFUSED),
        (1, Outcome.UNVERIFIED),
        (77, Outcome.UNVERIFIED),
    ],
)
def test_sending(tmp_path: Path, env: dict[str, str], code: int, outcome: Outcome) -> None:
    tool(tmp_path, f'printf "%s|" "$@" > {tmp_path}/said; exit {code}')
    assert rclaude.send(Contract(), env, WHERE, "hello; $(x)\n{target}").outcome is outcome
    assert (tmp_path / "said").read_text() == "send|--yes|web1:api|--|hello; $(x)\n{target}|"


def test_sending_by_session(tmp_path: Path, env: dict[str, str]) -> None:
    tool(tmp_path, f'printf "%s|" "$@" > {tmp_path}/said')
    spoken = Contract(send=("rclaude", "{host}", "{session}", "{text}"))
    rclaude.send(spoken, env, WHERE, "{session}")
    assert (tmp_path / "said").read_text() == f"web1|{UUID}|{{session}}|"
    rclaude.send(Contract(), env, {**WHERE, "tmux_name": ""}, "x")
    assert (tmp_path / "said").read_text() == f"send|--yes|{UUID}|--|x|"


def test_k5_a_host_that_reads_as_an_option_is_not_sent_to(tmp_path: Path, env: dict[str, str]) -> None:
    """Names of hosts and sessions come from other hosts."""
    tool(tmp_path, f'printf "%s|" "$@" > {tmp_path}/said')
    for where in ({**WHERE, "host": "-oProxyCommand=id"}, {**WHERE, "host": "--yes"}):
        assert rclaude.send(Contract(), env, where, "hello").outcome is Outcome.REFUSED
    assert not (tmp_path / "said").exists()


def test_sending_by_stdin(tmp_path: Path, env: dict[str, str]) -> None:
    tool(tmp_path, f'printf "%s|" "$@" > {tmp_path}/said; cat >> {tmp_path}/said')
    spoken = Contract(send=("rclaude", "send", "--yes", "{target}", "{text}"), text_via="stdin")
    assert rclaude.send(spoken, env, WHERE, "secret").outcome is Outcome.DELIVERED
    assert (tmp_path / "said").read_text() == "send|--yes|web1:api|-|secret"


def test_sending_fails(tmp_path: Path, env: dict[str, str]) -> None:
    assert rclaude.send(Contract(), {"PATH": str(tmp_path)}, WHERE, "x").outcome is Outcome.REFUSED
    tool(tmp_path, "exec sleep 99")
    hung = rclaude.send(Contract(timeout_s={"send": 0.2}), env, WHERE, "x")
    assert hung == Result(Outcome.UNVERIFIED, "rclaude send: no answer in 0.2 s")
