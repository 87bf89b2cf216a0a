"""`claire doctor`: a line for each thing a node needs, and what to do where it is not so."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping

import claire
from claire import checks
from claire.checks import BAD, NOTE, OK, Check
from claire.config import Home
from claire.node import backup, hlc, log, members, overview, store
from claire.node.errors import ClaireError
from claire.node.fold import replay_events
from claire.node.node import Node
from claire.node.rows import Row, rows

SKEW_MS_NOTED, SKEW_MS_MAX = 2_000, 300_000  # beyond the latter peers refuse each other's requests
QUIET_MS_MAX = 86_400_000

ALARMS = {
    "clone": "this node's id also wrote elsewhere, or a backup was restored: nothing is lost, the log holds both",
    "forged": "events came whose signature does not verify; they were refused",
    "equivocation": "two different events came under one id; the first is kept",
}
ALARM_FIXES = {"clone": "if two hosts have this key, on one of them: claire identity rotate --copy"}


def examine(home: Home, env: Mapping[str, str], *, fix: bool) -> list[Check]:
    """All checks, in the order in which one needs the other. With `fix`, modes and the index are put right first."""
    found = [*checks.folders(home, fix), *checks.settings(home, env), checks.key(home), checks.disk(home)]
    try:
        node = Node(home)
    except ClaireError as error:
        found.append(Check("database", BAD, error.message, error.hint))
    else:
        with node:
            found += _of_node(node, fix)
    programs = [checks.tmux(), *checks.claude(home, env), *checks.rclaude(home, env)]
    return [*found, *checks.daemon(home, env), *programs]


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
