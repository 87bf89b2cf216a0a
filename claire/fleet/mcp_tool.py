"""One tool of an MCP server, called once: the server is started for it, spoken to over its pipes, and ended."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from claire import __version__
from claire.fleet import command
from claire.fleet.command import NoAnswer
from claire.node.errors import ClaireError

PROTOCOL = "2025-11-25"


def call(
    argv: Sequence[str],
    env: Mapping[str, str],
    tool: str,
    arguments: Mapping[str, str],
    *,
    timeout_s: float,
    folder: str,
    stopping: Callable[[], bool] = command.never,
) -> str:
    """What the tool said, as text. OSError, NoAnswer or ClaireError where it said nothing."""
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(argv, env=dict(env), cwd=folder, start_new_session=True, **pipes)
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(process, time.monotonic() + timeout_s, stopping, done))
    watch.start()
    try:
        info = {"name": "claire", "version": __version__}
        _ask(process, 1, "initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": info})
        _write(process, {"method": "notifications/initialized"})
        return _said(_ask(process, 2, "tools/call", {"name": tool, "arguments": dict(arguments)}))
    finally:
        done.set()
        watch.join()
        command.end(process)


def _watch(
    process: subprocess.Popen[bytes], deadline: float, stopping: Callable[[], bool], done: threading.Event
) -> None:
    """Whoever reads from a process that was killed reads its end."""
    while not done.wait(command.LOOK_S):
        if stopping() or time.monotonic() > deadline:
            process.kill()
            return


def _ask(process: subprocess.Popen[bytes], number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    _write(process, {"id": number, "method": method, "params": params})
    assert process.stdout
    for line in process.stdout:
        answer = _object(line)
        if answer.get("id") != number or "method" in answer:
            continue  # a notification, or a question of its own
        if not isinstance(result := answer.get("result"), dict):
            raise ClaireError(f"{method}: {json.dumps(answer.get('error'))[:200]}")
        return result
    raise NoAnswer(f"no answer to {method}")


def _write(process: subprocess.Popen[bytes], message: dict[str, Any]) -> None:
    assert process.stdin
    try:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        raise NoAnswer("it has ended") from None


def _object(line: bytes) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _said(result: dict[str, Any]) -> str:
    content = result.get("content")
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    text = "\n".join(str(part["text"]) for part in parts if part.get("type") == "text" and "text" in part)
    if result.get("isError"):
        raise ClaireError(text[:200] or "the tool failed")
    structured = result.get("structuredContent")
    return json.dumps(structured) if isinstance(structured, dict) else text
