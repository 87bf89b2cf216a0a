"""A real Hypercorn on an ephemeral port, and raw requests to it: what an attacker can send, a test can."""

import asyncio
import contextlib
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

TIMEOUT_S = 120


@dataclass(frozen=True)
class Reply:
    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Server:
    port: int
    log: list[str]

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(self, data: bytes) -> Reply:
        """Send exactly these bytes, read until the server closes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=TIMEOUT_S) as wire:
            wire.sendall(data)
            return read_reply(wire)

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"", host: str | None = None) -> Reply:
        """One request with exactly these header lines after the Host."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or f'127.0.0.1:{self.port}'}", *headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.send("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)

    def own(self) -> list[str]:
        """The marks of a request made by a script of our own page."""
        return [
            f"Origin: {self.origin}", "Sec-Fetch-Site: same-origin", "HX-Request: true",
            "Content-Type: application/x-www-form-urlencoded",
        ]  # fmt: skip


def read_reply(wire: socket.socket) -> Reply:
    data = b""
    while b"\r\n\r\n" not in data and (block := wire.recv(65536)):
        data += block
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = [(key.lower(), value.strip()) for key, _, value in (line.partition(":") for line in lines[1:])]
    length = next((int(value) for key, value in headers if key == "content-length"), None)
    while (length is None or len(body) < length) and (block := wire.recv(65536)):
        body += block
    return Reply(int(lines[0].split(" ")[1]), headers, body)


def kept_in(lines: list[str]) -> logging.Logger:
    """A logger that keeps what it is told, tracebacks too."""
    logger = logging.Logger("served")
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(logging.Formatter().format(record))  # type: ignore[method-assign]
    logger.addHandler(handler)
    return logger


@contextlib.contextmanager
def running(make: Callable[[int], Any], *, read_timeout: float = 120) -> Iterator[Server]:
    """Serve `make(port)` from a thread of its own until the block ends."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = Server(listening.getsockname()[1], [])
    config = Config()
    config.bind = [f"fd://{listening.detach()}"]
    config.read_timeout = read_timeout
    config.graceful_timeout = 0.2
    config.accesslog, config.errorlog = None, kept_in(server.log)
    loop, stop = asyncio.new_event_loop(), asyncio.Event()
    loop.set_exception_handler(lambda _, context: server.log.append(str(context)))
    app = make(server.port)

    def run() -> None:
        loop.run_until_complete(serve(app, config, shutdown_trigger=stop.wait))  # type: ignore[arg-type]
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(TIMEOUT_S)
