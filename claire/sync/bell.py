"""Something changed in the log: whoever waits for that in this process is told."""

import asyncio


class Bell:
    """Rung after a change; each waiter wakes once for all that happened while it was not waiting."""

    def __init__(self) -> None:
        self.rung = 0
        self._next = asyncio.Event()

    def ring(self) -> None:
        self.rung += 1
        self._next.set()
        self._next = asyncio.Event()

    async def wait(self, seconds: float, since: int | None = None) -> bool:
        """True as soon as it was rung after `since` (default: now), False after `seconds`."""
        if since is not None and since != self.rung:
            return True
        try:
            await asyncio.wait_for(self._next.wait(), seconds)
        except TimeoutError:
            return False
        return True
