"""Who may use the browser pages: one-time sign-in codes and cookies, kept as hashes, on this node alone."""

import hashlib
import os
import re
import secrets
import sys
from typing import TYPE_CHECKING

from claire.node.errors import Refused

if TYPE_CHECKING:
    from claire.node.node import Node

SECRET_BYTES = 32
CODE_TTL_MS = 60_000
COOKIE_TTL_MS = 30 * 24 * 3600 * 1000
WRONG_CODES_MAX = 5

_COOKIE = re.compile(r"[A-Za-z0-9_-]{43}")


def cookie_name(port: int) -> str:
    """Cookies ignore ports, so each node of a host needs a name of its own."""
    return f"claire-{port}"


def link(node: "Node", origin: str) -> str:
    """A link that signs one browser in, once, within a minute. Its code is in the fragment: never sent."""
    return f"{origin}/login#{_issue(node, 'code', CODE_TTL_MS)}"


def open_link(node: "Node", origin: str) -> str:
    """A link, already opened in the desktop's browser where a person sits at one."""
    url = link(node, origin)
    desktop = sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if desktop and sys.stdout.isatty():
        import webbrowser  # slow to import, and rarely needed

        webbrowser.open(f"file://{doorway(node.home.runtime, url)}")
    return url


def redeem(node: "Node", code: str) -> str:
    """Spend a code and return the cookie for it. Five wrong ones spend every code that is still open."""
    now_ms = node.now_ms()
    with node.writing() as tx:
        spent = tx.db.execute(
            "DELETE FROM logins WHERE hash = ? AND kind = 'code' AND expires_ms > ? RETURNING hash",
            (_hash(code), now_ms),
        ).fetchone()
        if spent is None:
            tx.db.execute("UPDATE logins SET tries = tries + 1 WHERE kind = 'code'")
            tx.db.execute("DELETE FROM logins WHERE kind = 'code' AND tries >= ?", (WRONG_CODES_MAX,))
    if spent is None:
        raise Refused("This sign-in link is used up or older than a minute.", hint="Run `claire web` for a new one.")
    return _issue(node, "cookie", COOKIE_TTL_MS)


def known(node: "Node", cookie: str) -> bool:
    if not _COOKIE.fullmatch(cookie):
        return False
    with node.reading() as db:
        found = db.execute(
            "SELECT 1 FROM logins WHERE hash = ? AND kind = 'cookie' AND expires_ms > ?",
            (_hash(cookie), node.now_ms()),
        ).fetchone()
    return found is not None


def logout(node: "Node", cookie: str) -> None:
    with node.writing() as tx:
        tx.db.execute("DELETE FROM logins WHERE hash = ?", (_hash(cookie),))


def logout_all(node: "Node") -> int:
    """Sign every browser out, and forget every open sign-in link. Returns how many browsers that were."""
    with node.writing() as tx:
        (browsers,) = tx.db.execute("SELECT count(*) FROM logins WHERE kind = 'cookie'").fetchone()
        tx.db.execute("DELETE FROM logins")
    return int(browsers)


def cookie_of(headers: list[tuple[bytes, bytes]], port: int) -> str:
    """The cookie of this node among those the browser sent, or an empty string."""
    name = cookie_name(port)
    for key, value in headers:
        if key == b"cookie":
            for part in value.decode("latin-1").split(";"):
                if part.strip().startswith(f"{name}="):
                    return part.strip().removeprefix(f"{name}=")
    return ""


def set_cookie(port: int, cookie: str) -> str:
    age_s = COOKIE_TTL_MS // 1000 if cookie else 0
    return f"{cookie_name(port)}={cookie}; Path=/; Max-Age={age_s}; HttpOnly; SameSite=Strict"


def doorway(folder: str, url: str) -> str:
    """A file only we can read that leads a browser to `url`: a link in argv is seen by everyone."""
    path = os.path.join(folder, "sign-in.html")
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={url}">')
    return path


def _issue(node: "Node", kind: str, ttl_ms: int) -> str:
    secret, now_ms = secrets.token_urlsafe(SECRET_BYTES), node.now_ms()
    with node.writing() as tx:
        tx.db.execute("DELETE FROM logins WHERE expires_ms <= ?", (now_ms,))
        tx.db.execute(
            "INSERT INTO logins (hash, kind, expires_ms) VALUES (?, ?, ?)",
            (_hash(secret), kind, now_ms + ttl_ms),
        )
    return secret


def _hash(secret: str) -> str:
    # The secrets are 256 random bits: a plain hash cannot be searched, and a lookup by hash leaks no timing.
    return hashlib.sha256(secret.encode()).hexdigest()
