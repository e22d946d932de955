"""A notice says in a few lines what is broken, whose move it is and what to do, and carries nobody else's markup."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apprise import NotifyFormat
from apprise.conversion.format import convert_between
from hypothesis import given
from hypothesis import strategies as st

from checks.core.causes import Cause
from checks.core.model import Blame, Evidence, Finding, Kind, Level, Permanence, Phase, Protocol, Scope, Subject
from monitor.alerts.render import MAX_BODY, MAX_TITLE, Message, Tone, render
from monitor.model import Incident, IncidentState, Notice, Reason, Severity

GOLDEN = Path(__file__).parents[1] / "golden" / "notices"
T0 = datetime(2026, 11, 24, 3, 4, 5, tzinfo=UTC)
CAUSE = Cause(
    id="smtp_auth_disabled_mailbox",
    level=Level.FAIL,
    permanence=Permanence.PERMANENT,
    blame=Blame.EXCHANGE_ADMIN,
    scope=Scope.MAILBOX,
    title="SMTP AUTH is switched off for the mailbox",
    meaning="The mailbox may not use authenticated SMTP.",
    steps=(
        "Set-CASMailbox -Identity {mailbox} -SmtpClientAuthenticationDisabled $false",
        "Wait up to an hour, then run: mailcanary check {mailbox} (see https://aka.ms/smtp_auth_disabled)",
    ),
    source="Microsoft Learn: Enable or disable authenticated client SMTP submission",
)
FINDING = Finding(
    cause=CAUSE.id,
    level=Level.FAIL,
    subject=Subject(Scope.MAILBOX, "billing"),
    evidence=Evidence(
        protocol=Protocol.SMTP,
        phase=Phase.AUTH,
        kind=Kind.REPLY,
        code="535",
        enhanced_code="5.7.139",
        text="Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox.",
    ),
)
INCIDENT = Incident(
    id="i1",
    cause=CAUSE.id,
    subject=FINDING.subject,
    severity=Severity.CRITICAL,
    opened_at=T0,
    watches=frozenset({"smtp_auth/billing", "canary/billing"}),
    finding=FINDING,
)
NOTICE = Notice(id="a1b2c3d4e5f60718", incident=INCIDENT, reason=Reason.FIRST, channel="chat", due_at=T0)
MANY = replace(INCIDENT, watches=frozenset(f"smtp_auth/mailbox-{number:05}" for number in range(10_000)))
OVER = replace(INCIDENT, state=IncidentState.CLOSED, closed_at=T0 + timedelta(hours=2, minutes=5), watches=frozenset())
HOSTILE = replace(
    INCIDENT,
    finding=replace(
        FINDING,
        evidence=replace(
            FINDING.evidence, text="@everyone **urgent** [pay](http://evil.example) <!channel> `x` <b>&amp;\r\n# now"
        ),
    ),
)
WORDS = {"mailbox": "billing", "contact": "#finance-it"}
NOTICES = {
    "first": NOTICE,
    "escalated": replace(NOTICE, reason=Reason.ESCALATED),
    "reminder": replace(NOTICE, reason=Reason.REMINDER, incident=MANY),
    "recovered": replace(NOTICE, reason=Reason.RECOVERED, incident=OVER),
    "hostile": replace(NOTICE, incident=HOSTILE),
}


def written(message: Message) -> str:
    """A message as a golden file keeps it."""
    return f"{message.tone}\n{message.title}\n\n{message.body}\n"


@pytest.mark.parametrize("name", NOTICES)
def test_a_notice_reads_as_agreed(name: str) -> None:
    """Every kind of notice reads as its golden file."""
    assert (GOLDEN / f"{name}.txt").read_text(encoding="utf-8") == written(render(NOTICES[name], CAUSE, WORDS))


def test_an_address_is_shown_only_where_it_is_allowed() -> None:
    """The address is in the message when it is among the words, and whole; without it no message has one."""
    shown = render(NOTICE, CAUSE, {**WORDS, "address": "billing@contoso.example"})
    assert "billing@contoso.example" in shown.title
    assert "mailbox billing (billing@contoso.example), since" in shown.body
    assert "@" not in written(render(NOTICE, CAUSE, WORDS))


def test_a_placeholder_that_nobody_can_fill_shows_its_name() -> None:
    """A step whose word is missing can still be read."""
    assert "-Identity {mailbox} -Smtp" in render(NOTICE, CAUSE, {}).body


def test_steps_that_do_not_fit_are_left_to_explain() -> None:
    """Only whole steps are shown; a pointer names where the others are."""
    cause = replace(CAUSE, steps=tuple(f"Step {number} " + "x" * 120 for number in range(9)))
    body = render(NOTICE, cause, WORDS).body
    assert "1. Step 0 " in body
    assert "9. Step 8 " not in body
    assert "More: mailcanary explain smtp_auth_disabled_mailbox" in body


@pytest.mark.parametrize(
    ("severity", "tone"), [("info", Tone.INFO), ("warning", Tone.WARNING), ("critical", Tone.FAILURE)]
)
def test_the_tone_follows_the_severity(severity: str, tone: Tone) -> None:
    """An open incident is coloured by its severity."""
    incident = replace(INCIDENT, severity=Severity(severity))
    assert tone is render(replace(NOTICE, incident=incident), CAUSE, WORDS).tone


texts = st.text(max_size=400) | st.text(alphabet="<&@_*!", max_size=400)
ours = st.text(alphabet="abc _.-$", max_size=400)


@given(text=texts, word=texts, title=texts, watches=st.frozensets(texts, max_size=15), steps=st.lists(ours, max_size=5))
def test_a_message_always_fits(text: str, word: str, title: str, watches: frozenset[str], steps: list[str]) -> None:
    """Whatever a server, a configuration or the table says, the strictest channel takes the message on its lines."""
    finding = replace(FINDING, evidence=replace(FINDING.evidence, text=text))
    incident = replace(INCIDENT, watches=watches, finding=finding, subject=Subject(Scope.MAILBOX, word))
    cause = replace(CAUSE, title=title, steps=tuple(steps))
    words = {"mailbox": word, "contact": word, "address": "billing@contoso.example"}
    for notice in (
        replace(NOTICE, incident=incident),
        replace(NOTICE, incident=replace(incident, closed_at=T0, state=IncidentState.CLOSED)),
    ):
        message = render(notice, cause, words)
        assert len(convert_between(NotifyFormat.TEXT, NotifyFormat.MARKDOWN, message.body)) <= MAX_BODY
        assert len(message.title) <= MAX_TITLE
        assert "<!" not in message.body
        assert message.body.splitlines()[-1].startswith(f"Notice {NOTICE.id}")
