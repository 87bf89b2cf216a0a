"""Sockets as the daemon binds them."""

import socket

from claire.listeners import listen


def test_an_answer_in_two_writes_is_not_held_back() -> None:
    """Nagle's algorithm meets delayed acknowledgement: 40 ms for every answer, unless it leaves at once."""
    with listen("127.0.0.1", 0, "--port") as made, socket.create_connection(made.getsockname()):
        accepted, _ = made.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
