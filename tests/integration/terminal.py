"""A command in a terminal of its own. It starts from a warm process: how Python starts is not what is tested."""

from __future__ import annotations

import multiprocessing
import os
import pty
import select
import struct
import sys
import termios
from fcntl import ioctl

TIMEOUT_S = 180
LINES = 24

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["claire.ui.cli.app", "claire.ui.cli.show", "claire.ui.cli.status", "claire.node.setup"])


def in_terminal(argv: list[str], env: dict[str, str], columns: int = 80) -> tuple[int, str]:
    """Exit code and everything a terminal of that width was sent."""
    own, theirs = pty.openpty()
    ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    process = context.Process(target=_run, args=(os.ttyname(theirs), argv, env))
    process.start()
    sent = b""
    try:
        while (ready := select.select([own, process.sentinel], [], [], TIMEOUT_S)[0]) and own in ready:
            sent += os.read(own, 65536)
        assert ready, f"{argv} takes longer than {TIMEOUT_S} s"
        process.join()
    finally:
        process.kill()
        process.join()
        os.close(theirs)
        os.close(own)
    assert process.exitcode is not None
    return process.exitcode, sent.decode().replace("\r\n", "\n")


def _run(tty: str, argv: list[str], env: dict[str, str]) -> None:
    os.setsid()
    terminal = os.open(tty, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(terminal, fd)
    sys.stdin, sys.stdout = os.fdopen(0, encoding="utf-8"), os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = os.fdopen(2, "w", encoding="utf-8", errors="backslashreplace")
    os.environ.clear()
    os.environ.update(env)
    sys.argv = ["claire", *argv]
    from claire.main import main

    try:
        main()
    except SystemExit as exit:
        sys.stdout.flush()
        os._exit(int(exit.code or 0))
