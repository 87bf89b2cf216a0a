"""`claire doctor`: a line for each thing a node needs, and what to do where it is not so."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator, Mapping

import msgspec

import claire
from claire.config import Home, Settings
from claire.node import backup, hlc, identity, log, members, overview, store
from claire.node.errors import ClaireError
from claire.node.fold import replay_events
from claire.node.node import Node
from claire.node.rows import Row, rows

OK, NOTE, BAD = "ok", "note", "bad"
FREE_BYTES_MIN, FREE_BYTES_ENOUGH = 100 * 1024**2, 1024**3
SKEW_MS_NOTED, SKEW_MS_MAX = 2_000, 300_000  # beyond the latter peers refuse each other's requests
QUIET_MS_MAX = 86_400_000
PROGRAM_S_MAX = 5
ANSWER_S_MAX = 3.0

ALARMS = {
    "clone": "this node's id also wrote elsewhere, or a backup was restored: nothing is lost, the log holds both",
    "forged": "events came whose signature does not verify; they were refused",
    "equivocation": "two different events came under one id; the first is kept",
}
ALARM_FIXES = {"clone": "if two hosts have this key, on one of them: claire identity rotate"}


class Check(msgspec.Struct):
    """What was looked at, what was found, and the next command where something is to be done."""

    id: str
    level: str
    said: str
    fix: str = ""


def examine(home: Home, env: Mapping[str, str], *, fix: bool) -> list[Check]:
    """All checks, in the order in which one needs the other. With `fix`, modes and the index are put right first."""
    checks = [*folders(home, fix), *settings(home, env), key(home), disk(home)]
    try:
        node = Node(home)
    except ClaireError as error:
        checks.append(Check("database", BAD, error.message, error.hint))
    else:
        with node:
            checks += _of_node(node, fix)
    return [*checks, *daemon(home, env), tmux(), *claude(home, env), *rclaude(home, env)]


def _of_node(node: Node, fix: bool) -> Iterator[Check]:
    steps: tuple[Callable[[], Iterator[Check]], ...] = (
        lambda: database(node),
        lambda: index(node, fix),
        lambda: peers(node),
        lambda: alarms(node),
        lambda: versions(node),
    )
    for step in steps:
        try:
            yield from step()
        except ClaireError as error:
            yield Check("database", BAD, error.message, error.hint)
            return


def folders(home: Home, fix: bool) -> Iterator[Check]:
    """Ours, and nobody else's: 0700, and 0600 for what is in them."""
    wrong: list[str] = []
    files = [home.key_file, *(home.database + side for side in backup.SIDES)]
    wanted = [(folder, 0o700) for folder in home.folders] + [(file, 0o600) for file in files if os.path.exists(file)]
    for path, mode in dict(wanted).items():
        try:
            if fix:
                _private(path, mode)
            wrong += _not_private(path)
        except OSError as error:
            wrong.append(f"{path}: {error.strerror}")
    if wrong:
        yield Check("folders", BAD, "; ".join(wrong), "claire doctor --fix; for another's files: chown")
    else:
        yield Check("folders", OK, f"{home.data} and the others are this user's alone")


def _private(path: str, mode: int) -> None:
    if not os.path.exists(path):
        os.makedirs(path, mode=mode)
    if os.stat(path).st_mode & 0o077:
        os.chmod(path, mode)


def _not_private(path: str) -> Iterator[str]:
    if not os.path.exists(path):
        yield f"{path} is missing"
    elif os.stat(path).st_uid != os.geteuid():
        yield f"{path} belongs to another user"
    elif os.stat(path).st_mode & 0o077:
        yield f"{path} can be read by others"


def settings(home: Home, env: Mapping[str, str]) -> Iterator[Check]:
    from claire.sync.discovery import read_peers

    try:
        Settings.load(home, env)
        if os.path.exists(home.peers_file):
            with open(home.peers_file) as file:
                read_peers(file.read())
    except ClaireError as error:
        yield Check("settings", BAD, error.message, error.hint or "mend that line")
    else:
        yield Check("settings", OK, "claire.toml and peers.toml can be read, or are not there")


def key(home: Home) -> Check:
    try:
        found = identity.load(home.key_file)
    except ClaireError as error:
        return Check("key", BAD, error.message, error.hint)
    try:
        with Node(home) as node:
            if node.machine_id != found.machine_id:
                why = f"{home.key_file} is not the key of this database: it reads, and cannot write"
                return Check("key", BAD, why, "restore the key that belongs to it, or the database to the key")
    except ClaireError:
        pass  # said under `database`
    return Check("key", OK, f"this is node {found.machine_id[:8]}")


def disk(home: Home) -> Check:
    try:
        free = shutil.disk_usage(home.data).free
    except OSError as error:
        return Check("disk", BAD, f"{home.data}: {error.strerror}", "claire init")
    said = f"{free / 1024**3:.1f} GiB free"
    if free < FREE_BYTES_MIN:
        return Check("disk", BAD, said, "free some space: writing stops when none is left, and goes on by itself")
    return Check("disk", NOTE if free < FREE_BYTES_ENOUGH else OK, said)


def database(node: Node) -> Iterator[Check]:
    with node.reading() as db:
        backup.whole(db, node.home.database)
        (events,) = db.execute("SELECT count(*) FROM events").fetchone()
    size = sum(os.path.getsize(p) for side in backup.SIDES if os.path.exists(p := node.home.database + side))
    if node.read_only is not None:
        yield Check("database", BAD, f"read only: {node.read_only.message}", node.read_only.hint)
    else:
        yield Check("database", OK, f"in order; {events:,} events in {size / 1024**2:.1f} MiB")


def index(node: Node, fix: bool) -> Iterator[Check]:
    """What is told to peers against the rows themselves."""
    with node.reading() as db:
        wrong = _misindexed(db)
    if wrong and fix:
        with node.writing() as tx:
            for machine in wrong:
                log.reindex(tx.db, machine)
            store.remake_projections(tx.db)
            replay_events(tx.db)
        yield Check("index", OK, f"rebuilt for {len(wrong)} of its machines, and what follows from the log")
    elif wrong:
        yield Check("index", BAD, f"disagrees with the events of {len(wrong)} machines", "claire doctor --fix")
    else:
        yield Check("index", OK, "agrees with every event")


def _misindexed(db: sqlite3.Connection) -> list[str]:
    counted = log.recount(db)
    stored = {machine: row for machine, row in log.index(db).items() if row.count}
    return [machine for machine in counted.keys() | stored.keys() if counted.get(machine) != stored.get(machine)]


def peers(node: Node) -> Iterator[Check]:
    now_ms = node.now_ms()
    with node.reading() as db:
        others = [row for row in overview.hosts(db, node.machine_id) if not row["own"] and row["state"] == "member"]
        revokers = members.suspended(db, node.machine_id)
        own = log.newest_own(db, node.machine_id)
    if not others:
        yield Check("peers", OK, "none; this node is a fleet of one")
    if own and (ahead_ms := hlc.decode(own)[0] - now_ms) > SKEW_MS_MAX:
        why = f"this host's clock is {ahead_ms // 60_000} minutes behind what it wrote before"
        yield Check("clock", NOTE, why, "set the clock; order is kept meanwhile")
    for row in others:
        yield from _peer(row, row["id"] in revokers, now_ms)


def _peer(row: Row, revoked_us: bool, now_ms: int) -> Iterator[Check]:
    where = f"peer {row['name']}"
    quiet_ms = now_ms - (row["last_contact_ms"] or 0)
    if revoked_us:
        yield Check(where, BAD, "has cut this node off; nothing is exchanged", "claire peer list says what to do")
    elif not row["last_contact_ms"]:
        yield Check(where, NOTE, "was never reached from here", f"claire sync {row['name']}")
    elif row["breaker"] == "open" or quiet_ms > QUIET_MS_MAX:
        why = f"not reached for {quiet_ms // 60_000} minutes: {row.get('last_error') or 'no word'}"
        yield Check(where, NOTE, why, f"claire sync {row['name']}")
    else:
        yield Check(where, OK, f"behind by {row['behind']}" if row["behind"] else "in sync when last heard")
    skew_ms = row["skew_ms"] or 0
    if abs(skew_ms) > SKEW_MS_NOTED:
        word = "ahead of" if skew_ms > 0 else "behind"
        level = BAD if abs(skew_ms) > SKEW_MS_MAX else NOTE
        yield Check(f"clock {row['name']}", level, f"{abs(skew_ms) / 1000:.0f} s {word} ours", "set the wrong one: NTP")


def alarms(node: Node) -> Iterator[Check]:
    with node.reading() as db:
        found = rows(db, "SELECT kind, machine_id, detail, count FROM alarms ORDER BY last_ms DESC")
        known = members.names(db)
    if not found:
        yield Check("alarms", OK, "none")
    for row in found:
        name = known.get(row["machine_id"], row["machine_id"][:8])
        said = f"{name}: {ALARMS.get(row['kind'], row['detail'])} ({row['count']} times)"
        level = NOTE if row["kind"] == "clone" else BAD
        fix = ALARM_FIXES.get(row["kind"], f"look at that host; to cut it off: claire peer revoke {name}")
        yield Check(f"alarm {row['kind']}", level, said, fix)


def versions(node: Node) -> Iterator[Check]:
    with node.reading() as db:
        others = {row["version"] for row in members.list_members(db) if row["version"] and not row["through_hlc"]}
        unread = rows(db, "SELECT event_type, count(*) AS count FROM unread_events GROUP BY 1 ORDER BY 2 DESC LIMIT 3")
    mixed = others - {claire.__version__}
    said = f"this is {claire.__version__}" + (f", others run {', '.join(sorted(mixed))}" if mixed else "")
    yield Check("versions", OK, f"{said}; a mixed fleet works" if mixed else said)
    if unread:
        kinds = ", ".join(f"{row['count']} {row['event_type']}" for row in unread)
        yield Check("unread events", NOTE, f"kept and passed on, not understood: {kinds}", "upgrade Claire here")


def daemon(home: Home, env: Mapping[str, str]) -> Iterator[Check]:
    from claire import runtime
    from claire.listeners import listen

    if not os.path.isdir(home.data):
        return
    try:
        running = runtime.is_running(home)
    except OSError as error:
        yield Check("daemon", NOTE, f"nobody can tell whether it runs: {error.filename}: {error.strerror}")
        return
    if running:
        urls = runtime.read_urls(home)
        served = [url for url in (urls.get("ui"), *urls.get("sync", [])) if url]
        dead = [url for url in served if not _answers(url)]
        if dead:
            yield Check("daemon", BAD, f"runs, and does not answer at {', '.join(dead)}", "restart it; look at its log")
        else:
            yield Check("daemon", OK, f"runs as {urls.get('pid')}: {', '.join(served)}")
        return
    yield Check("daemon", NOTE, "does not run: no dashboard, no exchange by itself", "claire service install")
    try:
        chosen = Settings.load(home, env)
        listen(chosen.host, chosen.port, "--port").close()
    except ClaireError as error:
        yield Check("port", BAD, error.message, error.hint)


def _answers(url: str) -> bool:
    """Any answer will do: without a login or a signature it is a refusal."""
    from http.client import HTTPConnection, HTTPException

    host, _, port = url.removeprefix("http://").rpartition(":")
    connection = HTTPConnection(host.strip("[]"), int(port), timeout=ANSWER_S_MAX)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status > 0
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def tmux() -> Check:
    said = _output("tmux", "-V")
    if said is None:
        return Check("tmux", NOTE, "not installed: sessions are seen, nothing is typed into them", "install tmux")
    return Check("tmux", OK, said)


def claude(home: Home, env: Mapping[str, str]) -> Iterator[Check]:
    from claire.fleet import hooks

    said = _output("claude", "--version")
    yield Check("claude", OK if said else NOTE, said or "not on this PATH: no sessions here, or it is elsewhere")
    try:
        found = hooks.status(env, home)
    except ClaireError as error:
        yield Check("hooks", BAD, error.message, error.hint)
        return
    for row in found:
        level = OK if row["state"] == "installed" else NOTE
        yield Check("hooks", level, f"{row['state']} in {row['path']}", "" if level == OK else "claire hook install")


def rclaude(home: Home, env: Mapping[str, str]) -> Iterator[Check]:
    from claire.fleet import rclaude as rclaudes

    try:
        spoken = rclaudes.contract(Settings.load(home, env).fleet)
    except ClaireError as error:
        yield Check("rclaude", BAD, error.message, error.hint)
        return
    if not rclaudes.is_installed(spoken, env):
        yield Check("rclaude", OK, "not installed, and not needed")
        return
    listing = rclaudes.sessions(spoken, env)
    wrong = "; ".join(listing.problems)
    yield Check("rclaude", NOTE if wrong else OK, wrong or f"lists {len(listing.found)} sessions")


def _output(*argv: str) -> str | None:
    """First line of what a program says of itself; None where it is missing or says nothing in time."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PROGRAM_S_MAX, check=False)
    except (FileNotFoundError, PermissionError, subprocess.TimeoutExpired):
        return None
    return (done.stdout.strip() or done.stderr.strip()).split("\n")[0] or None
