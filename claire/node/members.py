"""Who belongs to the fleet: nodes pinned here, nodes that members admit, and up to where a revoked one counts."""

import sqlite3
from collections.abc import Iterable
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from claire.node import hlc, log, registers
from claire.node.closure import LATEST, closure
from claire.node.errors import Refused, UsageError
from claire.node.event import Body, Event, event_type
from claire.node.fold import replay_events
from claire.node.rows import Row, resolve, rows

if TYPE_CHECKING:
    from claire.node.fold import Fold
    from claire.node.node import Node, Transaction

FINGERPRINT_DIGITS = 24
NAME_CHARS_MAX = 100


@event_type("node_joined")
class NodeJoined(Body):
    """What a node says of itself: shown name, addresses ('host:port') of its sync listener, Claire's version."""

    name: str
    addresses: list[str]
    version: str

    def fold(self, fold: "Fold", event: Event) -> None:
        row = fold.row("announcements", event.machine_id)
        row["joined_hlc"] = min(row["joined_hlc"] or event.hlc, event.hlc)
        addresses = msgspec.json.encode(self.addresses).decode()
        values = {"name": self.name, "addresses": addresses, "version": self.version}
        registers.set_newest(row, "hlc", event.hlc, values)
        fold.settle(settle, event.machine_id)


@event_type("node_renamed")
class NodeRenamed(Body):
    """A node's new name, given by itself or by another member; the newest one of either kind is shown."""

    machine_id: str
    name: str

    def fold(self, fold: "Fold", event: Event) -> None:
        row = fold.row("renamings", self.machine_id)
        registers.set_newest(row, "hlc", event.hlc, {"name": self.name})
        fold.settle(settle, self.machine_id)


@event_type("node_admitted")
class NodeAdmitted(Body):
    """A member vouches for a node: its events belong to the set. `public_key` is the raw Ed25519 key in hex."""

    machine_id: str
    public_key: str
    name: str

    def fold(self, fold: "Fold", event: Event) -> None:
        row = fold.row("admissions", event.uuid)
        row.update(
            issuer=event.machine_id,
            machine_id=self.machine_id,
            public_key=self.public_key,
            name=self.name,
            hlc=event.hlc,
        )
        fold.settle(settle, self.machine_id)


@event_type("node_revoked")
class NodeRevoked(Body):
    """A member cuts a node off: events beyond `through_hlc` do not belong to the set, whoever brings them."""

    machine_id: str
    through_hlc: str

    def fold(self, fold: "Fold", event: Event) -> None:
        row = fold.row("revocations", event.uuid)
        row.update(issuer=event.machine_id, machine_id=self.machine_id, through_hlc=self.through_hlc, hlc=event.hlc)
        fold.settle(settle, self.machine_id)


def settle(db: sqlite3.Connection, _machines: Iterable[str]) -> None:
    """Recompute `members` from pins, admissions and revocations."""
    pins = {machine: (key, name) for machine, key, name in db.execute("SELECT machine_id, public_key, name FROM pins")}
    (own,) = db.execute("SELECT value FROM meta WHERE key = 'machine_id'").fetchone()
    admissions = db.execute(
        "SELECT issuer, machine_id, public_key, name, hlc FROM admissions ORDER BY hlc, id"
    ).fetchall()
    revocations = db.execute("SELECT issuer, machine_id, through_hlc, hlc FROM revocations ORDER BY hlc, id").fetchall()
    admitted, through = closure(own, pins, [a for a in admissions if proves(a[2], a[1])], revocations)
    said = {row[0]: row[1:] for row in db.execute("SELECT id, name, addresses, version, hlc FROM announcements")}
    renamed = {machine: (name, stamp) for machine, name, stamp in db.execute("SELECT id, name, hlc FROM renamings")}
    db.execute("DELETE FROM members")
    for machine, (key, name, issuer) in admitted.items():
        own_name, addresses, version, stamp = said.get(machine, (name, "[]", "", ""))
        new_name, renamed_at = renamed.get(machine, (own_name, ""))
        db.execute(
            "INSERT INTO members VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                machine,
                new_name if renamed_at > stamp else own_name,
                key,
                addresses,
                version,
                issuer,
                through.get(machine),
            ),
        )
    if sum(log.set_aside(db, machine, stamp) for machine, stamp in through.items()):
        replay_events(db)  # what they said is folded already; rare, and a replay is always right


def restore(db: sqlite3.Connection) -> None:
    """Bring back events whose revocation turned out void: its issuer was revoked itself, from before it said so.

    Asked after a batch is folded whole, never while one is: in the middle of a replay no revocation is known yet.
    """
    aside = set(log.machines_aside(db))
    if not aside:
        return
    cuts = {machine: stamp or LATEST for machine, stamp in db.execute("SELECT id, through_hlc FROM members")}
    if sum(log.bring_back(db, machine, cuts[machine]) for machine in aside & cuts.keys()):
        replay_events(db)


def proves(public_key: str, machine_id: str) -> bool:
    """True if `machine_id` is made from this key (hex); only then may the key speak for it."""
    from claire.node import identity

    try:
        raw = bytes.fromhex(public_key)
    except ValueError:
        return False
    return len(raw) == identity.KEY_BYTES and identity.machine_id(raw) == machine_id


def fingerprint(public_key: str) -> str:
    """What two people compare by eye or voice: 96 bits of the key's SHA-256, six groups of four hex digits."""
    digits = sha256(bytes.fromhex(public_key)).hexdigest()
    return " ".join(digits[start : start + 4] for start in range(0, FINGERPRINT_DIGITS, 4))


def announce(node: "Node", name: str, addresses: list[str], version: str) -> bool:
    """Say who and where this node is, if that has changed; True if it has."""
    with node.writing() as tx:
        row = tx.db.execute(
            "SELECT name, addresses, version FROM announcements WHERE id = ?", (node.machine_id,)
        ).fetchone()
        if row is not None and (row[0], msgspec.json.decode(row[1]), row[2]) == (name, addresses, version):
            return False
        tx.record(NodeJoined(name, addresses, version))
        return True


def admit(tx: "Transaction", public_key: str, name: str) -> str:
    """Pin a key (hex) and vouch for it before the fleet, in the caller's transaction; its machine id."""
    from claire.node import identity

    machine = identity.machine_id(bytes.fromhex(public_key))
    tx.db.execute("INSERT OR REPLACE INTO pins VALUES (?, ?, ?)", (machine, public_key, name))
    tx.record(NodeAdmitted(machine, public_key, name))
    return machine


def revoke(node: "Node", ref: str, since_ms: int | None = None) -> Row:
    """Cut a node off everywhere; what it wrote so far, as far as this node holds it, stays.

    With `since_ms` only what it wrote before that moment stays: for a key that was stolen some time ago.
    """
    with node.writing() as tx:
        member = find(tx.db, ref)
        if member["id"] == node.machine_id:
            raise Refused("a node does not revoke itself", "run this on another node of the fleet")
        through = log.newest_own(tx.db, member["id"]) or hlc.start(member["id"])
        if since_ms is not None:
            through = min(through, hlc.encode(max(0, since_ms), 0, member["id"]))
        tx.db.execute("DELETE FROM pins WHERE machine_id = ?", (member["id"],))
        tx.db.execute("DELETE FROM allow_send WHERE machine_id = ?", (member["id"],))
        tx.record(NodeRevoked(member["id"], through))
        restore(tx.db)
        return find(tx.db, member["id"])


def check_name(name: str) -> None:
    if not name.strip() or len(name) > NAME_CHARS_MAX or not name.isprintable():
        raise UsageError(f"a node's name has 1 to {NAME_CHARS_MAX} printable characters", "choose another name")


def rename(node: "Node", ref: str, name: str) -> Row:
    check_name(name)
    with node.writing() as tx:
        member = find(tx.db, ref)
        tx.record(NodeRenamed(member["id"], name))
        return find(tx.db, member["id"])


def keys(db: sqlite3.Connection) -> dict[str, bytes]:
    """The public key of every machine whose events belong to the set, revoked ones (up to their stamp) included."""
    return {machine: bytes.fromhex(key) for machine, key in db.execute("SELECT id, public_key FROM members")}


def revoked(db: sqlite3.Connection) -> dict[str, str]:
    """Machine -> the stamp beyond which its events do not belong."""
    return dict(db.execute("SELECT id, through_hlc FROM members WHERE through_hlc IS NOT NULL"))


def suspended(db: sqlite3.Connection, own: str) -> set[str]:
    """Members that say *we* are revoked; no exchange with them until the user decides."""
    return {issuer for (issuer,) in db.execute("SELECT issuer FROM revocations WHERE machine_id = ?", (own,))}


def revocations_of(db: sqlite3.Connection, machine: str) -> list[Event]:
    """The events by which a machine was cut off."""
    return log.get(db, [uuid for (uuid,) in db.execute("SELECT id FROM revocations WHERE machine_id = ?", (machine,))])


def admissions_of(db: sqlite3.Connection, machine: str, limit: int) -> list[Event]:
    """The events that make a machine a member, and those that make their issuers members, and so on upwards."""
    found: dict[str, None] = {}
    asked, waiting = {machine}, [machine]
    while waiting and len(found) < limit:
        admitted = waiting.pop(0)
        for uuid, issuer in db.execute("SELECT id, issuer FROM admissions WHERE machine_id = ?", (admitted,)):
            found[uuid] = None
            if issuer not in asked:
                asked.add(issuer)
                waiting.append(issuer)
    return log.get(db, list(found)[:limit])


_SELECT = (
    "SELECT m.id, m.name, m.public_key, m.addresses, m.version, m.admitted_by, m.through_hlc,"
    " CASE WHEN m.through_hlc IS NULL THEN 'member' ELSE 'revoked' END AS state,"
    " coalesce(i.count, 0) AS events, i.newest FROM members m LEFT JOIN log_index i ON i.machine_id = m.id WHERE 1"
)


def list_members(db: sqlite3.Connection) -> list[Row]:
    """All members by name, this node among them; `addresses` is a list."""
    return [_read(row) for row in rows(db, f"{_SELECT} ORDER BY m.name, m.id")]


def find(db: sqlite3.Connection, ref: str) -> Row:
    """A member by id, unique prefix or name; NotFound or Ambiguous."""
    return _read(resolve(db, "node", _SELECT, ref, id_column="m.id", label_column="m.name"))


def _read(row: Row) -> Row:
    return {**row, "addresses": msgspec.json.decode(row["addresses"])}


def names(db: sqlite3.Connection) -> dict[str, str]:
    return dict(db.execute("SELECT id, name FROM members"))
