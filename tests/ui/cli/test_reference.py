"""What the pages say about commands is what the table says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from claire.ui.cli.commands import of
from claire.ui.cli.parse import parse
from claire.ui.cli.reference import markdown

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CALL = re.compile(r"^(?:\w+\$\s+)?(claire .+?)(?:\s{2,}#.*| &\s*(?:#.*)?)?$", re.MULTILINE)


def test_docs_commands_is_written_from_the_table() -> None:
    written = (ROOT / "docs" / "commands.md").read_text()
    assert written == markdown(), "run: python -m claire.ui.cli.reference > docs/commands.md"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_call_in_the_pages_is_one_claire_understands(page: Path) -> None:
    blocks = re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    for call in (found for block in blocks for found in CALL.findall(block)):
        argv = shlex.split(re.split(r" [|<>] ", call)[0])[1:]
        assert argv[0].startswith("--") or parse(argv, of(argv[0])), f"{page.name}: {call}"
