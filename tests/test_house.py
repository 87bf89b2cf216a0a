"""The house keeps its own rules: arrows, purity, the map, the golden lines, the locks."""

from __future__ import annotations

import ast
import re
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import claire

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "claire"
MODULES = sorted(PACKAGE.rglob("*.py"))

ROOMS = ("node", "sync", "fleet", "ui")
MAY_SEE = {
    "config": {"node"},  # its errors, and nothing else
    "node": {"config"},
    "sync": {"node", "config"},
    "fleet": {"node", "config"},
    "ui": {"node", "config"},
}
PURE = [
    "node/event.py",
    "node/form.py",
    "node/hlc.py",
    "node/closure.py",
    "node/registers.py",
    "sync/gossip.py",
    "sync/plan.py",
    "sync/wire.py",
    "fleet/state.py",
    "ui/text.py",
]
WORLD = """
    asyncio concurrent datetime fcntl http httpx hypercorn logging os pathlib random secrets select shutil
    signal socket sqlite3 ssl starlette subprocess tempfile tenacity threading time urllib zeroconf
"""


def imports(path: Path, *, running: bool = False) -> Iterator[str]:
    """Dotted names a file imports, in functions too; `running` leaves out what only type checkers read."""
    tree = ast.parse(path.read_text())
    unread = {
        id(inner)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for inner in ast.walk(block)
    }
    for node in ast.walk(tree):
        if running and id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            assert node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def git(*argv: str) -> str:
    return subprocess.run(
        ["git", "-c", "safe.directory=*", *argv], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [p for p in MODULES if room_of(p) in MAY_SEE], ids=named)
def test_arrows_point_down(path: Path) -> None:
    """Rule 1: siblings never import each other, the node imports nothing of ours."""
    own = room_of(path)
    seen = {name.split(".")[1] for name in imports(path) if name.startswith("claire.")}
    assert seen - {own, "__version__"} <= MAY_SEE[own]
    if own == "config":
        assert {name for name in imports(path) if name.startswith("claire.")} <= {"claire.node.errors.UsageError"}


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_do_not_touch_the_world(module: str) -> None:
    """Rule 2: time, randomness and I/O come in as parameters."""
    path = PACKAGE / module
    assert {name.split(".")[0] for name in imports(path, running=True)} & {*WORLD.split()} == set()


def test_every_module_says_what_lives_there() -> None:
    """Rule 14."""
    silent = [named(path) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []


def test_the_map_names_every_file() -> None:
    """Docs that list code are checked: the map follows from the tree and what each file says of itself."""
    build = runpy.run_path(str(ROOT / "docs" / "build.py"))
    renewed: str = build["map_of_the_house"]()
    assert (ROOT / "docs" / "architecture.md").read_text() == renewed, "renew it: python3 docs/build.py"


def test_tests_mirror_the_tree() -> None:
    """Tests of claire/node/log.py are in tests/node/test_log.py; no test file hangs in the air."""
    for room in ROOMS:
        for path in (ROOT / "tests" / room).rglob("test_*.py"):
            subject = path.stem.removeprefix("test_")
            found = [*(PACKAGE / room).rglob(f"{subject}.py"), *(PACKAGE / room).rglob(subject)]
            assert found, f"{named(path)} mirrors nothing"


def test_no_broad_except() -> None:
    """Rule 8: `except` names a type; the type of everything only to clean up and raise it again."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ExceptHandler) and ast.unparse(node.body[-1]) != "raise":
                caught = ast.unparse(node.type) if node.type else "everything"
                assert caught not in ("everything", "Exception", "BaseException"), (path, node.lineno)


def event_types() -> set[str]:
    source = "\n".join(path.read_text() for path in MODULES)
    return set(re.findall(r'^@event_type\("(\w+)"\)', source, re.MULTILINE))


def test_every_event_type_has_a_golden_line() -> None:
    """Rule 4: yesterday's events stay readable."""
    golden = ROOT / "tests" / "node" / "golden.ndjson"
    assert event_types()
    assert event_types() == set(re.findall(r'"event_type": ?"(\w+)"', golden.read_text()))


def test_no_path_of_this_machine() -> None:
    for name in filter(None, git("ls-files", "-z").split("\0")):
        content = (ROOT / name).read_bytes()
        assert f"{ROOT}/".encode() not in content, name


@pytest.mark.parametrize("name", ["run.txt", "dev.txt"])
def test_s1_locked_by_hash(name: str) -> None:
    text = (ROOT / "requirements" / name).read_text()
    assert not re.search(r"^\s*(-i|--index|--extra-index|--find-links)|https?://", text, re.MULTILINE)
    locked = re.findall(r"^([\w.-]+)==(\S+)[^\n]*\\\n\s+--hash=sha256:", text, re.MULTILINE)
    assert len(locked) == len(re.findall(r"^[\w.-]+", text, re.MULTILINE))
    versions = {package: tuple(map(int, version.split(".")[:2])) for package, version in locked}
    floors = {"starlette": (1, 3), "zeroconf": (0, 150), "h11": (0, 16), "typer": (0, 28)}
    assert [package for package, floor in floors.items() if versions[package] < floor] == []
    assert versions["typer"] < (0, 29), "0.29 builds pydantic adapters on every start: 66 ms become 155"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")))))


def test_s2_the_wheel_holds_our_files_and_no_other(wheel: Path) -> None:
    tracked = git("ls-files", "-z", "--cached", "--others", "--exclude-standard", "claire").split("\0")
    names = zipfile.ZipFile(wheel).namelist()
    ours = {name for name in names if ".dist-info/" not in name}
    assert ours == {name for name in tracked if name and (ROOT / name).exists()}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_runs(wheel: Path, tmp_path: Path) -> None:
    """What pip installs is complete: a command starts from it, far from this repository."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", tmp_path]
    subprocess.run([*pip, wheel], check=True)
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path)}
    argv = [sys.executable, tmp_path / "bin" / "claire", "--version"]
    shown = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (shown.stdout, shown.returncode) == (f"claire {claire.__version__}\n", 0), shown.stderr
