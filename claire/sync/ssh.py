"""The only caller of ssh: has another host join, over the trust its user already has there."""

import shutil
import subprocess

import msgspec

from claire.node.errors import Refused, UsageError

JOIN_S_MAX = 120.0  # a person may have to type a password
OUTPUT_CHARS_SHOWN = 300
EXIT_SSH_FAILED = 255
EXIT_NO_SUCH_COMMAND = 127
# For any login shell there; pipx and uv install to ~/.local/bin, which only an interactive shell may know.
REMOTE = """exec sh -c 'PATH="$HOME/.local/bin:$PATH"; claire init >&2 && claire peer join - >&2 && claire id --json'"""


class _Identity(msgspec.Struct):
    id: str


class _Said(msgspec.Struct):
    data: _Identity


def join_there(destination: str, line: str) -> str:
    """Give the invite to `claire peer join` on that host, on standard input; the machine id it says it has."""
    if destination.startswith("-") or not destination.strip() or not destination.isprintable():
        raise UsageError(f"{destination!r} is not a host", "claire peer add user@host")
    if shutil.which("ssh") is None:
        raise Refused("there is no ssh here", "claire peer invite, and claire peer join on the other host")
    try:
        done = subprocess.run(
            ["ssh", "-T", "--", destination, REMOTE],
            input=f"{line}\n".encode(),
            capture_output=True,
            timeout=JOIN_S_MAX,
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"{destination} did not join within {JOIN_S_MAX:.0f} s") from None
    if done.returncode:
        raise _failure(destination, done.returncode, done.stderr.decode("utf-8", "replace"))
    try:
        return msgspec.json.decode(done.stdout, type=_Said).data.id
    except msgspec.MsgspecError:
        raise Refused(f"what {destination} answered is not from claire", "is its Claire as new as this one?") from None


def _failure(destination: str, code: int, said: str) -> Refused:
    words = " ".join(said.split())[-OUTPUT_CHARS_SHOWN:]
    if code == EXIT_SSH_FAILED:
        return Refused(f"ssh {destination} failed: {words}", f"try `ssh {destination}`")
    if code == EXIT_NO_SUCH_COMMAND:
        return Refused(f"there is no claire on {destination}", "install it there first")
    return Refused(f"{destination} did not join: {words}", "run `claire node` here, at an address that host can reach")
