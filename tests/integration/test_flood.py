"""A member floods a running daemon: the dashboard goes on answering, and memory does not grow with what is sent.

CLAIRE_TEST_FLOOD=200000 is the whole row, and what `make fuzz` sends; the suite sends a tenth of it.
"""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from claire.node import tasks
from claire.node.node import Node, time_ordered_uuid, wall_ms
from claire.sync import wire
from claire.sync.messages import EVENTS_PATH, NDJSON
from tests.conftest import befriend
from tests.integration.nodes import ProcessNode
from tests.integration.test_openapi import RSS_BYTES_MAX, Browser, Member, rss_bytes
from tests.node.events import signed
from tests.node.test_admit import everything

FLOOD_EVENTS = int(os.environ.get("CLAIRE_TEST_FLOOD", "20000"))
BODY_EVENTS = 2_000
FLOODERS = 4  # at a time; a listener takes three, and tells the fourth to come back
LOOKS = 40  # at the dashboard, before the flood
P95_S_MAX = 0.3
SLOWER_MAX = 20  # on a machine that is not ours alone: than the dashboard was before


@pytest.fixture
def daemon(tmp_path: Path, make_node: Callable[..., Node]) -> Iterator[tuple[ProcessNode, Node, Node]]:
    """A daemon, its node, and a member of its fleet."""
    nobody = str(tmp_path / "nobody")
    made = ProcessNode(tmp_path, "here", HOME=nobody, TMUX_TMPDIR=nobody, CLAUDE_CONFIG_DIR="")
    here, there = make_node("here", wall_ms), make_node("there", wall_ms)
    befriend(here, there)
    here.receive(everything(there))
    made.start()
    yield made, here, there
    made.kill()


def bodies(author: Node, share: int) -> Iterator[bytes]:
    """Every FLOODERS-th body of the flood."""
    now_ms = wall_ms()
    for start in range(share * BODY_EVENTS, FLOOD_EVENTS, FLOODERS * BODY_EVENTS):
        yield wire.dump([
            signed(
                author.identity,
                tasks.TaskCreated(f"{number:08x}-0000-4000-8000-000000000000", "p", f"flood {number}"),
                now_ms - FLOOD_EVENTS + number,
                time_ordered_uuid(now_ms, number.to_bytes(10, "big")),
            )
            for number in range(start, start + BODY_EVENTS)
        ])  # fmt: skip


def flood(sync: str, author: Node, share: int) -> tuple[int, int]:
    """Send one share of the flood: events accepted, and how often it was told to come back."""
    member, accepted, busy = Member(sync, author), 0, 0
    for body in bodies(author, share):
        while (answer := post(member, body)).status_code == 503:
            busy += 1
            time.sleep(float(answer.headers["retry-after"]))
        accepted += answer.json()["accepted"]
    return accepted, busy


def post(member: Member, body: bytes) -> requests.Response:
    return member.send(
        requests.Request("POST", member.url + EVENTS_PATH, {"content-type": NDJSON}, data=body).prepare()
    )


def p95(waits: list[float]) -> float:
    return sorted(waits)[int(len(waits) * 0.95)]


def test_p11_a_flood_leaves_the_dashboard_answering(daemon: tuple[ProcessNode, Node, Node]) -> None:
    running, here, there = daemon
    ui, sync = str(running.urls()["ui"]), running.sync_url()
    browser = Browser(ui, here)

    def look() -> float:
        began = time.monotonic()
        assert browser.send(requests.Request("GET", f"{ui}/").prepare()).status_code == 200
        return time.monotonic() - began

    quiet, memory, waits = [look() for _ in range(LOOKS)], rss_bytes(running), list[float]()
    with ThreadPoolExecutor(FLOODERS) as pool:
        shares = [pool.submit(flood, sync, there, share) for share in range(FLOODERS)]
        while not all(share.done() for share in shares):
            waits.append(look())
    accepted, busy = (sum(counts) for counts in zip(*(share.result() for share in shares), strict=True))
    grown = rss_bytes(running) - memory
    print(
        f"{accepted:,} events, {busy} times told to come back; p95 of {len(waits)} looks {p95(waits):.3f} s,"
        f" {p95(quiet):.3f} s before; {grown >> 20} MiB above start"
    )
    assert accepted == FLOOD_EVENTS
    assert p95(waits) < max(P95_S_MAX, SLOWER_MAX * p95(quiet))
    assert grown < RSS_BYTES_MAX
