"""The closed table of faults: what can be broken in this Microsoft 365, as data.

A fault of a tenant, an app or a mailbox is a pure change of its record; repairing is leaving that change out, so
faults may overlap and be repaired in any order. A fault of a server has no record: the server asks for it in the
phase in which it bites (`world.World.wire_fault`).

A new fault is one row here; the contract test over this table exercises it from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from monitor.sim import fault_settings as s
from monitor.sim.records import OnHost, Permission

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from monitor.sim.records import App, Mailbox

Subject = Literal["tenant", "app", "mailbox", "server"]


class FaultError(ValueError):
    """A fault that cannot be: unknown name, unknown subject, wrong settings. Its text is for the one who asked."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One row: a fault that can be injected.

    `subject` is the sort of thing it happens to; `change` is its effect on that record, none for servers, which are
    listed in `servers`.
    """

    name: str
    subject: Subject
    summary: str
    settings: type[s.Settings] = s.Settings
    change: Callable[[Any, Any, datetime], Any] | None = None
    servers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that is in force."""

    id: str
    kind: Kind
    subject: str
    settings: s.Settings
    since: datetime

    def describe(self) -> dict[str, object]:
        """The fault as plain JSON, in the shape in which it can be injected again."""
        return {
            "id": self.id,
            "fault": self.kind.name,
            "subject": self.subject,
            "since": self.since.isoformat(),
            **self.settings.model_dump(mode="json"),
        }


def _expire_secrets(app: App, _: s.Settings, since: datetime) -> App:
    ended = since - timedelta(seconds=1)
    return replace(app, secrets=tuple(replace(secret, ends_at=ended) for secret in app.secrets))


def _exchange_secrets(app: App, _: s.Settings, __: datetime) -> App:
    return replace(app, secrets=tuple(replace(secret, value=f"another~{secret.value}") for secret in app.secrets))


def _expire_certificates(app: App, _: s.Settings, since: datetime) -> App:
    ended = since - timedelta(seconds=1)
    return replace(app, certificates=tuple(replace(one, ends_at=ended) for one in app.certificates))


def _refuse_permission(mailbox: Mailbox, settings: s.PermissionMissing, _: datetime) -> Mailbox:
    return replace(mailbox, permission=Permission.NONE, refused_at_auth=settings.refused_at == "auth")


def _throttle(mailbox: Mailbox, settings: s.SenderThrottled, _: datetime) -> Mailbox:
    return replace(mailbox, throttle=settings.reason)


def _distrust(part: str) -> Callable[[Any, Any, datetime], Any]:
    """Trust another issuer, subject or audience than before."""

    def change(app: App, _: s.Settings, __: datetime) -> App:
        others = (replace(one, **{part: f"{getattr(one, part)}-renamed"}) for one in app.federated)
        return replace(app, federated=tuple(others))

    return change


def _revoke_sessions(mailbox: Mailbox, _: s.Settings, since: datetime) -> Mailbox:
    return replace(mailbox, sessions_revoked_at=since)


def _set(**fields: Any) -> Callable[[Any, Any, datetime], Any]:
    """A change that does not depend on the fault's settings."""
    return lambda record, _settings, _since: replace(record, **fields)


def _delay(mailbox: Mailbox, settings: s.DeliveryDelayed, _: datetime) -> Mailbox:
    return replace(mailbox, delivery_delay_s=settings.seconds)


def _throttle_imap(mailbox: Mailbox, settings: s.ImapThrottled, _: datetime) -> Mailbox:
    return replace(mailbox, imap_backoff_ms=settings.milliseconds)


_ALL = ("smtp", "entra", "imap", "pop")
_MAIL = ("smtp", "imap", "pop")
_READING = ("imap", "pop")
_SMTP = ("smtp",)
_ENTRA = ("entra",)

_ROWS = (
    Kind("tenant_unknown", "tenant", "The tenant is gone: AADSTS90002.", change=_set(exists=False)),
    Kind("tenant_throttled", "tenant", "Too many token requests in the tenant: 429, AADSTS90055.", change=_set(throttled=True)),
    Kind("smtp_auth_disabled_tenant", "tenant", "SMTP AUTH switched off for the organisation.", change=_set(smtp_auth_disabled=True)),
    Kind("device_code_blocked", "tenant", "A policy blocks sign-ins by device code: AADSTS530036.", change=_set(device_code_blocked=True)),
    Kind("app_missing", "app", "The app registration was deleted: AADSTS700016.", change=_set(exists=False)),
    Kind("app_disabled", "app", "The enterprise app was disabled: AADSTS7000112.", change=_set(enabled=False)),
    Kind("service_principal_missing", "app", "No enterprise app in the tenant: AADSTS7000229.", change=_set(service_principal=False)),
    Kind("secret_expired", "app", "All client secrets ended just now: AADSTS7000222.", change=_expire_secrets),
    Kind("secret_wrong", "app", "The secrets were replaced by others: AADSTS7000215.", change=_exchange_secrets),
    Kind("certificate_removed", "app", "No certificate is registered any more: AADSTS700027.", change=_set(certificates=())),
    Kind("certificate_expired", "app", "The registered certificates ended just now: AADSTS700027.", change=_expire_certificates),
    Kind("federation_missing", "app", "No federated credential, or none yet: AADSTS70021.", change=_set(federated=())),
    Kind("federation_issuer", "app", "The federated credential names another issuer: AADSTS700211.", change=_distrust("issuer")),
    Kind("federation_audience", "app", "The federated credential names another audience: AADSTS700212.", change=_distrust("audience")),
    Kind("federation_subject", "app", "The federated credential names another subject: AADSTS700213.", change=_distrust("subject")),
    Kind("host_identity_removed", "app", "The managed identity was taken from the host.", change=_set(on_host=OnHost.NO)),
    Kind("refresh_token_expired", "app", "Refresh tokens are as if unused for 90 days: AADSTS700082.", change=_set(refresh_life=timedelta(0))),
    Kind("delegated_consent_revoked", "app", "Users' consent was taken back: AADSTS65001.", change=_set(scopes=())),
    Kind("public_client_disabled", "app", "Public client flows are switched off: AADSTS7000218.", change=_set(public_client=False)),
    Kind("conditional_access", "app", "A Conditional Access policy blocks the app: AADSTS53003.", change=_set(conditional_access_block=True)),
    Kind("consent_revoked", "app", "Tokens come without roles; SMTP answers 535 5.7.3.", change=_set(roles=())),
    Kind("exchange_unregistered", "app", "Exchange does not know the service principal: 535 5.7.3.", change=_set(exchange_registered=False)),
    Kind("smtp_auth_disabled_mailbox", "mailbox", "SMTP AUTH switched off for the mailbox.", change=_set(smtp_auth_disabled=True)),
    Kind("permission_missing", "mailbox", "The app has no permission on the mailbox.", s.PermissionMissing, _refuse_permission),
    Kind("permission_propagating", "mailbox", "The permission was granted but is not there yet: 430 after DATA.", change=_set(permission=Permission.PROPAGATING)),
    Kind("send_as_denied", "mailbox", "No address may be sent from: 554 5.2.252.", change=_set(send_as=())),
    Kind("mailbox_full", "mailbox", "The mailbox is over its quota: 554 5.2.2.", change=_set(full=True)),
    Kind("mailbox_busy", "mailbox", "Others hold all three sessions of the mailbox: 432 4.3.2.", change=_set(busy=True)),
    Kind("recipient_quota_exceeded", "mailbox", "The daily recipients are used up: 554 5.2.0.", change=_set(daily_recipients=0)),
    Kind("sender_restricted", "mailbox", "The sender is blocked for spam: 550 5.1.8.", change=_set(restricted=True)),
    Kind("sender_throttled", "mailbox", "Continuous error throttling is in force: 550 5.2.25x.", s.SenderThrottled, _throttle),
    Kind("sessions_revoked", "mailbox", "The user's sessions were revoked just now: AADSTS50173.", change=_revoke_sessions),
    Kind("licence_removed", "mailbox", "No licence: IMAP is authenticated but not connected. SMTP goes on.", change=_set(licensed=False)),
    Kind("imap_disabled", "mailbox", "IMAP switched off: authenticated but not connected.", change=_set(imap_enabled=False)),
    Kind("pop_disabled", "mailbox", "POP switched off: the log-on is refused.", change=_set(pop_enabled=False)),
    Kind("not_connected", "mailbox", "Trouble at Microsoft: IMAP is authenticated but not connected.", change=_set(disconnected=True)),
    Kind("imap_throttled", "mailbox", "IMAP commands are refused with a time to wait.", s.ImapThrottled, _throttle_imap),
    Kind("delivery_delayed", "mailbox", "Mail from and to the mailbox arrives late.", s.DeliveryDelayed, _delay),
    Kind("delivery_lost", "mailbox", "Mail from and to the mailbox is accepted and never arrives.", change=_set(loses_mail=True)),
    Kind("delivery_junked", "mailbox", "Mail from and to the mailbox arrives in Junk Email.", change=_set(junks_mail=True)),
    Kind("message_id_rewritten", "mailbox", "Mail from the mailbox gets another Message-ID, as Outlook.com does it.", change=_set(rewrites_message_id=True)),
    Kind("refused", "server", "The port refuses connections; open ones are reset.", servers=_ALL),
    Kind("silent", "server", "Nothing is said from this phase on.", s.AtPhase, servers=_ALL),
    Kind("drip", "server", "The proper answer comes byte by byte.", s.Drip, servers=_ALL),
    Kind("reset", "server", "The connection is reset (RST).", s.AtPhase, servers=_ALL),
    Kind("closed", "server", "The connection is closed without a word.", s.AtPhase, servers=_ALL),
    Kind("nonsense", "server", "Something that is not the protocol.", s.Nonsense, servers=_ALL),
    Kind("certificate", "server", "A certificate that must not be trusted.", s.BadCertificate, servers=_ALL),
    Kind("certificate_ends_soon", "server", "A certificate that is good, but not for long.", s.EndingCertificate, servers=_ALL),
    Kind("unavailable", "server", "The log-on is answered with Server Unavailable.", servers=_READING),
    Kind("smtp_reply", "server", "A literal reply.", s.SmtpReply, servers=_SMTP),
    Kind("no_starttls", "server", "STARTTLS is neither offered nor known.", servers=_SMTP),
    Kind("no_xoauth2", "server", "XOAUTH2 is neither offered nor known.", servers=_MAIL),
    Kind("gmail_challenge", "server", "Refused tokens get Gmail's 334 challenge first.", servers=_SMTP),
    Kind("http_reply", "server", "A literal HTTP answer.", s.HttpReply, servers=_ENTRA),
    Kind("http_html_error", "server", "An HTML page from a proxy in between.", s.HtmlError, servers=_ENTRA),
    Kind("http_too_many_requests", "server", "429 with Retry-After.", s.TooManyRequests, servers=_ENTRA),
    Kind("http_unavailable", "server", "503 with Entra's body.", s.Unavailable, servers=_ENTRA),
    Kind("http_redirect", "server", "A redirect to elsewhere.", s.Redirect, servers=_ENTRA),
    Kind("http_endless", "server", "A body without end.", s.EndlessBody, servers=_ENTRA),
    Kind("http_slow", "server", "The proper answer, late.", s.Slow, servers=_ENTRA),
    Kind("http_clock_skew", "server", "The Date header is wrong.", s.ClockSkew, servers=_ENTRA),
)  # fmt: skip  # a table is read by column

KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ROWS}


def kind_named(name: object) -> Kind:
    """The row of that name; `FaultError` lists what there is."""
    if not isinstance(name, str) or name not in KINDS:
        raise FaultError(f"unknown fault {name!r}; known are {', '.join(sorted(KINDS))}")
    return KINDS[name]


def read_settings(kind: Kind, subject: str, raw: Mapping[str, object]) -> s.Settings:
    """The settings of a fault from plain data; `FaultError` says which one is wrong and what is expected."""
    try:
        settings = kind.settings.model_validate(dict(raw))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise FaultError(f"{kind.name}: {wrong}") from error
    if isinstance(settings, s.AtPhase):
        possible = [phase for phase in s.PHASES[subject] if phase in settings.phases]
        if settings.phase not in possible:
            raise FaultError(f"{kind.name}: phase: {settings.phase!r} is none of {', '.join(possible)}")
    if isinstance(settings, s.SmtpReply) and settings.mailbox is not None:
        known_from = s.SMTP_PHASES.index("auth")
        if s.SMTP_PHASES.index(settings.phase) < known_from:
            raise FaultError(f"{kind.name}: mailbox: not known before the phase auth")
    return settings
