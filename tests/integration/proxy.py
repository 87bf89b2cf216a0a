"""A TCP proxy between two nodes that misbehaves as told, and counts what passes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """`cut_after` bytes of answers it hangs up (for good, or half), or it flips a bit or slows down."""

    target: str
    url: str = ""
    cut_after: int | None = None
    half_close: bool = False
    corrupt_at: int | None = None
    bytes_a_read: int = 65536
    pause_s: float = 0.0
    connections: int = 0
    passed: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.create_task(self._serve(reader, writer)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        to = urlsplit(self.target)
        try:
            server_reader, server_writer = await asyncio.open_connection(to.hostname, to.port)
        except OSError:
            writer.close()
            return
        up = asyncio.create_task(self._pump(reader, server_writer, "up"))
        try:
            await self._pump(server_reader, writer, "down")
        finally:
            up.cancel()
            for end in (writer, server_writer):
                end.close()
                with contextlib.suppress(ConnectionError):
                    await end.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: str) -> None:
        count = 0
        try:
            while data := await reader.read(self.bytes_a_read):
                if way == "down":
                    data = self._harm(data, count)
                count += len(data)
                self.passed[way] += len(data)
                writer.write(data)
                await writer.drain()
                if self.pause_s:
                    await asyncio.sleep(self.pause_s)
                if way == "down" and self.cut_after is not None and count >= self.cut_after:
                    if self.half_close:
                        writer.write_eof()
                        await asyncio.sleep(3600)
                    return
        except ConnectionError:
            return

    def _harm(self, data: bytes, before: int) -> bytes:
        if self.cut_after is not None:
            data = data[: max(0, self.cut_after - before)]
        if self.corrupt_at is not None and before <= self.corrupt_at < before + len(data):
            harmed = bytearray(data)
            harmed[self.corrupt_at - before] ^= 0x01
            data = bytes(harmed)
        return data


@asynccontextmanager
async def proxy(target: str, **faults: object) -> AsyncIterator[Proxy]:
    made = Proxy(target, **faults)  # type: ignore[arg-type]
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for task in made.tasks:
            task.cancel()
        await asyncio.gather(*made.tasks, return_exceptions=True)
