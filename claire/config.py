"""Where a node keeps its files, and the few things a person may set.

Folders follow the XDG base directories; `CLAIRE_HOME` puts all of them under one folder, so that many nodes
fit on one host.
"""

import os
from collections.abc import Mapping

import msgspec

from claire.node.errors import UsageError


class Home(msgspec.Struct, frozen=True):
    """The folders of one node, as absolute paths."""

    data: str
    config: str
    state: str
    runtime: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Home":
        if root := env.get("CLAIRE_HOME"):
            root = os.path.abspath(os.path.expanduser(root))
            return cls(*(os.path.join(root, part) for part in ("data", "config", "state", "run")))
        home = env.get("HOME") or os.path.expanduser("~")
        data = _xdg(env, "XDG_DATA_HOME", os.path.join(home, ".local", "share"))
        config = _xdg(env, "XDG_CONFIG_HOME", os.path.join(home, ".config"))
        state = _xdg(env, "XDG_STATE_HOME", os.path.join(home, ".local", "state"))
        return cls(data, config, state, _xdg(env, "XDG_RUNTIME_DIR", state))

    @property
    def folders(self) -> tuple[str, ...]:
        return (self.data, self.config, self.state, self.runtime)

    @property
    def database(self) -> str:
        return os.path.join(self.data, "claire.db")

    @property
    def key_file(self) -> str:
        return os.path.join(self.config, "node.key")

    @property
    def next_key_file(self) -> str:
        """A new key until it is the node's: only while a rotation is under way."""
        return self.key_file + ".next"

    @property
    def settings_file(self) -> str:
        return os.path.join(self.config, "claire.toml")

    @property
    def peers_file(self) -> str:
        return os.path.join(self.config, "peers.toml")

    @property
    def write_lock(self) -> str:
        return os.path.join(self.data, "write.lock")

    @property
    def node_lock(self) -> str:
        return os.path.join(self.data, "node.lock")

    @property
    def doorbell(self) -> str:
        """Datagram socket of the running daemon: any process that commits rings it."""
        return os.path.join(self.runtime, "doorbell.sock")


def _xdg(env: Mapping[str, str], name: str, default: str) -> str:
    base = env.get(name, "")
    return os.path.join(base if os.path.isabs(base) else default, "claire")


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`claire.toml`; name, hosts and ports may be given by environment too, as CLAIRE_HOST or CLAIRE_SYNC_PORT."""

    name: str = ""
    host: str = "127.0.0.1"
    port: int = 8765
    origins: list[str] = []  # other addresses of the dashboard, as `https://laptop.tail1.ts.net`
    sync_host: str = ""
    sync_port: int = 8766
    lan_discovery: bool = False
    fleet: dict[str, object] = {}
    notify: list[str] = []

    @classmethod
    def load(cls, home: Home, env: Mapping[str, str]) -> "Settings":
        """UsageError names the file and the key that is wrong."""
        text = b""
        try:
            with open(home.settings_file, "rb") as file:
                text = file.read()
            values = msgspec.toml.decode(text)
        except FileNotFoundError:
            values = {}
        except (msgspec.DecodeError, ValueError) as error:
            raise UsageError(f"{home.settings_file}: {error}") from None
        for field in ("name", "host", "port", "sync_host", "sync_port"):
            if (said := env.get("CLAIRE_" + field.upper())) is not None:
                values[field] = said
        try:
            settings = msgspec.convert(values, cls, strict=False)
        except msgspec.ValidationError as error:
            raise _wrong(home.settings_file, text, _key_of(str(error)), str(error), "") from None
        for key, port in (("port", settings.port), ("sync_port", settings.sync_port)):
            if not 0 <= port <= 65535:
                hint = "choose 0 to 65535; 0 picks a free one"
                raise _wrong(home.settings_file, text, key, f"{port} is not a port", hint)
        return settings


def _key_of(said: str) -> str:
    """The key that msgspec means: at `$.port`, or unknown field `prot`."""
    path = said.rpartition("field `" if "field `" in said else "`$.")[2]
    return path.partition("`")[0].partition(".")[0].partition("[")[0]


def _wrong(path: str, text: bytes, key: str, why: str, hint: str) -> UsageError:
    """Names the line where the file has the key; else it came by environment or flag."""
    for number, line in enumerate(text.decode("utf-8", "replace").splitlines(), start=1):
        if line.strip().strip("[").lstrip("\"'").startswith(key) and not line.lstrip().startswith("#"):
            return UsageError(f"{path} line {number}: key {key!r}: {why}", hint)
    return UsageError(f"CLAIRE_{key.upper()}: {why}", hint)
