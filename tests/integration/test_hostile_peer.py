"""A member that is hostile, or newer, or lies: what it can send, through the real listener, guard and door."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest
from starlette.applications import Starlette

from claire.listeners import listen, serve_until, url_of_socket
from claire.node import event as event_module
from claire.node import hlc, members, overview, projects, sessions, tasks
from claire.node import node as node_module
from claire.node.event import Body, Event, event_type
from claire.node.fold import Fold
from claire.node.node import Node, time_ordered_uuid
from claire.sync import auth, introduction, wire
from claire.sync.bell import Bell
from claire.sync.messages import EVENTS_PATH, JSON, NDJSON, RANGES_PATH, STATE_PATH
from claire.sync.pairing import PAIR_PATH
from claire.sync.peer import HOST, Peer, exchange, open_client
from claire.sync.routes import Inbox, routes
from claire.sync_listener import RULES
from claire.ui.guard import Guard
from tests.conftest import START_MS, befriend
from tests.node.events import signed
from tests.node.test_admit import changed, etag, everything

MakeNode = Callable[..., Node]
RSS_BYTES_MAX = 100 * 1024 * 1024


@pytest.fixture
def pair(make_node: MakeNode) -> tuple[Node, Node]:
    nodes = make_node("here"), make_node("there")
    befriend(*nodes)
    return nodes


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_client() as made:
        yield made


class Doors:
    """A node's sync listener as the daemon runs it, and a member that knocks at it with whatever it likes."""

    def __init__(self, url: str, audience: str, member: Node, client: httpx.AsyncClient) -> None:
        self.url, self.audience, self.member, self.client = url, audience, member, client

    async def ask(
        self, method: str, target: str, body: bytes = b"", kind: str = NDJSON, **headers: str
    ) -> httpx.Response:
        """One request, signed as the member's."""
        member = self.member
        nonce = auth.new_nonce(member.entropy(auth.NONCE_BYTES))
        made = auth.sign(member.identity, auth.Request(method, target), body, self.audience, member.now_ms(), nonce)
        headers = {"authorization": made, **({"content-type": kind} if body else {}), **headers}
        request = self.client.build_request(method, self.url, content=body or None, headers=headers)
        request.url = request.url.copy_with(raw_path=target.encode())
        return await self.client.send(request)


@asynccontextmanager
async def doors(node: Node, member: Node, client: httpx.AsyncClient) -> AsyncIterator[Doors]:
    inbox = Inbox(node, Bell(), "here", lambda machine_id: None)
    sock, stop = listen("127.0.0.1", 0, "--sync-port"), asyncio.Event()
    url = url_of_socket(sock)
    app = Guard(Starlette(routes=routes(inbox)), RULES, origins=[url, f"http://{HOST}"], browser=False)
    server = asyncio.create_task(serve_until(app, [sock], stop))
    try:
        yield Doors(url, inbox.door.audience, member, client)
    finally:
        stop.set()
        await server


def rss_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def next_uuid(at_ms: int, number: int) -> str:
    return time_ordered_uuid(at_ms, number.to_bytes(10, "big"))


# --- P1, P5: who says it, and when it says it was


def test_p1_a_stranger_another_member_and_nobody_cannot_speak_for_a_member(
    pair: tuple[Node, Node], make_node: MakeNode
) -> None:
    here, there = pair
    stranger = make_node("stranger")
    body = projects.ProjectCreated("00000000-0000-4000-8000-000000000001", "evil")
    before = etag(here)
    theirs = signed(there.identity, body, START_MS + 1, next_uuid(START_MS, 1))
    for event in (
        signed(stranger.identity, body, START_MS + 1, next_uuid(START_MS, 2)),
        changed(theirs, sig=signed(stranger.identity, body, START_MS + 1, theirs.uuid).sig),
        changed(theirs, sig=signed(here.identity, body, START_MS + 1, theirs.uuid).sig),
        changed(theirs, sig="A" * 86),
        changed(theirs, sig=""),
        changed(theirs, machine_id=here.machine_id),
    ):
        receipt = here.receive([event])
        assert receipt.accepted == 0 and len(receipt.refused) == 1, event
    assert etag(here) == before
    with here.reading() as db:
        assert {row["kind"] for row in overview.overview(db, here.machine_id)["alarms"]} == {"forged"}
    assert here.receive([theirs]).accepted == 1, "a forgery before it does not keep the true one out"


@pytest.mark.parametrize(
    "stamp",
    [
        "-000000000001.000001.{}", "999.000001.{}", "17900000000000.000001.{}", "1790000000000.1000000.{}",
        "1790000000000.00001.{}", "NaN.000001.{}", "1790000000000.000001.", "1790000000000.000001.{}x", "", ".{}",
        "\uff11790000000000.000001.{}", "1790000000000.000001.{}\n",
    ],
)  # fmt: skip
def test_p5_a_malformed_stamp_is_refused_though_it_is_signed(pair: tuple[Node, Node], stamp: str) -> None:
    from tests.node.events import resigned

    here, there = pair
    event = resigned(changed(everything(there)[0], hlc=stamp.format(there.machine_id)), there.identity)
    assert here.receive([event]).accepted == 0


@pytest.mark.parametrize("wall_ms", [START_MS + 3_600_000, START_MS + 10 * 31_557_600_000, hlc.WALL_MS_MAX, 0])
def test_p5_a_wild_but_well_formed_stamp_is_kept_and_does_not_drag_us(pair: tuple[Node, Node], wall_ms: int) -> None:
    here, there = pair
    body = projects.ProjectCreated("00000000-0000-4000-8000-000000000001", "wild")
    event = signed(there.identity, body, wall_ms, next_uuid(START_MS, 1), counter=hlc.COUNTER_MAX)
    assert here.receive([event]).accepted == 1
    projects.create(here, "ours")
    newest = max(e.hlc for e in everything(here) if e.machine_id == here.machine_id)
    assert hlc.decode(newest)[0] <= START_MS + hlc.DRIFT_MS_MAX + 1
    projects.edit(here, "wild", goal="seen, and edited after")
    there.receive(everything(here))
    with there.reading() as db:
        assert projects.find(db, "wild")["goal"] == "seen, and edited after"


# --- P7: what parsers disagree about


ODD = {
    "deep": '{"a":' * 100_000,
    "seventeen deep": '{"a":' * 17 + "1" + "}" * 17,
    "a key twice": '{"a":1,"a":2}',
    "a key twice inside": '{"a":{"b":1,"b":2}}',
    "NaN": '{"a":NaN}',
    "Infinity": '{"a":-Infinity}',
    "1e400": '{"a":1e400}',
    "5,000 digits": '{"a":' + "9" * 5000 + "}",
    "lone surrogate": '{"a":"\\ud800"}',
    "NUL": '{"a":"\\u0000"}',
    "BOM": "\ufeff{}",
    "not an object": "[]",
    "nothing": "",
}


@pytest.mark.parametrize("name", ODD)
async def test_p7_odd_json_is_400_and_names_the_rule(
    name: str, pair: tuple[Node, Node], client: httpx.AsyncClient
) -> None:
    here, there = pair
    good = everything(there)[0]
    async with doors(here, there, client) as door:
        body = wire.dump([changed(good, payload=ODD[name])])
        answer = await door.ask("POST", EVENTS_PATH, body)
        assert answer.status_code in (400, 413) and answer.json()["error"].startswith("malformed: "), answer.text
        assert (await door.ask("GET", STATE_PATH)).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"\xef\xbb\xbf{}", b"\xc0\xaf", b"\xed\xa0\x80", b'{"uuid":"\xff"}', b"[" * 100_000, b"{" * 100_000, b"null",
        b'{"uuid":1e400}', b'{"more":' + b"1" * 5000 + b"}\n", b'{"more":true,"etag":"a"}\n' * 2, b"\x00" * 100,
        b"\n" * 1000 + b"x",
    ],
)  # fmt: skip
async def test_p7_bytes_that_are_no_events_are_400(
    body: bytes, pair: tuple[Node, Node], client: httpx.AsyncClient
) -> None:
    here, there = pair
    async with doors(here, there, client) as door:
        for path, kind in ((EVENTS_PATH, NDJSON), (RANGES_PATH, JSON), (PAIR_PATH, JSON), (introduction.PATH, NDJSON)):
            answer = await door.ask("POST", path, body, kind)
            assert answer.status_code in (400, 413), (path, answer.text)
            assert "malformed: " in answer.text or "larger than" in answer.text


async def test_p7_queries_nobody_writes_are_400(pair: tuple[Node, Node], client: httpx.AsyncClient) -> None:
    here, there = pair
    stamp = hlc.start(there.machine_id)
    async with doors(here, there, client) as door:
        for query in (
            "after=x", "after=" + "9" * 5000, "since=%00", "since=%ff", f"after={stamp}&limit=-1", "limit=1e9",
            f"after={stamp}&limit=" + "9" * 400, "id=" + "&id=".join("x" * 300), "&".join(["after=" + stamp] * 101),
            "&".join(f"a{n}=1" for n in range(400)), f"after={stamp}&since={stamp}", "nothing=1",
            f"after={stamp}&limit=%C2%B2",
        ):  # fmt: skip
            answer = await door.ask("GET", f"{EVENTS_PATH}?{query}")
            assert answer.status_code == 400, (query, answer.text)
        assert (await door.ask("GET", f"{EVENTS_PATH}?after={stamp}")).status_code == 200


# --- P8, P9: what this Claire does not know, or not yet


class TaskEstimated(Body):
    """What a Claire of next year says."""

    task_id: str
    hours: int
    wire_name = "task_estimated"

    def fold(self, fold: Fold, event: Event) -> None:
        fold.row("tasks", self.task_id)["description"] = f"{self.hours} h"


def test_p8_what_a_newer_claire_says_is_kept_relayed_and_applied_after_an_upgrade(
    make_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer, here, third = make_node("newer"), make_node("here"), make_node("third")
    befriend(newer, here, third)
    for node in (here, third, newer):
        for other in (here, third, newer):
            node.receive(everything(other))
    task = tasks.add(newer, projects.create(newer, "api")["id"], "t")
    with newer.writing() as tx:
        tx.record(TaskEstimated(task["id"], 3))
    for later in ({"hue": "red"}, {"v": 2}):
        plain = tasks.TaskCreated("00000000-0000-4000-8000-000000000009", task["project_id"], "later")
        event = signed(newer.identity, plain, START_MS + 50, next_uuid(START_MS + 50, len(later)))
        fields = {**msgspec.json.decode(event.payload), **later}
        from tests.node.events import resigned

        uuid = next_uuid(START_MS + 50, 7 + len(str(later)))
        stamp = hlc.encode(START_MS + 50, len(str(later)), newer.machine_id)
        newer.receive([])
        made = resigned(
            changed(event, payload=msgspec.json.encode(fields).decode(), uuid=uuid, hlc=stamp), newer.identity
        )
        assert newer.receive([made]).accepted == 1
    assert here.receive(everything(newer)).refused == []
    assert third.receive(everything(here)).refused == [], "and passed on by one that cannot read it"
    assert etag(here) == etag(newer) == etag(third)
    with third.reading() as db:
        assert db.execute("SELECT count(*) FROM unread_events").fetchone() == (3,)
        assert tasks.find(db, task["id"])["description"] == ""

    monkeypatch.setattr(event_module, "_types", dict(event_module._types))
    event_type("task_estimated")(TaskEstimated)
    monkeypatch.setattr(node_module, "SCHEMA_VERSION", node_module.SCHEMA_VERSION + 1)
    from claire.node import store

    monkeypatch.setattr(store, "SCHEMA_VERSION", node_module.SCHEMA_VERSION)
    with Node(third.home) as upgraded, upgraded.reading() as db:
        assert tasks.find(db, task["id"])["description"] == "3 h"
        assert db.execute("SELECT count(*) FROM unread_events").fetchone() == (2,)


def test_p9_missing_deleted_and_cyclic_things_wait_and_break_nothing(pair: tuple[Node, Node]) -> None:
    from claire.node import assignments, broadcasts, decisions, updates

    here, there = pair
    here.receive(everything(there))
    ids = [f"0000000{n}-0000-4000-8000-000000000000" for n in range(6)]
    with there.writing() as tx:
        for body in (
            tasks.TaskLinked(ids[0], ids[0]),
            tasks.TaskLinked(ids[0], ids[1]),
            tasks.TaskLinked(ids[1], ids[0]),
            projects.ProjectMerged(ids[2], ids[3]),
            projects.ProjectMerged(ids[3], ids[2]),
            projects.ProjectMerged(ids[4], ids[4]),
            sessions.SessionSucceeded("s1", "s2", "clear"),
            sessions.SessionSucceeded("s2", "s3", "clear"),
            sessions.SessionSucceeded("s3", "s1", "clear"),
            assignments.AssignmentCreated(ids[5], ids[0], "s1"),
            updates.UpdateAdded("note", "about a task nobody has", ids[1]),
            decisions.DecisionLogged("about a project nobody has", ids[2], None),
            broadcasts.BroadcastSent(ids[5], f"project:{ids[2]}", "hi", [], 0),
            broadcasts.BroadcastDelivered(ids[4], "s9", "delivered"),
            tasks.TaskChanged(ids[1], tasks.TaskFields(title="not yet", deleted=True)),
            members.NodeRenamed(ids[0], "nobody"),
            members.NodeRevoked(ids[0], hlc.start(ids[0])),
        ):
            tx.record(body)
    assert here.receive(everything(there)).refused == []
    with here.reading() as db:
        seen = overview.overview(db, here.machine_id)
        assert seen["projects"] == [] and tasks.list_tasks(db) == []
    with there.writing() as tx:
        tx.record(projects.ProjectCreated(ids[2], "api"))
        tx.record(tasks.TaskCreated(ids[0], ids[2], "t"))
        tx.record(tasks.TaskCreated(ids[1], ids[2], "u"))
    assert here.receive(everything(there)).refused == there.receive(everything(here)).refused == []
    assert etag(here) == etag(there)
    for node in pair:
        with node.reading() as db:
            overview.overview(db, node.machine_id)
            assert [task["title"] for task in tasks.list_tasks(db)] == ["t"], "u was deleted before it arrived"
            assert tasks.find(db, ids[0])["blocked_by"]


# --- P6: too much


async def test_p6_a_body_of_a_gigabyte_is_refused_and_not_held(
    pair: tuple[Node, Node], client: httpx.AsyncClient
) -> None:
    here, there = pair
    before = rss_bytes()
    async with doors(here, there, client) as door:
        port = int(door.url.rpartition(":")[2])
        head = f"POST {EVENTS_PATH} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {NDJSON}\r\n"

        def declared() -> bytes:
            with socket.create_connection(("127.0.0.1", port), timeout=120) as wire_:
                wire_.sendall(f"{head}Content-Length: {10**9}\r\n\r\n".encode())
                return wire_.recv(100)

        assert b" 413 " in await asyncio.to_thread(declared)
        bomb = await door.ask("POST", EVENTS_PATH, b"x" * 100, **{"content-encoding": "gzip"})
        assert bomb.status_code == 415
        big = changed(everything(there)[0], payload='{"a":"' + "x" * (event_module.EVENT_BYTES_MAX - 7) + '"}')
        assert (await door.ask("POST", EVENTS_PATH, wire.dump([big]))).status_code in (400, 413)
    assert rss_bytes() - before < RSS_BYTES_MAX


# --- P16: a peer that lies about what it has


async def test_p16_what_one_peer_withholds_another_brings_and_status_shows_it(
    make_node: MakeNode, client: httpx.AsyncClient
) -> None:
    here, liar, author = make_node("here"), make_node("liar"), make_node("author")
    befriend(here, liar, author)
    for node in (here, liar, author):
        for other in (here, liar, author):
            node.receive(everything(other))
    projects.create(author, "api")
    liar.receive(everything(author))
    liar._writer.execute(  # its index still says it has them
        "DELETE FROM events WHERE machine_id = ? AND event_type = 'project_created'", (author.machine_id,)
    )
    async with doors(liar, here, client) as door:
        done = await exchange(here, client, Peer(door.url))
        assert not done.in_sync and sum(done.behind.values()) == 1, "behind by one, and it says so"
    async with doors(author, here, client) as door:
        assert (await exchange(here, client, Peer(door.url))).in_sync
    with here.reading() as db:
        assert [row["name"] for row in projects.list_projects(db)] == ["api"]
    async with doors(here, liar, client) as door:
        healed = await exchange(liar, client, Peer(door.url))
    assert healed.machine_id == here.machine_id
