"""Errors become one line and an exit code, output goes where it belongs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from claire.node import errors
from claire.ui.cli import commands, context, run
from claire.ui.cli.context import Context, Result, View
from claire.ui.cli.table import Command

BEHAVIOUR: dict[str, Callable[..., Result]] = {}


def act(ctx: Context) -> Result:
    return BEHAVIOUR["now"](ctx)


@pytest.fixture
def claire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Run `claire act`, a command that behaves as told."""
    row = Command("act", f"{__name__}:act", "Act.", examples=["claire act"], group="Test")
    monkeypatch.setattr(commands, "of", {"act": [row]}.get)
    monkeypatch.setitem(sys.modules, __name__, sys.modules[__name__])
    monkeypatch.delenv("COLUMNS", raising=False)  # whoever runs the tests may say how wide

    def call(behaviour: Callable[..., Result], *argv: str) -> int:
        BEHAVIOUR["now"] = behaviour
        return run.run(["act", *argv], ModuleType)

    yield call
    BEHAVIOUR.clear()


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def raising(error: BaseException) -> Callable[..., Result]:
    def behave(_: Context) -> Result:
        raise error

    return behave


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (errors.ClaireError("it broke", "claire doctor"), 1, "error: it broke. next: claire doctor\n"),
        (errors.UsageError("priority 7 is not 0 to 4"), 2, "error: priority 7 is not 0 to 4.\n"),
        (
            errors.NotFound("no task 'x'", "claire task list"),
            3,
            "error: no task 'x'. next: claire task list\n",
        ),
        (
            errors.Ambiguous("'ab' fits 2 tasks", ["ab12 one", "ab34 \x1b[2Jtwo"]),
            3,
            "error: 'ab' fits 2 tasks. next: use more characters of the id\n  ab12 one\n  ab34 \\x1b[2Jtwo\n",
        ),
        (errors.Partial("web1 is unknown"), 4, "error: web1 is unknown.\n"),
        (errors.Refused("no"), 5, "error: no.\n"),
        (errors.Unverified("maybe"), 6, "error: maybe.\n"),
        (
            PermissionError(13, "Permission denied", "/x/claire.db"),
            1,
            "error: Permission denied: /x/claire.db.",
        ),
        (KeyboardInterrupt(), 130, ""),
        (caused(RuntimeError("Error calling __set_name__"), KeyboardInterrupt()), 130, ""),
    ],
)
def test_an_error_is_one_line_and_a_code(
    error: BaseException,
    code: int,
    said: str,
    claire: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert claire(raising(error)) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(said)


def test_json_is_an_envelope_on_stdout_and_notes_are_on_stderr(
    claire: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"id": "a", "title": "\x1b[31m\x9b \u202e 🎉 \x7f"}]
    assert claire(lambda _: Result(rows, ["drawn"], notes=["a note\x07"]), "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"schema_version": 1, "data": rows}
    assert captured.out.removesuffix("\n").isprintable()
    assert captured.err == "a note\\x07\n"


def test_text_is_drawn_for_the_view(claire: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    def show(view: View) -> list[Any]:
        return [[("title \x1b]52;c;", "bold")], f"{view.width} {view.colour}"]

    assert claire(lambda _: Result([], show, code=4)) == 4
    assert capsys.readouterr().out == "title \\x1b]52;c;\nNone False\n"


@pytest.mark.parametrize(
    ("env", "colour"),
    [
        ({}, False),
        ({"CLICOLOR_FORCE": "1"}, True),
        ({"CLICOLOR_FORCE": "0"}, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": ""}, True),
    ],
)
def test_colour(env: dict[str, str], colour: bool) -> None:
    assert context.colour_wanted(env) is colour


@pytest.mark.parametrize(("told", "width"), [("", None), ("60", 60), ("3", 20), ("999", 200), ("x", None)])
def test_width(told: str, width: int | None) -> None:
    assert context.columns({"COLUMNS": told}) == width


def start(*argv: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    inherited = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "VIRTUAL_ENV")}
    command = [sys.executable, "-m", "claire", *argv]
    return subprocess.run(command, env=inherited | env, capture_output=True, timeout=180)


def test_an_argument_that_is_not_utf8_is_a_usage_error() -> None:
    done = start("task", "add", "api", os.fsdecode(b"caf\xe9"), PYTHONUTF8="1")
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"error: an argument is not valid UTF-8")


def test_c2_a_locale_that_cannot_say_it_gets_it_spelt() -> None:
    done = start("--version", PYTHONIOENCODING="ascii")
    assert done.returncode == 0 and done.stdout.startswith(b"claire ")


def test_commands_say_nothing_of_bugs_but_bugs_are_not_hidden(claire: Callable[..., int]) -> None:
    with pytest.raises(ZeroDivisionError):
        claire(raising(ZeroDivisionError()))
