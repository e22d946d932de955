"""Certificates that a server presents, read into words. All of it is foreign: any field may be missing or huge."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

# Chains of public servers have two to four certificates. OpenSSL takes 100 kB of them (SSL_CTX_set_max_cert_list(3)).
MAX_CHAIN = 8
_MAX_NAME = 120  # characters of a subject or an issuer that are kept
_MAX_HOSTS = 4  # names of a certificate that are shown; public ones carry up to a hundred
_MAX_HOST = 60
_LAST_WORD = re.compile(r"[^\s,]*\Z")
_DAY = 86400.0
_MAX_SHOWN = 2  # certificates that a text has room for

# What `cryptography` raises for a certificate that OpenSSL took: it reads more strictly, and only what is asked for.
_UNREADABLE = (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, x509.InvalidVersion)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What is read of one certificate; `hosts` are its DNS names and IP addresses."""

    subject: str
    issuer: str
    hosts: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    fingerprint: str

    def days_left(self, now: datetime) -> float:
        """Days until it ends; negative when it has ended."""
        return (self.not_after - now).total_seconds() / _DAY

    def __str__(self) -> str:
        hosts = ", ".join(_cut(host, _MAX_HOST) for host in self.hosts[:_MAX_HOSTS])
        if len(self.hosts) > _MAX_HOSTS:
            hosts += f" and {len(self.hosts) - _MAX_HOSTS} more"
        # By colons, as OpenSSL writes it: 64 hexadecimal digits in a row look like a secret and would be masked.
        digest = ":".join(self.fingerprint[at : at + 2] for at in range(0, len(self.fingerprint), 2))
        return (
            f"subject {self.subject}, issuer {self.issuer}, for {hosts or 'no name'}, "
            f"{self.not_before:%Y-%m-%d} to {self.not_after:%Y-%m-%d}, SHA-256 {digest}"
        )


def read(ders: Iterable[bytes]) -> Iterator[tuple[int, Certificate]]:
    """Every certificate that can be read, with its position."""
    for position, der in enumerate(ders):
        if position == MAX_CHAIN:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns of odd serial numbers and the like: not our certificates
                certificate = _read(der)
        except _UNREADABLE:
            continue
        yield position, certificate


def _read(der: bytes) -> Certificate:
    certificate = x509.load_der_x509_certificate(der)
    return Certificate(
        subject=_cut(certificate.subject.rfc4514_string(), _MAX_NAME),
        issuer=_cut(certificate.issuer.rfc4514_string(), _MAX_NAME),
        hosts=_hosts(certificate),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=hashlib.sha256(der).hexdigest(),
    )


def _hosts(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return (*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress)))


def _cut(text: str, length: int) -> str:
    """At most so many characters; no first half of a word, which might be somebody's address and be known no more."""
    return text if len(text) <= length else _LAST_WORD.sub("", text[: length - 1]) + "…"


def described(ders: Sequence[bytes]) -> str:
    """What was presented, in one line; unredacted."""
    known = list(read(ders[:_MAX_SHOWN]))
    if not known:
        return "nothing readable was presented"
    more = f"; {len(ders) - _MAX_SHOWN} more" if len(ders) > _MAX_SHOWN else ""
    return "presented: " + "; ".join(f"{position}: {certificate}" for position, certificate in known) + more
