"""What a working host writes in a day, through the node's own code on a turned clock, and what a log of that size then
costs: `python -m benchmarks.growth [DAYS]`."""

from __future__ import annotations

import os
import random
import resource
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import closing

from claire.config import Home
from claire.node import projects, sessions, setup, tasks, updates
from claire.node.node import Node

MINUTE_MS = 60_000
DAY_MS = 1_440 * MINUTE_MS
SESSIONS = 6  # of a busy host, at the same time
WORKING_MINUTES = 10 * 60
TURN_MINUTES = 4.0  # mean length of a stretch of work, and of the wait for a person after it
WAIT_MINUTES = 3.0
TASKS, NOTES = 20, 60  # a day
FLEETS = (1, 10, 50)
YEARS = 5
WORKING_DAYS = 230
COMMANDS = ("status", "task list", "log stats", "doctor", "export log.ndjson")


class Session:
    """A session that works, waits for somebody, works on, and ends with the day."""

    def __init__(self, node: Node, number: int, rng: random.Random) -> None:
        self.id, self.number, self.rng = node.new_id(), number, rng
        self.state, self.since_ms, self.seen_ms, self.left = "working", node.now_ms(), 0, 0.0

    def minute(self, now_ms: int) -> sessions.Observation:
        self.left -= 1
        if self.left <= 0:
            waits = self.state == "working"
            self.state = self.rng.choice(("permission", "question", "idle", "idle")) if waits else "working"
            self.since_ms, self.left = now_ms, self.rng.expovariate(1 / (WAIT_MINUTES if waits else TURN_MINUTES))
        if self.state == "working":
            self.seen_ms = now_ms
        return self.seen(now_ms)

    def seen(self, now_ms: int, gone: bool = False) -> sessions.Observation:
        asks = "Bash(git push origin main)" if self.state == "permission" else ""
        return sessions.Observation(
            session_uuid=self.id,
            host="build-server-1",
            cwd=f"/home/ann/src/project-{self.number}",
            name="fix the login",
            tmux_name=f"project-{self.number}:0.0",
            pane="%12",
            version="2.1.330",
            state=self.state,
            source="registry",
            confidence="high",
            waiting_for=asks,
            since_ms=self.since_ms,
            last_seen_ms=self.seen_ms or now_ms,
            last_seen_mtime=self.seen_ms / 1000,
            gone=gone,
        )


def day(node: Node, clock: list[int], rng: random.Random) -> None:
    project = projects.create(node, f"project of {clock[0]}", goal="v2 is live")["id"]
    open_tasks = [tasks.add(node, project, f"task {n}", description="what and why " * 12)["id"] for n in range(TASKS)]
    running = [Session(node, n, rng) for n in range(SESSIONS)]
    for minute in range(WORKING_MINUTES):
        clock[0] += MINUTE_MS
        sessions.observe(node, [session.minute(clock[0]) for session in running])
        if minute % (WORKING_MINUTES // NOTES) == 0:
            updates.note(node, rng.choice(open_tasks), "half of the tests pass; the rest needs a fixture")
        if minute % (WORKING_MINUTES // TASKS) == 0:
            task = open_tasks[minute // (WORKING_MINUTES // TASKS)]
            for status in ("in_progress", "done"):
                tasks.set_status(node, task, status)
    sessions.observe(node, [session.seen(clock[0], gone=True) for session in running])
    clock[0] += DAY_MS - WORKING_MINUTES * MINUTE_MS


def costs(folder: str) -> dict[str, float]:
    """Seconds of CPU of each command, and of one that has to read the whole log anew as after an upgrade."""
    path = Home.from_env({"CLAIRE_HOME": folder}).database
    taken = {f"claire {command}": cpu_s(folder, *command.split()) for command in COMMANDS}
    os.unlink(os.path.join(folder, "log.ndjson"))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 1")
    return {**taken, "the first command after an upgrade": cpu_s(folder, "status")}


def cpu_s(folder: str, *argv: str) -> float:
    env = {**os.environ, "CLAIRE_HOME": folder, "HOME": folder, "PYTHONPATH": os.getcwd()}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "claire", *argv], env=env, cwd=folder, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(days: int = 10) -> None:
    clock, rng = [1_790_000_000_000], random.Random(1)
    with tempfile.TemporaryDirectory() as folder:
        node = setup.init(Home.from_env({"CLAIRE_HOME": folder}), "host", now_ms=lambda: clock[0])
        with node:
            day(node, clock, rng)
            after_a_day = costs(folder)
            for _ in range(days - 1):
                day(node, clock, rng)
            with node.reading() as db:
                kinds = Counter(dict(db.execute("SELECT event_type, count(*) FROM events GROUP BY 1")))
        size = os.path.getsize(node.home.database)
        after_all = costs(folder)
    events = kinds.total()
    hours = WORKING_MINUTES // 60
    print(f"{days} days of one host with {SESSIONS} sessions for {hours} h: {events:,} events, {size:,} bytes")
    for kind, count in kinds.most_common():
        print(f"  {kind:<22}{count / days:8.0f} a day")
    print(f"| hosts | events a day | MiB a day | events in {YEARS} years | GiB in {YEARS} years |")
    print("|---|---|---|---|---|")
    for hosts in FLEETS:
        per_day, bytes_per_day = events / days * hosts, size / days * hosts
        in_years = per_day * WORKING_DAYS * YEARS
        gib = bytes_per_day * WORKING_DAYS * YEARS / 1024**3
        print(f"| {hosts} | {per_day:,.0f} | {bytes_per_day / 1024**2:.2f} | {in_years:,.0f} | {gib:.2f} |")
    print(f"| seconds of CPU | after a day | after {days} days |")
    print("|---|---|---|")
    for name, seconds in after_a_day.items():
        print(f"| {name} | {seconds:.2f} | {after_all[name]:.2f} |")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
