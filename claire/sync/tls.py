"""Pinned TLS: a node's certificate is its own key, and who dials checks for exactly the machine it expects.

Switched on by itself where the address is neither loopback nor tailnet. It keeps what is said between two nodes
confidential; who asks and who answers is proven by signatures, with or without it.
"""

import os
import ssl
import tempfile
from datetime import UTC, datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import NameOID

from claire.node.identity import Identity, machine_id
from claire.sync.discovery import on_tailnet

ANYBODY = "anybody.invalid"  # expected where it is not known yet who lives at an address
NOT_BEFORE, NOT_AFTER = datetime(2020, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def needed_at(address: str) -> bool:
    """True for an IP address that is neither loopback nor tailnet: there others may listen in."""
    return not (ip_address(address).is_loopback or on_tailnet(address))


def certificate(identity: Identity) -> x509.Certificate:
    """Self-signed, of the node's own key. It never expires: a key ends by being revoked."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, identity.machine_id)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(identity.key.public_key())
    return builder.serial_number(1).not_valid_before(NOT_BEFORE).not_valid_after(NOT_AFTER).sign(identity.key, None)


def server_context(identity: Identity, folder: str) -> ssl.SSLContext:
    """For a listener. OpenSSL reads a key from a file only: it is there, for us alone, while this function runs."""
    key = identity.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    fd, path = tempfile.mkstemp(dir=folder, prefix="listener-")  # 0600
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(key + certificate(identity).public_bytes(Encoding.PEM))
        context.load_cert_chain(path)
    finally:
        os.unlink(path)
    return context


def client_context() -> ssl.SSLContext:
    """For all connections to peers: the server name says which machine must prove itself in the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # no authority vouches for a node; Pinned checks the key itself
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.sslobject_class = Pinned
    return context


class Pinned(ssl.SSLObject):
    """A connection on which nothing is sent before the key of the other side is the expected one."""

    def do_handshake(self) -> None:
        super().do_handshake()
        if self.server_hostname != ANYBODY and machine_of(self.getpeercert(binary_form=True)) != self.server_hostname:
            raise ssl.SSLCertVerificationError("another machine answers there")


def machine_of(certificate_der: bytes | None) -> str:
    """The machine id made from the key of a certificate; "" if it is of no node."""
    if not certificate_der:
        return ""
    try:
        key = x509.load_der_x509_certificate(certificate_der).public_key()
    except (ValueError, UnsupportedAlgorithm):
        return ""
    if not isinstance(key, Ed25519PublicKey):
        return ""
    return machine_id(key.public_bytes(Encoding.Raw, PublicFormat.Raw))
