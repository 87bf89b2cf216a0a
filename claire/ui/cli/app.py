"""Typer, generated from the table: `--help`, completion, and words for what the fast parser leaves alone."""

from __future__ import annotations

import inspect
import io
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from typing import Annotated, Any, Literal

import typer
from typer._click import Command as ClickCommand
from typer._click import Context as ClickContext
from typer._click import HelpFormatter
from typer._click.exceptions import ClickException
from typer.core import TyperCommand, TyperGroup

from claire.ui.cli.commands import GROUPS, every, of
from claire.ui.cli.context import write
from claire.ui.cli.parse import INT_DIGITS_MAX
from claire.ui.cli.table import Argument, Command, Option

PROGRAM = "claire"
HELP = {"help_option_names": ["--help", "-h"], "max_content_width": 100}


def ask_typer(argv: Sequence[str]) -> tuple[Command, dict[str, Any]] | int:
    """The command and its values, or the exit code of what Typer already answered."""
    from claire.ui.cli.run import complain

    bare_group = not argv or (len(argv) == 1 and argv[0] in GROUPS)
    args = [*argv, "--help"] if bare_group else _joined(argv)
    said = io.StringIO()
    try:
        with redirect_stdout(said):
            answer = app()(args=args, prog_name=PROGRAM, complete_var="_CLAIRE_COMPLETE", standalone_mode=False)
    except ClickException as error:
        return complain(_cause(error), _next(error), error.exit_code)
    finally:
        write(said.getvalue())  # the one way to stdout knows what to do when nobody reads it
    return answer if isinstance(answer, tuple) else int(answer or 0)


def _joined(argv: Sequence[str]) -> list[str]:
    """`sync status` is one word to Typer: its first word is a command too, and not a group."""
    path = tuple(argv[:2])
    alone = path[0] not in GROUPS and any(command.path == path for command in of(path[0]))
    return [" ".join(path), *argv[2:]] if alone and len(path) > 1 else list(argv)


def _cause(error: ClickException) -> str:
    message = error.format_message().replace("\n", " ").replace("Did you", "did you").strip()
    message = re.sub(r"\(Possible options: (.*)\)$", r"(did you mean \1?)", message)
    return message[:1].lower() + message[1:]


def _next(error: ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else PROGRAM} --help"


class Help(TyperCommand):
    """Examples first: most people came for one."""

    def format_help(self, ctx: ClickContext, formatter: HelpFormatter) -> None:
        path = tuple(ctx.command_path.split()[1:])
        command = next(command for command in of(path[0]) if command.path == path)
        formatter.write_text(command.help)
        with formatter.section("Examples"):
            for example in command.examples:
                formatter.write_text(example)
        formatter.write_paragraph()
        formatter.write_usage(ctx.command_path, usage(command))
        self.format_options(ctx, formatter)


def usage(command: Command) -> str:
    words = [a.name.upper() + ("..." if a.rest else "") for a in command.arguments]
    marked = [w if a.required else f"[{w}]" for w, a in zip(words, command.arguments, strict=True)]
    return " ".join(["[OPTIONS]", *marked])


class Groups(TyperGroup):
    """The commands of a group; on top, all of them, by what they are for."""

    def format_help(self, ctx: ClickContext, formatter: HelpFormatter) -> None:
        formatter.write_text(self.help or "")
        if ctx.parent is None:
            with formatter.section("Start"):
                formatter.write_dl(START)
        self.format_commands(ctx, formatter)
        formatter.write_paragraph()
        formatter.write_usage(ctx.command_path, "COMMAND [OPTIONS] [ARGUMENTS]")
        with formatter.section("Options"):
            formatter.write_dl([told for p in self.get_params(ctx) if (told := p.get_help_record(ctx))])

    def format_commands(self, ctx: ClickContext, formatter: HelpFormatter) -> None:
        words = tuple(ctx.command_path.split()[1:])
        shown = of(words[0]) if words else every()
        for group in dict.fromkeys(c.group for c in shown):
            with formatter.section(group):
                formatter.write_dl(told([c for c in shown if c.group == group], folded=not words))


def told(commands: Sequence[Command], *, folded: bool) -> list[tuple[str, str]]:
    """A line for each command; folded, one for each noun with what can be done to it: all of it on one screen."""
    lines: dict[str, str] = {}
    for command in commands:
        noun = command.path[0]
        if folded and noun in GROUPS:
            lines[noun] = f"{lines[noun]}, {command.path[1]}" if noun in lines else command.path[1]
        else:
            lines[command.name] = command.help
    return list(lines.items())


START = [
    ("claire demo", "See it work: three nodes on this host, nothing left behind."),
    ("claire init", "Make this host a node."),
    ("claire pull", "Find the Claude Code sessions that run here."),
    ("claire status", "See who needs you."),
    ("claire COMMAND --help", "Examples first; `claire task` lists what can be done to tasks."),
]


@cache
def app() -> ClickCommand:
    root = _typer("Claire keeps track of what a fleet of Claude Code sessions is working on.", completion=True)
    root.callback()(_version)
    groups = {name: _typer(help) for name, help in GROUPS.items()}
    for command in every():
        parent = groups.get(command.path[0], root) if len(command.path) > 1 else root
        name = command.path[-1] if parent is not root else command.name
        parent.command(name, cls=Help, help=command.help, context_settings=dict(HELP))(_callback(command))
    for name, group in groups.items():
        root.add_typer(group, name=name)
    return typer.main.get_command(root)


def _typer(help: str, completion: bool = False) -> typer.Typer:
    return typer.Typer(
        cls=Groups,
        help=help,
        add_completion=completion,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings=dict(HELP),
    )


def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version.", is_eager=True)] = False,
) -> None:
    if version:
        from claire.ui.cli.run import version as say

        raise typer.Exit(say())


def _callback(command: Command) -> Any:
    """A function with the signature Typer reads; it hands back what was parsed instead of running it."""

    def parsed(**values: Any) -> tuple[Command, dict[str, Any]]:
        for name in lists:
            values[name] = list(values[name] or ())
        return command, values

    lists = [a.name for a in command.arguments if a.rest] + [o.name for o in command.options if o.many]
    params = [*map(_parameter, command.arguments), *map(_parameter, command.options)]
    parsed.__signature__ = inspect.Signature(params)  # type: ignore[attr-defined]
    parsed.__annotations__ = {p.name: p.annotation for p in params}
    return parsed


def _parameter(param: Argument | Option) -> inspect.Parameter:
    annotation, default = _argument(param) if isinstance(param, Argument) else _option(param)
    return inspect.Parameter(param.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _argument(argument: Argument) -> tuple[Any, Any]:
    info = typer.Argument(help=argument.help, metavar=argument.name.upper(), autocompletion=_completer(argument))
    kind: Any = list[str] if argument.rest else str
    if argument.required:
        return Annotated[kind, info], inspect.Parameter.empty
    return Annotated[kind | None, info], None


def _option(option: Option) -> tuple[Any, Any]:
    kind: Any = Literal[tuple(option.choices)] if option.choices else option.kind
    if option.kind is bool:
        return Annotated[bool, typer.Option(*option.flags, help=option.help)], False
    shown: Any = {} if option.choices else {"metavar": (option.complete or "text").upper()}
    if option.kind is int:
        shown = {"parser": _number, "metavar": "N"}
    info = typer.Option(*option.flags, help=option.help, autocompletion=_completer(option), **shown)
    if option.many:
        return Annotated[list[kind], info], []
    return Annotated[kind | None, info], option.default


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= INT_DIGITS_MAX):
        raise typer.BadParameter(f"{text!r} is not a whole number from 0 on.")
    return int(text)


def _completer(param: Argument | Option) -> Any:
    if not param.complete:
        return None

    def complete(incomplete: str) -> list[tuple[str, str]]:
        from claire.ui.cli.complete import names

        found: list[tuple[str, str]] = names(param.complete, incomplete)
        return found

    return complete
