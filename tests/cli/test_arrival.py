"""How long `mailcanary check --canary` waits, on a clock that is moved by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from checks.core.model import (
    Evidence,
    Finding,
    InboxRead,
    Kind,
    Level,
    Outcome,
    Phase,
    Protocol,
    Result,
    Scope,
    Sent,
    Subject,
)
from monitor.cli.arrival import Arrivals
from monitor.model import Lateness
from monitor.plan import Watch
from tests.unit.test_pipeline import HandClock
from tests.unit.test_pipeline_canaries import DELIVERY, INBOX
from tests.unit.world import mailbox, watch

BILLING = mailbox("billing")
READING = watch("inbox", INBOX)
BUSY = Finding(
    cause="smtp.busy",
    level=Level.THROTTLED,
    subject=Subject(Scope.INBOX, "inbox"),
    evidence=Evidence(protocol=Protocol.IMAP, phase=Phase.AUTH, kind=Kind.REPLY, code="NO"),
)


def result(clock: HandClock, watch_id: str) -> Result:
    """A run of a moment that found nothing."""
    return Result(run_id="r", watch=watch_id, check="c", started_at=clock.now(), seconds=0.0, phases=())


async def waited(clock: HandClock, found: Result) -> tuple[list[Result], list[str], float]:
    """The outcome of a wait for one canary in an inbox whose every run is `found`; which were unread; seconds."""
    unread: list[str] = []

    async def run(_: Watch) -> Result:
        return replace(found, started_at=clock.now())

    arrivals = Arrivals(
        [READING],
        Lateness(late_after=300, lost_after=3600),
        clock,
        run=run,
        unread=lambda target, _: unread.append(target.id),
        told=lambda *_: None,
        progress=lambda _: None,
    )
    sent = Sent(canary_id="c1", mailbox="billing", recipients=1, reply="OK", at=clock.now(), inboxes=("inbox",))
    began = clock.now()
    verdicts = await arrivals.wait_for([replace(result(clock, "canary/billing"), facts=(sent,))], [BILLING])
    return verdicts, unread, (clock.now() - began) / timedelta(seconds=1)


async def test_an_inbox_that_is_never_read_to_its_end_ends_the_wait() -> None:
    """It is busy for ever: soon after the canary is late nobody waits any more, and its own run is the verdict."""
    clock = HandClock()
    verdicts, unread, seconds = await waited(clock, replace(result(clock, READING.id), findings=(BUSY,)))
    assert [Outcome.THROTTLED] == [verdict.outcome for verdict in verdicts]
    assert [INBOX.id] == unread
    assert 300 < seconds < 330


async def test_an_inbox_that_is_read_says_that_a_canary_is_late() -> None:
    """The verdict is on the mailbox that sent, and the inbox is not said to be unread."""
    clock = HandClock()
    read = replace(result(clock, READING.id), facts=(InboxRead(inbox="inbox", removed=0),))
    verdicts, unread, _ = await waited(clock, read)
    assert [(DELIVERY.id, Outcome.WARN)] == [(verdict.watch, verdict.outcome) for verdict in verdicts]
    assert [] == unread
