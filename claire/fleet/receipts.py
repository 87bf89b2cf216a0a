"""Receipts: whether Claude's own files say that a text was submitted."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from claire.fleet import transcript

HISTORY_BYTES = 262_144
CLOCK_SLACK_MS = 1_000
_PLACEHOLDER = re.compile(r"\[Pasted text #(\d+)(?: \+\d+ lines)?\]")
_PASTE_TAG = re.compile(r"</?pasted_content(?: id=\"\w+\")?>")  # around a long paste in the transcript


def submitted(homes: list[Path], session_id: str, text: str, since_ms: int) -> bool:
    """Claude itself says so: in its history of prompts, or in the session's transcript."""
    wanted = _squeeze(text)
    for home in homes:
        for line in _tail(home / "history.jsonl"):
            if _is_submission(line, session_id, wanted, since_ms - CLOCK_SLACK_MS):
                return True
    path = transcript.find(homes, session_id)
    if path is None:
        return False
    records = transcript.parse(_tail(path))
    return any(_is_prompt(record, wanted, since_ms - CLOCK_SLACK_MS) for record in records)


def _squeeze(text: str) -> str:
    return re.sub(r"\s", "", text)


def _tail(path: Path) -> list[bytes]:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            start = max(0, size - HISTORY_BYTES)
            file.seek(start)
            return transcript.whole_lines(file.read(), at_start=start == 0)
    except OSError:
        return []


def _is_submission(line: bytes, session_id: str, wanted: str, since_ms: int) -> bool:
    try:
        row = json.loads(line)
    except ValueError:
        return False
    if not isinstance(row, dict) or row.get("sessionId") != session_id:
        return False
    stamp = row.get("timestamp")
    return isinstance(stamp, int) and stamp >= since_ms and _squeeze(_whole(row)) == wanted


def _whole(row: dict[str, Any]) -> str:
    """What was submitted, with long pastes in the place of their placeholders."""
    shown, pastes = row.get("display"), row.get("pastedContents")

    def paste(found: re.Match[str]) -> str:
        one = pastes.get(found.group(1)) if isinstance(pastes, dict) else None
        text = one.get("content") if isinstance(one, dict) else None
        return text if isinstance(text, str) else found.group()

    return _PLACEHOLDER.sub(paste, shown) if isinstance(shown, str) else ""


def _is_prompt(record: dict[str, Any], wanted: str, since_ms: int) -> bool:
    prompt = _PASTE_TAG.sub("", transcript.prompt(record))
    return bool(prompt) and _squeeze(prompt) == wanted and transcript.when_ms(record) >= since_ms
