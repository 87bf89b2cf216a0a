"""Claude Code sessions: what they report, and what is said to them: rows of the table of commands."""

from __future__ import annotations

from claire.ui.cli.table import FLEET, LIMIT, Argument, Command, Option

RAW = Option("--raw", "As it is: a leading / ! # @ or & then means to Claude what it means.", kind=bool)
EXPIRE = Option("--expire", "Give up after this long: 30s, 10m, 2h. Default 10m.")
WAIT = Option("--wait -w", "Until every session has it or it has expired.", kind=bool)
DRY_RUN = Option("--dry-run", "Show what would change and change nothing.", kind=bool)

COMMANDS = [
    Command(
        "session list",
        "claire.ui.cli.sessions:list_",
        "List sessions, those that wait for you first.",
        Option("--host", "Only this host.", complete="host"),
        Option("--all -a", "Those that ended too.", kind=bool),
        examples=["claire session list", "claire session list --host web1"],
        group=FLEET,
    ),
    Command(
        "session show",
        "claire.ui.cli.sessions:show",
        "Show a session, its task and what was heard of it.",
        Argument(
            "session",
            "Id or name of a session; inside a Claude session that one.",
            required=False,
            complete="session",
        ),
        examples=["claire session show 9d0c41aa"],
        group=FLEET,
    ),
    Command(
        "session tail",
        "claire.ui.cli.sessions:tail",
        "Show what a session of this host shows now.",
        Argument(
            "session",
            "Id or name of a session; inside a Claude session that one.",
            required=False,
            complete="session",
        ),
        LIMIT,
        Option("--share", "Add it to the session's task for the whole fleet, known secrets left out.", kind=bool),
        examples=["claire session tail 9d0c41aa -n 20", "claire session tail 9d0c41aa --share"],
        group=FLEET,
    ),
    Command(
        "hook install",
        "claire.ui.cli.hooks:install",
        "Let Claude Code report at once what its sessions do; other tools' hooks stay as they are.",
        DRY_RUN,
        examples=["claire hook install --dry-run", "claire hook install"],
        group=FLEET,
    ),
    Command(
        "hook status",
        "claire.ui.cli.hooks:status",
        "Which Claude Code settings have our hooks.",
        examples=["claire hook status"],
        group=FLEET,
    ),
    Command(
        "hook uninstall",
        "claire.ui.cli.hooks:uninstall",
        "Take our hooks out of Claude Code's settings again, and nothing else.",
        DRY_RUN,
        examples=["claire hook uninstall"],
        group=FLEET,
    ),
    Command(
        "pull",
        "claire.ui.cli.fleet:pull",
        "Look at this host's sessions now and record what changed.",
        examples=["claire pull"],
        group=FLEET,
    ),
    Command(
        "send",
        "claire.ui.cli.sending:send",
        "Type a text into a session, when it is idle, once.",
        Argument("session", "Id or name of a session.", complete="session"),
        Argument("words", "The text, best after --.", rest=True),
        RAW,
        EXPIRE,
        WAIT,
        examples=["claire send 9d0c41aa -- please commit and stop", "claire send 9d0c41aa --raw -- /compact"],
        group=FLEET,
    ),
    Command(
        "broadcast",
        "claire.ui.cli.sending:broadcast",
        "Send a text to every session of a project or group.",
        Argument("target", "A project or a group.", complete="target"),
        Argument("words", "The text, best after --.", rest=True),
        Option("--yes -y", "Do it; without it only the targets are listed.", kind=bool),
        RAW,
        EXPIRE,
        WAIT,
        examples=[
            "claire broadcast api --yes -- please commit and stop",
            "claire broadcast backend -- hello",
        ],
        group=FLEET,
    ),
    Command(
        "prime",
        "claire.ui.cli.agents:prime",
        "What the session this runs in has to know of its task; nothing where it has none.",
        Option("--hook", "Run by a SessionStart hook: standard input names the session.", kind=bool),
        examples=["claire prime", "claire prime --hook < payload.json"],
        group=FLEET,
    ),
    Command(
        "mcp",
        "claire.ui.cli.agents:mcp",
        "Serve tools to the agent of a session over MCP: claude mcp add --scope user claire -- claire mcp",
        examples=["claire mcp"],
        group=FLEET,
    ),
]
