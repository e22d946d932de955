"""What an administrator sets in a tenant: frozen records of tenants, apps, credentials and mailboxes.

Nothing here moves by itself. What happens (sessions, messages, errors) is kept in `traffic`; what is broken on
purpose is a fault, a pure change of one of these records (`faults`).
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

# App roles and delegated scopes; Microsoft, "Authenticate an IMAP, POP or SMTP connection using OAuth".
SMTP_ROLE, SMTP_SCOPE = "SMTP.SendAsApp", "SMTP.Send"
IMAP_ROLE, IMAP_SCOPE = "IMAP.AccessAsApp", "IMAP.AccessAsUser.All"
POP_ROLE, POP_SCOPE = "POP.AccessAsApp", "POP.AccessAsUser.All"

FEDERATION_AUDIENCE = "api://AzureADTokenExchange"  # Microsoft, "Workload identity federation"

_START = datetime(2024, 1, 1, tzinfo=UTC)
_END = datetime(2099, 12, 31, tzinfo=UTC)  # far: a declared credential dies by a fault, not by the calendar


class Permission(StrEnum):
    """State of the app's FullAccess permission on one mailbox (`Add-MailboxPermission`)."""

    OK = "ok"
    PROPAGATING = "propagating"
    NONE = "none"


class OnHost(StrEnum):
    """Whether an app is a managed identity of the host, and which sort of it."""

    NO = "no"
    SYSTEM = "system"
    USER = "user"


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
    device_code_blocked: bool = False  # by a Conditional Access policy for authentication flows


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
class FederatedCredential:
    """A trust in the tokens of another issuer. All three are compared letter by letter."""

    issuer: str
    subject: str
    audience: str = FEDERATION_AUDIENCE


@dataclass(frozen=True, slots=True)
class App:
    """An app registration and its enterprise application in one tenant, or a managed identity (`on_host`).

    `exchange_registered`: whether `New-ServicePrincipal` was run in Exchange with the right object id. `scopes` are the
    delegated permissions that users have consented to; `public_client`: whether it may go without a credential of its own.
    """

    name: str
    client_id: str
    tenant: str
    object_id: str
    secrets: tuple[Secret, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    federated: tuple[FederatedCredential, ...] = ()
    on_host: OnHost = OnHost.NO
    public_client: bool = False
    scopes: tuple[str, ...] = ()
    refresh_life: timedelta = timedelta(days=90)  # of an unused refresh token; Microsoft, "Refresh tokens"
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

    `imap_enabled` and `pop_enabled` are switches of `Set-CASMailbox`; `disconnected` is trouble behind them, on
    Microsoft's side. `delivery_delay_s`, `loses_mail` and `junks_mail` hold for mail from and to this mailbox. A mailbox
    of another provider has a `password` and no tenant: Exchange only delivers to it.
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
    licensed: bool = True
    imap_enabled: bool = True
    pop_enabled: bool = True
    disconnected: bool = False
    imap_backoff_ms: int | None = None  # throttled, with the time that Exchange suggests to wait
    password: str | None = None
    delivery_delay_s: float = 0.0
    loses_mail: bool = False
    junks_mail: bool = False
    rewrites_message_id: bool = False
    sessions_revoked_at: datetime | None = None  # its user's: what was granted until then is not good any more

    def may_send_as(self, address: str) -> bool:
        """Whether a message from this mailbox may carry this address as its sender."""
        allowed = (self.address,) if self.send_as is None else self.send_as
        return address.lower() in {one.lower() for one in allowed}
