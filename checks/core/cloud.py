"""Where a cloud's servers are, and how each is reached: plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import urlsplit


class TlsMode(StrEnum):
    """How a connection becomes TLS: by the STARTTLS command (RFC 3207) or from the first byte (RFC 8314)."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A host and port that is probed. `ca_file` names a private CA; without one the system's CAs are trusted."""

    host: str
    port: int
    tls: TlsMode = TlsMode.STARTTLS
    ca_file: str | None = None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Family(StrEnum):
    """Which addresses of a host are used."""

    ANY = "any"
    IPV4 = "ipv4"
    IPV6 = "ipv6"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cloud:
    """One Microsoft cloud, or a private stand-in for it: where its authority and its mail servers are.

    `alternatives` are further SMTP endpoints by name, such as that of High Volume Email.
    """

    name: str
    authority: str
    scope: str
    smtp: Endpoint
    imap: Endpoint | None = None
    pop: Endpoint | None = None
    graph: str | None = None
    alternatives: tuple[tuple[str, Endpoint], ...] = ()
    ca_file: str | None = None

    @property
    def authority_endpoint(self) -> Endpoint:
        """Where the authority answers: HTTPS."""
        parts = urlsplit(self.authority)
        return Endpoint(host=parts.hostname or "", port=parts.port or 443, tls=TlsMode.IMPLICIT, ca_file=self.ca_file)
