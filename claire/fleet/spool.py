"""The hook handler: one line of what Claude Code reported, appended to a file.

Run as a script, it imports nothing of ours: it costs Claude milliseconds, works with the node
down, prints nothing (that would become the model's context) and never fails the hook. Prompts
and tool input stay out.
"""

import json
import os
import sys
import time

LINE_BYTES_MAX = 4_000
SPOOL_BYTES_MAX = 1_048_576
_STDIN = ("hook_event_name", "source", "reason", "notification_type", "tool_name", "error", "agent_id", "cwd")
_START = 19  # field of /proc/PID/stat after the command's name
_ENV = ("TMUX_PANE", "CLAUDE_CODE_ENTRYPOINT")


def line(payload: object, env: "dict[str, str] | os._Environ[str]", now_ms: int) -> str:
    """The report as one line of JSON, or nothing."""
    if not isinstance(payload, dict) or env.get("CLAIRE_TRIAGE"):
        return ""
    report: dict[str, object] = {key: value for key in _STDIN if isinstance(value := payload.get(key), str)}
    report["session_id"] = str(payload.get("session_id", ""))
    report["at_ms"] = now_ms
    report["pid"] = int(env["CLAUDE_PID"]) if env.get("CLAUDE_PID", "").isdigit() else 0
    report["start"] = start_of(report["pid"])
    report["background"] = len(tasks) if isinstance(tasks := payload.get("background_tasks"), list) else 0
    report.update({key.lower(): env[key] for key in _ENV if key in env})
    text = json.dumps(report, separators=(",", ":")) + "\n"
    return text if len(text) <= LINE_BYTES_MAX else ""


def start_of(pid: object) -> str:
    """When this process started, as the kernel counts: a pid alone may be another's tomorrow. Empty without /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[_START].decode()
    except (OSError, IndexError):
        return ""


def main(path: str) -> None:
    try:
        text = line(json.load(sys.stdin.buffer), os.environ, time.time_ns() // 1_000_000)
        if text:
            append(path, text)
    except (OSError, ValueError, RecursionError):
        return  # the node goes without; Claude must not


def append(path: str, text: str) -> None:
    """One write, so that lines of parallel hooks do not mix; a spool nobody empties starts over."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        if os.fstat(fd).st_size > SPOOL_BYTES_MAX:
            os.ftruncate(fd, 0)
        os.write(fd, text.encode())
    finally:
        os.close(fd)


if __name__ == "__main__":
    main(sys.argv[1])
