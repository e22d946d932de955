"""What an administrator sets in a tenant: frozen records of tenants, apps, credentials and mailboxes.

Nothing here moves by itself. What happens (sessions, messages, errors) is kept in `traffic`; what is broken on
purpose is a fault, a pure change of one of these records (`faults`).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

SMTP_ROLE = (
    "SMTP.SendAsApp"  # the app role of SMTP; Microsoft, "Authenticate an IMAP, POP or SMTP connection using OAuth"
)

_START = datetime(2024, 1, 1, tzinfo=UTC)
_END = datetime(2099, 12, 31, tzinfo=UTC)  # far: a declared credential dies by a fault, not by the calendar


class Permission(StrEnum):
    """State of the app's FullAccess permission on one mailbox (`Add-MailboxPermission`)."""

    OK = "ok"
    PROPAGATING = "propagating"
    NONE = "none"


class Throttle(StrEnum):
    """Reasons of Exchange's continuous error throttling, in its own words."""

    MAILBOX_FULL = "mailbox full"
    SEND_AS_DENIED = "send as denied"
    INVALID_LICENSE = "invalid license"
    TOO_MANY_RECIPIENTS = "too many recipients"
    INVALID_RECIPIENTS = "invalid recipients"


@dataclass(frozen=True, slots=True)
class Tenant:
    """One Entra tenant with its Exchange organisation.

    `smtp_auth_disabled` is the organisation's switch (`Set-TransportConfig -SmtpClientAuthenticationDisabled`).
    """

    id: str
    domain: str
    exists: bool = True
    smtp_auth_disabled: bool = False
    throttled: bool = False


@dataclass(frozen=True, slots=True)
class Secret:
    """A client secret: its value and the time in which it is good."""

    value: str
    starts_at: datetime = _START
    ends_at: datetime = _END


@dataclass(frozen=True, slots=True)
class Certificate:
    """The public half of a client certificate, as uploaded to the app registration."""

    public: x509.Certificate
    key: rsa.RSAPublicKey
    starts_at: datetime
    ends_at: datetime

    @classmethod
    def from_pem(cls, pem: bytes) -> Certificate:
        """The record of a PEM certificate, good for as long as the certificate says. `TypeError` if it is not RSA."""
        public = x509.load_pem_x509_certificate(pem)
        key = public.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError("Entra ID verifies client assertions with RSA keys only")
        return cls(public, key, public.not_valid_before_utc, public.not_valid_after_utc)

    @property
    def x5t(self) -> str:
        """SHA-1 thumbprint as the JWT header `x5t` carries it (RFC 7515, 4.1.7)."""
        return _thumbprint(self.public.fingerprint(hashes.SHA1()))  # noqa: S303  RFC 7515 defines this header so

    @property
    def x5t_s256(self) -> str:
        """SHA-256 thumbprint as the JWT header `x5t#S256` carries it (RFC 7515, 4.1.8)."""
        return _thumbprint(self.public.fingerprint(hashes.SHA256()))


def _thumbprint(digest: bytes) -> str:
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class App:
    """An app registration and its enterprise application in one tenant.

    `exchange_registered`: whether `New-ServicePrincipal` was run in Exchange with the right object id.
    """

    name: str
    client_id: str
    tenant: str
    object_id: str
    secrets: tuple[Secret, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    roles: tuple[str, ...] = (SMTP_ROLE,)
    exists: bool = True
    enabled: bool = True
    service_principal: bool = True
    exchange_registered: bool = True
    conditional_access_block: bool = False


@dataclass(frozen=True, slots=True)
class Mailbox:
    """One mailbox of a tenant, with what decides whether an app may send as it.

    `smtp_auth_disabled` has the three states of `Set-CASMailbox`: true is off, false is on, none is the tenant's.
    `rbac_apps` are client ids with "Application SMTP.SendAsApp" by RBAC for Applications, which works without the
    role in the token and without a mailbox permission. `send_as` lists the addresses a message may come from; when
    none are declared it is the mailbox's own.
    """

    address: str
    tenant: str
    smtp_auth_disabled: bool | None = None
    permission: Permission = Permission.OK
    refused_at_auth: bool = False  # a missing permission has been seen both as 535 at AUTH and as 430 after DATA
    rbac_apps: tuple[str, ...] = ()
    send_as: tuple[str, ...] | None = None
    full: bool = False
    restricted: bool = False
    busy: bool = False
    throttle: Throttle | None = None
    daily_recipients: int = 10_000  # per 24 hours; Microsoft, "SMTP submission improvements"

    def may_send_as(self, address: str) -> bool:
        """Whether a message from this mailbox may carry this address as its sender."""
        allowed = (self.address,) if self.send_as is None else self.send_as
        return address.lower() in {one.lower() for one in allowed}
