"""What notices may name: found by the incident's subject, and an address only where one mailbox is meant."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from checks.core.cloud import Cloud, Endpoint, TlsMode
from checks.core.material import ClientSecret
from checks.core.model import Evidence, Finding, Kind, Level, Phase, Protocol, Scope, Subject
from checks.core.secret import Address, Secret
from checks.core.settings import Settings
from checks.core.target import App, Credential, Inbox, Mailbox, Owner, Tenant
from monitor.alerts.words import Words
from monitor.model import Incident, Severity
from monitor.plan import Plan, Watch

SMTP = Endpoint(host="smtp.office365.com", port=587)
TENANT = Tenant(
    name="contoso",
    tenant_id="contoso.example",
    cloud=Cloud(name="public", authority="https://login.example", scope="s", smtp=SMTP),
)
CREDENTIAL = Credential(
    app=App(id="billing-mailer", tenant=TENANT, client_id="c", owner=Owner(contact="#finance-it")),
    material=ClientSecret(Secret("planted-secret")),
)
MAILBOXES = [
    Mailbox(id=name, address=Address(f"{name}@contoso.example"), credential=CREDENTIAL, endpoint=SMTP)
    for name in ("billing", "payslips")
]
PLAN = Plan.of(
    Watch(id=f"smtp_auth/{one.id}", check="smtp_auth", target=one, settings=Settings(), interval=300, timeout=30)
    for one in MAILBOXES
)


def incident(scope: Scope, key: str, watches: frozenset[str] = frozenset()) -> Incident:
    """An incident about something."""
    subject = Subject(scope, key)
    evidence = Evidence(protocol=Protocol.SMTP, phase=Phase.AUTH, kind=Kind.REPLY)
    return Incident(
        id="i",
        cause="c",
        subject=subject,
        severity=Severity.WARNING,
        opened_at=datetime(2026, 11, 25, tzinfo=UTC),
        watches=watches,
        finding=Finding(cause="c", level=Level.FAIL, subject=subject, evidence=evidence),
    )


def test_a_mailbox_is_named_with_its_address_where_that_is_allowed() -> None:
    """The address stands in the words of an incident of that mailbox, closed ones included, and only when allowed."""
    about = incident(Scope.MAILBOX, "payslips")
    assert "payslips@contoso.example" == Words(PLAN, addresses=True).of(about)["address"]
    shy = Words(PLAN, addresses=False).of(about)
    assert ("payslips", False) == (shy["mailbox"], "address" in shy)


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        (Scope.TENANT, "contoso"),
        (Scope.APP, "billing-mailer"),
        (Scope.CREDENTIAL, "billing-mailer/current"),
        (Scope.ENDPOINT, "smtp.office365.com:587"),
    ],
)
def test_what_stands_above_mailboxes_is_named_without_one(scope: Scope, key: str) -> None:
    """An incident of more than one mailbox shows no address, but the owner's contact."""
    words = Words(PLAN, addresses=True).of(incident(scope, key, frozenset(PLAN.watches)))
    assert ("#finance-it", False) == (words["contact"], "address" in words)


def test_a_subject_that_the_plan_does_not_know_is_seen_from_a_watch() -> None:
    """A recipient has no place in the plan: the words are those of a watch that it breaks."""
    words = Words(PLAN, addresses=True).of(incident(Scope.RECIPIENT, "elsewhere", frozenset({"smtp_auth/billing"})))
    assert ("billing", False) == (words["mailbox"], "address" in words)


def test_what_is_gone_has_no_words() -> None:
    """A notice about a mailbox that a reload removed can still be rendered."""
    assert {} == Words(replace(PLAN, watches={}), addresses=True).of(incident(Scope.MAILBOX, "payslips"))


def test_an_inbox_is_named_with_its_address_where_that_is_allowed() -> None:
    """The steps for an inbox name its address like those for a mailbox."""
    inbox = Inbox(id="ops", address=Address("ops@contoso.example"), endpoint=SMTP, credential=CREDENTIAL)
    watch = Watch(id="inbox/ops", check="inbox", target=inbox, settings=Settings(), interval=60, timeout=60)
    about = incident(Scope.INBOX, "ops")
    assert "ops@contoso.example" == Words(Plan.of([watch]), addresses=True).of(about)["address"]
    assert "address" not in Words(Plan.of([watch]), addresses=False).of(about)


def test_the_server_for_reading_is_named_and_not_the_one_for_sending() -> None:
    """An incident of an IMAP server that only mailboxes are read by, whose servers for sending are others."""
    imap = Endpoint(host="imap.contoso.example", port=993, tls=TlsMode.IMPLICIT)
    credential = replace(
        CREDENTIAL, app=replace(CREDENTIAL.app, tenant=replace(TENANT, cloud=replace(TENANT.cloud, imap=imap)))
    )
    mailbox = replace(MAILBOXES[0], credential=credential)
    watch = Watch(id="imap_auth/b", check="imap_auth", target=mailbox, settings=Settings(), interval=60, timeout=60)
    seen = incident(Scope.ENDPOINT, str(imap), frozenset({watch.id}))
    seen = replace(seen, finding=replace(seen.finding, evidence=replace(seen.finding.evidence, protocol=Protocol.IMAP)))
    words = Words(Plan.of([watch]), addresses=False).of(seen)
    assert ("imap.contoso.example", "993") == (words["host"], words["port"])
