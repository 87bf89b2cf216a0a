"""Tab in real shells: commands, options and live names, and nothing foreign that a shell would run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from claire.config import Home
from claire.node import groups, projects, setup, tasks
from claire.node.node import Node
from tests.integration.nodes import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "'; touch pwned; '$(touch pwned)`touch pwned`\"*"

# Each prints what Tab offers after the words in $LINE, one a line.
BASH = """
eval "$(_CLAIRE_COMPLETE=source_bash claire)"
read -ra COMP_WORDS <<< "$LINE"
[[ $LINE == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_claire_completion claire
printf '%s\\n' "${COMPREPLY[@]}"
"""
ZSH = """
_arguments() { print -r -- "$@" }
compdef() { : }
eval "$(_CLAIRE_COMPLETE=source_zsh claire)"
words=(${(z)LINE})
[[ $LINE == *" " ]] && words+=("")
CURRENT=${#words}
_claire_completion claire
"""
FISH = 'env _CLAIRE_COMPLETE=source_fish claire | source; complete -C "$LINE"'


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A `claire` on the PATH, and a home with names nobody would want in a shell."""
    place = tmp_path_factory.mktemp("completion")
    program = place / "bin" / "claire"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m claire "$@"\n')
    program.chmod(0o755)
    home = str(place / "home")
    with setup.init(Home.from_env({"CLAIRE_HOME": home}), "alpha") as node:
        _fill(node)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "CLAIRE_HOME": home, "HOME": str(place)}


def _fill(node: Node) -> None:
    for name in ("api", "app one", "web"):
        projects.create(node, name, goal=HOSTILE)
    with node.writing() as tx:
        tx.record(projects.ProjectCreated("abcd0000-0000-4000-8000-000000000000", f"a{HOSTILE}\n", HOSTILE))
    tasks.add(node, "api", HOSTILE)
    groups.define(node, "area", "cwd:/srv")


def tab(shell: list[str], line: str, env: dict[str, str], cwd: Path) -> list[str]:
    env = env | {"LINE": line}
    done = subprocess.run(shell, env=env, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S)
    assert "Traceback" not in done.stderr, done.stderr
    assert list(cwd.iterdir()) == [], "a name was run"
    return done.stdout.split("\n")


SHELLS = [
    pytest.param([name, *flags, script], id=name, marks=pytest.mark.skipif(not shutil.which(name), reason=f"no {name}"))
    for name, flags, script in (
        ("bash", ["--norc", "-c"], BASH),
        ("zsh", ["-f", "-c"], ZSH),
        ("fish", ["--no-config", "-c"], FISH),
    )
]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("claire st", ["status"]),
        ("claire task s", ["show", "start"]),
        ("claire task list --st", ["--status"]),
        ("claire task list --status ", ["todo", "in_progress", "blocked", "done"]),
        ("claire project show w", ["web"]),
        ("claire project show a", ["api", "abcd0000"]),
        ("claire broadcast a", ["api", "abcd0000", "area"]),
        ("claire group rm ", ["area"]),
    ],
)
def test_tab_offers(shell: list[str], line: str, offered: list[str], env: dict[str, str], tmp_path: Path) -> None:
    shown = "\n".join(tab(shell, line, env, tmp_path))
    assert all(word in shown for word in offered), shown
    assert "touch pwned;" not in shown and "$(" not in shown and "`" not in shown


def test_bash_offers_exactly_the_live_names(env: dict[str, str], tmp_path: Path) -> None:
    """What has another character than a shell leaves alone in its name is offered by its id."""
    bash = ["bash", "--norc", "-c", BASH]
    offered = {name for name in tab(bash, "claire project show ", env, tmp_path) if name}
    assert {"api", "web", "abcd0000"} < offered and len(offered) == 4
    assert len([t for t in tab(bash, "claire task done ", env, tmp_path) if t]) == 1


def test_without_a_node_nothing_is_offered_and_nothing_breaks(env: dict[str, str], tmp_path: Path) -> None:
    nowhere = env | {"CLAIRE_HOME": str(tmp_path.parent / "nowhere")}
    assert not any(tab(["bash", "--norc", "-c", BASH], "claire project show ", nowhere, tmp_path))
