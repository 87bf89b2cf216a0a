"""What a row of the table of commands is made of, and the arguments and options that stand in several parts of it.

Plain classes: importing dataclasses or typing would cost every command more than its own work.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Argument:
    """A positional word. `rest` takes all that remain, as a list."""

    __slots__ = ("complete", "help", "name", "required", "rest")

    def __init__(self, name: str, help: str, *, required: bool = True, rest: bool = False, complete: str = "") -> None:
        self.name, self.help, self.required, self.rest, self.complete = name, help, required, rest, complete


class Option:
    """`--name VALUE`, or a flag when its kind is `bool`; `many` collects every occurrence.

    `name` is what the function calls it, where the flag is a word that Python keeps for itself.
    """

    __slots__ = ("choices", "complete", "default", "flags", "help", "kind", "many", "name")

    def __init__(
        self,
        flags: str,
        help: str,
        *,
        kind: type = str,
        default: object = None,
        choices: Sequence[str] = (),
        many: bool = False,
        complete: str = "",
        name: str = "",
    ) -> None:
        self.flags = tuple(flags.split())
        self.name = name or self.flags[0].lstrip("-").replace("-", "_")
        self.help, self.kind, self.choices, self.many, self.complete = help, kind, choices, many, complete
        self.default: object = False if kind is bool else [] if many else default


JSON = Option("--json", "Print data as JSON, notes on stderr.", kind=bool)


class Command:
    """One command: the words that call it, the function behind it, and what to say about it."""

    __slots__ = ("arguments", "examples", "function", "group", "help", "options", "path")

    def __init__(
        self,
        path: str,
        function: str,
        help: str,
        *params: Argument | Option,
        examples: Sequence[str],
        group: str,
    ) -> None:
        self.path = tuple(path.split())
        self.function, self.help, self.examples, self.group = function, help, examples, group
        self.arguments = [p for p in params if isinstance(p, Argument)]
        self.options = [*(p for p in params if isinstance(p, Option)), JSON]

    @property
    def name(self) -> str:
        return " ".join(self.path)


WORK, LOOK, FLEET, NODE = "Work", "Look", "Fleet", "This node and its peers"

PROJECT = Argument("project", "Name or id of a project.", complete="project")
TASK = Argument("task", "Id of a task, or the first characters of it.", complete="task")
OF_PROJECT = Option("--project -p", "Only this project.", complete="project")
HISTORY = Option("--history", "Every event that made it what it is.", kind=bool)
LIMIT = Option("--limit -n", "At most so many rows.", kind=int)
SINCE = Option("--since", "From then on: 2h, 7d, 9:00, yesterday, 2026-11-22.")
