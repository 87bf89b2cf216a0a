"""`claire demo` tells its story to the end, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.nodes import PATIENCE_S, until

ROOT = Path(__file__).resolve().parents[2]
STORY_S = 600.0
HEALED = "the cut is healed"


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path: a socket's may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix="cd", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


def start(place: Path, *argv: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "claire", "demo", *argv],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(place), **env}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True,
    )  # fmt: skip


def left_behind(place: Path) -> list[str]:
    """Files in the place, and processes that work in it."""
    found = [str(path) for path in place.iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{place}/".encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it has ended, or is somebody else's
    return found


def test_the_story_comes_true(place: Path) -> None:
    demo = start(place, "--quick")
    out, err = demo.communicate(timeout=STORY_S)
    assert (demo.returncode, err) == (0, "")
    for said in ("cedar leads with it", "its task went with it", "is done, on cedar it is blocked", HEALED):
        assert said in out
    assert out.count("/login#") == 3 and out.endswith("ended; nothing is left behind\n")
    if shutil.which("tmux"):
        assert "typed once, when they were idle" in out
    assert left_behind(place) == []


def test_it_does_without_tmux_and_ends_by_itself(place: Path) -> None:
    demo = start(place, "--for", "1s", PATH=os.path.dirname(sys.executable))
    out, err = demo.communicate(timeout=STORY_S)
    assert (demo.returncode, err) == (0, "")
    assert "no tmux here" in out and HEALED in out and "look around, in another terminal" in out
    assert left_behind(place) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_it_tidies_up_whatever_ends_it(place: Path, number: signal.Signals) -> None:
    demo = start(place)
    assert demo.stdout
    for line in demo.stdout:
        if "four sessions sit" in line:
            break
    os.kill(demo.pid, number)
    demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode == (0 if number == signal.SIGINT else -number)
    until(lambda: left_behind(place) == [], why=lambda: repr(left_behind(place)))


def test_a_reader_that_goes_away_ends_it(place: Path) -> None:
    demo = start(place)
    assert demo.stdout and demo.stderr and "claire demo: three nodes in" in demo.stdout.readline()
    demo.stdout.close()
    assert (demo.wait(PATIENCE_S), demo.stderr.read()) == (141, "")
    demo.stderr.close()
    assert left_behind(place) == []
