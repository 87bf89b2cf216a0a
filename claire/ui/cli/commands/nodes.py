"""This node: its daemon, its service, its copies: rows of the table of commands."""

from __future__ import annotations

from claire.ui.cli.table import NODE, SINCE, Argument, Command, Option

FORMATS = ("ndjson", "parquet")

COMMANDS = [
    Command(
        "init",
        "claire.ui.cli.nodes:init",
        "Make this host a node: folders, key, database. Safe to repeat.",
        Option("--name", "What the fleet calls this node; the host's name where nothing is said."),
        examples=["claire init", "claire init --name laptop"],
        group=NODE,
    ),
    Command(
        "id",
        "claire.ui.cli.nodes:id_",
        "Who this node is.",
        examples=["claire id"],
        group=NODE,
    ),
    Command(
        "node",
        "claire.ui.cli.nodes:node",
        "Run the daemon: dashboard, exchange with peers, this host's sessions.",
        Option("--host", "Address of the dashboard."),
        Option("--port", "Port of the dashboard; 0 picks a free one.", kind=int),
        Option("--sync-host", "Address peers reach this node at."),
        Option("--sync-port", "Port for peers; 0 picks a free one.", kind=int),
        examples=["claire node", "claire node --port 0 --sync-host 100.64.0.7"],
        group=NODE,
    ),
    Command(
        "web",
        "claire.ui.cli.nodes:web",
        "Open the dashboard of the running node, or run one here.",
        Option("--host", "Address of the dashboard."),
        Option("--port", "Port of the dashboard; 0 picks a free one.", kind=int),
        examples=["claire web"],
        group=NODE,
    ),
    Command(
        "logout",
        "claire.ui.cli.nodes:logout",
        "Sign every browser out of this node's dashboard.",
        Option("--all", "Say that you mean every one.", kind=bool),
        examples=["claire logout --all"],
        group=NODE,
    ),
    Command(
        "service install",
        "claire.ui.cli.service:install",
        "Run the node from login on, as a service of this user; safe to repeat.",
        examples=["claire service install"],
        group=NODE,
    ),
    Command(
        "service status",
        "claire.ui.cli.service:status",
        "Whether the service is installed and runs.",
        examples=["claire service status"],
        group=NODE,
    ),
    Command(
        "service uninstall",
        "claire.ui.cli.service:uninstall",
        "End the service and take it away.",
        examples=["claire service uninstall"],
        group=NODE,
    ),
    Command(
        "backup",
        "claire.ui.cli.keep:backup",
        "Write a backup of the database, while everything goes on.",
        Argument("path", "File or folder; here, named by node and time, where nothing is said.", required=False),
        Option("--with-key", "The node's key too, beside it: whoever has both is this node.", kind=bool),
        examples=["claire backup", "claire backup /mnt/stick --with-key"],
        group=NODE,
    ),
    Command(
        "restore",
        "claire.ui.cli.keep:restore",
        "Go back to a backup; the database that is here is kept aside.",
        Argument("path", "What `claire backup` wrote."),
        examples=["claire restore claire-web1-20261122-101500.db"],
        group=NODE,
    ),
    Command(
        "export",
        "claire.ui.cli.keep:export",
        "Write the log to a file: to carry it to another node, or to analyse it.",
        Argument("path", "File to write; - is standard output."),
        Option("--format", "ndjson can be imported; parquet opens in DuckDB and the like.", choices=FORMATS),
        SINCE,
        examples=["claire export log.ndjson", "claire export log.parquet --format parquet --since 30d"],
        group=NODE,
    ),
    Command(
        "import",
        "claire.ui.cli.keep:import_",
        "Take in what another node exported; every event is verified.",
        Argument("path", "File to read; - is standard input."),
        examples=["claire import /mnt/stick/log.ndjson"],
        group=NODE,
    ),
    Command(
        "doctor",
        "claire.ui.cli.doctor:doctor",
        "Check this node, a line for each thing, with what to do.",
        Option("--fix", "Put right what can be put right safely.", kind=bool),
        Option("--recover", "Rebuild a damaged database from what can be read of it, and from peers.", kind=bool),
        examples=["claire doctor", "claire doctor --fix", "claire doctor --recover"],
        group=NODE,
    ),
]
