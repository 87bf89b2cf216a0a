"""Reading a captured pane of Claude Code: which state it shows, and what stands in the composer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from claire.fleet.state import State

RULE_CELLS_MIN = 10
_NBSP = "\u00a0"
PROMPT_GLYPH = "\N{HEAVY RIGHT-POINTING ANGLE QUOTATION MARK ORNAMENT}"
_GLYPHS = (PROMPT_GLYPH, ">", "!")
_FOOTER_ROWS = 4  # a dialog's last words stand this close to the last written row
_SPINNER = re.compile(r"[·✢✳✶✻✽*] \S+…")
_SHELLS = re.compile(r"· \d+ shells? ·|· \d+ shells? still running")
_LIMIT = re.compile(r"API Error: .*\b429\b|You've hit your .*limit|usage limit reached", re.IGNORECASE)
_PASTED = re.compile(r"\[Pasted text #\d+(?: \+\d+ lines)?\]")


@dataclass(frozen=True, slots=True)
class Composer:
    """The box at the bottom: its glyph, the draft in it, and the rows below it."""

    glyph: str
    draft: str
    below: tuple[str, ...]

    @property
    def empty(self) -> bool:
        return self.glyph != "!" and self.draft == ""

    def holds(self, text: str) -> bool:
        """This text and no other, however it was wrapped; long pastes show as a placeholder."""
        shown = f"!{self.draft}" if self.glyph == "!" else self.draft
        return _squeeze(shown) == _squeeze(text) or bool(_PASTED.fullmatch(self.draft))


def _squeeze(text: str) -> str:
    return re.sub(r"\s", "", text)


@dataclass(frozen=True, slots=True)
class Reading:
    """What one capture shows; `state` is None where it shows no state of Claude Code."""

    state: State | None
    composer: Composer | None = None
    what: str = ""


def read(text: str) -> Reading:
    rows = [row.replace(_NBSP, " ").rstrip() for row in text.split("\n")]
    while rows and not rows[-1]:
        rows.pop()
    footer = "\n".join(row for row in rows if row)[-400:]
    last = " \n".join([row for row in rows if row][-_FOOTER_ROWS:])
    if "Esc to cancel" in last:
        return _dialog(rows, last)
    if "Showing detailed transcript" in footer:
        return Reading(None, what="transcript view")
    found = _composer(rows)
    if found is None:
        return Reading(None)
    top, composer = found
    return _with_composer(rows[:top], composer)


def _dialog(rows: list[str], last: str) -> Reading:
    body = "\n".join(rows)
    if "Tab to amend" in last or "Do you want to" in last:
        return Reading(State.PERMISSION, what="permission prompt")
    if "Enter to select" in last:
        return Reading(State.QUESTION, what="question")
    trust = "trust this folder" in body or "Quick safety check" in body
    return Reading(State.DIALOG, what="trust dialog" if trust else "dialog")


def _composer(rows: list[str]) -> tuple[int, Composer] | None:
    """Index of the upper rule and the box, found from its lower rule upwards."""
    for lower in range(len(rows) - 1, 0, -1):
        if not _is_rule(rows[lower]):
            continue
        for upper in range(lower - 1, -1, -1):
            if _is_upper_rule(rows[upper]):
                box = rows[upper + 1 : lower]
                composer = _box(box, tuple(rows[lower + 1 :]))
                return (upper, composer) if composer else None
        return None
    return None


def _is_rule(row: str) -> bool:
    return len(row) >= RULE_CELLS_MIN and set(row) == {"─"}


def _is_upper_rule(row: str) -> bool:
    """The name of a session, where it has one, interrupts this one."""
    return row.startswith("───") and row.endswith("─")


def _box(box: list[str], below: tuple[str, ...]) -> Composer | None:
    if not box or box[0][:1] not in _GLYPHS or box[0][1:2] not in ("", " "):
        return None
    draft = "\n".join([box[0][2:], *(row.removeprefix("  ") for row in box[1:])])
    return Composer(box[0][0], draft.strip(), below)


def _with_composer(above: list[str], composer: Composer) -> Reading:
    below = "\n".join(composer.below)
    if "esc to interrupt" in below or any(_SPINNER.match(row) for row in above[-8:]):
        return Reading(State.WORKING, composer)
    if _SHELLS.search(below):
        return Reading(State.SHELL, composer)
    return Reading(_last_turn(above), composer)


def _last_turn(above: list[str]) -> State:
    """How the last turn ended: read from the last prompt down to the composer."""
    prompts = [index for index, row in enumerate(above) if row.startswith((f"{PROMPT_GLYPH} ", "> "))]
    turn = above[prompts[-1] + 1 :] if prompts else above
    if any("⎿  Interrupted ·" in row for row in turn):
        return State.INTERRUPTED
    said = [row for row in turn if row.startswith("●")][-1:]
    if said and _LIMIT.search(said[0]):
        return State.RATE_LIMITED
    if said and said[0].startswith("● API Error"):
        return State.ERROR
    return State.IDLE
