"""Pairing two nodes by an invite: one line with addresses, key and a one-time secret, good for ten minutes.

Both sides prove with an HMAC of the transcript (both keys, both nonces) that they know the secret. The
invite is consumed in the transaction that admits, so of two joiners that race one gets in.
"""

import base64
import hmac
import re
import sqlite3
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta

from claire.node import members
from claire.node.errors import Refused, UsageError
from claire.node.identity import KEY_BYTES, machine_id
from claire.node.node import Node, Transaction
from claire.sync.auth import mac
from claire.sync.discovery import url_of

PAIR_PATH = "/api/sync/pair"
INVITE_MS = 600_000
BAD_TRIES_MAX = 5
SECRET_BYTES = 16
INVITES_MAX = 20  # live at a time
ADDRESSES_MAX = 8
PREFIX = "claire:"
UNKNOWN = "no such invite: it was used, is older than ten minutes, or the line is wrong"

Hex32 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Nonce = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
Name = Annotated[str, Meta(min_length=1, max_length=80)]


class Invite(msgspec.Struct, frozen=True):
    """What the line says; the secret is in no other place but the line."""

    invite_id: str
    public_key: str
    secret: str
    addresses: list[str]

    @property
    def machine_id(self) -> str:
        return machine_id(bytes.fromhex(self.public_key))


class Join(msgspec.Struct, frozen=True):
    """Body of POST pair: the joiner shows that it knows the secret."""

    invite_id: Annotated[str, Meta(max_length=32)]
    public_key: Hex32
    name: Name
    nonce: Nonce
    mac: Hex32


class Welcome(msgspec.Struct, frozen=True):
    """The answer: so does the inviter."""

    name: Name
    nonce: Nonce
    mac: Hex32


joins = msgspec.json.Decoder(Join)
welcomes = msgspec.json.Decoder(Welcome)


def write_line(invite: Invite) -> str:
    """`claire:<key><secret><id>.<addresses>` in base64url, one word to copy."""
    blob = bytes.fromhex(invite.public_key + invite.secret + invite.invite_id)
    addresses = ",".join(address.removeprefix("http://") for address in invite.addresses)
    return f"{PREFIX}{base64.urlsafe_b64encode(blob).rstrip(b'=').decode()}@{addresses}"


_LINE = re.compile(rf"{PREFIX}([A-Za-z0-9_-]{{75}})@(\S+)")


def read_line(line: str) -> Invite:
    match = _LINE.fullmatch(line.strip())
    if match is None:
        raise UsageError("this is not an invite", "copy the whole line that `claire peer invite` printed")
    blob = base64.urlsafe_b64decode(match[1] + "=").hex()
    key, secret = 2 * KEY_BYTES, 2 * SECRET_BYTES
    try:
        addresses = [url_of(address) for address in match[2].split(",")][:ADDRESSES_MAX]
    except ValueError as error:
        raise UsageError(f"this is not an invite: {error}") from None
    return Invite(blob[key + secret :], blob[:key], blob[key : key + secret], addresses)


def invite(node: Node) -> Invite:
    """A new invite of this node; where it is reached is added by who knows."""
    made = Invite(
        node.entropy(8).hex(),
        node.identity.public_key.hex(),
        node.entropy(SECRET_BYTES).hex(),
        [],
    )
    with node.writing() as tx:
        _forget_old(tx.db, node.now_ms())
        (live,) = tx.db.execute("SELECT count(*) FROM invites").fetchone()
        if live >= INVITES_MAX:
            raise Refused(f"{INVITES_MAX} invites are open", "they end by themselves within ten minutes")
        tx.db.execute(
            "INSERT INTO invites VALUES (?, ?, ?, 0)",
            (made.invite_id, _key(made.secret).hex(), node.now_ms() + INVITE_MS),
        )
        tx.wrote = True  # rings the daemon: its sync listener opens for an invite
    return made


def live_invites(db: sqlite3.Connection, now_ms: int) -> int:
    (live,) = db.execute("SELECT count(*) FROM invites WHERE expires_ms > ?", (now_ms,)).fetchone()
    return int(live)


def ask(node: Node, line: Invite, name: str, nonce: str) -> Join:
    """What the joiner sends."""
    own = node.identity.public_key.hex()
    if line.public_key == own:
        raise Refused(
            "this invite is of this node itself, or of the one this home was copied from",
            "if it was copied: claire identity rotate --copy, then join again",
        )
    proof = mac(_key(line.secret), "join", line.public_key, own, name, nonce)
    return Join(line.invite_id, own, name, nonce, proof)


def welcome(node: Node, join: Join, name: str, nonce: str) -> Welcome:
    """The inviter's side: admit the joiner if it knows the secret; Refused counts against the invite."""
    own = node.identity.public_key.hex()
    with node.reading() as db:  # a stranger who knows no invite costs us no write
        known = db.execute("SELECT 1 FROM invites WHERE id = ?", (join.invite_id,)).fetchone()
        cut_off = machine_id(bytes.fromhex(join.public_key)) in members.revoked(db)
    if cut_off:
        raise Refused("this key was revoked", "run `claire identity rotate` there, then join again")
    if known is None:
        raise Refused(UNKNOWN)
    with node.writing() as tx:
        key = _open(tx, join, own, node.now_ms())
        if key is not None:
            tx.db.execute("DELETE FROM invites WHERE id = ?", (join.invite_id,))
            members.admit(tx, join.public_key, join.name)
    if key is None:  # after the commit: the try must count
        raise Refused(UNKNOWN)
    return Welcome(name, nonce, mac(key, "welcome", own, join.public_key, name, join.nonce, nonce))


def accept(node: Node, line: Invite, sent: Join, answer: Welcome) -> str:
    """The joiner's side: admit the inviter once it has shown the secret too; its machine id."""
    proof = mac(_key(line.secret), "welcome", line.public_key, sent.public_key, answer.name, sent.nonce, answer.nonce)
    if not hmac.compare_digest(proof, answer.mac):
        raise Refused("whoever answered at this address does not know the invite's secret")
    return admit_inviter(node, line, answer.name)


def admit_inviter(node: Node, line: Invite, name: str) -> str:
    with node.writing() as tx:
        return members.admit(tx, line.public_key, name)


def _open(tx: Transaction, join: Join, own_key: str, now_ms: int) -> bytes | None:
    """The key of the invite this join proves to know; a wrong proof counts against the invite."""
    _forget_old(tx.db, now_ms)
    row = tx.db.execute("SELECT secret_hash FROM invites WHERE id = ?", (join.invite_id,)).fetchone()
    if row is None:
        return None
    key = bytes.fromhex(row[0])
    proof = mac(key, "join", own_key, join.public_key, join.name, join.nonce)
    if hmac.compare_digest(proof, join.mac):
        return key
    tx.db.execute("UPDATE invites SET bad_tries = bad_tries + 1 WHERE id = ?", (join.invite_id,))
    return None


def _forget_old(db: sqlite3.Connection, now_ms: int) -> None:
    db.execute("DELETE FROM invites WHERE expires_ms <= ? OR bad_tries >= ?", (now_ms, BAD_TRIES_MAX))


def _key(secret: str) -> bytes:
    """What an invite is stored as: the database never holds the secret itself."""
    return sha256(b"claire-invite-v1\n" + bytes.fromhex(secret)).digest()
