"""What `claire doctor` looks at on the host: folders, key, disk, daemon, and the programs a node works with."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping

import msgspec

from claire.config import Home, Settings
from claire.node import backup, identity
from claire.node.errors import ClaireError
from claire.node.node import Node

OK, NOTE, BAD = "ok", "note", "bad"
FREE_BYTES_MIN, FREE_BYTES_ENOUGH = 100 * 1024**2, 1024**3
FREE = "free some space: writing stops when none is left, and goes on by itself"
PROGRAM_S_MAX = 5
ANSWER_S_MAX = 3.0


class Check(msgspec.Struct):
    """What was looked at, what was found, and the next command where something is to be done."""

    id: str
    level: str
    said: str
    fix: str = ""


def folders(home: Home, fix: bool) -> Iterator[Check]:
    """Ours, and nobody else's: 0700, and 0600 for what is in them."""
    wrong: list[str] = []
    files = [home.key_file, *(home.database + side for side in backup.SIDES)]
    wanted = [(folder, 0o700) for folder in home.folders] + [(file, 0o600) for file in files if os.path.exists(file)]
    for path, mode in dict(wanted).items():
        try:
            if fix:
                _private(path, mode)
            wrong += _not_private(path)
        except OSError as error:
            wrong.append(f"{path}: {error.strerror}")
    if wrong:
        yield Check("folders", BAD, "; ".join(wrong), "claire doctor --fix; for another's files: chown")
    else:
        yield Check("folders", OK, f"{home.data} and the others are this user's alone")


def _private(path: str, mode: int) -> None:
    if not os.path.exists(path):
        os.makedirs(path, mode=mode)
    if os.stat(path).st_mode & 0o077:
        os.chmod(path, mode)


def _not_private(path: str) -> Iterator[str]:
    if not os.path.exists(path):
        yield f"{path} is missing"
    elif os.stat(path).st_uid != os.geteuid():
        yield f"{path} belongs to another user"
    elif os.stat(path).st_mode & 0o077:
        yield f"{path} can be read by others"


def settings(home: Home, env: Mapping[str, str]) -> Iterator[Check]:
    from claire.sync.discovery import read_peers

    try:
        Settings.load(home, env)
        if os.path.exists(home.peers_file):
            with open(home.peers_file) as file:
                read_peers(file.read())
    except ClaireError as error:
        yield Check("settings", BAD, error.message, error.hint or "mend that line")
    else:
        yield Check("settings", OK, "claire.toml and peers.toml can be read, or are not there")


def key(home: Home) -> Check:
    if not os.path.exists(home.key_file) and not os.path.exists(home.database):
        return Check("key", BAD, "there is no node here yet", "claire init")
    try:
        found = identity.load(home.key_file)
    except ClaireError as error:
        return Check("key", BAD, error.message, error.hint)
    try:
        with Node(home) as node:
            if node.machine_id != found.machine_id:
                why = f"{home.key_file} is not the key of this database: it reads, and cannot write"
                return Check("key", BAD, why, "restore the key that belongs to it, or the database to the key")
    except ClaireError:
        pass  # said under `database`
    return Check("key", OK, f"this is node {found.machine_id[:8]}")


def disk(home: Home) -> Check:
    try:
        free = shutil.disk_usage(home.data).free
    except OSError as error:
        return Check("disk", BAD, f"{home.data}: {error.strerror}", "claire init")
    said = f"{free / 1024**3:.1f} GiB free"
    if free < FREE_BYTES_MIN:
        return Check("disk", BAD, said, FREE)
    return Check("disk", NOTE, said, FREE) if free < FREE_BYTES_ENOUGH else Check("disk", OK, said)


def daemon(home: Home, env: Mapping[str, str]) -> Iterator[Check]:
    from claire import runtime
    from claire.listeners import listen

    if not os.path.isdir(home.data):
        return
    try:
        running = runtime.is_running(home)
    except OSError as error:
        why = f"nobody can tell whether it runs: {error.filename}: {error.strerror}"
        yield Check("daemon", NOTE, why, "put the folders right first")
        return
    if running:
        urls = runtime.read_urls(home)
        served = [url for url in (urls.get("ui"), *urls.get("sync", [])) if url]
        dead = [url for url in served if not _answers(url)]
        if dead or not served:
            where = ", ".join(dead) or "any address yet"
            yield Check("daemon", BAD, f"runs, and does not answer at {where}", "restart it; look at its log")
        else:
            yield Check("daemon", OK, f"runs as {urls.get('pid')}: {', '.join(served)}")
        return
    yield Check("daemon", NOTE, "does not run: no dashboard, no exchange by itself", "claire service install")
    try:
        chosen = Settings.load(home, env)
    except ClaireError:
        return  # said under `settings`
    try:
        listen(chosen.host, chosen.port, "--port").close()
    except ClaireError as error:
        yield Check("port", BAD, error.message, error.hint)


def _answers(url: str) -> bool:
    """Any answer will do: without a login or a signature it is a refusal."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    from claire.sync import tls

    scheme, _, address = url.partition("://")
    host, _, port = address.rpartition(":")
    where = host.strip("[]"), int(port)
    if scheme == "https":
        connection: HTTPConnection = HTTPSConnection(*where, timeout=ANSWER_S_MAX, context=tls.client_context())
    else:
        connection = HTTPConnection(*where, timeout=ANSWER_S_MAX)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status > 0
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def tmux() -> Check:
    said = _output("tmux", "-V")
    if said is None:
        return Check("tmux", NOTE, "not installed: sessions are seen, nothing is typed into them", "install tmux")
    return Check("tmux", OK, said)


def claude(home: Home, env: Mapping[str, str]) -> Iterator[Check]:
    from claire.fleet import hooks

    said = _output("claude", "--version")
    if said:
        yield Check("claude", OK, said)
    else:
        yield Check("claude", NOTE, "not on this PATH", "nothing, if no sessions run here; else put it on the PATH")
    try:
        found = hooks.status(env, home)
    except ClaireError as error:
        yield Check("hooks", BAD, error.message, error.hint)
        return
    for row in found:
        level = OK if row["state"] == "installed" else NOTE
        yield Check("hooks", level, f"{row['state']} in {row['path']}", "" if level == OK else "claire hook install")


def rclaude(home: Home, env: Mapping[str, str]) -> Iterator[Check]:
    from claire.fleet import rclaude as rclaudes

    try:
        spoken = rclaudes.contract(Settings.load(home, env).fleet)
    except ClaireError as error:
        yield Check("rclaude", BAD, error.message, error.hint)
        return
    if not rclaudes.is_installed(spoken, env):
        yield Check("rclaude", OK, "not installed, and not needed")
        return
    listing = rclaudes.sessions(spoken, env)
    wrong = "; ".join(listing.problems)
    if wrong:
        yield Check("rclaude", NOTE, wrong, "try it by hand; [fleet] in claire.toml says how it is called")
    else:
        yield Check("rclaude", OK, f"lists {len(listing.found)} sessions")


def _output(*argv: str) -> str | None:
    """First line of what a program says of itself; None where it is missing or says nothing in time."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PROGRAM_S_MAX, check=False)
    except (FileNotFoundError, PermissionError, subprocess.TimeoutExpired):
        return None
    return (done.stdout.strip() or done.stderr.strip()).split("\n")[0] or None
