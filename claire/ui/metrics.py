"""`/metrics`: what a Prometheus server reads, for who is signed in or has the token of `metrics.token`."""

import hmac
import os
from collections.abc import Callable, Iterable
from sqlite3 import Connection
from typing import TYPE_CHECKING, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

import claire
from claire.node import log, overview
from claire.node.rows import Row

if TYPE_CHECKING:
    from claire.node.node import Node

PATH = "/metrics"
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
TOKEN_FILE = "metrics.token"  # in the config folder
TOKEN_CHARS_MIN = 16


class Sample(NamedTuple):
    """One value; those of a name stand together, under its kind ('gauge', 'counter') and help."""

    name: str
    kind: str
    help: str
    value: float
    labels: tuple[tuple[str, str], ...] = ()


Measures = Callable[[], Iterable[Sample]]


def endpoint(node: "Node", measures: Measures) -> Callable[[Request], object]:
    async def answer(_request: Request) -> Response:
        return Response(await run_in_threadpool(read), media_type=MEDIA_TYPE)

    def read() -> str:
        with node.reading() as db:
            return exposition([*of_node(db, node), *measures()])

    return answer


def has_token(node: "Node", authorization: bytes) -> bool:
    """Whether a request bears the token; without that file, or with a short one in it, none does."""
    path = os.path.join(node.home.config, TOKEN_FILE)
    if not authorization.startswith(b"Bearer ") or not os.path.exists(path):
        return False
    with open(path, "rb") as file:
        token = file.read().strip()
    return len(token) >= TOKEN_CHARS_MIN and hmac.compare_digest(authorization[7:], token)


def of_node(db: Connection, node: "Node") -> Iterable[Sample]:
    yield Sample("claire_info", "gauge", "The version that runs.", 1, (("version", claire.__version__),))
    for machine, row in log.index(db).items():
        labels = (("machine", machine),)
        yield Sample("claire_events_total", "counter", "Events held, by who wrote them.", row.count, labels)
    size = os.path.getsize(node.home.database)
    yield Sample("claire_database_bytes", "gauge", "Size of the database.", size)
    for host in overview.hosts(db, node.machine_id):
        if not host["own"]:
            yield from _of_peer(host)
    yield from _counted(db, "claire_sessions", "Live sessions.", "state", "sessions WHERE gone IS NOT 1")
    yield from _counted(db, "claire_deliveries", "Texts for sessions, by what came of them.", "outcome", "deliveries")
    yield from _counted(db, "claire_alarms", "Kinds of alarms raised here.", "kind", "alarms")


def _of_peer(host: Row) -> Iterable[Sample]:
    labels = (("machine", host["id"]), ("name", host["name"]))
    for name, help, value in (
        ("claire_peer_open_breaker", "1 while a peer is given up on.", host["breaker"] == "open"),
        ("claire_peer_behind_events", "What a peer held and we did not.", host["behind"] or 0),
        ("claire_peer_skew_seconds", "Its clock minus ours.", (host["skew_ms"] or 0) / 1000),
        ("claire_peer_contact_seconds", "Unix time of last contact.", (host["last_contact_ms"] or 0) / 1000),
    ):
        yield Sample(name, "gauge", help, value, labels)


def _counted(db: Connection, name: str, help: str, column: str, source: str) -> Iterable[Sample]:
    for value, count in db.execute(f"SELECT coalesce({column}, 'unknown'), count(*) FROM {source} GROUP BY 1"):
        yield Sample(name, "gauge", help, count, ((column, value),))


def exposition(samples: Iterable[Sample]) -> str:
    """The text format of Prometheus, version 0.0.4."""
    by_name: dict[str, list[Sample]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample)
    lines: list[str] = []
    for name, some in by_name.items():
        lines += [f"# HELP {name} {some[0].help}", f"# TYPE {name} {some[0].kind}"]
        for sample in some:
            labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in sample.labels)
            lines.append(f"{name}{{{labels}}} {sample.value:.15g}" if labels else f"{name} {sample.value:.15g}")
    return "\n".join(lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
