"""What the same work costs without Claire: raw SQLite, a bare interpreter, a plain loop, a minimal node."""

from __future__ import annotations

import http.client
import http.server
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from benchmarks.timing import Runs

SEED_TABLE = """
CREATE TABLE events (
  rowid INTEGER PRIMARY KEY AUTOINCREMENT, uuid TEXT NOT NULL UNIQUE, hlc TEXT NOT NULL,
  machine_id TEXT NOT NULL, event_type TEXT NOT NULL, payload TEXT NOT NULL,
  created_at TEXT NOT NULL, sig TEXT NOT NULL);
CREATE INDEX events_hlc ON events(hlc);
"""
INSERT = "INSERT INTO events (uuid, hlc, machine_id, event_type, payload, created_at, sig) VALUES (?, ?, ?, ?, ?, ?, ?)"
Row = tuple[str, ...]


def database(path: Path) -> sqlite3.Connection:
    path.unlink(missing_ok=True)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.executescript(SEED_TABLE)
    return db


def raw_insert(path: Path, rows: Sequence[Row]) -> float:
    """The same rows into the seed's table with both indexes, in one durable transaction."""
    with closing(database(path)) as db:
        started = time.perf_counter()
        db.execute("BEGIN IMMEDIATE")
        db.executemany(INSERT, rows)
        db.execute("COMMIT")
        return time.perf_counter() - started


def durable_insert(db: sqlite3.Connection, row: Row) -> None:
    """One row, on disk when this returns."""
    db.execute("BEGIN IMMEDIATE")
    db.execute(INSERT, row)
    db.execute("COMMIT")


def plain_loop(path: Path) -> float:
    """Rows out of SQLite, JSON, a dict for each entity: what any rebuild has to do."""
    with closing(sqlite3.connect(path)) as db:
        started = time.perf_counter()
        state: dict[str, dict[str, object]] = {}
        for kind, payload in db.execute("SELECT event_type, payload FROM events ORDER BY rowid"):
            body = json.loads(payload)
            state.setdefault(str(body.get("id") or body.get("task_id") or kind), {}).update(body)
        return time.perf_counter() - started


def beside_bare_python(argv: Sequence[str], repeats: int, env: dict[str, str] | None = None) -> tuple[Runs, Runs]:
    """A command and `python -c pass`, in turns: whatever else the machine does meets both alike."""
    ours: list[float] = []
    bare: list[float] = []
    for _ in range(repeats):
        ours += run_command(argv, 1, env).values
        bare += run_command([sys.executable, "-c", "pass"], 1, env).values
    return Runs(tuple(ours)), Runs(tuple(bare))


def run_command(argv: Sequence[str], repeats: int, env: dict[str, str] | None = None) -> Runs:
    """Start to finish of a whole process, once unmeasured to warm the caches."""
    values = []
    for attempt in range(repeats + 1):
        started = time.perf_counter()
        subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        if attempt:
            values.append(time.perf_counter() - started)
    return Runs(tuple(values))


@contextmanager
def minimal_node(folder: Path) -> Iterator[Callable[[Row], float]]:
    """A node without signatures, projections or gossip: keep-alive HTTP, one durable insert a POST.

    What it gives commits a row here and tells the seconds from that until the row is readable there.
    """
    path = folder / "minimal.db"
    database(path).close()
    code = f"from benchmarks.baselines import serve_minimal; serve_minimal({str(path)!r})"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        port = int(process.stdout.readline())
        with (
            closing(http.client.HTTPConnection("127.0.0.1", port)) as client,
            closing(database(folder / "own.db")) as own,
            closing(sqlite3.connect(path, isolation_level=None)) as reader,
        ):
            client.connect()

            def deliver(row: Row) -> float:
                durable_insert(own, row)
                started = time.perf_counter()
                client.request("POST", "/", json.dumps(row))
                client.getresponse().read()
                assert reader.execute("SELECT 1 FROM events WHERE uuid = ?", (row[0],)).fetchone()
                return time.perf_counter() - started

            yield deliver
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def serve_minimal(path: str) -> None:
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA synchronous = FULL")
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            rows = [json.loads(line) for line in body.splitlines()]
            with lock:
                db.execute("BEGIN IMMEDIATE")
                db.executemany(INSERT, rows)
                db.execute("COMMIT")
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    print(server.server_port, flush=True)
    server.serve_forever()
