"""A private certificate authority, the one certificate that every peer presents, and those that no client should take."""

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.peers.mailboxes import DOMAIN
from tests.peers.process import temporary_home

HOST_NAMES = ("localhost", "127.0.0.1", "::1")
FLAWS = ("expired", "not-yet-valid", "wrong-name", "self-signed", "unknown-ca")

# Far from any day on which these tests run; trustme's own certificates are valid from 2000 to 3000.
_PAST = datetime(2001, 2, 3, tzinfo=UTC)
_FUTURE = datetime(2987, 6, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class FlawedCertificate:
    """A certificate that must be refused, for what is wrong with it alone: it is for `host`, unless that is the flaw."""

    host: str
    certificate_file: Path
    key_file: Path


@dataclass(frozen=True, slots=True)
class PrivateCA:
    """A CA that nobody trusts unless told: `ca_file` is its certificate; the others belong to `localhost`.

    `flawed` are by what is wrong with them (`FLAWS`).
    """

    ca_file: Path
    certificate_file: Path
    key_file: Path
    flawed: Mapping[str, FlawedCertificate]

    def client_context(self) -> ssl.SSLContext:
        """A context that trusts this CA alone and checks the host name."""
        return ssl.create_default_context(cafile=str(self.ca_file))


@contextmanager
def private_authority() -> Iterator[PrivateCA]:
    """Make the CA, a certificate for localhost and its addresses, and the flawed ones; they last as long as the block."""
    authority = trustme.CA(organization_name="mailcanary tests")
    leaf = authority.issue_cert(*HOST_NAMES)
    with temporary_home("ca") as home:
        flawed = {
            flaw: FlawedCertificate(f"{flaw}.{DOMAIN}", home / f"{flaw}.pem", home / f"{flaw}.key") for flaw in FLAWS
        }
        made = PrivateCA(home / "ca.pem", home / "localhost.pem", home / "localhost.key", flawed)
        authority.cert_pem.write_to_path(made.ca_file)
        _write(made.certificate_file, made.key_file, *_pems(leaf))
        for flaw, files in flawed.items():
            _write(files.certificate_file, files.key_file, *_flawed(authority, flaw, files.host))
        yield made


def _write(certificate_file: Path, key_file: Path, certificates: bytes, key: bytes) -> None:
    certificate_file.write_bytes(certificates)
    key_file.touch(mode=0o600)
    key_file.write_bytes(key)


def _pems(leaf: trustme.LeafCert) -> tuple[bytes, bytes]:
    return b"".join(part.bytes() for part in leaf.cert_chain_pems), leaf.private_key_pem.bytes()


def _flawed(authority: trustme.CA, flaw: str, host: str) -> tuple[bytes, bytes]:
    """Certificates and key, PEM."""
    match flaw:
        case "expired":
            return _pems(authority.issue_cert(host, not_after=_PAST))
        case "not-yet-valid":
            return _pems(authority.issue_cert(host, not_before=_FUTURE))
        case "wrong-name":
            return _pems(authority.issue_cert(f"other.{DOMAIN}"))
        case "unknown-ca":
            return _pems(trustme.CA(organization_name="somebody else").issue_cert(host))
        case _:
            return _self_signed(host)


def _self_signed(host: str) -> tuple[bytes, bytes]:
    """What `openssl req -x509` makes."""
    key, pem = ec.generate_private_key(ec.SECP256R1()), serialization.Encoding.PEM
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(_PAST)
        .not_valid_after(_FUTURE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private
