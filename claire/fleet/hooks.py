"""Our hooks in Claude Code's settings: installed, shown and removed without touching anybody else's."""

from __future__ import annotations

import difflib
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claire.config import Home
from claire.fleet import claude, jsontext, spool
from claire.fleet.jsontext import Item
from claire.fleet.observer import spool_path
from claire.node.errors import Refused

TIMEOUT_S = 5
SETTINGS_BYTES_MAX = 1_048_576
BACKUP = ".claire-backup-"
# SessionStart is waited for: what follows it must not be written before it.
EVENTS = {
    "SessionStart": False,
    "UserPromptSubmit": True,
    "PermissionRequest": True,
    "Notification": True,
    "PostToolUse": True,
    "Stop": True,
    "StopFailure": True,
    "SessionEnd": True,
}


@dataclass(frozen=True, slots=True)
class Change:
    """One settings file: what it says, and what it would say."""

    path: str
    before: str
    after: str

    @property
    def diff(self) -> str:
        before, after = self.before.splitlines(keepends=True), self.after.splitlines(keepends=True)
        return "".join(difflib.unified_diff(before, after, self.path, self.path))


def command(home: Home) -> str:
    """Absolute, because hooks run in any folder with any PATH; for a shell, because old versions know no `args`."""
    return shlex.join([sys.executable, "-I", "-S", os.path.realpath(spool.__file__), spool_path(home)])


def is_ours(handler: Any, home: Home) -> bool:
    """Written by this node, perhaps by a Claire installed elsewhere: same script, same spool."""
    try:
        words = shlex.split(handler["command"])
    except (TypeError, KeyError, ValueError, AttributeError):
        return False
    return len(words) > 1 and words[-1] == spool_path(home) and words[-2].endswith("/claire/fleet/spool.py")


def installed(text: str, home: Home) -> str:
    """The settings with our hooks in them; the same text if they are there already."""
    for event, in_background in EVENTS.items():
        wanted = {"type": "command", "command": command(home), "timeout": TIMEOUT_S}
        text = _with_hook(text, event, wanted | ({"async": True} if in_background else {}), home)
    return text


def _with_hook(text: str, event: str, wanted: dict[str, Any], home: Home) -> str:
    root = _settings(text)
    hooks = root.member("hooks")
    if hooks is None:
        return jsontext.insert(text, root, {event: [{"hooks": [wanted]}]}, "hooks")
    groups = hooks.member(event)
    if groups is None:
        return jsontext.insert(text, hooks, [{"hooks": [wanted]}], event)
    handlers = [handler for group in groups.items for handler in _handlers(group)]
    ours = [handler for handler in handlers if is_ours(handler.value, home)]
    if [handler.value for handler in ours] == [wanted]:
        return text
    if ours:
        return _with_hook(_without(text, event, home), event, wanted, home)
    return jsontext.insert(text, groups, {"hooks": [wanted]})


def uninstalled(text: str, home: Home) -> str:
    """The settings without our hooks, and without what they alone had made necessary."""
    hooks = _settings(text).member("hooks")
    for event in [item.key for item in hooks.items] if hooks else []:
        text = _without(text, event, home)
    return text


def _without(text: str, event: str, home: Home) -> str:
    """Our handlers of one event, then the group, event and `hooks` that would be left empty by that."""
    while True:
        root = _settings(text)
        hooks = root.member("hooks")
        groups = hooks.member(event) if hooks else None
        if hooks is None or groups is None:
            return text
        found = _first_of_ours(groups, home)
        if found is None:
            return text
        group, handler = found
        chain = [(_list_of(group), handler), (groups, group), (hooks, groups), (root, hooks)]
        crowded = (pair for pair in chain if len(pair[0].items) > 1)
        text = jsontext.remove(text, *next(crowded, chain[-1]))


def _first_of_ours(groups: Item, home: Home) -> tuple[Item, Item] | None:
    for group in groups.items:
        for handler in _handlers(group):
            if is_ours(handler.value, home):
                return group, handler
    return None


def _list_of(group: Item) -> Item:
    handlers = group.member("hooks")
    assert handlers
    return handlers


def _handlers(group: Item) -> list[Item]:
    handlers = group.member("hooks")
    return handlers.items if handlers and isinstance(handlers.value, list) else []


def _settings(text: str) -> Item:
    """Refused rather than guessed: a file that somebody else's mistake has bent is not ours to straighten."""
    try:
        root = jsontext.parse(text or "{}")
    except ValueError as error:
        raise Refused(f"the settings are not plain JSON: {error}", "mend the file, then run this again") from None
    hooks = root.value.get("hooks", {}) if isinstance(root.value, dict) else None
    if not isinstance(hooks, dict) or not all(isinstance(groups, list) for groups in hooks.values()):
        raise Refused("the settings have no object of lists under `hooks`", "mend the file, then run this again")
    return root


def changes(env: Mapping[str, str], home: Home, *, install: bool) -> list[Change]:
    """What installing or removing would do, for every config home."""
    found = []
    for path in settings_files(env):
        before = _read(path)
        after = installed(before or "{}\n", home) if install else uninstalled(before, home) if before else ""
        found.append(Change(path, before, after))
    return found


def settings_files(env: Mapping[str, str]) -> list[str]:
    """A link is followed: the file it means is edited, once where several homes share it; the link stays."""
    paths = (os.path.realpath(folder / "settings.json") for folder in claude.config_homes(env))
    return list(dict.fromkeys(paths))


def status(env: Mapping[str, str], home: Home) -> list[dict[str, Any]]:
    """For every config home: which of our hooks are there, missing, or of another installation."""
    return [_status_of(path, home) for path in settings_files(env)]


def _status_of(path: str, home: Home) -> dict[str, Any]:
    text = _read(path)
    root = _settings(text) if text else None
    hooks = root.member("hooks") if root else None
    ours = {
        event.key: handler.value.get("command") == command(home)
        for event in (hooks.items if hooks else [])
        for group in event.items
        for handler in _handlers(group)
        if is_ours(handler.value, home)
    }
    missing = [event for event in EVENTS if event not in ours]
    outdated = [event for event, current in ours.items() if not current]
    state = "installed" if not missing and not outdated else "not installed" if not ours else "incomplete"
    if ours and root and root.value.get("disableAllHooks") is True:
        state = "switched off"  # by the user, for all tools: nothing of ours runs
    return {"path": path, "state": state, "missing": missing, "outdated": outdated}


def apply(found: Iterable[Change]) -> list[Change]:
    """Write those that change anything, each whole or not at all, with one backup of what was there."""
    done = [change for change in found if change.after != change.before]
    for change in done:
        if _read(change.path) != change.before:
            raise Refused(f"{change.path} changed meanwhile", "run this again")
        if change.before:
            _back_up(change)
        _write(change.path, change.after, _mode(change.path))
    return done


def _back_up(change: Change) -> None:
    """One is kept: the newest."""
    folder, name = os.path.split(change.path)
    for old in Path(folder).glob(f"{name}{BACKUP}*"):
        old.unlink()
    _write(f"{change.path}{BACKUP}{time.strftime('%Y%m%d-%H%M%S')}", change.before, _mode(change.path))


def _write(path: str, text: str, mode: int) -> None:
    """Claude reads this file whenever it likes: it must never see half of it."""
    fd, name = tempfile.mkstemp(prefix=".claire-", dir=os.path.dirname(path))
    try:
        with os.fdopen(fd, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except OSError:
        os.unlink(name)
        raise


def _mode(path: str) -> int:
    return os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o600


def _read(path: str) -> str:
    if not os.path.isdir(os.path.dirname(path)):
        raise Refused(f"{path} is what a link means, and its folder is missing", "make the folder or remove the link")
    try:
        with open(path, encoding="utf-8", newline="") as file:
            text = file.read(SETTINGS_BYTES_MAX + 1)
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError:
        raise Refused(f"{path} is not UTF-8", "mend the file, then run this again") from None
    if len(text) > SETTINGS_BYTES_MAX:
        raise Refused(f"{path} is larger than {SETTINGS_BYTES_MAX} bytes", "is this the right file?")
    return text
