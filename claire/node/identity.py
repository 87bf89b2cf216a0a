"""Who this node is: its Ed25519 key file, the machine id made from it, signing and verifying."""

import base64
import hashlib
import os
import uuid
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from claire.node.errors import StorageError

KEY_BYTES = 32
_HINT = "put it back from where you keep it; if it is lost, `claire init` in a new home begins a node of its own"


class Identity:
    """A node's key pair. `machine_id` identifies and proves: nobody else can sign for it."""

    def __init__(self, private_bytes: bytes) -> None:
        self.key = Ed25519PrivateKey.from_private_bytes(private_bytes)
        self.public_key = self.key.public_key().public_bytes_raw()
        self.machine_id = machine_id(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte Ed25519 signature of `message` (RFC 8032)."""
        return self.key.sign(message)

    def sign_text(self, message: bytes) -> str:
        return encode_signature(self.key.sign(message))


def machine_id(public_key: bytes) -> str:
    """UUID (RFC 9562 version 8) made of the SHA-256 of a raw Ed25519 public key."""
    digest = bytearray(hashlib.sha256(public_key).digest()[:16])
    digest[6] = digest[6] & 0x0F | 0x80
    digest[8] = digest[8] & 0x3F | 0x80
    return str(uuid.UUID(bytes=bytes(digest)))


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """True if `signature` is `public_key`'s signature of `message` (RFC 8032)."""
    try:
        _public_key(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=1024)
def _public_key(public_key: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key)


def encode_signature(signature: bytes) -> str:
    """base64url without padding: 64 bytes become 86 characters."""
    return base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def decode_signature(text: str) -> bytes | None:
    """The 64 bytes, or None unless `text` is exactly what `encode_signature` writes."""
    if len(text) != 86 or not text.isascii():
        return None
    try:
        signature = base64.urlsafe_b64decode(text + "==")
    except ValueError:  # characters of no base64 are skipped, and the rest has a wrong length
        return None
    return signature if encode_signature(signature) == text else None


def create(path: str, entropy: bytes) -> Identity:
    """Write a new key file (0600), whole or not at all, and return its identity; FileExistsError if there is one."""
    unfinished = f"{path}.new"
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(entropy.hex() + "\n")
        file.flush()
        os.fsync(file.fileno())
    os.link(unfinished, path)
    os.unlink(unfinished)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)  # a node that has lost its key to a power cut would be nobody
    finally:
        os.close(folder)
    return Identity(entropy)


def load(path: str) -> Identity:
    """The identity in a key file; StorageError names what is wrong with it. A key is never made anew here."""
    try:
        mode = os.stat(path).st_mode
        with open(path, encoding="ascii") as file:
            private_bytes = bytes.fromhex(file.read().strip())
    except FileNotFoundError:
        raise StorageError(f"the key file {path} is missing", _HINT) from None
    except PermissionError:
        raise StorageError(f"the key file {path} cannot be read", f"chown it to yourself: chmod 600 {path}") from None
    except ValueError:
        raise StorageError(f"the key file {path} is damaged", _HINT) from None
    if len(private_bytes) != KEY_BYTES:
        raise StorageError(f"the key file {path} is empty or damaged", _HINT)
    if mode & 0o077:
        raise StorageError(f"the key file {path} can be read by others", f"chmod 600 {path}")
    return Identity(private_bytes)
