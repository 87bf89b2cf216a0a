"""`/api/sync/*`: the sync listener's whole surface. All but pairing and introduction is signed by a member."""

import asyncio
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from claire.node import members
from claire.node.errors import Refused, StorageError
from claire.node.node import Node
from claire.sync import auth, introduction, pack, pairing, wire
from claire.sync.answers import HANDLERS, answer, problem
from claire.sync.bell import Bell
from claire.sync.messages import STATE_PATH, Answer, Ask, encode

INBOUND_EXCHANGES_MAX = 3  # at a time; more wait a moment, then are told to come back
INBOUND_WAIT_S = 1.0
RETRY_AFTER_S = 2
DISK_RETRY_AFTER_S = 30  # a disk that is full stays so for a while; whole pages are sent again for each try
REQUEST_S_MAX = 30.0
WAIT_S_MAX = 25.0
PAIR_BYTES_MAX = 4096
QUERY_FIELDS_MAX = 300

Handler = Callable[[Request], Awaitable[Response]]


class Inbox:
    """What the routes share while a node runs: who may enter, and whom to tell about it."""

    def __init__(self, node: Node, bell: Bell, name: str, contacted: Callable[[str], None]) -> None:
        """`contacted(machine_id)` hears of each request a member makes."""
        self.node, self.bell, self.name, self.contacted = node, bell, name, contacted
        self.door = auth.Door(node.machine_id, f"{node.boot}-{node.entropy(4).hex()}")
        self.permits = asyncio.Semaphore(INBOUND_EXCHANGES_MAX)


def routes(inbox: Inbox) -> list[Route]:
    async def sync(request: Request) -> Response:
        return await _within_deadline(_exchange(inbox, request), request)

    async def pair(request: Request) -> Response:
        return await _within_deadline(_pair(inbox, request), request)

    async def introduce(request: Request) -> Response:
        return await _within_deadline(_introduce(inbox, request), request)

    paths = sorted({(path, method) for method, path in HANDLERS})
    return [
        *(Route(path, sync, methods=[method]) for path, method in paths),
        Route(pairing.PAIR_PATH, pair, methods=["POST"]),
        Route(introduction.PATH, introduce, methods=["POST"]),
    ]


async def _within_deadline(work: Awaitable[Response], request: Request) -> Response:
    """The answer, or the error in words; nothing about our inside leaves this listener."""
    try:
        async with asyncio.timeout(REQUEST_S_MAX + WAIT_S_MAX):
            return await work
    except TimeoutError:
        return _plain(problem(408, f"the request took longer than {REQUEST_S_MAX:.0f} s"))
    except ClientDisconnect:
        return _plain(problem(400, "the request was cut"))
    except StorageError as error:
        return _plain(problem(503, error.message), {"retry-after": str(DISK_RETRY_AFTER_S)})


async def _exchange(inbox: Inbox, request: Request) -> Response:
    try:
        claim = _admit(inbox, request)
        body = await _body(request, wire.BATCH_BYTES_MAX)
        if not claim.covers(body):
            raise auth.Unauthorized(auth.FORGED)
        ask, wait_s = _asked(request, body)
    except auth.Unauthorized as error:
        return _plain(_refusal(inbox, error), {auth.AUDIENCE_HEADER: inbox.door.audience, **_unread(request)})
    except wire.Malformed as error:
        return _plain(problem(413 if "larger" in error.rule else 400, error.message), _unread(request))
    inbox.contacted(claim.machine_id)
    given = await (_state(inbox, ask, wait_s) if ask.path == STATE_PATH else _permitted(inbox, ask))
    if given.status not in (200, 304):
        return _plain(given, {"retry-after": str(RETRY_AFTER_S)} if given.status == 503 else {})
    headers = {}
    if len(given.body) >= pack.WORTH_BYTES and pack.ENCODING in request.headers.get("accept-encoding", ""):
        given = Answer(200, await asyncio.to_thread(pack.pack, given.body))
        headers["content-encoding"] = pack.ENCODING
    signed = ask.etag.encode() if given.status == 304 else given.body  # what of the answer the asker did not know
    headers[auth.SIGNATURE_HEADER] = auth.sign_answer(inbox.node.identity, claim.nonce, given.status, signed)
    return _plain(given, headers)


def _asked(request: Request, body: bytes) -> tuple[Ask, float]:
    """The request as the protocol sees it, and how long it may wait for a change."""
    try:
        fields = parse_qsl(
            request.scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX
        )
    except ValueError:
        raise wire.Malformed(f"more than {QUERY_FIELDS_MAX} query fields") from None
    wait_s = _wait_s(dict(fields).get("wait", ""))
    query = tuple(field for field in fields if field[0] != "wait")
    etag = request.headers.get("if-none-match", "").strip('"')
    return Ask(request.method, request.scope["path"], query, body, etag), wait_s


def _admit(inbox: Inbox, request: Request) -> auth.Claim:
    """Decided before the body is read, and in the loop: a thread takes longer than the look and the signature."""
    target = request.scope["raw_path"]
    if request.scope["query_string"]:
        target += b"?" + request.scope["query_string"]
    with inbox.node.reading() as db:
        keys = members.keys(db)
        revoked, suspended = members.revoked(db), members.suspended(db, inbox.node.machine_id)
    signed = auth.Request(request.method, target.decode("latin-1"))
    claim = inbox.door.admit(signed, request.headers.get("authorization", ""), keys, inbox.node.now_ms())
    if claim.machine_id in revoked:
        raise auth.Revoked(claim.machine_id)
    if claim.machine_id in suspended:
        raise auth.Unauthorized("you revoked me; I wait for my user to decide", 403)
    return claim


def _unread(request: Request) -> dict[str, str]:
    """End the connection where a body may still be on its way: nobody reads it."""
    return {"connection": "close"} if request.method == "POST" else {}


def _refusal(inbox: Inbox, error: auth.Unauthorized) -> Answer:
    """A node that was cut off is shown by whom: it cannot learn that in any other way."""
    if not isinstance(error, auth.Revoked):
        return problem(error.status, error.message)
    return Answer(error.status, introduction.refusal(inbox.node, error.machine_id, error.message))


async def _state(inbox: Inbox, ask: Ask, wait_s: float) -> Answer:
    """At once if our sets differ; else when something changes, at the latest after `wait_s`."""
    loop = asyncio.get_running_loop()
    until = loop.time() + wait_s
    while True:
        rung = inbox.bell.rung
        given = await asyncio.to_thread(answer, inbox.node, ask)
        left = until - loop.time()
        if given.status != 304 or left <= 0 or not await inbox.bell.wait(left, rung):
            return given


async def _permitted(inbox: Inbox, ask: Ask, handler: Callable[[Node, Ask], Answer] = answer) -> Answer:
    try:
        async with asyncio.timeout(INBOUND_WAIT_S):  # `wait_for` may lose a permit to a request that is cut meanwhile
            await inbox.permits.acquire()
    except TimeoutError:
        return problem(503, f"{INBOUND_EXCHANGES_MAX} exchanges are running")
    try:
        return await asyncio.to_thread(handler, inbox.node, ask)
    finally:
        inbox.permits.release()


async def _pair(inbox: Inbox, request: Request) -> Response:
    try:
        join: pairing.Join = wire.decode(pairing.joins, await _body(request, PAIR_BYTES_MAX))
        nonce = inbox.node.entropy(16).hex()
        welcome = await asyncio.to_thread(pairing.welcome, inbox.node, join, inbox.name, nonce)
    except (Refused, wire.Malformed) as error:
        return _plain(problem(403 if isinstance(error, Refused) else 400, error.message))
    return _plain(Answer(200, encode(welcome)))


async def _introduce(inbox: Inbox, request: Request) -> Response:
    try:
        body = await _body(request, introduction.BYTES_MAX)
    except wire.Malformed as error:
        return _plain(problem(413, error.message))
    return _plain(await _permitted(inbox, Ask("POST", introduction.PATH, body=body), introduction.take))


async def _body(request: Request, maximum: int) -> bytes:
    """The body, counted while it streams in; Malformed if it is larger or compressed."""
    if "content-encoding" in request.headers:
        raise wire.Malformed("content-encoding is not accepted")
    body = bytearray()
    async with asyncio.timeout(REQUEST_S_MAX):
        async for chunk in request.stream():
            body += chunk
            if len(body) > maximum:
                raise wire.Malformed(f"body larger than {maximum} bytes")
    return bytes(body)


def _wait_s(text: str) -> float:
    return min(float(text), WAIT_S_MAX) if text.isdecimal() and len(text) < 4 else 0.0


def _plain(given: Answer, headers: dict[str, str] | None = None) -> Response:
    return Response(given.body, given.status, headers, "application/json" if given.body else None)
