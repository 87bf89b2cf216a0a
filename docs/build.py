"""Writes the pages of docs/ that follow from the code; tests fail when they no longer do."""

from __future__ import annotations

import ast
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "claire"
MAP = DOCS / "architecture.md"
MAP_START = "| file | what lives there |\n|---|---|\n"


def first_sentence(path: Path) -> str:
    """What a file says of itself: the first sentence of its docstring, or of its opening comment."""
    if path.suffix == ".sql":
        text = path.read_text().split("\n\n")[0].replace("--", " ").split("\n")[0]
    else:
        text = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
    sentence = re.split(r"(?<=\.)\s", " ".join(text.split()) + " ")[0]
    return sentence.rstrip(".").replace("|", "\\|")


def map_of_the_house() -> str:
    """docs/architecture.md with its table renewed: a row for each file, in the order of the rooms."""
    files = {*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.sql")} - {*PACKAGE.rglob("__init__.py")}
    rooms = ("claire", "claire/node", "claire/sync", "claire/fleet", "claire/ui")

    def order(path: Path) -> tuple[int, str, str]:
        room = path.relative_to(DOCS.parent).parent.as_posix()
        return (rooms.index(room) if room in rooms else len(rooms), room, path.name)

    rows = [
        f"| `{path.relative_to(DOCS.parent).as_posix()}` | {first_sentence(path)} |\n"
        for path in sorted(files, key=order)
    ]
    before, _, _ = MAP.read_text().partition(MAP_START)
    return before + MAP_START + "".join(rows)


if __name__ == "__main__":
    MAP.write_text(map_of_the_house())
