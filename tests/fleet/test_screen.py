"""What a captured pane shows, for every capture of the real program."""

from __future__ import annotations

import pytest

from claire.fleet import screen
from claire.fleet.screen import PROMPT_GLYPH
from claire.fleet.state import State
from tests.fleet.kit import CAPTURES, FakeHost, needs_kit

EXPECTED = {
    "ask": State.QUESTION,
    "bashmode": State.RATE_LIMITED,
    "bgshell": State.SHELL,
    "busy": State.WORKING,
    "busy_queued": State.WORKING,
    "helpoverlay": State.RATE_LIMITED,
    "idle": State.IDLE,
    "interrupted": State.INTERRUPTED,
    "model_picker": State.DIALOG,
    "named_statusline": State.IDLE,
    "perm_bash": State.PERMISSION,
    "perm_write": State.PERMISSION,
    "ratelimit": State.RATE_LIMITED,
    "slashmenu": State.RATE_LIMITED,
    "transcript_view": None,
    "trust": State.DIALOG,
}
COMPOSERS = {"idle": "", "named_statusline": "", "bgshell": "", "slashmenu": "/", "busy": ""}


def capture(name: str) -> str:
    return (CAPTURES / "screens" / f"{name}.txt").read_text(encoding="utf-8")


@needs_kit
def test_every_capture_is_listed() -> None:
    assert {path.stem for path in (CAPTURES / "screens").glob("*.txt")} == set(EXPECTED)


@needs_kit
@pytest.mark.parametrize("name", EXPECTED)
def test_captures(name: str) -> None:
    reading = screen.read(capture(name))
    assert reading.state == EXPECTED[name]
    if name in COMPOSERS:
        assert reading.composer and reading.composer.draft == COMPOSERS[name]


@needs_kit
@pytest.mark.parametrize("name", ["ask", "model_picker", "perm_bash", "perm_write", "transcript_view", "trust"])
def test_no_composer_where_enter_means_something_else(name: str) -> None:
    assert screen.read(capture(name)).composer is None


@needs_kit
def test_shell_mode_is_not_an_empty_composer() -> None:
    composer = screen.read(capture("bashmode")).composer
    assert composer and composer.glyph == "!" and not composer.empty


def test_a_shell_or_an_empty_screen_shows_no_state() -> None:
    assert screen.read("user@host:~$ ") == screen.Reading(None)
    assert screen.read("") == screen.Reading(None)


def test_a_wrapped_draft_is_recognised() -> None:
    rule = "─" * 20
    reading = screen.read(f"{rule}\n{PROMPT_GLYPH}\u00a0one two three fou\n  r five\n{rule}\n  footer")
    assert reading.composer and reading.composer.holds("one two three four five")
    assert not reading.composer.holds("one two")


def test_a_collapsed_paste_stands_for_its_text() -> None:
    rule = "─" * 20
    reading = screen.read(f"{rule}\n{PROMPT_GLYPH}\u00a0[Pasted text #2 +3 lines]\n{rule}")
    assert reading.composer and reading.composer.holds("a\nb\nc\nd")


def test_old_versions_show_another_glyph(host: FakeHost) -> None:
    pane = host.start_idle(FAKE_OLD="1")
    reading = screen.read(pane.screen())
    assert reading.state is State.IDLE
    assert reading.composer and reading.composer.empty


def test_the_fake_in_every_mode(host: FakeHost) -> None:
    pane = host.start_idle(FAKE_STATUSLINE_LINES="3")
    for prompt, text, state in [
        ("SLOW hello", "Pollinating", State.WORKING),
        ("RUNBASH", "Tab to amend", State.PERMISSION),
        ("ASKME", "Enter to select", State.QUESTION),
        ("/model", "Enter to save", State.DIALOG),
    ]:
        pane.submit(prompt)
        pane.wait_screen(text)
        assert screen.read(pane.screen()).state is state
        pane.keys("Escape")
        pane.wait_status("idle")
        pane.wait_screen("status line 1")
    pane.submit("RATELIMIT")
    pane.wait_screen("● API Error")
    pane.wait_status("idle")
    pane.wait_screen("status line 1")
    assert screen.read(pane.screen()).state is State.RATE_LIMITED
