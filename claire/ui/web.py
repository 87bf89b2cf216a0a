"""The dashboard: every page and action of the browser, and the guarded app that serves them."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from claire import __version__
from claire.node import log
from claire.node.errors import ClaireError, NotFound, Refused, UsageError
from claire.ui import html, login, metrics
from claire.ui.ask import Ask, Done, Shown, read_form
from claire.ui.caller import is_another_user
from claire.ui.guard import FORM, Guard, Rule, error_page
from claire.ui.pages import (
    bar,
    broadcast,
    conflicts,
    dashboard,
    groups,
    peers,
    projects,
    sessions,
    tasks,
    timeline,
)

if TYPE_CHECKING:
    from claire.node.node import Node

Page = Callable[[Connection, Ask], dict[str, Any]]
Act = Callable[["Node", Ask], Done | Shown]

# path, template, what it shows
PAGES: tuple[tuple[str, str, Page], ...] = (
    ("/", "dashboard.html", dashboard.show),
    ("/projects", "projects.html", projects.listing),
    ("/projects/{id}", "project.html", projects.show),
    ("/tasks/{id}", "task.html", tasks.show),
    ("/sessions", "sessions.html", sessions.listing),
    ("/sessions/{id}", "session.html", sessions.show),
    ("/log", "log.html", timeline.show),
    ("/conflicts", "conflicts.html", conflicts.show),
    ("/peers", "peers.html", peers.show),
    ("/broadcast", "broadcast.html", broadcast.compose),
    ("/broadcast/{id}", "broadcast_sent.html", broadcast.show),
)

# path, what it does
ACTS: tuple[tuple[str, Act], ...] = (
    ("/projects", projects.create),
    ("/projects/{id}", projects.edit),
    ("/projects/{id}/tasks", tasks.add),
    ("/projects/{id}/decisions", projects.decide),
    ("/tasks/{id}", tasks.edit),
    ("/tasks/{id}/status", tasks.set_status),
    ("/tasks/{id}/assign", tasks.assign),
    ("/tasks/{id}/unassign", tasks.unassign),
    ("/tasks/{id}/notes", tasks.note),
    ("/tasks/{id}/block", tasks.block),
    ("/tasks/{id}/unblock", tasks.unblock),
    ("/groups", groups.define),
    ("/groups/remove", groups.remove),
    ("/conflicts", conflicts.settle),
    ("/broadcast", broadcast.send),
)
SIGN_OUT = "/logout"

NAV = (
    ("/", "Overview", "o"),
    ("/projects", "Projects", "p"),
    ("/sessions", "Sessions", "s"),
    ("/log", "Log", "l"),
    ("/conflicts", "Conflicts", "c"),
    ("/peers", "Peers", "h"),
    ("/broadcast", "Broadcast", "b"),
)
SHORTCUTS = (
    (("j", "k"), "next, previous row"),
    (("Enter",), "open the row"),
    (("n",), "new task, project, note or text"),
    (("x",), "mark the task of this row done, or reopen it"),
    (("s",), "start, block or unblock it"),
    (("a",), "assign it to a session"),
    (("e",), "edit"),
    (("/",), "find"),
    (("g", "o"), "overview; then p projects, s sessions, l log, c conflicts, h peers, b broadcast"),
    (("Esc",), "leave a field, close this"),
)

PUBLIC = (
    Rule("/login", login=False, linked=True),
    Rule("/login", login=False, methods=frozenset({"POST"}), body_type=FORM, body_bytes_max=1024),
    Rule("/static/{path:path}", login=False),
)
STATUS_OF: tuple[tuple[type[ClaireError], int], ...] = ((UsageError, 422), (NotFound, 404), (Refused, 409))
ORIGIN = re.compile(r"https?://[^/\s?#@]+")
TAILNET = (ip_network("100.64.0.0/10"), ip_network("fd7a:115c:a1e0::/48"))
ASSET_AGE_S = 365 * 24 * 3600
TAG_MINUTE_MS = 60_000  # what is shown also depends on the clock: a host turns stale without any event


def app(node: "Node", *, port: int, origins: Sequence[str] = (), measures: metrics.Measures = tuple) -> Guard:
    """The app for the listener on `port`. It answers to loopback names, and to `origins` beside them."""
    if wrong := [origin for origin in origins if not ORIGIN.fullmatch(origin)]:
        raise UsageError(f"{wrong[0]!r} is not an origin", "write it as https://laptop.tail1.ts.net, without a path")
    own = [f"http://{name}:{port}" for name in ("127.0.0.1", "localhost", "[::1]")]
    rules = [
        *PUBLIC,
        *(Rule(path) for path, _, _ in PAGES),
        *(Rule(path, methods=frozenset({"POST"}), body_type=FORM) for path, _ in ACTS),
        Rule(SIGN_OUT, methods=frozenset({"POST"}), body_type=FORM),
        Rule(metrics.PATH),
    ]

    async def signed_in(scope: dict[str, Any]) -> bool:
        if scope["path"] == metrics.PATH and (token := dict(scope["headers"]).get(b"authorization")):
            return await asyncio.to_thread(metrics.has_token, node, token)
        return await asyncio.to_thread(may_enter, scope)

    def may_enter(scope: dict[str, Any]) -> bool:
        return login.known(node, login.cookie_of(scope["headers"], port)) and not is_another_user(scope)

    inner = Starlette(
        routes=[*routes(node, port), Route(metrics.PATH, metrics.endpoint(node, measures), methods=["GET"])],
        exception_handlers={ClaireError: words_of, Exception: words_of},
    )
    return Guard(inner, rules, origins=[*own, *origins], login=signed_in)


def routes(node: "Node", port: int) -> list[Route | Mount]:
    return [
        *(Route(path, page(node, template, show), methods=["GET"]) for path, template, show in PAGES),
        *(Route(path, action(node, act), methods=["POST"]) for path, act in ACTS),
        Route("/login", sign_in_page, methods=["GET"]),
        Route("/login", sign_in(node, port), methods=["POST"]),
        Route(SIGN_OUT, sign_out(node, port), methods=["POST"]),
        Mount("/static", Assets(directory=html.STATIC)),
    ]


def check_host(host: str) -> None:
    """The dashboard opens on loopback or on one tailnet address. UsageError for everything wider."""
    if host == "localhost":
        return
    try:
        address = ip_address(host)
    except ValueError:
        hint = "use 127.0.0.1, or the address this host has on the tailnet"
        raise UsageError(f"{host!r} is not an address", hint) from None
    if not (address.is_loopback or any(address in net for net in TAILNET if net.version == address.version)):
        raise UsageError(
            f"the dashboard can type into your sessions: it does not open on {host}",
            "from another host: `ssh -L 8765:127.0.0.1:8765` there, or `tailscale serve 8765` here and its address"
            " under `origins` in claire.toml",
        )


Endpoint = Callable[[Request], Awaitable[Response]]


def page(node: "Node", template: str, show: Page) -> Endpoint:
    """One read of one snapshot, or 304 if what the browser has was made from the same."""

    def answer(request: Request) -> Response:
        ask = ask_of(node, request)
        with node.reading() as db:
            tag = version(db, ask)
            if request.headers.get("if-none-match") == tag:
                return Response(status_code=304)
            context = show(db, ask)
            shown = Look(tag, here(request.scope), request.scope["path"], "hx-request" in request.headers)
            text = html.render(template, bar=bar.read(db, ask), now_ms=ask.now_ms, **vars(shown), **context)
        return Response(text, media_type="text/html", headers={"etag": tag})

    async def endpoint(request: Request) -> Response:
        return await run_in_threadpool(answer, request)

    return endpoint


@dataclass(frozen=True)
class Look:
    """What the frame around every page needs to know."""

    tag: str
    here: str
    current: str
    fragment: bool
    pages: tuple[tuple[str, str, str], ...] = NAV
    shortcuts: tuple[tuple[tuple[str, ...], str], ...] = SHORTCUTS


def action(node: "Node", act: Act) -> Endpoint:
    """A change, made in a thread; the page that asked refreshes itself."""

    async def endpoint(request: Request) -> Response:
        ask = ask_of(node, request, read_form(await request.body()))
        done = await run_in_threadpool(act, node, ask)
        if isinstance(done, Shown):
            text = html.render(done.template, now_ms=ask.now_ms, **done.context)
            return Response(text, media_type="text/html")
        headers = {"hx-trigger": "claire-changed", "x-claire-said": quote(done.said)}
        if done.go:
            headers["hx-redirect"] = done.go
        return Response(status_code=204, headers=headers)

    return endpoint


def ask_of(node: "Node", request: Request, form: Mapping[str, list[str]] | None = None) -> Ask:
    return Ask(node.now_ms(), node.machine_id, request.path_params, dict(request.query_params), form or {})


def here(scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    return quote(scope["path"]) + (f"?{query}" if query else "")


def version(db: Connection, ask: Ask) -> str:
    """A tag equal only if every page would read the same: the log, this node's own tables, the minute."""
    local = db.execute(
        "SELECT (SELECT group_concat(machine_id || coalesce(last_contact_ms, 0) || failures"
        "   || coalesce(breaker, '') || coalesce(behind, 0), ' ') FROM peers),"
        " (SELECT group_concat(machine_id) FROM allow_send), (SELECT sum(count) FROM alarms),"
        " (SELECT count(*) || coalesce(max(at_ms), 0) FROM delivery_claims), (SELECT count(*) FROM invites)"
    ).fetchone()
    parts = (__version__, html.ASSETS, log.etag(db), local, ask.now_ms // TAG_MINUTE_MS)
    return f'"{blake2b(repr(parts).encode(), digest_size=12).hexdigest()}"'


class Assets(StaticFiles):
    """Files whose address changes with their content, so a browser may keep them. A refusal asks without `?v=`."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if scope["query_string"].startswith(b"v="):
            response.headers["cache-control"] = f"private, max-age={ASSET_AGE_S}, immutable"
        return response


async def sign_in_page(request: Request) -> Response:
    return Response(html.render("login.html"), media_type="text/html")


def sign_in(node: "Node", port: int) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        if await run_in_threadpool(is_another_user, dict(request.scope)):
            raise Refused("This connection is another user's.")  # who could spend our codes by guessing
        form = read_form(await request.body())
        cookie = await run_in_threadpool(login.redeem, node, "".join(form.get("code", [])))
        return Response(status_code=204, headers={"set-cookie": login.set_cookie(port, cookie)})

    return endpoint


def sign_out(node: "Node", port: int) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        cookie = login.cookie_of(list(request.scope["headers"]), port)
        await run_in_threadpool(login.logout, node, cookie)
        return Response(status_code=204, headers={"set-cookie": login.set_cookie(port, ""), "hx-redirect": "/login"})

    return endpoint


def words_of(request: Request, error: Exception) -> Response:
    """An error in words. What is no ClaireError is our fault: it is logged by the server, and not shown."""
    message, hint, status = "Something failed inside Claire.", "The node's log says what.", 500
    if isinstance(error, ClaireError):
        message, hint = error.message, error.hint
        status = next((code for kind, code in STATUS_OF if isinstance(error, kind)), 500)
    if "hx-request" in request.headers:
        return PlainTextResponse(f"{message}{f' ({hint})' if hint else ''}", status)
    return Response(error_page(status, message, hint), status, media_type="text/html")
