"""Triage: what is asked, what an answer must be, and every way a run fails."""

from __future__ import annotations

import json
import os
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
    words = triage.argv(Settings())
    assert words[words.index("-p") + 1].startswith("Classify")
    assert words[words.index("--tools") + 1 : words.index("--tools") + 3] == ["", "--strict-mcp-config"]
    assert words[words.index("--setting-sources") + 1] == ""


def test_excerpts_are_short_and_without_secrets() -> None:
    tail = Tail(prompt="x" * 9_000, said="the key is sk-ant-api03-abcdefghijklmnop", open_tools={"1": "Bash"})
    text = triage.excerpt("/a/b.jsonl", tail)
    assert len(text) <= triage.EXCERPT_CHARS_MAX
    assert "sk-ant" not in text and "unanswered call: Bash" in text


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ANSWER),
        json.dumps({"structured_output": ANSWER}),
        json.dumps({"result": json.dumps(ANSWER)}),
        json.dumps({"result": f"```json\n{json.dumps(ANSWER)}\n```"}),
    ],
)
def test_answers(text: str) -> None:
    assert triage.parse(text) == Verdict("answer", 1, "asks which database to use")


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "no", json.dumps({"is_error": True, "result": "429"}), json.dumps({"result": "sure!"}),
        json.dumps({**ANSWER, "needs": "money"}), json.dumps({**ANSWER, "priority": 9}),
        json.dumps({**ANSWER, "priority": True}), json.dumps({**ANSWER, "summary": 3}), "[" * 100_000,
    ],
)  # fmt: skip
def test_no_answer(text: str) -> None:
    with pytest.raises(ClaireError):
        triage.parse(text)


def test_a_summary_is_one_short_line_without_secrets() -> None:
    said = {**ANSWER, "summary": "a\nb\t" + "x" * 500 + " ghp_abcdefghijklmnopqrstuvwxyz"}
    line = triage.parse(json.dumps(said)).summary
    assert len(line) <= triage.SUMMARY_CHARS_MAX and "\n" not in line and "ghp_" not in line


@needs_kit
def test_the_captured_result_is_not_of_our_schema() -> None:
    with pytest.raises(ClaireError, match="schema"):
        triage.parse((CAPTURES / "headless_result_2.1.330.json").read_text())


def test_through_the_fake(host: FakeHost, home: Home) -> None:
    env = {**host.env, "FAKE_STRUCTURED_OUTPUT": json.dumps(ANSWER), "FAKE_HOOK": f"touch {host.root}/hooked"}
    assert triage.run(Settings(), home, env, "text").summary == "asks which database to use"
    assert not (host.root / "hooked").exists()
    assert not (host.config / "projects").exists() and host.history() == []
    assert Host(host.env).look().seats == ()


@pytest.mark.parametrize("knobs", [{"FAKE_HEADLESS_EXIT": "1"}, {"FAKE_STRUCTURED_OUTPUT": '{"a":1}'}])
def test_the_fake_fails(host: FakeHost, home: Home, knobs: dict[str, str]) -> None:
    with pytest.raises(ClaireError):
        triage.run(Settings(), home, {**host.env, **knobs}, "text")


def test_it_takes_too_long(host: FakeHost, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triage, "TIMEOUT_S", 0.5)
    with pytest.raises(ClaireError, match="no answer"):
        triage.run(Settings(), home, {**host.env, "FAKE_HEADLESS_SECONDS": "30"}, "text")


def test_it_ends_with_the_node(host: FakeHost, home: Home) -> None:
    with pytest.raises(ClaireError, match="ended with the node"):
        triage.run(Settings(), home, {**host.env, "FAKE_HEADLESS_SECONDS": "30"}, "text", lambda: True)


def command(tmp_path: Path, answer: dict[str, Any]) -> Settings:
    script = tmp_path / "analyze"
    script.write_text(f"#!/bin/sh\ncat > {tmp_path}/asked\necho '{json.dumps(answer)}'\n")
    script.chmod(0o755)
    return Settings(enabled=True, command=(str(script),))


def test_a_command_instead(tmp_path: Path, home: Home) -> None:
    verdict = triage.run(command(tmp_path, ANSWER), home, dict(os.environ), "the text")
    assert verdict.needs == "answer"
    assert (tmp_path / "asked").read_text() == "<session>\nthe text\n</session>\n"


def test_a_command_that_is_missing(home: Home) -> None:
    with pytest.raises(ClaireError, match="triage"):
        triage.run(Settings(command=("/none",)), home, dict(os.environ), "text")
