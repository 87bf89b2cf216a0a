"""What a page or an action is asked, and what an action answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs

from claire.node.errors import UsageError

FIELDS_MAX = 2_000


@dataclass(frozen=True)
class Ask:
    """One request, reduced to what pages and actions may look at."""

    now_ms: int
    machine_id: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, list[str]] = field(default_factory=dict)

    def one(self, name: str, default: str | None = None) -> str:
        """A field of the form; UsageError if it is missing and has no default."""
        values = self.form.get(name, [])
        if values:
            return values[0]
        if default is None:
            raise UsageError(f"the field {name!r} is missing", "reload the page and try again")
        return default

    def many(self, name: str) -> list[str]:
        return list(self.form.get(name, []))


@dataclass(frozen=True)
class Done:
    """What became of an action: words for the person, and where to go if not to stay."""

    said: str = ""
    go: str = ""


@dataclass(frozen=True)
class Shown:
    """An answer that is a piece of a page."""

    template: str
    context: Mapping[str, object]


def read_form(body: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict")
    except ValueError as error:
        raise UsageError("the form could not be read", "reload the page and try again") from error
