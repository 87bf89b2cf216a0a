"""What counts as a receipt: this text, in this session, since it was typed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from claire.fleet import receipts
from tests.fleet.kit import FakeHost, wait_for

UUID = "11111111-2222-3333-4444-555555555555"
LONG = "[claire:0] " + "word " * 300
WRITTEN = [
    {"display": "[claire:0] hello"},
    {"display": "[Pasted text #1]", "pastedContents": {"1": {"id": 1, "content": LONG}}},
    {"display": "[Pasted text #3 +9 lines]", "pastedContents": {"3": {"id": 3, "content": LONG}}},
]


@pytest.mark.parametrize("row", WRITTEN)
def test_receipts_in_the_history(tmp_path: Path, row: dict[str, Any]) -> None:
    """As the real 2.1.330 writes them."""
    (tmp_path / "history.jsonl").write_text(json.dumps({**row, "timestamp": 1_000_000, "sessionId": UUID}) + "\n")
    text = "[claire:0] hello" if row["display"][1] == "c" else LONG
    assert receipts.submitted([tmp_path], UUID, text, 1_000_000)
    assert not receipts.submitted([tmp_path], UUID, "[claire:1] hello", 1_000_000)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"display":3,"timestamp":2000000}',
        '{"display":"[Pasted text #1]","pastedContents":[],"timestamp":2000000}',
    ],
)
def test_odd_histories_are_no_receipt(tmp_path: Path, line: str) -> None:
    (tmp_path / "history.jsonl").write_text(line.replace("{", f'{{"sessionId":"{UUID}",', 1) + "\n")
    assert not receipts.submitted([tmp_path], UUID, "[claire:0] hello", 1_000_000)


def test_receipts_in_the_transcript(tmp_path: Path) -> None:
    """A long paste stands between tags there."""
    words = f'\n\n<pasted_content id="61b2">\n{LONG}\n</pasted_content id="61b2">\n'
    record = {"type": "user", "timestamp": "2026-11-22T10:00:00Z", "message": {"role": "user", "content": words}}
    (tmp_path / "projects" / "p").mkdir(parents=True)
    (tmp_path / "projects" / "p" / f"{UUID}.jsonl").write_text(json.dumps(record) + "\n")
    assert receipts.submitted([tmp_path], UUID, LONG, 1_795_341_600_000)
    assert not receipts.submitted([tmp_path], UUID, LONG, 1_795_341_700_000)


def test_what_was_submitted_long_ago_is_no_receipt(host: FakeHost) -> None:
    pane = host.start_idle()
    pane.submit("[claire:0] hello")
    wait_for(lambda: host.history(), "history")
    sent_ms = host.history()[0]["timestamp"]
    assert receipts.submitted([host.config], pane.session_id, "[claire:0] hello", sent_ms)
    assert not receipts.submitted([host.config], pane.session_id, "[claire:0] hello", sent_ms + 60_000)
    assert not receipts.submitted([host.config], UUID, "[claire:0] hello", sent_ms)
    assert not receipts.submitted([host.config], pane.session_id, "[claire:0]", sent_ms)
