"""mDNS where an interface fails; what it finds is tested with the real thing, between network namespaces."""

import asyncio
import contextlib
from types import SimpleNamespace

import pytest

from claire.sync import lan


async def test_an_interface_that_goes_while_it_is_used_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[None] = []
    again = asyncio.Event()

    def addresses() -> list[str]:
        if not closed:
            raise OSError("no such device")
        again.set()
        return []

    async def close() -> None:
        closed.append(None)

    socket = SimpleNamespace(zeroconf=None, async_cancel=close, async_close=close)
    monkeypatch.setattr(lan, "AsyncZeroconf", lambda **_: socket)
    monkeypatch.setattr(lan, "AsyncServiceBrowser", lambda *_, **__: socket)
    monkeypatch.setattr(lan, "lan_addresses", addresses)
    monkeypatch.setattr(lan, "CHECK_S", 0.0)
    running = asyncio.create_task(lan.Lan("m", lambda: 0, lambda machine_id: True).run())
    async with asyncio.timeout(20):
        await again.wait()
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
