"""A node whose every text field holds something hostile, written past the commands as a peer would."""

import itertools
from collections.abc import Callable

from claire.node import (
    assignments,
    broadcasts,
    decisions,
    groups,
    members,
    projects,
    sessions,
    tasks,
    updates,
)
from claire.node.node import Node
from tests.conftest import Clock

POISONS = [
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)",
    '" hx-get="/evil" hx-trigger="load',
    "javascript:alert(1)", "<a href=javascript:alert(1)>x</a>", "<svg onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "<!--", "<![CDATA[", "</textarea><script>alert(1)</script>", "<style>*{display:none}</style>",
    "<base href=//evil>",
    "<form action=//evil>", "<iframe srcdoc='<script>alert(1)</script>'>", "{{ 7 * 7 }}",
    "{% include 'x' %}", "&lt;script&gt;",
    "<meta http-equiv=refresh content=0;url=//evil>", "\u202eevil\u202c", "\x1b]52;c;ZXZpbA==\x07",
    "<x onclick=alert(1)",
    "</option></select><img src=x>", "`${alert(1)}`",
    "<math><mi//xlink:href='data:x,<script>alert(4)</script>'>",
    "<input autofocus onfocus=alert(1)>", "//evil.com/x", "&#x3c;script&#x3e;", "<div hx-on:click='alert(1)'>",
]  # fmt: skip


def poison(number: int) -> str:
    return f"{POISONS[number % len(POISONS)]} {number}"


def fill(node: Node, clock: Clock, say: Callable[[int], str]) -> None:
    """One of everything, every text field said by `say`; recorded past the commands, as a peer would."""
    count = itertools.count()

    def text() -> str:
        return say(next(count))

    ids = [f"{n:08d}-0000-4000-8000-000000000000" for n in range(40)]
    hostile = '"><script>alert(1)</script>'
    with node.writing() as tx:
        for n in range(10):
            tx.record(projects.ProjectCreated(ids[n], text(), text(), text(), status=text() if n % 2 else "active"))
            tx.record(tasks.TaskCreated(ids[10 + n], ids[0], text(), text(), status=text() if n % 2 else "todo"))
            seen = sessions.Observation(
                session_uuid=ids[20 + n], host=text(), cwd=text(), tmux_name=text(), pane=text(), name=text(),
                version=text(), state=text() if n % 2 else "permission", source=text(), confidence=text(),
                waiting_for=text(), last_triage=text(), last_seen_ms=clock.now_ms, since_ms=clock.now_ms,
            )  # fmt: skip
            tx.record(sessions.SessionObserved(seen))
            tx.record(assignments.AssignmentCreated(ids[30 + n], ids[10 + n], ids[20 + n]))
            tx.record(updates.UpdateAdded(text(), text(), ids[10 + n], ids[30 + n], ids[20 + n]))
            tx.record(decisions.DecisionLogged(text(), ids[0], ids[10 + n]))
            tx.record(groups.GroupDefined(text(), text()))
        for _ in range(30):
            tx.record(tasks.TaskChanged(ids[10], tasks.TaskFields(title=text(), description=text())))
            tx.record(projects.ProjectChanged(ids[0], projects.ProjectFields(name=text(), goal=text())))
        tx.record(tasks.TaskLinked(ids[10], ids[11]))
        tx.record(tasks.TaskLinked(ids[10], hostile))
        tx.record(sessions.SessionSucceeded(hostile, ids[20], text()))
        tx.record(assignments.AssignmentEnded(ids[30], text()))
        tx.record(assignments.AssignmentCreated(hostile, ids[10], hostile))
        targets = [broadcasts.Target(ids[20], node.machine_id), broadcasts.Target(hostile, hostile)]
        tx.record(broadcasts.BroadcastSent(ids[39], text(), text(), targets, clock.now_ms + 1000))
        tx.record(broadcasts.BroadcastDelivered(ids[39], ids[20], text(), text()))
        tx.record(members.NodeRenamed(node.machine_id, text()))
        tx.db.execute("INSERT INTO alarms VALUES (?, ?, ?, 1, 2, 3)", (text(), hostile, text()))
        tx.db.execute(
            "INSERT INTO peers (machine_id, url, last_contact_ms, etag, breaker, last_error) VALUES (?, ?, 1, ?, ?, ?)",
            (node.machine_id, text(), text(), text(), text()),
        )
