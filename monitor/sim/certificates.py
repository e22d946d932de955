"""The private CA of the simulator, its good and bad server certificates, and client certificates for apps."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from monitor.sim.records import Certificate

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("localhost", "127.0.0.1", "::1")


class ServerCertificates:
    """One CA that clients are to trust, and what servers may show instead of its certificate.

    The others are made when they are first asked for.
    """

    def __init__(self) -> None:
        self._ca = trustme.CA()
        self._ending: dict[str, ssl.SSLContext] = {}

    def write_ca(self, path: Path) -> None:
        """Write the CA's certificate as PEM, for clients to trust."""
        self._ca.cert_pem.write_to_path(str(path))

    def context(self, problem: str | None) -> ssl.SSLContext:
        """The server's TLS settings: good, or with a certificate that is expired, of a wrong name, of an unknown CA."""
        match problem:
            case "expired":
                return self._expired
            case "wrong_name":
                return self._wrong_name
            case "unknown_ca":
                return self._unknown_ca
            case _:
                return self._good

    def ending(self, name: str, days: float) -> ssl.SSLContext:
        """The server's TLS settings with a good certificate that ends so many days after this name was first used."""
        if name not in self._ending:
            ends = datetime.now(UTC) + timedelta(days=days)
            self._ending[name] = _context(self._ca.issue_cert(*NAMES, not_after=ends))
        return self._ending[name]

    @cached_property
    def _good(self) -> ssl.SSLContext:
        return _context(self._ca.issue_cert(*NAMES))

    @cached_property
    def _expired(self) -> ssl.SSLContext:
        ended = datetime.now(UTC) - timedelta(days=1)
        return _context(self._ca.issue_cert(*NAMES, not_before=ended - timedelta(days=90), not_after=ended))

    @cached_property
    def _wrong_name(self) -> ssl.SSLContext:
        return _context(self._ca.issue_cert("other.example"))

    @cached_property
    def _unknown_ca(self) -> ssl.SSLContext:
        return _context(trustme.CA().issue_cert(*NAMES))


def _context(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # Exchange Online takes nothing older
    leaf.configure_cert(context)
    return context


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A self-signed certificate for an app, with its private key, both as PEM."""

    key: bytes
    certificate: bytes

    @property
    def registered(self) -> Certificate:
        """The record to put among an app's certificates."""
        return Certificate.from_pem(self.certificate)

    def write(self, path: Path) -> None:
        """Write key and certificate into one PEM file that only its owner can read."""
        path.touch(mode=0o600)
        path.chmod(0o600)  # it may have been there before
        path.write_bytes(self.key + self.certificate)


def make_client_certificate(name: str, *, days: int = 365) -> ClientCertificate:
    """A new RSA key and a certificate for it, as an app's owner would make and upload it; costs about 0.1 s."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    begin = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    return ClientCertificate(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        certificate.public_bytes(serialization.Encoding.PEM),
    )
