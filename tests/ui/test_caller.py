"""Whose connection it is: what the kernel says of real sockets, and what is left open where it cannot say."""

import os
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from claire.ui import caller


def scope(client: Any, server: Any) -> dict[str, Any]:
    return {"client": client, "server": server}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_our_own_connections_are_ours(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"there is no {host} here")
    with listening, socket.create_connection(listening.getsockname()[:2]) as wire:
        ends = wire.getsockname()[:2], wire.getpeername()[:2]
        assert caller._uid(caller.TABLES[6 if ":" in host else 4], *ends) == os.getuid()
        assert not caller.is_another_user(scope(*ends))
        monkeypatch.setattr(caller.os, "getuid", lambda: 12345)
        monkeypatch.setattr(caller, "ROOT", 54321)
        assert caller.is_another_user(scope(*ends))


def test_w9_who_sends_and_goes_is_nobody() -> None:
    """The kernel shows root as the owner of a connection whose client has closed it, or does not show it at all."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for at_once in (False, True):
            wire = socket.create_connection(listening.getsockname())
            with listening.accept()[0] as ours:
                ends = wire.getsockname(), wire.getpeername()
                wire.sendall(b"POST /broadcast HTTP/1.1")
                if at_once:  # a reset instead of a goodbye
                    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                wire.close()
                assert caller.is_another_user(scope(*ends))
                assert ours.recv(4) == b"POST", "though what it said is here to be read"


def test_what_cannot_be_known_is_left_to_the_cookie(monkeypatch: pytest.MonkeyPatch) -> None:
    here = ("127.0.0.1", 8765)
    assert not caller.is_another_user(scope(None, here))
    assert not caller.is_another_user(scope(("100.64.0.9", 4000), ("100.64.0.1", 8765)))
    monkeypatch.setitem(caller.TABLES, 4, "/no/such/table")
    assert not caller.is_another_user(scope(("127.0.0.1", 1), here))


def test_the_kernel_is_asked_once_for_each_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends, table = (("127.0.0.1", 4000), ("127.0.0.1", 8765)), tmp_path / "tcp"
    line = "0: {} {} 01 0:0 0:0 0 {} 0 77\n"
    monkeypatch.setitem(caller.TABLES, 4, str(table))
    table.write_text("")
    asked = {**scope(*ends), "state": {caller.CONNECTION: {}}}
    assert caller.is_another_user(asked), "nobody's"
    table.write_text(line.format(*(caller._entry(*end) for end in ends), os.getuid()))
    assert not caller.is_another_user(asked), "what is not known is not kept"
    table.write_text(line.format(*(caller._entry(*end) for end in ends), os.getuid() + 4321))
    assert not caller.is_another_user(asked), "kept with the connection"
    assert caller.is_another_user({**asked, "state": {caller.CONNECTION: {}}}), "and with no other"
