"""Programs that are not ours, run to their end: within a time, and no longer than the node lives."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

LOOK_S = 0.3
LAST_WORDS_S = 2.0

Done = subprocess.CompletedProcess[str]


class NoAnswer(Exception):
    """It did not end in time, or the node ends: it was ended, and whatever it had started with it."""


def never() -> bool:
    return False


def run(
    argv: Sequence[str],
    env: Mapping[str, str],
    text: str = "",
    *,
    timeout_s: float,
    folder: str | None = None,
    stopping: Callable[[], bool] = never,
) -> Done:
    """`text` goes to its standard input. OSError where it does not start."""
    process = subprocess.Popen(
        argv,
        env=dict(env),
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    data, deadline = text.encode("utf-8", "replace"), time.monotonic() + timeout_s
    while (left := deadline - time.monotonic()) > 0 and not stopping():
        try:
            out, err = (said.decode("utf-8", "replace") for said in process.communicate(data, min(LOOK_S, left)))
            return subprocess.CompletedProcess(argv, process.returncode, out, err)
        except subprocess.TimeoutExpired:
            data = b""
    end(process)
    raise NoAnswer("ended with the node" if stopping() else f"no answer in {timeout_s:g} s")


def end(process: subprocess.Popen[bytes]) -> None:
    """With whatever it started; asked before it is killed, so that it can close what it holds."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended already
            os.killpg(process.pid, number)
        try:
            process.communicate(timeout=LAST_WORDS_S)
            return
        except subprocess.TimeoutExpired:
            continue
    process.communicate()
