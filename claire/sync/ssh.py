"""The only caller of ssh: has another host join or exchange, over the trust its user already has there."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

import msgspec

from claire.node.errors import ClaireError, Refused, UsageError

JOIN_S_MAX = 120.0  # a person may have to type a password
ROUND_S_MAX = 1_800.0
END_S_MAX = 10.0
OUTPUT_CHARS_SHOWN = 300
EXIT_SSH_FAILED = 255
EXIT_NO_SUCH_COMMAND = 127
# For any login shell there; pipx and uv install to ~/.local/bin, which only an interactive shell may know.
REMOTE = """exec sh -c 'PATH="$HOME/.local/bin:$PATH"; claire init >&2 && claire peer join - >&2 && claire id --json'"""
SERVE = """exec sh -c 'PATH="$HOME/.local/bin:$PATH"; exec claire sync --stdio'"""


class _Identity(msgspec.Struct):
    id: str


class _Said(msgspec.Struct):
    data: _Identity


def join_there(destination: str, line: str) -> str:
    """Give the invite to `claire peer join` on that host, on standard input; the machine id it says it has."""
    _check(destination)
    try:
        done = subprocess.run(
            ["ssh", "-T", "--", destination, REMOTE],
            input=f"{line}\n".encode(),
            capture_output=True,
            timeout=JOIN_S_MAX,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"{destination} did not join within {JOIN_S_MAX:.0f} s") from None
    if done.returncode:
        raise _failure(destination, done.returncode, done.stderr.decode("utf-8", "replace"))
    try:
        return msgspec.json.decode(done.stdout, type=_Said).data.id
    except msgspec.MsgspecError:
        raise Refused(f"what {destination} answered is not from claire", "is its Claire as new as this one?") from None


@contextmanager
def pipes(destination: str) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """(what comes, what goes) of a `claire sync --stdio` on that host; it ends with the block."""
    _check(destination)
    argv = ["ssh", "-T", "-o", "ServerAliveInterval=15", "--", destination, SERVE]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    late = threading.Timer(ROUND_S_MAX, process.kill)
    late.start()
    try:
        yield process.stdout, process.stdin
        process.stdin.close()
        process.wait(END_S_MAX)
    except (BrokenPipeError, subprocess.TimeoutExpired):
        raise ClaireError(f"ssh {destination}: the connection was cut", "run it again: it goes on there") from None
    finally:
        late.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
        with suppress(BrokenPipeError):
            process.stdin.close()


def _check(destination: str) -> None:
    if destination.startswith("-") or not destination.strip() or not destination.isprintable():
        raise UsageError(f"{destination!r} is not a host", "user@host, as ssh takes it")
    if shutil.which("ssh") is None:
        raise Refused("there is no ssh here", "claire peer invite, and claire peer join on the other host")


def _failure(destination: str, code: int, said: str) -> Refused:
    words = " ".join(said.split())[-OUTPUT_CHARS_SHOWN:]
    if code == EXIT_SSH_FAILED:
        return Refused(f"ssh {destination} failed: {words}", f"try `ssh {destination}`")
    if code == EXIT_NO_SUCH_COMMAND:
        return Refused(f"there is no claire on {destination}", "install it there first")
    return Refused(f"{destination} did not join: {words}", "run `claire node` here, at an address that host can reach")
