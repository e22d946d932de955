"""Client certificates from PEM or PFX files, as the one form that the checks use: key and certificate in PEM."""

from __future__ import annotations

import re
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)

from checks.core.material import ClientCertificate
from checks.core.secret import Secret

_PFX = {".pfx", ".p12"}
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----.+?-----END [A-Z ]*PRIVATE KEY-----", re.DOTALL)


def read_certificate(path: Path, passphrase: Secret | None) -> ClientCertificate:
    """Key and matching certificate, whatever else the file holds and in whatever order. Raises ValueError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    password = passphrase.reveal().encode() if passphrase else None
    try:
        key, certificates = (
            _from_pfx(content, password) if path.suffix.lower() in _PFX else _from_pem(content, password)
        )
    except (ValueError, TypeError) as error:
        unreadable = "is the passphrase right?" if password else "if it is encrypted, name its `passphrase`"
        reason = str(error) if isinstance(error, _UnusableError) else f"cannot be decoded: {unreadable}"
        raise ValueError(f"{path}: {reason}") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError(f"{path}: Entra ID takes RSA keys only")  # noqa: TRY004 - the file is wrong, not our types
    public = _public(key.public_key())
    own = next((one for one in certificates if _public(one.public_key()) == public), None)
    if own is None:
        raise ValueError(f"{path}: none of the certificates in it ({len(certificates)}) belongs to its private key")
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return ClientCertificate(key_pem=Secret(pem), certificate_pem=own.public_bytes(Encoding.PEM).decode())


class _UnusableError(ValueError):
    pass


def _public(key: object) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined,no-any-return]  # every public key has it; their union type does not say so


def _from_pfx(content: bytes, password: bytes | None) -> tuple[object, list[x509.Certificate]]:
    key, certificate, others = pkcs12.load_key_and_certificates(content, password)
    if key is None:
        raise _UnusableError("holds no private key")
    return key, [*([certificate] if certificate else []), *others]


def _from_pem(content: bytes, password: bytes | None) -> tuple[object, list[x509.Certificate]]:
    found = _KEY.search(content)
    if found is None:
        raise _UnusableError("holds no private key")
    if b"BEGIN CERTIFICATE" not in content:
        raise _UnusableError("holds no certificate")
    return load_pem_private_key(found.group(), password), x509.load_pem_x509_certificates(content)
