"""People are told once when something breaks, now and then while it lasts, and once when it is over."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.model import Evidence, Finding, Kind, Level, Phase, Protocol, Scope, Subject
from monitor.alerts.policy import Told, decide, remind
from monitor.model import Incident, IncidentState, Notice, Policy, Reason, Severity

T0 = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
LATER = T0 + timedelta(hours=1)
FINDING = Finding(
    cause="auth_rejected",
    level=Level.FAIL,
    subject=Subject(Scope.MAILBOX, "billing"),
    evidence=Evidence(protocol=Protocol.SMTP, phase=Phase.AUTH, kind=Kind.REPLY),
)
NEW = Incident(
    id="i1", cause=FINDING.cause, subject=FINDING.subject, severity=Severity.WARNING, opened_at=T0, finding=FINDING
)
TOLD = replace(NEW, told_at=T0)
WORSE = replace(TOLD, severity=Severity.CRITICAL)
CLOSED = replace(TOLD, state=IncidentState.CLOSED, closed_at=LATER)
POLICY = Policy(remind_every=4 * 3600.0)


def reasons(told: Told) -> list[tuple[str, Reason]]:
    """Who is told why."""
    return [(notice.channel, notice.reason) for notice in told.notices]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (None, NEW, Reason.FIRST),
        (NEW, replace(NEW, watches=frozenset({"a"})), Reason.FIRST),
        (TOLD, replace(TOLD, watches=frozenset({"a"})), None),
        (TOLD, replace(NEW, watches=frozenset({"a"})), None),
        (TOLD, WORSE, Reason.ESCALATED),
        (WORSE, TOLD, None),
        (NEW, replace(NEW, severity=Severity.CRITICAL), Reason.FIRST),
        (TOLD, CLOSED, Reason.RECOVERED),
        (NEW, replace(CLOSED, told_at=None), None),
        (None, replace(CLOSED, told_at=None), None),
        (CLOSED, CLOSED, None),
    ],
)
def test_a_change_is_told_for_one_reason(before: Incident | None, after: Incident, expected: Reason | None) -> None:
    """Opening, worsening and closing are told, nothing else; only who was told of a failure hears of its end."""
    told = decide(before, after, ["chat", "pager"], LATER)
    assert ([] if expected is None else [("chat", expected), ("pager", expected)]) == reasons(told)


def test_a_notice_carries_the_incident_as_it_was_told() -> None:
    """The incident in the notice is the changed one, with the moment it was told."""
    told = decide(None, NEW, ["chat"], LATER)
    incident = replace(NEW, told_at=LATER)
    [notice] = told.notices
    assert Told(incidents=(incident,), notices=(notice,)) == told
    assert Notice(id=notice.id, incident=incident, reason=Reason.FIRST, channel="chat", due_at=LATER) == notice


def test_without_channels_an_incident_stays_untold() -> None:
    """Where nobody can be told, nobody counts as told."""
    assert Told() == decide(None, NEW, [], LATER)


def test_a_decision_made_twice_gives_the_same_notice() -> None:
    """A replay at another moment gives the same id, so that the store keeps one."""
    once, again = decide(None, NEW, ["chat"], T0), decide(None, NEW, ["chat"], LATER)
    assert [notice.id for notice in once.notices] == [notice.id for notice in again.notices]


@pytest.mark.parametrize(
    ("incident", "hours", "expected"),
    [
        (TOLD, 3.9, []),
        (TOLD, 4, [("chat", Reason.REMINDER)]),
        (NEW, 0, [("chat", Reason.FIRST)]),
        (CLOSED, 9, []),
    ],
)
def test_an_open_incident_is_told_again_after_a_while(
    incident: Incident, hours: float, expected: list[tuple[str, Reason]]
) -> None:
    """A reminder comes when the last notice is old enough; what nobody was told yet is told."""
    assert expected == reasons(remind([incident], POLICY, ["chat"], T0 + timedelta(hours=hours)))


def test_no_reminders_when_switched_off() -> None:
    """An interval of zero means never."""
    assert Told() == remind([TOLD], Policy(remind_every=0), ["chat"], T0 + timedelta(days=30))


def test_each_reminder_starts_the_next_wait() -> None:
    """The moment of a reminder is noted, and the following reminder is another notice."""
    first = remind([TOLD], POLICY, ["chat"], T0 + timedelta(hours=4))
    assert Told() == remind(first.incidents, POLICY, ["chat"], T0 + timedelta(hours=7))
    second = remind(first.incidents, POLICY, ["chat"], T0 + timedelta(hours=8))
    assert 2 == len({first.notices[0].id, second.notices[0].id})


moves = st.lists(st.sampled_from(["grow", "worsen", "remind"]), max_size=6)
channels = st.lists(st.sampled_from(["chat", "pager"]), unique=True)


@given(moves=moves, channels=channels, close=st.booleans())
def test_a_story_is_told_in_order(moves: list[str], channels: Sequence[str], close: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    """Whatever happens: the first notice comes first and once, nothing recovers untold, and all ids differ."""
    told = decide(None, NEW, channels, T0)
    notices = [*told.notices]
    current = told.incidents[0] if told.incidents else NEW
    now = T0
    for number, move in enumerate([*moves, *(["close"] if close else [])]):
        now += timedelta(hours=4)
        before = current
        if move == "grow":
            current = replace(current, watches=frozenset({str(number)}))
        elif move == "worsen":
            current = replace(current, severity=Severity.CRITICAL)
        elif move == "close":
            current = replace(current, state=IncidentState.CLOSED, closed_at=now)
        told = remind([current], POLICY, channels, now) if move == "remind" else decide(before, current, channels, now)
        notices += told.notices
        current = told.incidents[0] if told.incidents else current

    assert len(notices) == len({notice.id for notice in notices})
    for channel in ("chat", "pager"):
        heard = [notice.reason for notice in notices if notice.channel == channel]
        assert ([Reason.FIRST] if channel in channels else []) == heard[:1]
        assert (1 if channel in channels else 0) == heard.count(Reason.FIRST)
        assert (1 if channel in channels and close else 0) == heard.count(Reason.RECOVERED)
        assert Reason.RECOVERED not in heard[:-1]
