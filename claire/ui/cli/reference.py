"""docs/commands.md, written from the table: `python -m claire.ui.cli.reference > docs/commands.md`; pure."""

from __future__ import annotations

from collections.abc import Iterator

from claire.ui.cli.commands import every
from claire.ui.cli.table import Argument, Command, Option

INTRO = """\
# Commands

Written from the table of commands by `python -m claire.ui.cli.reference`; a test checks that it still is.

Every command has `--help`, and `--json`: `{"schema_version":1,"data":...}` on standard output, notes on
standard error. Wherever an id is asked for, its first characters will do (four or more, and unique), and so
will a name that is unique. Options may stand before or after arguments; `--` ends them. `NO_COLOR`,
`CLICOLOR`, `CLICOLOR_FORCE` and `COLUMNS` are respected; output into a pipe is never cut.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | an error: the line says the cause and the next command |
| 2 | usage: no such command, option or value |
| 3 | no such thing, or several: the candidates are listed |
| 4 | partly: some hosts are unknown |
| 5 | refused |
| 6 | text was typed and nobody can say whether it arrived |
| 130 | interrupted with Ctrl-C |
| 141 | whoever read the output went away |
"""


def markdown() -> str:
    parts, commands = [INTRO], every()
    for group in dict.fromkeys(command.group for command in commands):
        parts.append(f"## {group}\n")
        parts += ["\n".join(_section(c)) + "\n" for c in commands if c.group == group]
    return "\n".join(parts)


def _section(command: Command) -> Iterator[str]:
    yield f"### `claire {command.name}`\n"
    yield f"{command.help}\n"
    yield from ("```sh", *command.examples, "```\n")
    yield from ("| argument or option | |", "|---|---|")
    for argument in command.arguments:
        yield f"| {_argument(argument)} | {argument.help} |"
    for option in command.options:
        yield f"| {_option(option)} | {option.help} |"


def _argument(argument: Argument) -> str:
    name = argument.name.upper() + ("..." if argument.rest else "")
    return f"`{name}`" if argument.required else f"`[{name}]`"


def _option(option: Option) -> str:
    if option.kind is bool:
        value = ""
    elif option.choices:
        value = " " + "\\|".join(option.choices)
    else:
        value = " N" if option.kind is int else " TEXT"
    return ", ".join(f"`{flag}{value}`" for flag in option.flags)


if __name__ == "__main__":
    print(markdown(), end="")
