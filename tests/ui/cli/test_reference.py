"""The reference in docs/ is what the table says."""

from __future__ import annotations

from pathlib import Path

from claire.ui.cli.reference import markdown

ROOT = Path(__file__).resolve().parents[3]


def test_docs_commands_is_written_from_the_table() -> None:
    written = (ROOT / "docs" / "commands.md").read_text()
    assert written == markdown(), "run: python -m claire.ui.cli.reference > docs/commands.md"
