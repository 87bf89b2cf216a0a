"""The only caller of ssh: has another host join or exchange, over the trust its user already has there."""

import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

from claire.node.errors import ClaireError, Refused, UsageError

ROUND_S_MAX = 1_800.0
END_S_MAX = 10.0
# For any login shell there; pipx and uv install to ~/.local/bin, which only an interactive shell may know.
REMOTE = """exec sh -c 'PATH="$HOME/.local/bin:$PATH"; {}exec claire sync --stdio'"""


@contextmanager
def pipes(destination: str, *, init: bool = False) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """(what comes, what goes) of a `claire sync --stdio` on that host; it ends with the block.

    `init` makes that host a node first, if it is none yet. Nothing secret stands in argv, here or there.
    """
    _check(destination)
    remote = REMOTE.format("claire init >&2 && " if init else "")
    argv = ["ssh", "-T", "-o", "ServerAliveInterval=15", "--", destination, remote]
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
