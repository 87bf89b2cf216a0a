"""Programs that are not ours: what they say, and that none outlives its time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from claire.fleet import command
from tests.fleet.kit import wait_for

ENV = dict(os.environ)


def test_what_it_is_told_and_says() -> None:
    done = command.run(["sh", "-c", "cat; echo wrong >&2; exit 3"], ENV, "emoji 🙂 \ud800", timeout_s=20)
    assert (done.stdout, done.stderr, done.returncode) == ("emoji 🙂 ?", "wrong\n", 3)


def test_output_that_is_not_text_is_readable_all_the_same() -> None:
    assert command.run(["printf", r"a\377b"], ENV, timeout_s=20).stdout == "a\N{REPLACEMENT CHARACTER}b"


def test_one_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        command.run(["/none"], ENV, timeout_s=20)


@pytest.mark.parametrize("trap", ["", "trap '' INT;"], ids=["it obeys", "it does not"])
def test_it_ends_with_all_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trap: str) -> None:
    """As ssh does that an rclaude has started: nobody would ever end it otherwise."""
    monkeypatch.setattr(command, "LAST_WORDS_S", 0.2)
    script = f"{trap} sleep 600 & echo $! > {tmp_path}/child; wait"
    with pytest.raises(command.NoAnswer, match=r"no answer in 0\.5 s"):
        command.run(["sh", "-c", script], ENV, timeout_s=0.5)
    child = int((tmp_path / "child").read_text())
    wait_for(lambda: not runs(child), "the end of what it started")


def test_it_does_not_outlive_the_node() -> None:
    with pytest.raises(command.NoAnswer, match="ended with the node"):
        command.run(["sleep", "600"], ENV, timeout_s=600, stopping=lambda: True)


def runs(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"
