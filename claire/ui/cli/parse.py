"""The fast parser: argv of a command it fully understands becomes that command and its values; pure.

Whatever it does not fully understand (a typo, `--help`, `-p3`, a value that looks like an option) is not an
error here but `None`: `app` asks Typer, which knows the rest. A test holds that both agree.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from claire.ui.cli.table import Command, Option

    Values = dict[str, Any]

INT_DIGITS_MAX = 9


def parse(argv: Sequence[str], commands: Sequence[Command]) -> tuple[Command, Values] | None:
    by_path = {command.path: command for command in commands}
    for words in (2, 1):
        command = by_path.get(tuple(argv[:words]))
        if command is not None:
            values = _values(command, argv[words:])
            return None if values is None else (command, values)
    return None


def _values(command: Command, words: Sequence[str]) -> Values | None:
    by_flag = {flag: option for option in command.options for flag in option.flags}
    values: Values = {o.name: [] if o.many else o.default for o in command.options}
    positional: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            positional.extend(rest)
        elif len(word) < 2 or word[0] != "-":
            positional.append(word)
        elif not _take(by_flag, word, rest, values):
            return None
    return _placed(command, positional, values)


def _take(by_flag: Mapping[str, Option], word: str, rest: Iterator[str], values: Values) -> bool:
    flag, equals, text = word.partition("=")
    option = by_flag.get(flag)
    if option is None or (equals and (option.kind is bool or not flag.startswith("--"))):
        return False
    if option.kind is bool:
        values[option.name] = True
        return True
    if not equals:
        text = next(rest, "--")
        if text.startswith("-") and text != "-":
            return False
    value = _converted(option, text)
    if value is None:
        return False
    if option.many:
        values[option.name].append(value)
    else:
        values[option.name] = value
    return True


def _converted(option: Option, text: str) -> object:
    if option.kind is int:
        return int(text) if text.isascii() and text.isdecimal() and len(text) <= INT_DIGITS_MAX else None
    return None if option.choices and text not in option.choices else text


def _placed(command: Command, words: list[str], values: Values) -> Values | None:
    for argument in command.arguments:
        if argument.rest:
            if argument.required and not words:
                return None
            values[argument.name], words = words, []
        elif words:
            values[argument.name], words = words[0], words[1:]
        elif argument.required:
            return None
        else:
            values[argument.name] = None
    return None if words else values
