"""Sockets as the daemon binds them."""

import asyncio
import socket
from typing import Any

from claire.listeners import listen, serve_until
from claire.ui.caller import CONNECTION


def test_an_answer_in_two_writes_is_not_held_back() -> None:
    """Nagle's algorithm meets delayed acknowledgement: 40 ms for every answer, unless it leaves at once."""
    with listen("127.0.0.1", 0, "--port") as made, socket.create_connection(made.getsockname()):
        accepted, _ = made.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_what_is_learnt_of_a_connection_is_kept_with_it_alone() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        known = scope["state"][CONNECTION]
        known["requests"] = known.get("requests", 0) + 1
        await send({"type": "http.response.start", "status": 200 + known["requests"], "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def ask(*wire: Any) -> bytes:
        reader, writer = wire
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        head: bytes = await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"0\r\n\r\n")
        return head.split()[1]

    sock, stop = listen("127.0.0.1", 0, "--port"), asyncio.Event()
    address = sock.getsockname()
    serving = asyncio.create_task(serve_until(app, [sock], stop))
    one, other = await asyncio.open_connection(*address), await asyncio.open_connection(*address)
    assert [await ask(*one), await ask(*one), await ask(*other)] == [b"201", b"202", b"201"]
    for _, writer in (one, other):
        writer.close()
    stop.set()
    await serving
