"""Help, suggestions and usage errors: what Typer says, in Claire's form."""

from __future__ import annotations

import re

import pytest

from claire.ui.cli.app import ask_typer
from claire.ui.cli.commands import GROUPS, every
from claire.ui.cli.table import Command


@pytest.mark.parametrize("command", every(), ids=lambda c: c.name)
def test_help_begins_with_what_it_does_and_an_example(
    command: Command, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert ask_typer([*command.path, "--help"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == command.help
    assert out[2:4] == ["Examples:", f"  {command.examples[0]}"]


@pytest.mark.parametrize("group", GROUPS)
def test_a_bare_group_shows_its_commands(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask_typer([group]) == 0
    out = capsys.readouterr().out
    assert all(out.count(f"\n  {c.name}  ") == 1 for c in every() if c.path[0] == group)


@pytest.mark.parametrize("argv", [[], ["--help"]], ids=["bare", "--help"])
def test_the_first_page_names_every_command_and_fits_a_screen(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert ask_typer(argv) == 0
    out = capsys.readouterr().out
    alone = [c.name for c in every() if c.path[0] not in GROUPS]
    assert all(out.count(f"\n  {name}  ") == 1 for name in alone)
    for group in GROUPS:
        (line,) = re.findall(rf"^  {group}  +(.*(?:\n {{8,}}.*)*)", out, re.MULTILINE)
        assert re.split(r",\s+", line) == [c.path[1] for c in every() if c.path[0] == group]
    assert out.count("\n") < 80


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("tsk list", "error: no such command 'tsk'. did you mean 'task'? next: claire --help"),
        ("task ad", "error: no such command 'ad'. did you mean 'add'? next: claire task --help"),
        ("task list --jsn", "--json"),
        ("task list --status x", "'x' is not one of 'todo', 'in_progress', 'blocked', 'done'"),
        ("task list -n x", "'x' is not a whole number from 0 on. next: claire task list --help"),
        ("task list -n 9999999999", "is not a whole number"),
        ("task add", "missing argument 'PROJECT'"),
        ("task list extra", "unexpected extra argument"),
        ("task list --project", "requires an argument"),
    ],
)
def test_usage_errors_are_one_line_with_the_next_command(
    argv: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask_typer(argv.split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
