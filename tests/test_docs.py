"""Every `claire` command that the docs show in a shell block is one the parser knows."""

import re
import shlex
from pathlib import Path

import pytest

from claire.ui.cli.commands import of
from claire.ui.cli.parse import parse

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"```(?:sh|bash|)\n(.*?)```", re.DOTALL)
CALL = re.compile(r"^(?:\w+\$ +)?claire +([^\n]*)", re.MULTILINE)


def calls(page: Path) -> list[str]:
    return [call for block in BLOCK.findall(page.read_text()) for call in CALL.findall(block)]


@pytest.mark.parametrize("page", [page for page in PAGES if calls(page)], ids=lambda page: page.name)
def test_the_commands_of_a_page_exist(page: Path) -> None:
    for call in calls(page):
        words = shlex.split(re.split(r"[|>;&]|<(?![a-z]+>)", call)[0], comments=True)
        if words not in (["--version"], ["--help"]) and "--help" not in words:
            assert parse(words, of(words[0])) is not None, call
