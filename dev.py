#!/usr/bin/env python3
"""The two commands of the README and their kin: each makes .venv from hash-locked packages, then runs.

    python3 dev.py demo       the main job: three nodes, live sessions, one story
    python3 dev.py test       ruff, mypy, every test; with arguments: pytest with those arguments
    python3 dev.py --help     the rest

Needs Python 3.11 and nothing else; all packages go into .venv beside this file.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
RUN_LOCK = ROOT / "requirements" / "run.txt"
DEV_LOCK = ROOT / "requirements" / "dev.txt"
APT_S_MAX = 600
APT_PATIENCE = ("-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3")  # a fresh machine may be updating itself
NEEDED_PROGRAMS = {  # program -> its Debian package, and what is skipped without it
    "tmux": ("tmux", "the tests that watch and feed real tmux panes"),
    "chromium": ("chromium", "the tests that use the dashboard in a real browser"),
    "ip": ("iproute2", "the tests of hosts on one network"),
}
ASTRAY = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_CONSTRAINT", "PYTHONPATH", "PYTHONHOME")


def say(text: str) -> None:
    print(f"dev: {text}", file=sys.stderr, flush=True)


def run(*argv: str | Path) -> int:
    return subprocess.run([str(arg) for arg in argv], cwd=ROOT).returncode


def must(*argv: str | Path) -> None:
    if code := run(*argv):
        sys.exit(code)


def python(*argv: str) -> int:
    return run(PYTHON, *argv)


# --- setting up ---


def set_up(lock: Path) -> None:
    """Make .venv hold exactly what `lock` names; costs a few milliseconds when it already does."""
    stamp = VENV / f"{lock.stem}.sha256"
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    if not venv_matches():
        make_venv()
    say(f"installing {lock.relative_to(ROOT)}")
    pip: list[str | Path] = [
        PYTHON,
        "-m",
        "pip",
        "install",
        "-qq",
        "--disable-pip-version-check",
        "--no-input",
        "--retries=10",
        "--timeout=60",
    ]
    # The lock is complete: a resolver could only wander off it (an older pip does, at an extra of a locked package).
    must(*pip, "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", lock)
    must(PYTHON, "-m", "pip", "--disable-pip-version-check", "check")
    if lock == DEV_LOCK:  # so that tests and people find the `claire` command in .venv/bin
        must(*pip, "--no-deps", "--no-build-isolation", "--no-index", "-e", ROOT)
    stamp.write_text(wanted)


def venv_matches() -> bool:
    version = "import sys; print(sys.version)"
    if not PYTHON.exists():
        return False
    found = subprocess.run([PYTHON, "-c", version], capture_output=True, text=True, check=False)
    return found.stdout.strip() == sys.version


def make_venv() -> None:
    say(f"making {VENV.name} with Python {sys.version.split()[0]}")
    if not has_ensurepip():
        install_debian(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")
    if not has_ensurepip():
        sys.exit("dev: this Python has no ensurepip; on Debian or Ubuntu: sudo apt-get install python3-venv")
    venv.create(VENV, clear=True, with_pip=True, symlinks=True)


def has_ensurepip() -> bool:
    return subprocess.run([sys.executable, "-c", "import ensurepip"], capture_output=True).returncode == 0


def install_debian(*packages: str) -> None:
    """Only as root on Debian and never with a question; whether it worked is for the caller to see."""
    apt = shutil.which("apt-get")
    if not apt or os.geteuid() != 0:
        return
    say(f"apt-get install {' '.join(packages)}")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ("-y", "--no-install-recommends", "install", *packages)
    for argv in ([apt, *APT_PATIENCE, "-qq", "update"], [apt, *APT_PATIENCE, "-qq", *install]):
        try:
            subprocess.run(argv, env=quiet, stdin=subprocess.DEVNULL, stdout=sys.stderr, timeout=APT_S_MAX)
        except subprocess.TimeoutExpired:
            say(f"gave up on {' '.join(argv)} after {APT_S_MAX} s")


def find_programs() -> None:
    absent = [name for name in NEEDED_PROGRAMS if not shutil.which(name)]
    if absent:
        install_debian(*(NEEDED_PROGRAMS[name][0] for name in absent))
    for name in absent:
        if not shutil.which(name):
            package, tests = NEEDED_PROGRAMS[name]
            say(f"no {name}: {tests} will be skipped (on Debian: apt-get install {package})")


# --- the commands ---


def demo(*args: str) -> int:
    """the main job: three nodes, live sessions, one story; ends by itself where nobody could press Ctrl-C"""
    set_up(RUN_LOCK)
    return python("-m", "claire", "demo", *(args or (() if sys.stdin.isatty() else ("--quick",))))


def test(*args: str) -> int:
    """ruff, mypy --strict and every test with coverage; with arguments: pytest with those arguments"""
    set_up(DEV_LOCK)
    find_programs()
    if args:
        return python("-m", "pytest", *args)
    return lint() or python("-m", "pytest", "-q", "-n", "auto", "--dist", "worksteal", "--cov", "--cov-report=term")


def lint() -> int:
    """ruff and mypy --strict"""
    set_up(DEV_LOCK)
    ruff = python("-m", "ruff", "check", "--quiet", ".") or python("-m", "ruff", "format", "--check", "--quiet", ".")
    return ruff or python("-m", "mypy")


def bench(*args: str) -> int:
    """measure against baselines of the same run and write docs/performance.md"""
    set_up(DEV_LOCK)
    return python("-m", "benchmarks", *args)


def simulate(*args: str) -> int:
    """50,000 seeded fleets against the real protocol code; a failing seed prints its repro"""
    set_up(DEV_LOCK)
    return python("-m", "tests.sync.simulation", *(args or ("--seeds", os.environ.get("SEEDS", "50000"))))


def soak(*args: str) -> int:
    """three nodes under load, kills and partitions for two hours"""
    set_up(DEV_LOCK)
    return python("-m", "tests.integration.soak", *args)


def idle(*args: str) -> int:
    """fifty idle sessions for ten minutes: no event written, under 1 % of a core"""
    set_up(DEV_LOCK)
    return python("-m", "tests.integration.idle", *args)


def fuzz(*args: str) -> int:
    """schemathesis on both listeners for sixteen minutes, and a member's flood of 200,000 events"""
    set_up(DEV_LOCK)
    os.environ |= {"CLAIRE_TEST_FUZZ_S": "120", "CLAIRE_TEST_FLOOD": "200000"}
    tests = ("tests/integration/test_openapi.py", "tests/integration/test_flood.py")
    return python("-m", "pytest", "-q", "-s", *tests, *args)


def test_real(*args: str) -> int:
    """the opt-in tests that need the real Claude Code from the npm registry"""
    set_up(DEV_LOCK)
    os.environ["CLAIRE_TEST_REAL"] = "1"
    return python("-m", "pytest", "-q", "-k", "real_claude", *args)


def docs() -> int:
    """renew the pages that follow from the code: the map of the house, the reference of commands"""
    set_up(DEV_LOCK)
    reference = subprocess.run([PYTHON, "-m", "claire.ui.cli.reference"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    (ROOT / "docs" / "commands.md").write_bytes(reference.stdout)
    return python("docs/build.py")


def lock() -> int:
    """renew requirements/*.txt from pyproject.toml (the one command that needs uv)"""
    uv = ["uv", "pip", "compile", "-q", "--universal", "--generate-hashes", "--python-version", "3.11"]
    uv += ["--custom-compile-command", "python3 dev.py lock", "--upgrade", "pyproject.toml"]
    return run(*uv, "-o", RUN_LOCK) or run(*uv, "--group", "dev", "-c", RUN_LOCK, "-o", DEV_LOCK)


COMMANDS: dict[str, Callable[..., int]] = {
    "demo": demo,
    "test": test,
    "lint": lint,
    "bench": bench,
    "simulate": simulate,
    "soak": soak,
    "idle": idle,
    "fuzz": fuzz,
    "test-real": test_real,
    "docs": docs,
    "lock": lock,
}


def main(argv: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036  the one file an older Python may be asked to run
        sys.exit(f"dev: Claire needs Python 3.11 or newer, this is {sys.version.split()[0]}")
    if not argv or argv[0] not in COMMANDS:
        print("usage: python3 dev.py COMMAND [ARGUMENTS]\n")
        for name, command in COMMANDS.items():
            print(f"  {name:<10} {command.__doc__}")
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    for name in ASTRAY:  # what would take packages from elsewhere, or put them there
        os.environ.pop(name, None)
    return COMMANDS[argv[0]](*argv[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
