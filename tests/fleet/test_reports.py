"""Hook reports, as captured from the real program and as a spool holds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from claire.fleet import reports, spool
from claire.fleet.reports import Spool
from claire.fleet.state import State
from tests.fleet.kit import CAPTURES, needs_kit


def row(event: str, session: str = "s", pid: int = 7, at_ms: int = 5, **more: Any) -> dict[str, Any]:
    return {"hook_event_name": event, "session_id": session, "pid": pid, "at_ms": at_ms, **more}


@pytest.mark.parametrize(
    ("report", "state"),
    [
        (row("UserPromptSubmit"), State.WORKING),
        (row("Stop"), State.IDLE),
        (row("Stop", background=1), State.SHELL),
        (row("PermissionRequest", tool_name="Bash"), State.PERMISSION),
        (row("PermissionRequest", tool_name="AskUserQuestion"), State.QUESTION),
        (row("Notification", notification_type="permission_prompt"), State.PERMISSION),
        (row("Notification", notification_type="auth_success"), None),
        (row("StopFailure", error="rate_limit"), State.RATE_LIMITED),
        (row("StopFailure", error="overloaded"), State.ERROR),
        (row("SubagentStop"), None),
        (row("Stop", at_ms="soon"), None),  # type: ignore[arg-type]
    ],
)
def test_states(report: dict[str, Any], state: State | None) -> None:
    claim = reports.claim_of(report)
    assert (claim.state if claim else None) is state


def test_subagents_speak_for_themselves() -> None:
    assert reports.fold([row("Stop", agent_id="a")]).claims == {}


def test_the_session_of_an_old_version_after_clear() -> None:
    found = reports.fold(
        [
            row("SessionStart", "one", source="startup"),
            row("SessionEnd", "one", reason="clear"),
            row("SessionStart", "two", source="clear"),
        ]
    )
    assert found.session_of(7, "70", "one") == "two"
    assert found.session_of(7, "70", "three") == "three"  # the registry moved on by itself
    assert found.session_of(8, "80", "one") == "one"


def test_a_pid_that_is_used_again_is_another_process() -> None:
    found = reports.fold([row("SessionStart", "before the reboot", start="70")])
    assert found.session_of(7, "70", "") == "before the reboot"
    assert found.session_of(7, "71", "") == ""


@needs_kit
def test_captured_hooks() -> None:
    captured = [json.loads(text) for text in (CAPTURES / "hooks_2.1.330.jsonl").read_text().splitlines()]
    lines = [spool.line(one["stdin"], one["env"], int(one["time"] * 1000)) for one in captured]
    rows = reports.parse("".join(lines).encode())
    assert len(rows) == len(captured)
    assert all(set(one) & {"prompt", "tool_input", "last_assistant_message", "message"} == set() for one in rows)
    found = reports.fold(rows)
    assert found.started(31011, "") and State.IDLE in {claim.state for claim in found.claims.values()}


def test_a_spool_is_read_as_it_grows(tmp_path: Path) -> None:
    path = str(tmp_path / "hooks.ndjson")
    watched = Spool(path)
    assert watched.read() == reports.Reports()
    spool.append(path, json.dumps(row("Stop")) + "\n")
    assert watched.read().claims["s"].state is State.IDLE
    spool.append(path, json.dumps(row("UserPromptSubmit")) + "\n" + '{"torn')
    assert watched.read().claims["s"].state is State.WORKING
    spool.append(path, ' line"}\n' + json.dumps(row("Stop", "t")) + "\n")
    assert watched.read().claims["t"].state is State.IDLE


def test_a_spool_that_starts_over_is_not_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "hooks.ndjson"
    path.write_text(json.dumps(row("SessionStart", "one")) + "\n")
    watched = Spool(str(path))
    assert watched.read().session_of(7, "", "") == "one"
    path.write_text(json.dumps(row("Stop")) + "\n")
    found = watched.read()
    assert (found.session_of(7, "", ""), found.claims["s"].state) == ("one", State.IDLE)
