"""The board is drawn to the screen it has, and keys do what the help says; no terminal needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from claire.node import assignments, projects, sessions, tasks
from claire.node.node import Node
from claire.ui import text
from claire.ui.cli.board import KEYS, Board
from claire.ui.cli.context import View
from claire.ui.cli.status import gather

NOTHING = {"needs_you": [], "sessions": [], "blocked_tasks": [], "open_tasks": [], "offline": 0, "tally": {}}
SESSION = "9d0c41aa-0000-4000-8000-00000000000"


@pytest.fixture
def data(make_node: Callable[..., Node]) -> Any:
    """Three sessions, one of which waits, and three tasks, one of them held by it."""
    node = make_node("alpha")
    projects.create(node, "api")
    made = [tasks.add(node, "api", f"task {n}", "", n) for n in range(3)]
    states = ("permission", "working", "idle")
    seen = [
        sessions.Observation(session_uuid=f"{SESSION}{n}", host="web1", tmux_name=f"s{n}", state=state)
        for n, state in enumerate(states)
    ]
    sessions.observe(node, seen)
    assignments.assign(node, made[0]["id"], f"{SESSION}0")
    with node.reading() as db:
        found = gather(db, node.machine_id, node.now_ms(), None, None)
        found["open_tasks"] = [{**row, "project": "api"} for row in tasks.list_tasks(db)]
    return found


def board(data: Any) -> Board:
    made = Board()
    made.feed(data)
    return made


def view(width: int = 100) -> View:
    return View(width, False, False, 1_790_000_000_000)


def screen(shown: Board, width: int = 100, height: int = 24) -> str:
    return text.paint(shown.draw(view(width), height), False)


def press(shown: Board, *keys: str) -> Any:
    return [shown.key(key, view()) for key in keys][-1]


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("height", [5, 10, 24, 60])
def test_it_is_exactly_the_screen(data: Any, width: int, height: int) -> None:
    shown = board(data)
    for keys in ("", "j", "jjjjjj", "/", "?", "d"):
        press(shown, "g", *keys)
        lines = screen(shown, width, height).splitlines()
        assert len(lines) == height and max(map(text.cells, lines)) <= width


def test_who_needs_me_leads_and_the_cursor_starts_there(data: Any) -> None:
    lines = screen(board(data)).splitlines()
    assert lines[0] == "1 waiting · 1 working · 1 idle"
    assert lines[2] == "NEEDS YOU" and lines[3].startswith("▸  ◐ permission")


def test_the_cursor_stays_on_its_thing(data: Any) -> None:
    shown = board(data)
    press(shown, "j")
    assert shown.cursor == f"{SESSION}1"
    data["sessions"][1]["state"] = "idle"
    assert "▸  ○ idle" in screen(shown)
    press(shown, "G")
    assert shown.cursor == data["open_tasks"][-1]["id"]
    press(shown, "j", "k", "up", "g", "k")
    assert shown.cursor == f"{SESSION}0"


def test_it_scrolls_to_the_cursor(data: Any) -> None:
    shown = board(data)
    press(shown, "G")
    assert "▸" in screen(shown, height=8)


def test_filter(data: Any) -> None:
    shown = board(data)
    press(shown, "/", *"task 1")
    assert "/task 1" in screen(shown).splitlines()[-1]
    press(shown, "backspace", "2", "enter")
    assert [item.title for item in shown.items(view())] == ["task 2"]
    press(shown, "esc")
    assert len(shown.items(view())) == 6
    press(shown, "/", *"nobody", "enter")
    assert "nothing matches" in screen(shown) and press(shown, "o") is None


def test_done_asks_first(data: Any) -> None:
    shown = board(data)
    assert press(shown, "d") is None and "done: task 0? y/n" in screen(shown)
    assert press(shown, "n") is None
    assert press(shown, "d", "y") == ("done", data["open_tasks"][0]["id"])
    press(shown, "j")
    assert press(shown, "d") is None and "no task there" in screen(shown)


def test_open_copy_help_quit(data: Any) -> None:
    shown = board(data)
    assert press(shown, "y") == ("copy", "claire session show 9d0c41aa")
    assert press(shown, "enter") == ("open", f"session {SESSION}0")
    shown.open([[("the detail", "")], [("its end", "")]])
    assert "the detail" in screen(shown)
    press(shown, "j")
    assert "the detail" not in screen(shown) and "its end" in screen(shown)
    press(shown, "esc", "?")
    assert all(line in screen(shown) for line in KEYS)
    press(shown, "x")
    assert press(shown, "q") == ("quit", "")


def test_nothing_to_show() -> None:
    empty = board(NOTHING)
    assert "nothing to show" in screen(empty) and press(empty, "j", "d", "y", "o") is None


@given(keys=st.lists(st.sampled_from([*"jkgGdyno/?x1 ", "enter", "esc", "up", "down", "backspace", "pagedown"])))
@settings(max_examples=50, deadline=None)
def test_no_keys_break_it(keys: list[str]) -> None:
    row = {"id": "aaaa", "title": "t", "project": "p", "status": "todo", "priority": 1}
    shown = board({**NOTHING, "open_tasks": [row]})
    for key in keys:
        shown.key(key, view())
        assert len(screen(shown, 40, 8).splitlines()) == 8
