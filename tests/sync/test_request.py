"""A round asked of whoever listens at the doorbell, and what happens where nobody does."""

import asyncio
import os
import signal
import socket
from pathlib import Path

from claire.node import projects
from claire.node.node import Node
from claire.sync import bell, request
from claire.sync.bell import Bell
from claire.sync.peer import open_client
from tests.conftest import befriend
from tests.integration.nodes import ProcessNode, pair
from tests.sync.serving import serving
from tests.sync.test_once import MakeNode, listed


async def test_the_round_is_made_by_who_listens_at_the_door(make_node: MakeNode) -> None:
    a, b = make_node("alpha"), make_node("beta")
    befriend(a, b)
    projects.create(a, "api")
    answers: list[asyncio.Task[None]] = []
    async with serving(b) as url, open_client() as client:

        def asked(address: str) -> None:
            answers.append(asyncio.create_task(request.answer(a, client, address)))

        await listed(a, url)
        listening = asyncio.create_task(bell.listen(a, Bell(), Bell(), asked))
        rows = None
        while rows is None:  # nobody is at the door yet
            rows = await asyncio.to_thread(request.by_daemon, a.home)
        listening.cancel()
        await asyncio.gather(*answers, listening, return_exceptions=True)
    assert [(row["id"], row["state"]) for row in rows] == [(b.machine_id, "in sync")]
    with b.reading() as db:
        assert [row["name"] for row in projects.list_projects(db)] == ["api"]
    assert not list(Path(a.home.doorbell).parent.glob("doorbell*")), "nothing stays behind"


def test_where_no_daemon_runs_nobody_is_asked(node: Node) -> None:
    assert request.by_daemon(node.home) is None
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gone:
        os.makedirs(os.path.dirname(node.home.doorbell), exist_ok=True)
        gone.bind(node.home.doorbell)  # of a daemon that was killed
    assert request.by_daemon(node.home) is None


def test_sync_goes_on_alone_beside_a_daemon_that_hangs(tmp_path: Path) -> None:
    here, there = ProcessNode(tmp_path, "here"), ProcessNode(tmp_path, "there")
    try:
        here.start()
        pair(here, there)
        there.start()
        there.sync_url()
        assert here.process is not None
        assert [row["state"] for row in here.json("sync")] == ["in sync"], "by the daemon"
        os.kill(here.process.pid, signal.SIGSTOP)
        assert [row["state"] for row in here.json("sync")] == ["in sync"], "without it"
    finally:
        for node in (here, there):
            node.kill()
