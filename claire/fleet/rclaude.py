"""The only caller of rclaude: how it is asked, how its rows are read, what its exit codes mean.

Tools of that name differ, so every part is configuration (`[fleet.rclaude]` in claire.toml):
argv templates, never a shell string, timeouts, and where each field stands in a row.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from claire.fleet import command, foreign
from claire.fleet.claude import BACKGROUND_KINDS, SESSION_ID
from claire.fleet.obstacles import Outcome, Result
from claire.fleet.state import State, from_registry
from claire.node.errors import ClaireError, UsageError
from claire.node.rows import Row
from claire.node.sessions import BACKGROUND

ROWS_MAX = 2_000
OUTPUT_BYTES_MAX = 8_388_608
SENT = {
    0: Result(Outcome.DELIVERED, "acknowledged by rclaude"),
    3: Result(Outcome.REFUSED, "rclaude: not found or ambiguous"),
    4: Result(Outcome.REFUSED, "rclaude: busy, waiting, or a draft in the composer"),
    5: Result(Outcome.UNVERIFIED, "rclaude: sent but unverified"),
    6: Result(Outcome.REFUSED, "rclaude: host unreachable"),
}
FIELDS = {
    "session_uuid": "session_uuid|sessionId|session_id|uuid",
    "host": "host",
    "cwd": "cwd",
    "tmux_name": "tmux_name|tmux.session|tmux",
    "mtime": "last_seen_mtime|mtime|lastActivity",
    "status": "status",
    "waiting_for": "waiting_for|waitingFor",
    "name": "name",
    "version": "version",
    "kind": "kind",
    "entrypoint": "entrypoint",
    "job": "id|jobId",
    "triage": "triage.summary",
}


class Contract(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How this rclaude is spoken to. An empty `list` switches it off."""

    list: tuple[str, ...] = ("rclaude", "list", "--json")
    send: tuple[str, ...] = ("rclaude", "send", "--yes", "{target}", "--", "{text}")
    triage: tuple[str, ...] = ("rclaude", "triage", "--json", "{target}")
    text_via: str = "argv"  # or stdin: then the text is no argument, which others could read
    timeout_s: dict[str, float] = {}
    map: dict[str, str] = {}


TIMEOUT_S = {"list": 10.0, "send": 20.0, "triage": 90.0}


@dataclass(frozen=True, slots=True)
class Found:
    """A session as rclaude sees it, somewhere."""

    session_uuid: str
    host: str
    cwd: str = ""
    tmux_name: str = ""
    mtime: float = 0.0
    state: State = State.UNKNOWN
    waiting_for: str = ""
    name: str = ""
    version: str = ""
    triage: str = ""
    pane: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """Sessions, the hosts that answered, and what was wrong with the others."""

    found: tuple[Found, ...] = ()
    answered: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()
    asked_ms: int = 0  # what is known to have ended since then is not alive because of it


def contract(fleet: Mapping[str, object]) -> Contract:
    """From the `fleet` part of claire.toml; UsageError names what is wrong."""
    try:
        return msgspec.convert(fleet.get("rclaude", {}), Contract)
    except msgspec.ValidationError as error:
        raise UsageError(f"claire.toml: [fleet.rclaude]: {error}") from None


def is_installed(spoken: Contract, env: Mapping[str, str]) -> bool:
    return bool(spoken.list) and shutil.which(spoken.list[0], path=env.get("PATH")) is not None


def sessions(spoken: Contract, env: Mapping[str, str], stopping: Callable[[], bool] = command.never) -> Listing:
    """Ask for all sessions everywhere. What it cannot say is a problem, never an empty fleet."""
    asked_ms = time.time_ns() // 1_000_000
    try:
        done = _run(spoken, "list", spoken.list, env, stopping=stopping)
    except (OSError, command.NoAnswer) as error:
        return Listing(problems=(f"rclaude list: {_words(error)}",))
    if done.returncode not in (0, 4) or len(done.stdout) > OUTPUT_BYTES_MAX:
        return Listing(problems=(f"rclaude list: exit {done.returncode} {_first_line(done.stderr)}".rstrip(),))
    return replace(parse(done.stdout, spoken), asked_ms=asked_ms)


def send(spoken: Contract, env: Mapping[str, str], where: Mapping[str, str], text: str) -> Result:
    """One message to one session; anything but 0 means that it was not delivered for sure."""
    by_stdin = spoken.text_via == "stdin"
    argv = []
    for word in spoken.send:
        filled = ("-" if by_stdin else text) if word == "{text}" else _filled(word, where)
        if word != "{text}" and filled.startswith("-") and not word.startswith("-"):
            return Result(Outcome.REFUSED, f"rclaude would take its {word} for an option")
        argv.append(filled)
    try:
        done = _run(spoken, "send", argv, env, text if by_stdin else "")
    except FileNotFoundError:
        return Result(Outcome.REFUSED, f"{argv[0]} is not installed")
    except (OSError, command.NoAnswer) as error:
        return Result(Outcome.UNVERIFIED, f"rclaude send: {_words(error)}")
    if done.returncode == 2:
        return Result(Outcome.REFUSED, f"rclaude: {_first_line(done.stderr) or 'usage'}")
    return SENT.get(done.returncode, Result(Outcome.UNVERIFIED, f"rclaude send: exit {done.returncode}"))


def triage(
    spoken: Contract, env: Mapping[str, str], where: Mapping[str, str], stopping: Callable[[], bool] = command.never
) -> str:
    """What it prints about one session. ClaireError says why there is nothing."""
    argv = [_filled(word, where) for word in spoken.triage]
    try:
        done = _run(spoken, "triage", argv, env, stopping=stopping)
    except (OSError, command.NoAnswer) as error:
        raise ClaireError(f"rclaude triage: {_words(error)}") from None
    if done.returncode != 0:
        raise ClaireError(f"rclaude triage: exit {done.returncode} {_first_line(done.stderr)}".rstrip())
    return done.stdout


def where(row: Row) -> dict[str, str]:
    """What a template may name of a session."""
    return {"session": row["id"], "host": row["host"] or "", "tmux_name": row["tmux_name"] or ""}


def _filled(word: str, where: Mapping[str, str]) -> str:
    """{session}, {host} and {tmux_name} of the session, or {target}: `host:tmux_name`, else its id."""
    named = f"{where['host']}:{where['tmux_name']}" if where["tmux_name"] else where["session"]
    for key, value in {"target": named, **where}.items():
        word = word.replace(f"{{{key}}}", value)
    return word


def _run(
    spoken: Contract,
    verb: str,
    argv: Sequence[str],
    env: Mapping[str, str],
    text: str = "",
    stopping: Callable[[], bool] = command.never,
) -> command.Done:
    timeout_s = spoken.timeout_s.get(verb, TIMEOUT_S[verb])
    return command.run(argv, env, text, timeout_s=timeout_s, stopping=stopping)


def _words(error: OSError | command.NoAnswer) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _first_line(text: str) -> str:
    return next(iter(text.strip().splitlines()), "")[:200]


def parse(text: str, spoken: Contract) -> Listing:
    """A JSON array, an object with `sessions` and `hosts`, or one object a line."""
    rows, hosts = _rows(text)
    if rows is None:
        return Listing(problems=("rclaude list: the answer is not JSON",))
    fields = {**FIELDS, **spoken.map}
    found = [session for row in rows[:ROWS_MAX] if (session := _found(row, fields))]
    wrong = [host for host in hosts if not host.get("ok", True)]
    problems = [f"{host.get('host', 'a host')}: {host.get('error') or 'not reached'}" for host in wrong]
    answered = {str(host.get("host")) for host in hosts if host.get("ok", True)} | {one.host for one in found}
    return Listing(tuple(found), frozenset(answered - {str(host.get("host")) for host in wrong}), tuple(problems))


def _rows(text: str) -> tuple[list[dict[str, Any]] | None, list[dict[str, Any]]]:
    value = _decoded(text)
    if isinstance(value, dict) and "sessions" not in value and "hosts" not in value:
        value = [value]
    if value is None:
        lines = [_decoded(line) for line in text.splitlines() if line.strip()]
        value = lines if lines and all(isinstance(line, dict) for line in lines) else None
    if isinstance(value, dict):
        return _objects(value.get("sessions")), _objects(value.get("hosts"))
    return (_objects(value) if isinstance(value, list) else None), []


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _found(row: dict[str, Any], fields: Mapping[str, str]) -> Found | None:
    """None for rows without a session, for headless runs, and for agents in the background that have ended."""
    text = {name: value for name, path in fields.items() if (value := foreign.text(_at(row, path)))}
    uuid = text.get("session_uuid", "").lower()
    kind = text.get("kind", "interactive")
    headless = kind not in ("interactive", *BACKGROUND_KINDS) or text.get("entrypoint", "cli") != "cli"
    ended = kind in BACKGROUND_KINDS and "status" not in text
    if headless or ended or not SESSION_ID.fullmatch(uuid):
        return None
    mtime = _at(row, fields["mtime"])
    return Found(
        session_uuid=uuid,
        host=text.get("host") or os.uname().nodename,
        cwd=text.get("cwd", ""),
        tmux_name=text.get("tmux_name", ""),
        mtime=float(mtime) if isinstance(mtime, int | float) and not isinstance(mtime, bool) else 0.0,
        state=_state(text.get("status", ""), text.get("waiting_for", "")),
        waiting_for=text.get("waiting_for", ""),
        name=text.get("name", ""),
        version=text.get("version", ""),
        triage=text.get("triage", ""),
        pane=f"{BACKGROUND}{text.get('job', '')}" if kind in BACKGROUND_KINDS else "",
    )


def _state(status: str, waiting_for: str) -> State:
    """Claude Code's own words, or ours; anything else is unknown, not idle."""
    claim = from_registry(status, waiting_for, 0)
    if claim:
        return claim.state
    return State(status) if status in set(State) else State.UNKNOWN


def _at(row: dict[str, Any], path: str) -> Any:
    """The first of `a|b.c` that is there."""
    for option in path.split("|"):
        value: Any = row
        for key in option.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            return value
    return None
