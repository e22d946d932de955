"""What a person at a terminal sees: what is worth telling, and how everything stands."""

import io
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.clock import SystemClock
from checks.core.model import Blame, Finding, Phase, Protocol, Result, Scope, Subject
from checks.core.secret import Address, Redactor
from checks.core.trace import Trace
from monitor.model import (
    Beat,
    Delivery,
    Event,
    Incident,
    IncidentChanged,
    IncidentState,
    NoticeDelivered,
    Ran,
    Reason,
    Reloaded,
    Restored,
    Severity,
    Skipped,
    SkipReason,
    Status,
    Stored,
    WatchState,
)
from monitor.sinks.screen import Screen
from tests.unit import world
from tests.unit.world import DISABLED, EXPIRED, T0, judged

GOLDEN = Path(__file__).parents[1] / "golden" / "screen"
INCIDENT = replace(
    world.INCIDENT,
    cause=EXPIRED.cause,
    subject=EXPIRED.subject,
    opened_at=T0 + timedelta(seconds=12),
    watches=frozenset({"token/billing-mailer/current"}),
    finding=EXPIRED,
)
LOUDER = replace(INCIDENT, severity=Severity.CRITICAL, watches=INCIDENT.watches | {"smtp_auth/billing"})
OVER = replace(
    LOUDER, state=IncidentState.CLOSED, closed_at=T0 + timedelta(hours=2, minutes=5, seconds=20), watches=frozenset()
)
NOTICE = replace(world.NOTICE, incident=INCIDENT, reason=Reason.CAUSE_CHANGED)


class Story:
    """Events one after the other, a few seconds apart."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._states: dict[str, WatchState] = {}
        self._at = T0

    def at(self, seconds: float) -> datetime:
        """The next moment."""
        self._at += timedelta(seconds=seconds)
        return self._at

    def ran(self, watch: str, status: Status, finding: Finding | None = None) -> None:
        """A watch ran and is in another status, or in the same."""
        before = self._states.get(watch) or WatchState(watch=watch, since=T0)
        after = replace(before, status=status, finding=finding)
        self._states[watch] = after
        self.events.append(ran(self.at(1), before, after))

    def beat(self, waiting: int = 0, defects: int = 0) -> None:
        """A second passed."""
        at = self.at(1)
        self.events.append(Beat(at=at, busy=0, queued=0, waiting=waiting, lag=0.0, defects=defects, lost=0))


def ran(at: datetime, before: WatchState, after: WatchState) -> Ran:
    """A run and what it did."""
    result = Result(run_id="r", watch=after.watch, check="token", started_at=at, seconds=0.1, phases=())
    return judged(result, before, after)


def a_day() -> list[Event]:
    """Everything that is ever told, and what is not."""
    story = Story()
    story.events.append(Reloaded(at=story.at(0), watches=4, added=4))
    token, auth, canary = "token/billing-mailer/current", "smtp_auth/billing", "canary/billing"
    story.beat()
    for watch in (token, auth, canary):
        story.ran(watch, Status.OK)
    story.events.append(Skipped(at=story.at(1), watch=token, reason=SkipReason.STILL_RUNNING))
    story.ran(auth, Status.SUSPECT, DISABLED)
    story.ran(auth, Status.OK)
    story.ran(token, Status.SUSPECT, EXPIRED)
    story.beat()
    story.ran(token, Status.FIRING, EXPIRED)
    story.events.append(IncidentChanged(at=story.at(0), before=None, after=INCIDENT))
    story.beat(waiting=1)
    for delivery in Delivery:
        error = "" if delivery is Delivery.DELIVERED else "the channel does not answer"
        story.events.append(NoticeDelivered(at=story.at(1), notice=NOTICE, delivery=delivery, error=error))
    story.events.append(IncidentChanged(at=story.at(1), before=INCIDENT, after=LOUDER))
    story.events.append(IncidentChanged(at=story.at(1), before=LOUDER, after=replace(LOUDER, told_at=T0)))
    story.events += [Stored(at=story.at(1), seconds=1, error="disk full")] * 3
    story.ran(canary, Status.UNKNOWN, DISABLED)
    story.beat(waiting=2, defects=1)
    story.events.append(Stored(at=story.at(1), seconds=0.01))
    story.ran(token, Status.RECOVERING, EXPIRED)
    story.ran(token, Status.FIRING, EXPIRED)
    story.ran(token, Status.RECOVERING, EXPIRED)
    story.ran(token, Status.OK)
    story.events.append(IncidentChanged(at=story.at(1), before=LOUDER, after=OVER))
    story.beat()
    problems = ("mailcanary.yaml:3: apps.0.tenant: no such tenant", "mailcanary.yaml:9: mailboxes: missing")
    story.events.append(Reloaded(at=story.at(1), watches=4, errors=problems))
    story.events.append(Reloaded(at=story.at(1), watches=3, added=1, removed=2, changed=1))
    story.beat()
    return story.events


def words(_incident: Incident) -> dict[str, str]:
    """What fills the steps."""
    return {"app": "billing-mailer", "client_id": "3fd2b7a9-0000-4000-8000-000000000001"}


def shown(*events: Event, tty: bool = False, columns: int = 100) -> str:
    """What a screen shows of events."""
    stream = io.StringIO()
    screen = Screen(stream, tty=tty, words=words, columns=lambda: columns)
    for event in events:
        screen.accept(event)
    screen.close()
    assert 0 == screen.lost
    return stream.getvalue()


def test_a_day_reads_as_agreed() -> None:
    """Where there is no terminal, a day is plain lines, as the golden file has them."""
    assert (GOLDEN / "plain.txt").read_text(encoding="utf-8") == shown(*a_day())


def test_a_day_at_a_terminal_reads_as_agreed() -> None:
    """At a terminal the same lines have colours, and below them stands the status; escapes are written as symbols."""
    text = shown(*a_day(), tty=True).replace("\x1b", "␛").replace("\r", "␍")
    assert (GOLDEN / "terminal.txt").read_text(encoding="utf-8") == text


def test_what_changes_nothing_is_not_told() -> None:
    """Passing runs, skipped ones, commits and an incident that grows leave nothing where there is no terminal."""
    story = Story()
    story.ran("token/a", Status.OK)
    story.ran("token/a", Status.OK)
    story.beat()
    grown = replace(INCIDENT, watches=INCIDENT.watches | {"smtp_auth/x"})
    assert "" == shown(
        *story.events,
        Skipped(at=T0, watch="token/a", reason=SkipReason.BACKED_OFF),
        IncidentChanged(at=T0, before=INCIDENT, after=grown),
        Stored(at=T0, seconds=0.1),
    )


def status_of(*events: Event, columns: int = 200) -> str:
    """The status line after events, without colours."""
    text = shown(*events, tty=True, columns=columns)
    last = text.removesuffix("\r\x1b[K").rpartition("\x1b[K")[2]
    return "".join(piece.partition("m")[2] if at else piece for at, piece in enumerate(last.split("\x1b[")))


def test_the_status_line_counts() -> None:
    """The status line says how many watches stand how, what is open and what waits."""
    story = Story()
    story.events.append(Reloaded(at=T0, watches=14))
    for number in range(14):
        story.ran(f"token/{number}", Status.OK)
    story.beat()
    assert "14 watches: 14 ok · 0 incidents open · 0 notices waiting" == status_of(*story.events)
    for number in range(2):
        story.ran(f"token/{number}", Status.FIRING, EXPIRED)
    story.events.append(IncidentChanged(at=T0, before=None, after=INCIDENT))
    story.beat(waiting=1)
    assert "14 watches: 12 ok, 2 broken · 1 incident open · 1 notice waiting" == status_of(*story.events)


def test_the_status_line_starts_from_what_was_stored() -> None:
    """What an earlier life left is counted and not told."""
    stream = io.StringIO()
    screen = Screen(stream, tty=True, columns=lambda: 200)
    states = (WatchState(watch="token/a", status=Status.FIRING, since=T0), WatchState(watch="token/b", since=T0))
    screen.accept(Restored(at=T0, states=states, incidents=(INCIDENT,)))
    screen.accept(Reloaded(at=T0, watches=3))
    stream.truncate(0)
    story = Story()
    story.beat()
    screen.accept(story.events[0])
    text = stream.getvalue()
    for part in ("3 watches: ", "1 broken", ", 2 to run", "1 incident open"):
        assert part in text


def test_the_status_line_is_drawn_only_when_it_changed() -> None:
    """A quiet second writes nothing."""
    story = Story()
    story.beat()
    once = shown(*story.events, tty=True)
    story.beat()
    assert once == shown(*story.events, tty=True)


@pytest.mark.parametrize("columns", [2, 10, 20, 40, 60])
def test_the_status_line_never_wraps(columns: int) -> None:
    """On a narrow terminal the line is cut, since one that wraps could not be erased."""
    story = Story()
    story.events.append(Reloaded(at=T0, watches=14))
    story.ran("token/a", Status.FIRING, EXPIRED)
    story.beat(waiting=123456, defects=3)
    assert columns - 1 == len(status_of(*story.events, columns=columns))


def test_every_blame_has_a_person() -> None:
    """Whose move it is can be said of every cause, in one wording for screens, notices and commands."""
    assert len(Blame) == len({blame.person for blame in Blame})


def test_an_incident_says_whose_move_it_is() -> None:
    """An incident opens with its severity, the person and the first step, filled with the words that are known."""
    text = shown(IncidentChanged(at=T0, before=None, after=INCIDENT))
    assert "03:00:00Z  warning   incident: Client secret has expired" in text
    assert "whose move: the Entra ID administrator" in text
    assert "App registrations > billing-mailer (3fd2b7a9-0000-4000-8000-000000000001) > Certificates" in text


hostile = st.text(st.characters(codec=None, exclude_categories=()), max_size=60) | st.sampled_from(
    ["\x1b[2J\x1b]0;owned\x07", "a\r\nb", "\x9b31m", "\u202egnitirw", "\u2028", "\ud800", "\x7f\x08"]
)


@given(text=hostile, key=hostile)
def test_no_control_character_reaches_the_terminal(text: str, key: str) -> None:
    """Whatever a server or a configuration says, each thing is one line of printable characters."""
    redact = Redactor()
    finding = replace(
        DISABLED, subject=Subject(Scope.MAILBOX, key), evidence=replace(DISABLED.evidence, text=redact(text))
    )
    before = WatchState(watch=key, status=Status.OK, since=T0)
    incident = replace(INCIDENT, subject=finding.subject, finding=finding)
    told = shown(
        ran(T0, before, replace(before, status=Status.FIRING, finding=finding)),
        IncidentChanged(at=T0, before=None, after=incident),
        NoticeDelivered(at=T0, notice=replace(NOTICE, channel=key), delivery=Delivery.FAILED, error=text),
        Reloaded(at=T0, watches=1, errors=(text,)),
        Stored(at=T0, seconds=1, error=f"no room {text}"),
    )
    lines = told.split("\n")
    assert 6 + 1 == len(lines)
    assert all(line.isprintable() for line in lines)


def test_no_address_reaches_the_terminal() -> None:
    """What a server says is shown only as evidence, which was redacted when it was taken."""
    trace = Trace(SystemClock(), Redactor([Address("billing.run@contoso.example")]))
    trace.observe(
        "x", "<billing.run@contoso.example>, mara.vogel@fabrikam.example", phase=Phase.AUTH, protocol=Protocol.SMTP
    )
    finding = replace(DISABLED, evidence=trace.evidence[0])
    before = WatchState(watch="smtp_auth/billing", status=Status.OK, since=T0)
    text = shown(ran(T0, before, replace(before, status=Status.SUSPECT, finding=finding)))
    assert "(auth: <[address]>, [address])" in text
    assert "@" not in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_of_any_encoding_is_served(encoding: str) -> None:
    """What a terminal can not show becomes a question mark."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    screen = Screen(stream, tty=True, columns=lambda: 100)
    for event in a_day():
        screen.accept(event)
    assert 0 == screen.lost


def test_a_terminal_that_has_gone_is_counted() -> None:
    """A closed stream does not take the daemon with it."""
    stream = io.StringIO()
    screen = Screen(stream, tty=False)
    stream.close()
    screen.accept(Reloaded(at=T0, watches=1))
    assert 1 == screen.lost
