"""A small world for tests: one app with a mailbox, two things that go wrong there, and records made of them."""

from datetime import UTC, datetime

from checks.core.cloud import Cloud, Endpoint
from checks.core.material import ClientSecret
from checks.core.model import Evidence, Finding, Kind, Level, Phase, Protocol, Result, Scope, Subject
from checks.core.secret import Address, Secret
from checks.core.settings import Settings
from checks.core.target import App, Credential, Mailbox, Target, Tenant
from monitor.model import Change, Incident, Notice, Ran, Reason, Severity, WatchState
from monitor.plan import Watch, watch_id

T0 = datetime(2026, 11, 25, 3, 0, 0, 123456, tzinfo=UTC)
CLOUD = Cloud(
    name="public",
    authority="https://login.contoso.example",
    scope="https://outlook.contoso.example/.default",
    smtp=Endpoint(host="smtp.contoso.example", port=587),
)
CREDENTIAL = Credential(
    app=App(
        id="billing-mailer",
        tenant=Tenant(name="contoso", tenant_id="contoso.example", cloud=CLOUD),
        client_id="00000000-0000-0000-0000-000000000001",
    ),
    material=ClientSecret(Secret("planted-secret")),
)
EXPIRED = Finding(
    cause="entra.secret_expired",
    level=Level.FAIL,
    subject=Subject(Scope.CREDENTIAL, "billing-mailer/current"),
    evidence=Evidence(
        protocol=Protocol.OAUTH,
        phase=Phase.TOKEN,
        kind=Kind.OAUTH,
        code="401",
        aadsts=7000222,
        text="AADSTS7000222: The provided client secret keys for app '3fd2b7a9-0000-4000-8000-000000000001' are expired.",
    ),
)
DISABLED = Finding(
    cause="exchange.smtp_auth_disabled_mailbox",
    level=Level.FAIL,
    subject=Subject(Scope.MAILBOX, "billing"),
    evidence=Evidence(
        protocol=Protocol.SMTP,
        phase=Phase.AUTH,
        kind=Kind.REPLY,
        code="535",
        enhanced_code="5.7.139",
        text="Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. "
        "Visit https://aka.ms/smtp_auth_disabled for more information.",
    ),
)
INCIDENT = Incident(
    id="i1",
    cause=DISABLED.cause,
    subject=DISABLED.subject,
    severity=Severity.WARNING,
    opened_at=T0,
    watches=frozenset({"smtp_auth/billing"}),
    finding=DISABLED,
)
NOTICE = Notice(id="n1", incident=INCIDENT, reason=Reason.FIRST, channel="chat", due_at=T0, attempts=1)


def mailbox(name: str, credential: Credential = CREDENTIAL) -> Mailbox:
    """A mailbox of the app."""
    return Mailbox(id=name, address=Address(f"{name}@contoso.example"), credential=credential, endpoint=CLOUD.smtp)


def watch(check: str, target: Target) -> Watch:
    """A watch of one check on one target."""
    return Watch(
        id=watch_id(check, target.id), check=check, target=target, settings=Settings(), interval=300.0, timeout=30.0
    )


def judged(result: Result, before: WatchState, after: WatchState) -> Ran:
    """A run and what it did to its watch."""
    return Ran(at=result.started_at, result=result, change=Change(before=before, after=after, reason="judged"))
