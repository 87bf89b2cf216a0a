"""The real sync app of a node under the real server, in the loop of the test."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette

from claire.listeners import listen, serve_until, url_of_socket
from claire.node.node import Node
from claire.sync.bell import Bell
from claire.sync.routes import Inbox, routes


@asynccontextmanager
async def serving(
    node: Node, *, bell: Bell | None = None, contacted: Callable[[str], None] = lambda machine_id: None
) -> AsyncIterator[str]:
    """The URL of the node's sync listener."""
    inbox = Inbox(node, bell or Bell(), "served", contacted)
    sock = listen("127.0.0.1", 0, "--sync-port")
    url, stop = url_of_socket(sock), asyncio.Event()
    server = asyncio.create_task(serve_until(Starlette(routes=routes(inbox)), [sock], stop))
    try:
        yield url
    finally:
        stop.set()
        await server
