"""The one door of every listener: an ASGI guard that refuses what no rule opens, before a handler is entered.

The order is fixed: Host, method, Origin, Sec-Fetch-Site, body, login, route. It reads the raw scope only,
since what a framework derives from the Host header is exactly what an attacker controls.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from html import escape
from re import Pattern
from typing import Any

from starlette.exceptions import HTTPException
from starlette.routing import compile_path

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]
Login = Callable[[Scope], Awaitable[bool]]

FORM = "application/x-www-form-urlencoded"
BODY_BYTES_MAX = 64 * 1024
DEADLINE_S = 30.0
SAFE = frozenset({"GET", "HEAD"})
NO_WAY_BACK = frozenset({401, 403, 421})  # who gets these would get them on every page

CSP = "; ".join((
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self'", "connect-src 'self'",
    "form-action 'self'", "frame-ancestors 'none'", "base-uri 'none'",
))  # fmt: skip
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"content-security-policy", CSP.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)


@dataclass(frozen=True)
class Rule:
    """What opens one path. Without `login=False` it opens to nobody who is not logged in."""

    path: str
    methods: frozenset[str] = SAFE
    login: bool = True
    linked: bool = False  # another site may link here; only for a page without data (sign-in)
    body_type: str = ""  # empty: no body at all
    body_bytes_max: int = BODY_BYTES_MAX
    deadline_s: float = DEADLINE_S


class Refusal(Exception):
    """The guard says no: a status, and words that say what to do instead."""

    def __init__(self, status: int, words: str, hint: str = "") -> None:
        super().__init__(words)
        self.status, self.words, self.hint = status, words, hint


# What a path without a rule is held to until the login is checked; then it is 404.
NOBODY_HOME = Rule(path="", methods=SAFE | {"POST"}, body_type=FORM)


class Guard:
    """Wraps an ASGI app. `origins` are the exact `scheme://host[:port]` this listener answers to.

    With `browser` an unsafe request must prove it comes from our own page. Without it (the listener for
    peers) whatever bears the marks of a browser is refused.
    """

    def __init__(
        self,
        app: App,
        rules: Iterable[Rule],
        *,
        origins: Iterable[str],
        login: Login | None = None,
        browser: bool = True,
    ) -> None:
        self.app = app
        self.rules: list[tuple[Pattern[str], Rule]] = [(compile_path(rule.path)[0], rule) for rule in rules]
        self.origins = frozenset(origin.lower() for origin in origins)
        self.hosts = frozenset(origin.partition("://")[2].encode() for origin in self.origins)
        self.login = login
        self.browser = browser
        assert b"" not in self.hosts, "an origin is scheme://host[:port]"
        assert login or not any(rule.login for _, rule in self.rules), "a rule asks for a login nobody checks"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.app(scope, receive, send)
        if scope["type"] != "http":
            return await send({"type": "websocket.close", "code": 1008})
        answer = Answer(send)
        try:
            rule = self.admit(scope)
            async with asyncio.timeout(rule.deadline_s):
                if rule.login and not (self.login and await self.login(scope)):
                    raise Refusal(401, "Not signed in.", "Run `claire web`: it opens a sign-in link.")
                if rule is NOBODY_HOME:
                    raise Refusal(404, "There is nothing here.")
                await self.app(scope, capped(receive, rule.body_bytes_max if rule.body_type else 0), answer)
        except Refusal as refusal:
            await answer.refuse(refusal, scope)
        except TimeoutError:
            await answer.refuse(Refusal(408, "The request took too long.", "Try again."), scope)

    def admit(self, scope: Scope) -> Rule:
        """The rule that opens this request, or Refusal. The Host is judged first, whatever was asked."""
        host = only(scope, b"host", 421)
        if host is None or host.lower() not in self.hosts:
            raise Refusal(421, "Claire does not answer to this address.", "Open the one `claire web` prints.")
        rule = self.rule(scope["path"], scope["method"])
        if self.browser:
            own = {origin.encode() for origin in self.origins if origin.endswith(f"://{host.decode().lower()}")}
            check_own_page(scope, rule, own)
        else:
            check_no_browser(scope)
        check_body(scope, rule)
        return rule

    def rule(self, path: str, method: str) -> Rule:
        found = [rule for pattern, rule in self.rules if pattern.match(path)] or [NOBODY_HOME]
        for rule in found:
            if method in rule.methods:
                return rule
        raise Refusal(405, "This address does not take that method.")


def check_own_page(scope: Scope, rule: Rule, own: set[bytes]) -> None:
    """Origin, then Sec-Fetch-Site. Another port of this host is another page, though it gets our cookie."""
    origin, site = only(scope, b"origin", 403), only(scope, b"sec-fetch-site", 403)
    if origin is not None and origin.lower() not in own:
        raise Refusal(403, "This request comes from another page.")
    if scope["method"] in SAFE:
        navigates = only(scope, b"sec-fetch-mode", 403) == b"navigate"
        if site not in (None, b"same-origin", b"none") and not (rule.linked and navigates):
            raise Refusal(403, "This request comes from another site.", "Type the address yourself.")
        return
    if site not in (None, b"same-origin") or (site is None and origin is None):
        raise Refusal(403, "This request does not come from Claire's own page.", "Use the page, or `claire`.")
    if only(scope, b"hx-request", 403) != b"true":
        # No form can set a header, and a script of another origin only after a preflight we never grant.
        raise Refusal(403, "Changes need the header HX-Request.", "Use the page, or `claire`.")


def check_no_browser(scope: Scope) -> None:
    if only(scope, b"origin", 403) or only(scope, b"sec-fetch-site", 403):
        raise Refusal(403, "This address is for Claire's nodes, not for browsers.")


def only(scope: Scope, name: bytes, status: int) -> bytes | None:
    """The value of a header that may come once: two would let us and another reader disagree about it."""
    values = [value for key, value in scope["headers"] if key == name]
    if len(values) > 1:
        raise Refusal(status, f"The header {name.decode()} came twice.")
    return values[0] if values else None


def check_body(scope: Scope, rule: Rule) -> None:
    length, chunked = only(scope, b"content-length", 400), only(scope, b"transfer-encoding", 400)
    if only(scope, b"content-encoding", 415):
        raise Refusal(415, "Bodies are taken as they are, without content-encoding.")
    if length is not None and not (length.isdigit() and len(length) <= 15):
        raise Refusal(400, "Content-Length is not a number.")
    if int(length or 0) > (rule.body_bytes_max if rule.body_type else 0):
        raise Refusal(413, f"The body is larger than {rule.body_bytes_max if rule.body_type else 0} bytes.")
    if rule.body_type and scope["method"] not in SAFE and (length or chunked):
        kind = (only(scope, b"content-type", 415) or b"").partition(b";")[0].strip().lower()
        if kind != rule.body_type.encode():
            raise Refusal(415, f"The body has to be {rule.body_type}.")


def capped(receive: Receive, bytes_max: int) -> Receive:
    """Count the body while it streams: a declared length is a claim, and a chunked body declares none."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > bytes_max:
            # An HTTPException, so that the app inside answers it like any other and nothing is sent twice.
            raise HTTPException(413, f"The body is larger than {bytes_max} bytes.")
        return message

    return counted


class Answer:
    """The send side of one request: every answer leaves with the security headers, and only one is begun."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            if message["status"] != 304:  # it has no content, and an idle round of two nodes is to stay small
                message = {**message, "headers": with_security(message.get("headers", ()))}
        await self.send(message)

    async def refuse(self, refusal: Refusal, scope: Scope) -> None:
        if self.begun:
            return  # the status is out; what is cut here ends as a broken body, which is the truth
        kind, body = refusal_body(refusal, scope)
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        if refusal.status in (408, 413):
            headers.append((b"connection", b"close"))  # the rest of the body is not wanted
        await self({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def with_security(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    ours = {name for name, _ in HEADERS}
    kept = [(name, value) for name, value in headers if name.lower() not in ours]
    if not any(name.lower() == b"cache-control" for name, _ in kept):
        kept.append((b"cache-control", b"no-store"))
    return [*kept, *HEADERS]


def refusal_body(refusal: Refusal, scope: Scope) -> tuple[bytes, bytes]:
    """A page for a person, a line for everything else. Nothing of the request is repeated in it."""
    accept = b",".join(value for key, value in scope["headers"] if key == b"accept")
    if b"text/html" not in accept or any(key == b"hx-request" for key, _ in scope["headers"]):
        return b"text/plain; charset=utf-8", f"{refusal.words} {refusal.hint}".strip().encode() + b"\n"
    return b"text/html; charset=utf-8", error_page(refusal.status, refusal.words, refusal.hint)


def error_page(status: int, words: str, hint: str = "") -> bytes:
    """A whole page in words; `like this` in the hint is a command. The way back is shown where there is one."""
    said = words[:1].upper() + words[1:]
    told = re.sub("`(.*?)`", r"<code>\1</code>", escape(hint[:1].upper() + hint[1:]))
    back = "" if status in NO_WAY_BACK else '<p><a href="/">Overview</a></p>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>Claire</title>'
        '<link rel="stylesheet" href="/static/claire.css"></head><body class="notice"><main>'
        f"<p class=code>{status}</p><h1>{escape(said)}</h1><p>{told}</p>{back}</main></body></html>"
    ).encode()
