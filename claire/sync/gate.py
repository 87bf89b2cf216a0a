"""The gate before both listeners: on an address of the tailnet, only hosts of the tailnet are answered.

To be bound to an address is not to be reached through its network alone: Linux takes a packet for any of its addresses
on any interface, so a neighbour on the LAN that routes a tailnet address here would get through.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

from claire.sync.discovery import on_tailnet

REMEMBER_S = 600.0
REMEMBERED_MAX = 256

App = Callable[[Any, Any, Any], Awaitable[None]]
Ask = Callable[[str], Awaitable[bool]]


class Gate:
    """Wraps an ASGI app. `is_known(address)` asks Tailscale, where there is one, whether it knows that host."""

    def __init__(self, app: App, is_known: Ask, clock: Callable[[], float] = time.monotonic) -> None:
        self.app, self.is_known, self.clock = app, is_known, clock
        self._answers: dict[str, tuple[bool, float]] = {}  # address -> (known, until when that holds)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not await self.opens(scope["server"], scope["client"]):
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await self.app(scope, receive, send)

    async def opens(self, server: tuple[str, int] | None, client: tuple[str, int] | None) -> bool:
        """True unless the request came to a tailnet address from outside the tailnet."""
        if server is None or not on_tailnet(server[0]):
            return True
        if client is None or not on_tailnet(client[0]):
            return False
        known, until = self._answers.get(client[0], (False, 0.0))
        if self.clock() >= until:
            known = await self.is_known(client[0])
            if len(self._answers) >= REMEMBERED_MAX:
                self._answers.clear()
            self._answers[client[0]] = known, self.clock() + REMEMBER_S
        return known
