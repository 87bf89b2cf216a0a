"""The one door in: durable, atomic, safe for many processes."""

import contextlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from claire.config import Home
from claire.node import hlc, log, members, projects, setup, store, tasks
from claire.node.errors import Corrupt, NewerSchema, NoDatabase, Refused, StorageError, UsageError
from claire.node.node import Node
from claire.node.schema import PROJECTIONS
from tests.node import events as made

KILLS = 30

APPEND = """
import sys
from claire.config import Home
from claire.node import decisions
from claire.node.node import Node
import os
with Node(Home.from_env(os.environ)) as node:
    for n in range(int(sys.argv[2])):
        print(decisions.decide(node, sys.argv[1], f"d{n}")["id"], flush=True)
"""


SORT_ON_A_FULL_DISK = """
import os, resource
from claire.config import Home
from claire.node.errors import StorageError
from claire.node.node import Node
BIG = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000)"
    " SELECT randomblob(300) || uuid AS b FROM n, events ORDER BY b LIMIT 1"
)
with Node(Home.from_env(os.environ)) as node:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
    try:
        with node.reading() as db:
            db.execute(f"SELECT count(*) FROM ({BIG} OFFSET 50000)").fetchone()
    except StorageError as error:
        print(error)
    with node.reading() as db:
        print(db.execute("SELECT count(*) FROM events").fetchone()[0])
"""


def spawn(node: Node, project: str, appends: int, **how: object) -> "subprocess.Popen[str]":
    env = {**os.environ, "CLAIRE_HOME": os.path.dirname(node.home.data)}
    command = [sys.executable, "-c", APPEND, project, str(appends)]
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def sound(node: Node) -> None:
    """What must be true of every database at every moment."""
    with node.reading() as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert log.recount(db) == {machine: row for machine, row in log.index(db).items() if row.count}
        stamps = [
            stamp
            for (stamp,) in db.execute("SELECT hlc FROM events WHERE machine_id = ? ORDER BY rowid", (node.machine_id,))
        ]
        assert stamps == sorted(set(stamps))
    with node.writing() as tx:
        before = made.tables(tx.db)
        assert made.replayed(tx.db) == before


def test_d1_what_was_acknowledged_survives_kill_9(node: Node) -> None:
    project = projects.create(node, "api")["id"]
    acknowledged: set[str] = set()
    for n in range(KILLS):
        writer = spawn(node, project, 100_000)
        assert writer.stdout is not None and writer.stderr is not None
        for _ in range(1 + n % 7):
            acknowledged.add(writer.stdout.readline().strip())
        writer.send_signal(signal.SIGKILL)
        acknowledged |= {line for line in writer.communicate()[0].split("\n") if len(line) == 36}
    with node.reading() as db:
        stored = {uuid for (uuid,) in db.execute("SELECT uuid FROM events")}
    assert len(acknowledged) > KILLS and acknowledged <= stored
    sound(node)


def test_threads_of_one_process_queue_up(node: Node) -> None:
    project = projects.create(node, "api")["id"]
    threads = [threading.Thread(target=lambda: [tasks.add(node, project, "t") for _ in range(20)]) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with node.reading() as db:
        assert len(tasks.list_tasks(db)) == 100
    sound(node)


def test_a_failing_command_leaves_nothing(node: Node) -> None:
    with node.reading() as db:
        before = log.etag(db)
    with pytest.raises(ZeroDivisionError), node.writing() as tx:
        tx.record(projects.ProjectCreated(node.new_id(), "half"))
        raise ZeroDivisionError
    with node.reading() as db:
        assert log.etag(db) == before and projects.list_projects(db) == []


def test_a_query_that_finds_no_room_to_sort_fails_in_words(node: Node) -> None:
    """SQLite ends the transaction itself then; what fails is told, and the connection goes on."""
    env = {**os.environ, "CLAIRE_HOME": os.path.dirname(node.home.data)}
    command = [sys.executable, "-c", SORT_ON_A_FULL_DISK]
    done = subprocess.run(command, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"the dis[ck].*\n1\n", done.stdout), done.stdout


def test_a_pipe_that_closes_in_the_middle_of_a_query_is_not_the_databases_fault(node: Node) -> None:
    """`claire export - | head`"""
    with pytest.raises(BrokenPipeError), node.reading():
        raise BrokenPipeError
    with pytest.raises(BrokenPipeError), node.writing():
        raise BrokenPipeError


def test_the_clock_lives_in_the_log(make_node: Callable[..., Node]) -> None:
    now = [1_790_000_000_000]
    node = make_node("alpha", now_ms=lambda: now[0])
    for reading in (now[0] + 10**10, 0, -5, 10**14, 1_790_000_000_000):
        now[0] = reading
        projects.create(node, f"p{reading}")
    with Node(node.home, now_ms=lambda: 0) as other:
        projects.create(other, "from another process")
    sound(node)


def test_a_text_too_long_for_an_event_is_refused_in_words(node: Node) -> None:
    with pytest.raises(UsageError, match="64 KiB"):
        projects.create(node, "api", goal="x" * 70_000)


@pytest.mark.parametrize("text", ["nul \0 inside", "half a pair \ud800", "\\\0"])
def test_a_text_that_no_other_node_would_take_is_refused_here(node: Node, text: str) -> None:
    """Recorded, it would keep every later event of this machine from all peers."""
    with pytest.raises(UsageError, match="cannot be stored"):
        projects.create(node, "api", goal=text)
    assert projects.create(node, "api", goal="a backslash and u0000: \\u0000")


def test_d2_every_connection_commits_durably(node: Node) -> None:
    with node.writing() as tx, node.reading() as db:
        for connection in (tx.db, db):
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_init_is_idempotent_and_private(tmp_path: Path) -> None:
    home = Home.from_env({"CLAIRE_HOME": str(tmp_path / "a b ü")})
    with setup.init(home, "alpha") as first, setup.init(home, "other name") as second:
        assert first.machine_id == second.machine_id
        with second.reading() as db:
            assert db.execute("SELECT count(*) FROM events").fetchone() == (1,)
    modes = {path: os.stat(path).st_mode & 0o777 for path in (*home.folders, home.key_file, home.database)}
    assert set(modes.values()) == {0o700, 0o600}
    assert modes[home.key_file] == modes[home.database] == 0o600


def test_init_goes_on_where_it_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the key has its name, before the database has it, before the first event."""
    home = Home.from_env({"CLAIRE_HOME": str(tmp_path / "a")})

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    for module, name in ((os, "fsync"), (os, "link"), (os, "rename"), (members, "announce")):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(module, name, cut)
            setup.init(home, "alpha")
    with setup.init(home, "alpha") as node:
        sound(node)
        with node.reading() as db:
            assert db.execute("SELECT count(*) FROM events").fetchone() == (1,)


@pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 101])
def test_a_node_without_a_proper_name_is_not_begun(tmp_path: Path, name: str) -> None:
    home = Home.from_env({"CLAIRE_HOME": str(tmp_path / "a")})
    with pytest.raises(UsageError, match="printable"):
        setup.init(home, name)
    assert not os.path.exists(home.data)


def test_two_first_runs_at_once_make_one_node(tmp_path: Path) -> None:
    home = Home.from_env({"CLAIRE_HOME": str(tmp_path / "a")})
    with ThreadPoolExecutor() as threads:
        nodes = list(threads.map(lambda _: setup.init(home, "alpha"), range(4)))
    assert len({node.machine_id for node in nodes}) == 1
    sound(nodes[0])
    for node in nodes:
        node.close()


def test_what_a_removed_database_left_is_not_played_into_the_next(node: Node, tmp_path: Path) -> None:
    """`rm claire.db` after a kill -9 leaves its -wal."""
    fill(node, 400)
    node._writer.execute("PRAGMA wal_checkpoint(RESTART)")
    fill(node, 3)
    wal = Path(node.home.database + "-wal").read_bytes()
    node.close()
    os.remove(node.home.database)
    Path(node.home.database + "-wal").write_bytes(wal)
    with setup.init(node.home, "alpha") as new:
        sound(new)
        with new.reading() as db:
            assert projects.list_projects(db) == []
    (kept,) = Path(node.home.data).glob("claire.db.gone-*-wal")
    assert kept.read_bytes() == wal


def fill(node: Node, count: int) -> None:
    with node.writing() as tx:
        for n in range(count):
            tx.record(projects.ProjectCreated(node.new_id(), f"p{n}", goal="x" * 100))


def test_no_database(tmp_path: Path) -> None:
    with pytest.raises(NoDatabase) as caught:
        Node(Home.from_env({"CLAIRE_HOME": str(tmp_path)}))
    assert caught.value.hint == "run `claire init`"


def test_d10_a_newer_schema_is_read_and_not_written(node: Node) -> None:
    projects.create(node, "api")
    with sqlite3.connect(node.home.database) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with Node(node.home) as older:
        assert isinstance(older.read_only, NewerSchema)
        with older.reading() as db:
            assert [row["name"] for row in projects.list_projects(db)] == ["api"]
        with pytest.raises(NewerSchema, match="newer Claire"):
            projects.create(older, "web")
        with pytest.raises(NewerSchema), older.reading() as db:
            db.execute("SELECT what_it_will_have FROM projects")


def test_d10_a_database_upgraded_under_an_open_node_is_left_alone(node: Node) -> None:
    """An older Claire that still runs would fold what it does not know as unread, for good."""
    projects.create(node, "api")
    with contextlib.closing(sqlite3.connect(node.home.database)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerSchema, match="newer Claire"):
        projects.create(node, "web")
    with node.reading() as db:
        assert [row["name"] for row in projects.list_projects(db)] == ["api"]


def test_an_older_schema_is_replayed_when_opened(node: Node) -> None:
    projects.create(node, "api")
    with node.writing() as tx:
        before = made.tables(tx.db)
        for table in PROJECTIONS:
            tx.db.execute(f"DROP TABLE {table}")
        tx.db.execute("PRAGMA user_version = -1")
    with Node(node.home) as reopened, reopened.reading() as db:
        assert made.tables(db) == before


def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "claire.db"
    path.write_bytes(b"this is no database at all" * 100)
    with pytest.raises(Corrupt):
        store.connect(str(path)).execute("SELECT 1")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (os.remove, "missing"),
        (lambda path: Path(path).write_text(""), "empty or damaged"),
        (lambda path: Path(path).write_text("zz"), "damaged"),
        (lambda path: os.chmod(path, 0o644), "read by others"),
    ],
)
def test_d8_a_key_that_cannot_be_used_is_named_and_never_made_anew(
    node: Node, damage: Callable[[str], None], message: str
) -> None:
    damage(node.home.key_file)
    with Node(node.home) as reopened:
        with pytest.raises(StorageError, match=message):
            projects.create(reopened, "api")
        with reopened.reading() as db:
            assert projects.list_projects(db) == []


def test_d8_another_nodes_key_is_refused(make_node: Callable[..., Node]) -> None:
    one, other = make_node("one"), make_node("other")
    Path(one.home.key_file).write_text(Path(other.home.key_file).read_text())
    with Node(one.home) as reopened, pytest.raises(Refused, match="not the one"):
        projects.create(reopened, "api")


def test_event_ids_are_time_ordered(node: Node) -> None:
    for name in "abc":
        projects.create(node, name)
    with node.reading() as db:
        events = log.since(db, hlc.start(node.machine_id), 10)
    assert all(event.uuid[14] == "7" for event in events)
