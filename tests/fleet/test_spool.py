"""The hook handler as Claude Code runs it: silent, fast, and harmless whatever it is fed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from claire.fleet import processes, spool

STOP = {"hook_event_name": "Stop", "session_id": "s", "prompt": "secret", "background_tasks": [1]}


def handle(path: Path, stdin: bytes, **env: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", "-S", spool.__file__, str(path)]
    return subprocess.run(command, input=stdin, env={**os.environ, **env}, capture_output=True, check=False)


def test_one_line_without_secrets(tmp_path: Path) -> None:
    path = tmp_path / "hooks.ndjson"
    done = handle(path, json.dumps(STOP).encode(), CLAUDE_PID=str(os.getpid()), TMUX_PANE="%1")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    [text] = path.read_text().splitlines()
    report = json.loads(text)
    assert report.pop("at_ms") > 0
    process = processes.find(os.getpid())
    assert process and report.pop("start") == process.start
    assert report == {
        "hook_event_name": "Stop",
        "session_id": "s",
        "pid": os.getpid(),
        "background": 1,
        "tmux_pane": "%1",
        **({"claude_code_entrypoint": "cli"} if "claude_code_entrypoint" in report else {}),
    }
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "stdin", [b"", b"{", b"[]", b"42", b"\xff", b"[" * 50_000, b'{"session_id":' + b"1" * 9_000 + b"}"]
)
def test_anything_else_is_silence(tmp_path: Path, stdin: bytes) -> None:
    path = tmp_path / "hooks.ndjson"
    done = handle(path, stdin)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    done = handle(tmp_path / "none" / "hooks.ndjson", json.dumps(STOP).encode())
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_triage_runs_report_nothing(tmp_path: Path) -> None:
    path = tmp_path / "hooks.ndjson"
    handle(path, json.dumps(STOP).encode(), CLAIRE_TRIAGE="1")
    assert not path.exists()


def test_a_spool_nobody_empties_starts_over(tmp_path: Path) -> None:
    path = tmp_path / "hooks.ndjson"
    path.write_bytes(b"x" * (spool.SPOOL_BYTES_MAX + 1))
    spool.append(str(path), "line\n")
    assert path.read_text() == "line\n"


def test_it_imports_nothing_of_ours() -> None:
    assert "claire" not in "".join(line for line in Path(spool.__file__).read_text().splitlines() if "import" in line)
