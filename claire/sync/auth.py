"""Signed requests between nodes: who asks, whom, what and when; no request counts twice.

A request signs the receiver's audience, `<machine id>/<boot>`: the boot is drawn when a receiver starts,
so what was recorded on the wire before is worth nothing after. An answer is signed over the request's nonce.
"""

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import NamedTuple

from claire.node.errors import ClaireError
from claire.node.identity import Identity, decode_signature, encode_signature, verify

SCHEME = "Claire1"
SKEW_MS_MAX = 300_000
NONCES_MAX = 100_000  # remembered; a fleet that asks more in ten minutes waits
NONCE_BYTES = 16
AUDIENCE_HEADER = "claire-audience"
SIGNATURE_HEADER = "claire-signature"


class Unauthorized(ClaireError):
    """The request does not prove what it must; `status` is 401 or 403."""

    exit_code = 5

    def __init__(self, message: str, status: int = 401) -> None:
        super().__init__(message)
        self.status = status


class Request(NamedTuple):
    """What of a request is signed. `target` is path and query as sent."""

    method: str
    target: str
    body: bytes


class _Claim(NamedTuple):
    machine_id: str
    time_ms: int
    nonce: str
    signature: bytes


def sign(identity: Identity, request: Request, audience: str, now_ms: int, nonce: str) -> str:
    """The Authorization header of a request to `audience`."""
    signature = encode_signature(identity.sign(_request_bytes(request, audience, now_ms, nonce)))
    return f"{SCHEME} {identity.machine_id}:{now_ms}:{nonce}:{signature}"


def sign_answer(identity: Identity, nonce: str, status: int, body: bytes) -> str:
    return encode_signature(identity.sign(_answer_bytes(nonce, status, body)))


def answer_is_signed(public_key: bytes, nonce: str, status: int, body: bytes, signature: str) -> bool:
    raw = decode_signature(signature)
    return raw is not None and verify(public_key, _answer_bytes(nonce, status, body), raw)


class Door:
    """Checks the requests that come to one running node; remembers which it has seen."""

    def __init__(self, machine_id: str, boot: str) -> None:
        self.audience = f"{machine_id}/{boot}"
        self._nonces: dict[tuple[str, str], int] = {}  # (machine, nonce) -> when it may be forgotten, in that order

    def admit(self, request: Request, header: str, keys: Mapping[str, bytes], now_ms: int) -> tuple[str, str]:
        """(machine id, nonce) of the node that signed this request; Unauthorized says what is wrong."""
        claim = _parse(header)
        key = keys.get(claim.machine_id)
        if key is None:
            raise Unauthorized("not a member of this fleet")
        message = _request_bytes(request, self.audience, claim.time_ms, claim.nonce)
        if not verify(key, message, claim.signature):
            raise Unauthorized("the signature does not verify")
        ahead_ms = claim.time_ms - now_ms
        if abs(ahead_ms) > SKEW_MS_MAX:
            raise Unauthorized(_skew(ahead_ms))
        self._remember((claim.machine_id, claim.nonce), now_ms)
        return claim.machine_id, claim.nonce

    def _remember(self, seen: tuple[str, str], now_ms: int) -> None:
        for known, until in list(self._nonces.items()):
            if until > now_ms:
                break
            del self._nonces[known]
        if seen in self._nonces:
            raise Unauthorized("this request was made before")
        if len(self._nonces) >= NONCES_MAX:
            raise Unauthorized("too many requests", 503)
        self._nonces[seen] = now_ms + 2 * SKEW_MS_MAX


def machine_of(audience: str) -> str:
    return audience.partition("/")[0]


def _skew(ahead_ms: int) -> str:
    seconds = abs(ahead_ms) // 1000
    return f"your clock is {seconds} s {'ahead of' if ahead_ms > 0 else 'behind'} mine; set it right"


def _parse(header: str) -> _Claim:
    scheme, _, rest = header.partition(" ")
    parts = rest.split(":")
    if scheme != SCHEME or len(parts) != 4 or len(rest) > 300:
        raise Unauthorized("not signed")
    machine_id, time_ms, nonce, signature = parts
    raw = decode_signature(signature)
    if not (time_ms.isdecimal() and time_ms.isascii() and len(time_ms) <= 15) or raw is None:
        raise Unauthorized("not signed")
    return _Claim(machine_id, int(time_ms), nonce, raw)


def _request_bytes(request: Request, audience: str, now_ms: int, nonce: str) -> bytes:
    body = sha256(request.body).hexdigest()
    text = f"claire-request-v1\n{request.method}\n{request.target}\n{body}\n{audience}\n{now_ms}\n{nonce}"
    return text.encode()


def _answer_bytes(nonce: str, status: int, body: bytes) -> bytes:
    return f"claire-answer-v1\n{nonce}\n{status}\n{sha256(body).hexdigest()}".encode()


def mac(key: bytes, *parts: str) -> str:
    """HMAC-SHA256 over parts that may hold anything, in hex."""
    text = "\n".join(f"{len(part.encode())}:{part}" for part in parts)
    return hmac.new(key, text.encode(), sha256).hexdigest()
