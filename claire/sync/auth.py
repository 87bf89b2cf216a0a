"""Signed requests between nodes: who asks, whom, what and when; no request counts twice.

A request signs the receiver's audience, `<machine id>/<boot>`: the boot is drawn when a receiver starts,
so what was recorded on the wire before is worth nothing after. It begins with the boot of the node, by which
two copies of a home, with one key, tell each other from themselves. The hash of the body stands in the header:
a stranger is refused before its body is read. An answer is signed over the request's nonce.
"""

import hmac
import threading
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from claire.node.errors import ClaireError
from claire.node.identity import Identity, decode_signature, encode_signature, verify

SCHEME = "Claire1"
SKEW_MS_MAX = 300_000
NONCES_MAX = 20_000  # remembered of one machine; one that asks more in ten minutes waits, and only that one
HEADER_CHARS_MAX = 300
NONCE_BYTES = 12
AUDIENCE_HEADER = "claire-audience"
SIGNATURE_HEADER = "node-sig"  # short: an idle round is to stay small


STRANGER = "not a member of this fleet"
FORGED = "the signature does not verify"


class Unauthorized(ClaireError):
    """The request does not prove what it must; `status` is 401 or 403."""

    exit_code = 5

    def __init__(self, message: str, status: int = 401) -> None:
        super().__init__(message)
        self.status = status


class Revoked(Unauthorized):
    """It proves who it is, and that one was cut off."""

    def __init__(self, machine_id: str) -> None:
        super().__init__("this node was revoked", 403)
        self.machine_id = machine_id


class Request(NamedTuple):
    """What of a request is signed beside its body. `target` is path and query as sent."""

    method: str
    target: str


class Claim(NamedTuple):
    """What the Authorization header says."""

    machine_id: str
    time_ms: int
    nonce: str
    body_hash: str
    signature: bytes

    def covers(self, body: bytes) -> bool:
        return hmac.compare_digest(self.body_hash.encode(), hash_of(body).encode())


def hash_of(body: bytes) -> str:
    """SHA-256 in hex; nothing for no body, which keeps an idle round small."""
    return sha256(body).hexdigest() if body else ""


def sign(identity: Identity, request: Request, body: bytes, audience: str, now_ms: int, nonce: str) -> str:
    """The Authorization header of a request to `audience`."""
    body_hash = hash_of(body)
    signature = encode_signature(identity.sign(_request_bytes(request, body_hash, audience, now_ms, nonce)))
    return f"{SCHEME} {identity.machine_id}:{now_ms}:{nonce}:{body_hash}:{signature}"


def new_nonce(entropy: bytes) -> str:
    """NONCE_BYTES of entropy as text."""
    return encode_signature(entropy)


def sign_answer(identity: Identity, nonce: str, status: int, body: bytes) -> str:
    return encode_signature(identity.sign(_answer_bytes(nonce, status, body)))


def answer_is_signed(public_key: bytes, nonce: str, status: int, body: bytes, signature: str) -> bool:
    raw = decode_signature(signature)
    return raw is not None and verify(public_key, _answer_bytes(nonce, status, body), raw)


class Door:
    """Checks the requests that come to one running node; remembers which it has seen."""

    def __init__(self, machine_id: str, boot: str) -> None:
        self.audience = f"{machine_id}/{boot}"
        self._nonces: dict[str, dict[str, int]] = {}  # machine -> nonce -> when it may be forgotten, in that order
        self._lock = threading.Lock()  # whoever checks in threads: of two that are equal one is new

    def admit(self, request: Request, header: str, keys: Mapping[str, bytes], now_ms: int) -> Claim:
        """What the node that signed this request claims; Unauthorized says what is wrong.

        Its body counts only if the claim covers it.
        """
        claim = _parse(header)
        key = keys.get(claim.machine_id)
        if key is None:
            raise Unauthorized(STRANGER)
        message = _request_bytes(request, claim.body_hash, self.audience, claim.time_ms, claim.nonce)
        if not verify(key, message, claim.signature):
            raise Unauthorized(FORGED)
        ahead_ms = claim.time_ms - now_ms
        if abs(ahead_ms) > SKEW_MS_MAX:
            raise Unauthorized(_skew(ahead_ms))
        with self._lock:
            self._remember(claim.machine_id, claim.nonce, now_ms)
        return claim

    def _remember(self, machine_id: str, nonce: str, now_ms: int) -> None:
        seen = self._nonces.setdefault(machine_id, {})
        while seen and (oldest := next(iter(seen.items())))[1] <= now_ms:
            del seen[oldest[0]]
        if nonce in seen:
            raise Unauthorized("this request was made before")
        if len(seen) >= NONCES_MAX:
            raise Unauthorized("too many requests", 503)
        seen[nonce] = now_ms + 2 * SKEW_MS_MAX


def machine_of(audience: str) -> str:
    return audience.partition("/")[0]


def is_own(audience: str, machine_id: str, boot: str) -> bool:
    """Whether this is an audience of this very node, and not of a copy of it that runs elsewhere."""
    return audience.startswith(f"{machine_id}/{boot}-")


def _skew(ahead_ms: int) -> str:
    seconds = abs(ahead_ms) // 1000
    return f"your clock is {seconds} s {'ahead of' if ahead_ms > 0 else 'behind'} mine; set it right"


def _parse(header: str) -> Claim:
    scheme, _, rest = header.partition(" ")
    parts = rest.split(":")
    if scheme != SCHEME or len(parts) != 5 or len(rest) > HEADER_CHARS_MAX:
        raise Unauthorized("not signed")
    machine_id, time_ms, nonce, body_hash, signature = parts
    raw = decode_signature(signature)
    if not (time_ms.isdecimal() and time_ms.isascii() and len(time_ms) <= 15) or raw is None:
        raise Unauthorized("not signed")
    return Claim(machine_id, int(time_ms), nonce, body_hash, raw)


def _request_bytes(request: Request, body_hash: str, audience: str, now_ms: int, nonce: str) -> bytes:
    text = f"claire-request-v1\n{request.method}\n{request.target}\n{body_hash}\n{audience}\n{now_ms}\n{nonce}"
    return text.encode()


def _answer_bytes(nonce: str, status: int, body: bytes) -> bytes:
    return f"claire-answer-v1\n{nonce}\n{status}\n{sha256(body).hexdigest()}".encode()


def mac(key: bytes, *parts: str) -> str:
    """HMAC-SHA256 over parts that may hold anything, in hex."""
    text = "\n".join(f"{len(part.encode())}:{part}" for part in parts)
    return hmac.new(key, text.encode(), sha256).hexdigest()
