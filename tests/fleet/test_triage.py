"""Triage: what is asked, what an answer must be, and every way a run fails."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from claire.config import Home
from claire.fleet import triage
from claire.fleet.host import Host
from claire.fleet.transcript import Tail
from claire.fleet.triage import Settings, Verdict
from claire.node.errors import ClaireError, UsageError
from tests.fleet.kit import CAPTURES, FakeHost, needs_kit

ANSWER = {"needs": "answer", "priority": 1, "summary": "asks which database to use"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home.from_env({"CLAIRE_HOME": str(tmp_path / "node")})


def test_off_by_default() -> None:
    assert not triage.settings({}).enabled
    with pytest.raises(UsageError):
        triage.settings({"triage": {"enabled": "yes please"}})


def test_the_prompt_is_not_eaten_and_there_are_no_tools() -> None:
    words = triage.argv(Settings(), {})
    assert words[words.index("-p") + 1].startswith("Classify")
    assert words[words.index("--tools") + 1 : words.index("--tools") + 3] == ["", "--strict-mcp-config"]
    assert words[words.index("--setting-sources") + 1] == ""


def test_excerpts_are_short_and_without_secrets() -> None:
    tail = Tail(prompt="x" * 9_000, said="the key is sk-ant-api03-abcdefghijklmnop", open_tools={"1": "Bash"})
    text = triage.excerpt(tail)
    assert len(text) <= triage.EXCERPT_CHARS_MAX
    assert "sk-ant" not in text and "unanswered call: Bash" in text


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"structured_output": ANSWER}),
        json.dumps({"result": json.dumps(ANSWER)}),
        json.dumps({"result": f"```json\n{json.dumps(ANSWER)}\n```"}),
    ],
)
def test_answers(text: str) -> None:
    assert triage.parse(text) == Verdict("asks which database to use", ("needs answer", "priority 1"))


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "no", json.dumps({"is_error": True, "result": "429"}), json.dumps({"result": "sure!"}),
        json.dumps({"result": json.dumps({**ANSWER, "needs": "money"})}),
        json.dumps({"structured_output": {**ANSWER, "priority": 9}}),
        json.dumps({"structured_output": {**ANSWER, "priority": True}}),
        json.dumps({"structured_output": {**ANSWER, "summary": 3}}), "[" * 100_000,
    ],
)  # fmt: skip
def test_no_answer(text: str) -> None:
    with pytest.raises(ClaireError):
        triage.parse(text)


@pytest.mark.parametrize(
    ("told", "line"),
    [
        (ANSWER, "asks which database to use (needs answer, priority 1)"),
        ({"triage": {"priority": "high", "summary": "stuck", "state": "idle", "at": 5}}, "stuck (idle, priority high)"),
        ({"summary": "works\n on", "priority": None}, "works on"),
        ({"summary": "x" * 500, "state": "ghp_abcdefghijklmnopqrstuvwxyz"}, f"{'x' * 160} ([redacted])"),
    ],
)
def test_what_programs_print(told: dict[str, Any], line: str) -> None:
    assert triage.parse_told(json.dumps(told)).line == line


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"summary": 3}), json.dumps({"triage": {"state": "x"}})])
def test_programs_that_print_no_verdict(text: str) -> None:
    with pytest.raises(ClaireError):
        triage.parse_told(text)


def test_a_summary_is_one_short_line_without_secrets() -> None:
    said = {**ANSWER, "summary": "a\nb\t" + "x" * 500 + " ghp_abcdefghijklmnopqrstuvwxyz"}
    line = triage.parse(json.dumps({"structured_output": said})).summary
    assert len(line) <= triage.SUMMARY_CHARS_MAX and "\n" not in line and "ghp_" not in line


@needs_kit
def test_the_captured_result_is_not_of_our_schema() -> None:
    with pytest.raises(ClaireError, match="schema"):
        triage.parse((CAPTURES / "headless_result_2.1.330.json").read_text())


def test_through_the_fake(host: FakeHost, home: Home) -> None:
    env = {**host.env, "FAKE_STRUCTURED_OUTPUT": json.dumps(ANSWER), "FAKE_HOOK": f"touch {host.root}/hooked"}
    assert triage.run(Settings(), home, env, "text", {}).summary == "asks which database to use"
    assert not (host.root / "hooked").exists()
    assert not (host.config / "projects").exists() and host.history() == []
    assert Host(host.env).look().seats == ()


@pytest.mark.parametrize("knobs", [{"FAKE_HEADLESS_EXIT": "1"}, {"FAKE_STRUCTURED_OUTPUT": '{"a":1}'}])
def test_the_fake_fails(host: FakeHost, home: Home, knobs: dict[str, str]) -> None:
    with pytest.raises(ClaireError):
        triage.run(Settings(), home, {**host.env, **knobs}, "text", {})


def test_it_takes_too_long(host: FakeHost, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triage, "TIMEOUT_S", 0.5)
    with pytest.raises(ClaireError, match="no answer"):
        triage.run(Settings(), home, {**host.env, "FAKE_HEADLESS_SECONDS": "30"}, "text", {})


def test_it_ends_with_the_node(host: FakeHost, home: Home) -> None:
    with pytest.raises(ClaireError, match="ended with the node"):
        triage.run(Settings(), home, {**host.env, "FAKE_HEADLESS_SECONDS": "30"}, "text", {}, lambda: True)


def command(tmp_path: Path, answer: dict[str, Any]) -> Settings:
    script = tmp_path / "analyze"
    script.write_text(f"#!/bin/sh\n(echo $*; cat) > {tmp_path}/asked\necho '{json.dumps(answer)}'\n")
    script.chmod(0o755)
    return Settings(enabled=True, command=(str(script), "--of", "{session}", "{transcript}"))


def test_a_command_instead(tmp_path: Path, home: Home) -> None:
    about = {"{session}": "s1", "{transcript}": "/a/b.jsonl"}
    verdict = triage.run(command(tmp_path, ANSWER), home, dict(os.environ), "the text", about)
    assert verdict.line == "asks which database to use (needs answer, priority 1)"
    assert (tmp_path / "asked").read_text() == "--of s1 /a/b.jsonl\n<session>\nthe text\n</session>\n"


def test_a_command_that_is_missing(home: Home) -> None:
    with pytest.raises(ClaireError, match="triage"):
        triage.run(Settings(command=("/none",)), home, dict(os.environ), "text", {})


SERVER = """
import json, sys
def say(**message): print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "initialize":
        say(method="notifications/message", params={})
        say(id=asked["id"], result={"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": {}})
    elif asked["method"] == "tools/call":
        print("not JSON", flush=True)
        say(id=asked["id"], result=RESULT)
"""
TEXT = {"content": [{"type": "text", "text": json.dumps({"summary": "loops", "priority": 2})}]}


def server(tmp_path: Path, result: str) -> Settings:
    script = tmp_path / "server.py"
    script.write_text(SERVER.replace("RESULT", result))
    arguments = {"path": "{transcript}"}
    return Settings(command=(sys.executable, str(script)), tool="analyze", arguments=arguments)


@pytest.mark.parametrize("result", [repr(TEXT), "{'structuredContent': {'summary': 'loops', 'priority': 2}}"])
def test_a_tool_of_an_mcp_server_instead(tmp_path: Path, home: Home, result: str) -> None:
    verdict = triage.run(server(tmp_path, result), home, dict(os.environ), "text", {})
    assert verdict.line == "loops (priority 2)"


def test_what_the_tool_is_asked(tmp_path: Path, home: Home) -> None:
    chosen = server(tmp_path, '{"structuredContent": {"summary": json.dumps(asked["params"])}}')
    verdict = triage.run(chosen, home, dict(os.environ), "text", {"{transcript}": "/a/b.jsonl"})
    assert json.loads(verdict.summary) == {"name": "analyze", "arguments": {"path": "/a/b.jsonl"}}


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ('{"isError": True, "content": [{"type": "text", "text": "no such file"}]}', "no such file"),
        ("3", "tools/call"), ("{}", "not JSON"), ("sys.exit(3)", "no answer to tools/call"),
        ("sys.stdin.read()", "no answer to tools/call"),
    ],
)  # fmt: skip
def test_a_tool_that_says_nothing(
    tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch, result: str, why: str
) -> None:
    monkeypatch.setattr(triage, "TIMEOUT_S", 2.0 if "read" in result else 60.0)
    with pytest.raises(ClaireError, match=why):
        triage.run(server(tmp_path, result), home, dict(os.environ), "text", {})


def test_a_tool_that_is_missing(home: Home) -> None:
    with pytest.raises(ClaireError, match="/none"):
        triage.run(Settings(command=("/none",), tool="analyze"), home, dict(os.environ), "text", {})
    with pytest.raises(UsageError):
        triage.settings({"triage": {"tool": "analyze"}})
