"""Whole commands, start to finish, as a person waits for them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks import baselines
from benchmarks.data import Author, new_node
from benchmarks.timing import Bench, Result, against

GOALS = {1_000: 7.0, 10_000: 8.0}
RUNS = 20


def claire() -> list[str]:
    """The command as it ships where it is installed, otherwise the module."""
    script = Path(sys.executable).with_name("claire")
    return [str(script)] if script.exists() else [sys.executable, "-m", "claire"]


def run(bench: Bench, folder: Path) -> Iterator[Result]:
    for size, goal in GOALS.items():
        with new_node(folder / f"tasks-{size}") as node:
            author = Author(node)
            projects = [author.next()]
            node.receive(projects + [author.new_task() for _ in range(size)])
            task = author.tasks[size // 2][0]
        env = {**os.environ, "CLAIRE_HOME": str(folder / f"tasks-{size}"), "PYTHONDONTWRITEBYTECODE": ""}
        for words in (
            ["task", "add", author.projects[0], "fix the login"],
            ["task", "show", task],
            ["task", "list"],
            ["status"],
        ):
            ours, base = baselines.beside_bare_python([*claire(), *words], RUNS, env)
            yield against(f"`claire {' '.join(words[:2])}`", f"{size:,} tasks", ours, "python -c pass", base, goal)
    if taskwarrior := shutil.which("task"):
        yield from beside_taskwarrior(taskwarrior, folder)


def beside_taskwarrior(task: str, folder: Path) -> Iterator[Result]:
    """Its list at 10,000 tasks, where it is installed: what people compare with."""
    home = folder / "taskwarrior"
    home.mkdir()
    rc = home / "taskrc"
    rc.write_text(f"data.location={home}\nconfirmation=no\nverbose=nothing\n")
    lines = [f'{{"description":"Make step {n} of the migration idempotent"}}' for n in range(10_000)]
    (home / "import.json").write_text("\n".join(lines))
    env = {**os.environ, "TASKRC": str(rc)}
    baselines.run_command([task, "import", str(home / "import.json")], 0, env)
    theirs = baselines.run_command([task, "list"], 3, env)
    env = {**os.environ, "CLAIRE_HOME": str(folder / "tasks-10000")}
    ours = baselines.run_command([*claire(), "task", "list"], RUNS, env)
    yield against("`claire task list`", "10,000 tasks", ours, "taskwarrior's list", theirs, 1)
