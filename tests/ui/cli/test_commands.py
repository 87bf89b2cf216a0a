"""What a command loads, and that every row of the table has its function."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from claire.ui.cli.commands import PARTS, every
from claire.ui.cli.run import load
from claire.ui.cli.table import Command

NEVER = {
    "typer", "asyncio", "httpx", "starlette", "hypercorn", "zeroconf", "jinja2", "tenacity", "rich", "argparse",
    "dataclasses", "pathlib", "logging", "subprocess", "ssl", "socket", "json", "shutil", "tempfile", "urllib",
    "typing_extensions",
}  # fmt: skip
LOADED = """
import sys
from claire.main import main
try:
    main()
finally:
    print(*sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


@pytest.mark.parametrize("command", every(), ids=lambda c: c.name)
def test_the_function_takes_what_the_table_says(command: Command) -> None:
    _, *parameters = inspect.signature(load(command)).parameters
    said = [a.name for a in command.arguments] + [o.name for o in command.options if o.name != "json"]
    assert sorted(parameters) == sorted(said)


def test_every_row_is_found_by_its_first_word() -> None:
    words = [word for of_part in PARTS.values() for word in of_part]
    assert sorted(words) == sorted({command.path[0] for command in every()}), "each in one part"
    for part, of_part in PARTS.items():
        rows = import_module(f"claire.ui.cli.commands.{part}").COMMANDS
        assert {row.path[0] for row in rows} == set(of_part), part


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    env = {"PATH": os.environ["PATH"], "CLAIRE_HOME": str(tmp_path_factory.mktemp("home"))}
    for argv in (["init"], ["project", "new", "api"], ["task", "add", "api", "fix", "it"]):
        subprocess.run([sys.executable, "-m", "claire", *argv], env=env, check=True, cwd=ROOT, capture_output=True)
    return env


ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("argv", "crypto"),
    [
        ("task list", False),
        ("task list --json", False),
        ("status", False),
        ("status -q", False),
        ("project list", False),
        ("project show api", False),
        ("session list", False),
        ("log", False),
        ("task add api another", True),
    ],
)
def test_a_command_loads_nothing_it_does_not_need(argv: str, crypto: bool, home: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *argv.split()], env=home, cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.splitlines()[-1].split())
    assert loaded & NEVER == set()
    assert ("cryptography" in loaded) is crypto
