"""Both parsers, made from one table, say the same."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claire.ui.cli import app
from claire.ui.cli.commands import every, of
from claire.ui.cli.parse import parse
from claire.ui.cli.table import Argument, Command, Option

WORDS = st.one_of(
    st.sampled_from(["", "-", "a b", "0", "x=y", "--", "ü", "\x1b[31m", "task"]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
).filter(lambda word: not word.startswith("-") or word == "-")


def typer_says(argv: list[str]) -> Any:
    answer = app.ask_typer(argv)
    return answer if isinstance(answer, int) else (answer[0].name, answer[1])


def fast_says(argv: list[str]) -> Any:
    answer = parse(argv, of(argv[0]) if argv else ())
    return answer and (answer[0].name, answer[1])


def option_words(draw: st.DrawFn, option: Option) -> list[str]:
    flag = draw(st.sampled_from(option.flags))
    if option.kind is bool:
        return [flag]
    if option.kind is int:
        value = str(draw(st.integers(0, 999_999_999)))
    else:
        value = draw(st.sampled_from(option.choices) if option.choices else WORDS)
    return [f"{flag}={value}"] if flag.startswith("--") and draw(st.booleans()) else [flag, value]


def argument_words(draw: st.DrawFn, argument: Argument) -> list[list[str]]:
    least = 1 if argument.required else 0
    return [[w] for w in draw(st.lists(WORDS, min_size=least, max_size=3 if argument.rest else 1))]


@st.composite
def valid_argv(draw: st.DrawFn) -> list[str]:
    """Path, then arguments in order with options strewn between them."""
    command = draw(st.sampled_from(every()))
    pieces: list[list[str]] = []
    for argument in command.arguments:
        pieces += argument_words(draw, argument)
    dashes = draw(st.booleans())
    options = draw(st.lists(st.sampled_from(command.options), max_size=4))
    places = [draw(st.integers(0, len(pieces))) for _ in options]
    tail_at = max([0, *places]) if dashes else len(pieces)
    tail = [w for piece in pieces[tail_at:] for w in piece]
    head = pieces[:tail_at]
    for option, place in sorted(zip(options, places, strict=True), key=lambda pair: -pair[1]):
        head.insert(place, option_words(draw, option))
    return [*command.path, *(w for piece in head for w in piece), *(["--"] if dashes else []), *tail]


@given(valid_argv())
@settings(max_examples=400, deadline=None)
def test_both_parsers_give_the_same_values_for_every_valid_argv(argv: list[str]) -> None:
    fast = fast_says(argv)
    assert fast is not None
    assert fast == typer_says(argv)


ANY_WORD = st.one_of(
    WORDS,
    st.sampled_from([f for c in every() for o in c.options for f in o.flags]),
    st.sampled_from([w for c in every() for w in c.path]),
    st.sampled_from(["--", "-h", "--limit=3", "-n3", "--status=done", "--json=1", "-aq", "--prio", "-1"]),
)


@given(st.sampled_from(every()), st.lists(ANY_WORD, max_size=5))
@settings(max_examples=400, deadline=None)
def test_what_the_fast_parser_understands_typer_understands_alike(command: Command, words: list[str]) -> None:
    argv = [*command.path, *words]
    fast = fast_says(argv)
    if fast is not None:
        assert fast == typer_says(argv)


@pytest.mark.parametrize("command", every(), ids=lambda c: c.name)
def test_every_example_is_understood(command: Command) -> None:
    for example in command.examples:
        program, *argv = shlex.split(example.partition(" < ")[0])
        assert program == "claire"
        parsed = parse(argv, of(argv[0]) if argv else ())
        assert parsed is not None and parsed[0] is command, example


@pytest.mark.parametrize("command", every(), ids=lambda c: c.name)
def test_the_table_is_sound(command: Command) -> None:
    names = [p.name for p in (*command.arguments, *command.options)]
    flags = [f for o in command.options for f in o.flags]
    assert len(set(names)) == len(names) and len(set(flags)) == len(flags)
    assert command.examples, "help begins with an example"
    assert not any(a.rest for a in command.arguments[:-1]), "what takes the rest comes last"
    required = [a.required for a in command.arguments]
    assert required == sorted(required, reverse=True), "what may be left out comes last"
