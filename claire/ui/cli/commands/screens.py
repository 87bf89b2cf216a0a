"""What one looks at: rows of the table of commands."""

from __future__ import annotations

from claire.ui.cli.table import LIMIT, LOOK, OF_PROJECT, SINCE, Argument, Command, Option

SINCE_NEEDED = Option("--since", "From then on: 2h, 7d, 9:00, yesterday, 2026-11-22.", default="yesterday")

COMMANDS = [
    Command(
        "status",
        "claire.ui.cli.status:status",
        "Who needs you, who works on what, how far the projects are.",
        OF_PROJECT,
        Option("--group -g", "Only sessions of this group.", complete="group"),
        Option("--at", "As it was then: 2h, 9:00, yesterday."),
        Option("--quiet -q", "One short line, for a status bar.", kind=bool),
        examples=["claire status", "claire status -p api", "claire status --at 2h", "claire status -q"],
        group=LOOK,
    ),
    Command(
        "watch",
        "claire.ui.cli.watch:watch",
        "The same, live; ? shows the keys.",
        OF_PROJECT,
        Option("--group -g", "Only sessions of this group.", complete="group"),
        examples=["claire watch", "claire watch -p api", "claire watch --json"],
        group=LOOK,
    ),
    Command(
        "log",
        "claire.ui.cli.log:log",
        "What happened, on all hosts.",
        Argument("what", "`stats`: how much is written instead, by whom and of what.", required=False),
        SINCE,
        LIMIT,
        OF_PROJECT,
        Option("--host", "Only what this node wrote.", complete="peer"),
        Option("--follow -f", "Go on with what arrives, until Ctrl-C.", kind=bool),
        examples=["claire log -n 20", "claire log --since 2h -p api", "claire log -f", "claire log stats"],
        group=LOOK,
    ),
    Command(
        "diff",
        "claire.ui.cli.diff:diff",
        "What changed since you left.",
        SINCE_NEEDED,
        OF_PROJECT,
        examples=["claire diff --since 9:00", "claire diff --since yesterday -p api"],
        group=LOOK,
    ),
    Command(
        "conflicts",
        "claire.ui.cli.conflicts:conflicts",
        "Fields that two hosts set at once, with both values.",
        examples=["claire conflicts"],
        group=LOOK,
    ),
    Command(
        "demo",
        "claire.ui.cli.nodes:demo",
        "Three nodes with pretended sessions on this host, one story, nothing left behind.",
        Option("--quick", "The story without pauses, then the end.", kind=bool),
        Option("--for", "End after so long: 60s, 5m; at a terminal it goes on until Ctrl-C.", name="for_"),
        examples=["claire demo", "claire demo --for 60s", "claire demo --quick"],
        group=LOOK,
    ),
]
