"""Which daemon runs for a home, and where it is reached: a lock, and a small file beside it."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from claire.config import Home
from claire.node.errors import Refused

TRIES_MAX, TRY_S = 50, 0.01  # of taking the lock: who only asks for it holds it for a moment


@contextmanager
def alone(home: Home) -> Iterator[None]:
    """Hold node.lock, or Refused; the lock ends with the process, however that ends."""
    fd = os.open(home.node_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _taken(fd):
            raise Refused(
                f"claire node runs already for {home.data} (pid {read_urls(home).get('pid', '?')})",
                "end that one first, or set another CLAIRE_HOME",
            )
        yield
    finally:
        os.close(fd)


def _taken(fd: int) -> bool:
    for _ in range(TRIES_MAX):
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(TRY_S)
    return False


def is_running(home: Home) -> bool:
    """True while a daemon holds the lock."""
    try:
        fd = os.open(home.node_lock, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: those who ask do not take each other for a daemon
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def write_urls(home: Home, urls: dict[str, Any]) -> None:
    path = _file(home)
    with open(os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(urls, file)
    os.replace(f"{path}.new", path)


def read_urls(home: Home) -> dict[str, Any]:
    """`pid`, `ui` (a URL) and `sync` (URLs, [] while closed) of the daemon; {} if none ever ran, or it ended well."""
    try:
        with open(_file(home)) as file:
            urls: dict[str, Any] = json.load(file)
    except FileNotFoundError:
        return {}
    return urls


def forget_urls(home: Home) -> None:
    if os.path.exists(_file(home)):
        os.unlink(_file(home))


def _file(home: Home) -> str:
    return os.path.join(home.runtime, "node.json")
