"""Rows D3-D5 and D7-D11: full, read-only and damaged disks, lost keys, wrong clocks, newer and older Claires."""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from claire import checks, doctor, recovery
from claire.config import Home, Settings
from claire.node import backup, log, members, projects, salvage, setup, tasks
from claire.node.admit import Receipt
from claire.node.errors import NewerSchema, Refused, StorageError, UsageError
from claire.node.event import Body, Event
from claire.node.fold import Fold
from claire.node.node import Node
from claire.node.schema import SCHEMA_VERSION
from tests.conftest import Clock, befriend
from tests.integration.nodes import PATIENCE_S, ProcessNode, equal, may_mount, pair, until
from tests.node import events as made
from tests.node.test_node import sound

Make = Callable[..., Node]
ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534

needs_root = pytest.mark.skipif(not may_mount(), reason="mounts and other users need root")


def titles(node: Node) -> set[str]:
    with node.reading() as db:
        return {row["title"] for row in tasks.list_tasks(db)}


def filled(node: Node, count: int = 40) -> str:
    project: str = projects.create(node, "api")["id"]
    for n in range(count):
        tasks.add(node, project, f"t{n}", description="x" * (6_000 if n % 10 == 0 else 50))
    return project


def whole(node: Node) -> None:
    """What must be true of a log whose events came back in any order."""
    with node.reading() as db:
        assert db.execute("PRAGMA quick_check").fetchone() == ("ok",)
        assert log.recount(db) == {machine: row for machine, row in log.index(db).items() if row.count}
    with node.writing() as tx:
        before = made.tables(tx.db)
        assert made.replayed(tx.db) == before


def checkpointed(node: Node) -> Home:
    """Closed, and everything in the one file."""
    with node.writing() as tx:
        tx.db.execute("SELECT 1")
    node._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    node.close()
    return node.home


def in_namespace(mount: str, node: ProcessNode, *argv: str) -> "subprocess.CompletedProcess[str]":
    script = f'{mount}; shift; exec "$@"'
    folder = str(Path(node.home.data).parent)
    command = ["unshare", "-m", "sh", "-ec", script, "sh", folder, sys.executable, "-m", "claire", *argv]
    return subprocess.run(command, env=node.env, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE_S)


# --- D3: disk full ---


def test_d3_full_at_every_page_of_an_append_and_then_goes_on(node: Node) -> None:
    project = filled(node, 5)
    before = titles(node)
    failures = 0
    for more in range(12):
        (pages,) = node._writer.execute("PRAGMA page_count").fetchone()
        node._writer.execute(f"PRAGMA max_page_count = {pages + more}")
        try:
            tasks.add(node, project, f"big{more}", description="x" * 30_000)
        except StorageError as error:
            failures += 1
            assert error.message == "the disk is full; nothing was written" and error.hint
            assert titles(node) == before
        else:
            before |= {f"big{more}"}
    node._writer.execute("PRAGMA max_page_count = 1073741823")
    tasks.add(node, project, "after")
    assert failures >= 3 and titles(node) == before | {"after"}
    sound(node)


def test_d3_full_while_receiving_is_atomic_and_resumes(make_node: Make) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    filled(a)
    with a.reading() as db:
        events = list(log.in_stamp_order(db))
        whole = log.etag(db)
    (pages,) = b._writer.execute("PRAGMA page_count").fetchone()
    b._writer.execute(f"PRAGMA max_page_count = {pages + 4}")
    with pytest.raises(StorageError, match="disk is full"):
        b.receive(events)
    assert titles(b) == set()
    sound(b)
    b._writer.execute("PRAGMA max_page_count = 1073741823")
    b.receive(events)
    with b.reading() as db:
        a.receive(list(log.in_stamp_order(db)))
    with a.reading() as one, b.reading() as other:
        assert log.etag(one) == log.etag(other) != whole
    sound(b)


@needs_root
def test_d3_a_disk_that_is_really_full(tmp_path: Path) -> None:
    node = ProcessNode(tmp_path, "a")
    node.claire("project", "new", "api")
    script = (
        'cp -a "$1" "$1.kept"; mount -t tmpfs -o size=600k none "$1"; cp -a "$1.kept/." "$1"; '
        'shift; for n in 1 2 3 4 5 6 7 8 9 10 11 12; do "$@" task add api "t$n" --desc - < "$TEXT"; done; '
        'rm -f "$CLAIRE_HOME/filler"; echo then; "$@" task add api after; "$@" task list --json; "$@" doctor'
    )
    text = tmp_path / "text"
    text.write_text("x" * 30_000)
    command = ["unshare", "-m", "sh", "-c", script, "sh", node.env["CLAIRE_HOME"], sys.executable, "-m", "claire"]
    filler = Path(node.env["CLAIRE_HOME"], "filler")
    filler.write_bytes(b"x" * 150_000)
    done = subprocess.run(command, env={**node.env, "TEXT": str(text)}, cwd=ROOT, capture_output=True, text=True)
    assert "error: the disk is full; nothing was written. next: free some space" in done.stderr
    assert "Traceback" not in done.stderr
    _, _, after = done.stdout.partition("then\n")
    assert "added" in after and '"after"' in after and "✓ database: in order" in after and "✓ index" in after


# --- D4: read-only, wrong owner, odd paths ---


@needs_root
def test_d4_a_read_only_file_system_reads_and_says_so(tmp_path: Path) -> None:
    node = ProcessNode(tmp_path, "a")
    node.claire("project", "new", "api")
    frozen = 'mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"'
    read = in_namespace(frozen, node, "project", "list")
    assert read.returncode == 0 and "api" in read.stdout
    assert read.stderr.count("\n") == 1 and read.stderr.startswith("read only: ")
    written = in_namespace(frozen, node, "task", "add", "api", "x")
    assert written.returncode == 1 and "cannot be opened for writing" in written.stderr
    assert "next: check owner and mode" in written.stderr and "Traceback" not in written.stderr
    checked = in_namespace(frozen, node, "doctor")
    assert checked.returncode == 1 and "read only" in checked.stdout and "Traceback" not in checked.stderr
    started = in_namespace(frozen, node, "node", "--port", "0")
    assert started.returncode == 1 and "Traceback" not in started.stderr


@needs_root
def test_d4_another_users_home_is_named_and_not_touched(tmp_path: Path) -> None:
    node = ProcessNode(tmp_path, "a")
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)
    nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    for argv in (["status"], ["task", "add", "api", "x"], ["node", "--port", "0"], ["backup", "/tmp"], ["doctor"]):
        done = subprocess.run(
            [*nobody, sys.executable, "-m", "claire", *argv], env=node.env, cwd=ROOT, capture_output=True, text=True
        )
        assert done.returncode != 0, argv
        assert "Traceback" not in done.stderr and node.name not in done.stdout
    node.claire("status")


def test_d4_no_folder_and_odd_names(tmp_path: Path) -> None:
    odd = ProcessNode(tmp_path, "a b 'ü' %20?#*")
    odd.claire("project", "new", "api")
    odd.start()
    assert odd.projects() == {"api"} and odd.stop() < 5
    kept = odd.json("backup", str(tmp_path / "ba ck%41?.db"))["path"]
    odd.claire("restore", kept)
    assert odd.projects() == {"api"}
    shutil.rmtree(tmp_path / odd.name)
    done = subprocess.run(
        [sys.executable, "-m", "claire", "status"], env=odd.env, cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (1, "") and "claire init" in done.stderr


# --- D5: damage ---


def flip(path: str, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(Path(path).read_bytes())
    for _ in range(40):
        at = chance.randrange(len(data))
        data[at] ^= 1 << chance.randrange(8)
    Path(path).write_bytes(data)


def tear(path: str, seed: int) -> None:
    """A page in every six is gone: what a bad block leaves."""
    data = bytearray(Path(path).read_bytes())
    for at in range((seed % 6) * 4096, len(data), 6 * 4096):
        data[at : at + 4096] = bytes(4096)
    Path(path).write_bytes(data)


def shorten(path: str, seed: int) -> None:
    os.truncate(path, os.path.getsize(path) * (seed % 3 + 1) // 4)


def empty(path: str, _seed: int) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("damage", [flip, tear, shorten, empty])
def test_d5_a_damaged_database_is_noticed_kept_and_ends_equal_to_a_peer(
    damage: Callable[[str, int], None], seed: int, make_node: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    filled(a)
    filled(b)
    meet(a, b)
    home = checkpointed(a)
    damage(home.database, seed)
    broken = Path(home.database).read_bytes()
    assert not recovery.is_sound(home) or damage is flip  # a flipped bit may fall into unused space
    if recovery.is_sound(home):
        return
    monkeypatch.setattr("claire.sync.once.sync_now", lambda node, _peer: meet(node, b) or [])
    row = recovery.recover(home, "a", Clock()())
    assert Path(row["kept"]).read_bytes() == broken
    with Node(home) as healed:
        if row["events"] < 85:  # not even whom it trusts could be read: it is paired again, as after a loss
            befriend(healed, b)
            meet(healed, b)
        with healed.reading() as one, b.reading() as other:
            assert log.etag(one) == log.etag(other)
        whole(healed)
        projects.create(healed, "goes on")


def meet(a: Node, b: Node) -> None:
    """All that either holds, both ways."""
    for one, other in ((a, b), (b, a)):
        with one.reading() as db:
            events = list(log.in_stamp_order(db))
        other.receive(events)


def test_d5_all_of_a_sound_file_can_be_salvaged_from_its_pages(node: Node) -> None:
    filled(node, 60)
    with node.reading() as db:
        stored = set(log.in_stamp_order(db))
        pinned = db.execute("SELECT * FROM pins").fetchall()
    assert set(salvage.events(node.home.database)) == stored  # some still in the -wal, some long
    assert list(dict.fromkeys(salvage.pins(node.home.database))) == pinned


def test_d5_a_cut_wal_or_no_shm_loses_no_more_than_the_cut(node: Node) -> None:
    filled(node)
    files = {side: Path(node.home.database + side) for side in backup.SIDES}
    images = {side: path.read_bytes() for side, path in files.items()}
    wal = images["-wal"]
    for length in (0, 31, 5_000, len(wal) // 2, len(wal) - 1, len(wal)):
        folder = Path(node.home.data).parent.parent / f"cut{length}"
        shutil.copytree(Path(node.home.data).parent, folder)
        home = Home.from_env({"CLAIRE_HOME": str(folder)})
        Path(home.database + "-wal").write_bytes(wal[:length])
        Path(home.database + "-shm").unlink()
        with setup.init(home, "alpha") as cut:
            sound(cut)
    with Node(home) as last:
        assert titles(last) == titles(node)


def test_d5_doctor_names_the_damage_and_rebuilds_the_index(node: Node) -> None:
    filled(node)
    with node.writing() as tx:
        tx.db.execute("UPDATE log_index SET count = count + 1")
        tx.db.execute("DELETE FROM tasks")
    assert levels(node.home)["index"] == "bad"
    assert levels(node.home, fix=True)["index"] == "ok"
    sound(node)
    assert len(titles(node)) == 40
    home = checkpointed(node)
    tear(home.database, 0)
    assert levels(home)["database"] == "bad"


def levels(home: Home, *, fix: bool = False) -> dict[str, str]:
    said = doctor.examine(home, {"CLAIRE_PORT": "0"}, fix=fix)
    assert all(check.fix for check in said if check.level != "ok")
    return {check.id: check.level for check in said}


def test_d5_recover_leaves_a_sound_database_alone(node: Node) -> None:
    with pytest.raises(Refused, match="in order"):
        recovery.recover(node.home, "alpha", 0)


def test_d5_a_recovery_that_is_cut_goes_on_when_asked_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(node)
    stored = titles(node)
    home = checkpointed(node)
    Path(home.database).write_bytes(b"no header".ljust(100, b"\0") + Path(home.database).read_bytes()[100:])
    receive = Node.receive

    def cut(node: Node, events: list[Event]) -> Receipt:
        receive(node, events[:10])
        raise KeyboardInterrupt

    monkeypatch.setattr(Node, "receive", cut)
    with pytest.raises(KeyboardInterrupt):
        recovery.recover(home, "alpha", 0)
    monkeypatch.setattr(Node, "receive", receive)
    recovery.recover(home, "alpha", 1)
    with Node(home) as recovered:
        assert titles(recovered) == stored
    with pytest.raises(Refused, match="in order"):
        recovery.recover(home, "alpha", 2)


def test_d5_a_lost_database_comes_back_from_a_peer(tmp_path: Path) -> None:
    a, b = ProcessNode(tmp_path, "a"), ProcessNode(tmp_path, "b")
    a.start()
    a.claire("project", "new", "before")
    pair(b_running(b), a)
    until(lambda: equal(a, b))
    own = a.json("id")["id"]
    a.stop()
    shutil.rmtree(a.home.data)
    a.claire("init")
    a.start()
    pair(b, a)
    until(lambda: equal(a, b), why=lambda: a.log.read_text())
    assert a.json("id")["id"] == own and a.projects() == {"before"}
    assert a.stop() < 5 and b.stop() < 5


def b_running(node: ProcessNode) -> ProcessNode:
    node.start()
    return node


# --- D7: clones and restored backups; D8: the key; D9: the clock ---


def test_d7_doctor_explains_one_identity_on_two_hosts(make_node: Make, tmp_path: Path, clock: Clock) -> None:
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    meet(a, b)
    shutil.copytree(tmp_path / "a", tmp_path / "clone")
    with Node(Home.from_env({"CLAIRE_HOME": str(tmp_path / "clone")}), now_ms=clock) as clone:
        for n in range(10):
            projects.create(a, f"a{n}")
            projects.create(clone, f"c{n}")
        for _ in range(2):
            meet(a, b)
            meet(clone, b)
        with a.reading() as one, b.reading() as two, clone.reading() as three:
            assert log.etag(one) == log.etag(two) == log.etag(three)
            assert len(projects.list_projects(two)) == 20
    (said,) = [check for check in doctor.alarms(a) if check.id == "alarm clone"]
    assert "nothing is lost" in said.said and "claire identity rotate" in said.fix


@pytest.mark.parametrize("damage", ["missing", "empty", "mode", "other"])
def test_d8_doctor_says_what_is_wrong_with_the_key(damage: str, make_node: Make) -> None:
    node, other = make_node("a"), make_node("b")
    path = Path(node.home.key_file)
    if damage == "missing":
        path.unlink()
    elif damage == "empty":
        path.write_text("")
    elif damage == "mode":
        path.chmod(0o644)
    else:
        path.write_text(Path(other.home.key_file).read_text())
    before = path.read_bytes() if path.exists() else None
    assert levels(node.home)["key"] == "bad"
    with pytest.raises((Refused, StorageError), match="key"):
        setup.init(node.home, "a")  # safe to repeat, and no way to hear that all is well
    fixed = levels(node.home, fix=True)["key"]
    assert fixed == ("ok" if damage == "mode" else "bad")
    assert before == (path.read_bytes() if path.exists() else None)


@pytest.mark.parametrize("years", [-10, 10])
def test_d9_a_clock_that_jumps_keeps_order_and_doctor_says_so(years: int, make_node: Make, clock: Clock) -> None:
    node = make_node("a")
    project = filled(node, 3)
    right = clock.now_ms
    clock.now_ms += years * 365 * 86_400_000
    tasks.add(node, project, "off")
    clock.now_ms = right
    tasks.add(node, project, "back")
    sound(node)
    with node.reading() as db:
        newest = [event.payload for event in log.in_stamp_order(db)][-1]
    assert "back" in newest
    noted = {check.id: check.level for check in doctor.peers(node)}
    assert ("clock" in noted) is (years > 0)


# --- D10: newer and older Claires ---


def test_d10_an_older_claire_reads_a_newer_database_and_writes_nothing(tmp_path: Path) -> None:
    node = ProcessNode(tmp_path, "a")
    node.claire("project", "new", "api")
    with contextlib.closing(sqlite3.connect(node.home.database)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = node.count()

    def run(*argv: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "claire", *argv]
        return subprocess.run(command, env=node.env, cwd=ROOT, capture_output=True, text=True)

    read = run("project", "list")
    assert read.returncode == 0 and "api" in read.stdout and read.stderr.count("newer Claire") == 1
    for argv in (["task", "add", "api", "x"], ["node", "--port", "0"], ["sync"]):
        done = run(*argv)
        assert "Traceback" not in done.stderr and "newer Claire" in done.stderr, argv
    assert run("task", "add", "api", "x").returncode == 1 and node.count() == before


def test_d10_an_interrupted_upgrade_leaves_the_old_state(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(node)
    with node.writing() as tx:
        tx.db.execute(f"PRAGMA user_version = {SCHEMA_VERSION - 1 or -1}")
    apply, left = Fold.apply, [20]

    def cut(fold: Fold, event: Event, body: Body | None) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        apply(fold, event, body)

    monkeypatch.setattr(Fold, "apply", cut)
    with pytest.raises(KeyboardInterrupt):
        Node(node.home)
    monkeypatch.undo()
    assert len(titles(node)) == 40
    told: list[int] = []
    monkeypatch.setattr("claire.node.fold.REPLAY_BATCH_EVENTS", 10)
    with Node(node.home, progress=told.append) as upgraded:
        assert told == [10, 20, 30, 40]
        sound(upgraded)
        assert len(titles(upgraded)) == 40


def test_d10_a_newer_backup_is_refused_with_the_same_words(node: Node, tmp_path: Path) -> None:
    path = backup.make(node, str(tmp_path / "b.db"))["path"]
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(NewerSchema, match="newer Claire"):
        backup.restore(node.home, path, 0)


# --- D11: settings ---


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('name = "a"\nport = "x"\n', r"claire\.toml line 2: key 'port'"),
        ("\n\nport = 70000\n", r"claire\.toml line 3: key 'port': 70000 is not a port"),
        ("prot = 1\n", r"claire\.toml line 1: key 'prot'"),
        ("name = 'a'\nnotify = 3\n", r"claire\.toml line 2: key 'notify'"),
        ("name = 'a'\nport = \n", r"claire\.toml: .*line 2"),
        ("name = 'a'\nname = 'b'\n", r"claire\.toml: .*line 2"),
    ],
)
def test_d11_bad_settings_name_line_and_key(text: str, said: str, node: Node) -> None:
    Path(node.home.settings_file).write_text(text)
    with pytest.raises(UsageError, match=said):
        Settings.load(node.home, {})
    assert [check.level for check in checks.settings(node.home, {})] == ["bad"]


def test_d11_the_environment_is_named_too(node: Node) -> None:
    with pytest.raises(UsageError, match="CLAIRE_SYNC_PORT"):
        Settings.load(node.home, {"CLAIRE_SYNC_PORT": "many"})


def test_d11_a_bad_peers_toml_is_named(node: Node) -> None:
    Path(node.home.peers_file).write_text('[[peer]]\nurl = "http://a:1"\n[[peer]]\nurl = "http://a:1"\n')
    (check,) = [check for check in checks.settings(node.home, {}) if check.level == "bad"]
    assert "line 4" in check.said and "'url'" in check.said


def test_members_are_the_ones_pinned_after_recovery(make_node: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A damaged file must not be a way in: only keys that make their machine id are pins."""
    a, b = make_node("a"), make_node("b")
    befriend(a, b)
    filled(a, 2)
    home = checkpointed(a)
    Path(home.database).write_bytes(bytes(100) + Path(home.database).read_bytes()[100:])
    monkeypatch.setattr("claire.wiring.sync_now", lambda *_: [])
    recovery.recover(home, "a", 0)
    with Node(home) as healed, healed.reading() as db:
        assert members.keys(db).keys() == {a.machine_id, b.machine_id}


@needs_root
def test_d3_the_daemon_stays_up_while_the_disk_is_full_and_goes_on_after(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1400k", "none", str(disk)], check=True)
    a, b = ProcessNode(disk, "a"), ProcessNode(tmp_path, "b")
    a.log = tmp_path / "a.log"
    try:
        a.start()
        b.start()
        pair(b, a)
        until(lambda: equal(a, b))
        b.claire("project", "new", "api")
        until(lambda: equal(a, b))
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while file.write(b"x" * 4096):
                pass
        for n in range(3):
            b.claire("task", "add", "api", f"t{n}", "--desc", "x" * 40_000)
        ends = time.monotonic() + 10
        while time.monotonic() < ends:  # long enough for every loop of the daemon to meet the full disk
            assert a.process is not None and a.process.poll() is None, a.log.read_text()
            time.sleep(0.2)
        assert a.json("project", "list") and not equal(a, b)
        filler.unlink()
        until(lambda: equal(a, b), why=a.log.read_text)
        assert len(a.log.read_text().splitlines()) < 50, a.log.read_text()
        assert a.stop() < 5 and b.stop() < 5
    finally:
        a.kill()
        b.kill()
        subprocess.run(["umount", "-l", str(disk)], check=True)
