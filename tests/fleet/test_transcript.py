"""The end of transcripts: huge, torn, foreign, and as the fake writes them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from claire.fleet import transcript
from claire.fleet.evidence import Evidence
from claire.fleet.state import State
from tests.fleet.kit import CAPTURES, FakeHost, needs_kit, wait_for

STAMP = "2026-11-22T10:09:24.064Z"
STAMP_MS = 1795342164064


def user(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "user", "timestamp": STAMP, "message": {"role": "user", "content": text}, **more}


def assistant(*parts: dict[str, Any], stop: str | None = "end_turn", **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": list(parts), "stop_reason": stop}
    return {"type": "assistant", "timestamp": STAMP, "message": message, **more}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def call(name: str, call_id: str = "t1") -> dict[str, Any]:
    return {"type": "tool_use", "id": call_id, "name": name, "input": {}}


def result(call_id: str = "t1") -> dict[str, Any]:
    parts = [{"type": "tool_result", "tool_use_id": call_id, "content": "x"}]
    return {"type": "user", "timestamp": STAMP, "message": {"role": "user", "content": parts}}


def write(path: Path, *records: Any, end: str = "\n") -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records) + end, encoding="utf-8")
    return path


LIMIT: dict[str, Any] = {"isApiErrorMessage": True, "error": "rate_limit", "apiErrorStatus": 429}
STATES: list[tuple[str, list[dict[str, Any]], State | None]] = [
    ("a prompt is worked on", [user("do")], State.WORKING),
    ("an answer ends the turn", [user("do"), assistant(text("done"))], State.IDLE),
    ("a tool runs or waits", [user("do"), assistant(call("Bash"), stop="tool_use")], State.WORKING),
    ("a result goes on", [user("do"), assistant(call("Bash"), stop="tool_use"), result()], State.WORKING),
    ("a question", [user("do"), assistant(call("AskUserQuestion"), stop="tool_use")], State.QUESTION),
    ("interrupted", [user("do"), user("[Request interrupted by user]")], State.INTERRUPTED),
    ("rate limit", [user("do"), assistant(text("429"), **LIMIT)], State.RATE_LIMITED),
    ("other error", [user("do"), assistant(text("500"), isApiErrorMessage=True)], State.ERROR),
    ("cut short", [user("do"), assistant(text("…"), stop="max_tokens")], State.ERROR),
    ("no stop reason says nothing", [user("do"), assistant(text("hm"), stop=None)], None),
    (
        "no stop reason, but the turn's end",
        [user("do"), assistant(text("hm"), stop=None), {"type": "system", "subtype": "turn_duration"}],
        State.IDLE,
    ),
    (
        "a retry is still work",
        [user("do"), {"type": "system", "subtype": "api_error", "retryInMs": 500}],
        State.WORKING,
    ),
    ("a subagent is not the session", [assistant(text("done")), user("do", isSidechain=True)], State.IDLE),
    ("/clear says nothing", [user("<command-name>/clear</command-name>")], None),
    ("a note of the program", [assistant(text("done")), user("caveat", isMeta=True)], State.IDLE),
]


@pytest.mark.parametrize(("records", "state"), [row[1:] for row in STATES], ids=[row[0] for row in STATES])
def test_states(records: list[dict[str, Any]], state: State | None) -> None:
    assert transcript.fold(records).state is state


def test_activity_is_the_newest_stamp_not_the_last_record(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        user("do"),
        assistant(text("done"), timestamp="2026-11-22T10:00:00.000Z"),
        {"type": "last-prompt", "lastPrompt": "do"},
    )
    tail = transcript.read(path)
    assert tail and tail.last_activity_ms == STAMP_MS


def test_a_megabyte_after_the_last_answer(tmp_path: Path) -> None:
    snapshot = {"type": "attachment", "attachment": {"x": "y" * 1_000_000}}
    tail = transcript.read(write(tmp_path / "a.jsonl", user("do"), assistant(text("done")), snapshot))
    assert tail and tail.state is State.IDLE and tail.said == "done"


def test_a_large_file_is_read_from_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jsonl", *[user("x" * 10_000) for _ in range(1_200)], assistant(text("done")))
    parsed: list[int] = []
    parse = transcript.parse

    def counting(lines: list[bytes]) -> list[dict[str, Any]]:
        parsed.append(sum(map(len, lines)))
        return parse(lines)

    monkeypatch.setattr(transcript, "parse", counting)
    tail = transcript.read(path)
    assert path.stat().st_size > 12_000_000
    assert tail and tail.state is State.IDLE
    assert sum(parsed) <= transcript.WINDOW_BYTES_MIN


@pytest.mark.parametrize(
    "junk",
    [
        b'{"type":"user","mess',
        b'"massive error"\n42\n[1]\nnull\n',
        b"\xff\xfe\x00 not text\n",
        b'{"type":"user","message":"text","timestamp":7}\n',
        b'{"type":"assistant","message":null,"timestamp":"yesterday"}\n',
        b'{"type":"assistant","message":{"content":[1,{"type":"tool_use"}]},"timestamp":null}\n',
        b'{"type":["unknown"],"sessionId":3,"cwd":{}}\n',
        b'{"type":"system","subtype":["x"],"timestamp":"9999999-01-01"}\n',
        b'{"type":"user","message":{"content":{"a":1}}}\n',
        b"[" * 100_000 + b"\n",
        b'{"a":' * 50_000 + b"\n",
    ],
)
def test_junk_is_skipped(tmp_path: Path, junk: bytes) -> None:
    path = write(tmp_path / "a.jsonl", user("do"), assistant(text("done")))
    with path.open("ab") as file:
        file.write(junk)
    tail = transcript.read(path)
    assert tail and tail.said == "done" and tail.last_activity_ms == STAMP_MS


def test_other_formats_and_missing_files_are_no_error(tmp_path: Path) -> None:
    pretty = tmp_path / "gemini.json"
    pretty.write_text(json.dumps({"messages": [{"role": "user"}]}, indent=2))
    tail = transcript.read(pretty)
    assert tail and tail.state is None
    assert transcript.read(tmp_path / "none.jsonl") is None


def test_a_session_that_moved_and_left_its_file_behind(tmp_path: Path) -> None:
    """As /cd and worktrees do: the conversation goes on in another folder."""
    uuid = "11111111-2222-3333-4444-555555555555"
    here, there = (tmp_path / "projects" / name / f"{uuid}.jsonl" for name in ("a", "b"))
    for path in (here, there):
        path.parent.mkdir(parents=True)
    seen = Evidence()
    write(here, user("hello"))
    first = seen.tail([tmp_path], uuid, look_everywhere=True)
    assert first and first.prompt == "hello"
    write(here, user("hello"), {"type": "relocated"})
    write(there, user("hello"), {"type": "relocated"}, user("and now here"))
    os.utime(here, (1, 1))
    moved = seen.tail([tmp_path], uuid, look_everywhere=False)
    assert moved and moved.prompt == "and now here"
    assert seen.tail([tmp_path], uuid, look_everywhere=False) is moved


def test_an_unchanged_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "a.jsonl", user("do"))
    first = transcript.read(path)
    monkeypatch.setattr(transcript, "parse", lambda _: pytest.fail("read again"))
    assert transcript.read(path, first) is first


@needs_kit
def test_the_captured_transcript() -> None:
    tail = transcript.read(CAPTURES / "transcript_2.1.330.jsonl")
    assert tail and tail.state is State.IDLE
    assert tail.cwd == "/home/dev/project"
    assert tail.session_id == "3ea9e9fb-5618-4895-abf4-423fce9ee050"


@needs_kit
def test_every_prefix_of_the_captured_transcript(tmp_path: Path) -> None:
    whole = (CAPTURES / "transcript_2.1.330.jsonl").read_bytes()
    path = tmp_path / "a.jsonl"
    for end in range(0, len(whole), 211):
        path.write_bytes(whole[:end])
        assert transcript.read(path) is not None


def test_the_fake(host: FakeHost) -> None:
    pane = host.start_idle(FAKE_SNAPSHOT_BYTES="200000")
    session_id = pane.session_id
    pane.submit("ASKME")
    pane.wait_status("waiting", "input needed")
    path = wait_for(lambda: transcript.find([host.config], session_id), "a transcript")
    assert path
    seen = transcript.read(path)
    assert seen and seen.state is State.QUESTION and seen.tool_open
    pane.keys("Escape")
    pane.wait_status("idle")
    seen = transcript.read(path, seen)
    assert seen and seen.state is State.INTERRUPTED
    pane.submit("hello")
    pane.wait_status("busy")
    pane.wait_status("idle")
    seen = transcript.read(path, seen)
    assert seen and seen.state is State.IDLE and seen.prompt == "hello"
