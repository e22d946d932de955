"""Notices wait in the store until they are delivered or given up, each in its place in line."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from checks.core.clock import SystemClock
from checks.core.model import Evidence, Finding, Kind, Level, Phase, Protocol, Scope, Subject
from monitor.model import Incident, Notice, Reason, Severity
from monitor.store import Batch, Store

T0 = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
FINDING = Finding(
    cause="auth_rejected",
    level=Level.FAIL,
    subject=Subject(Scope.MAILBOX, "billing"),
    evidence=Evidence(protocol=Protocol.SMTP, phase=Phase.AUTH, kind=Kind.REPLY),
)
INCIDENT = Incident(
    id="i1", cause=FINDING.cause, subject=FINDING.subject, severity=Severity.WARNING, opened_at=T0, finding=FINDING
)
FIRST = Notice(id="n1", incident=INCIDENT, reason=Reason.FIRST, channel="chat", due_at=T0)
RECOVERED = replace(FIRST, id="n2", reason=Reason.RECOVERED, due_at=T0 + timedelta(minutes=5))
LATER = T0 + timedelta(hours=1)


def attempt(notice: Notice, number: int = 1) -> Notice:
    """The notice as it comes out at an attempt."""
    return replace(notice, attempts=number)


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """A new store in memory."""
    async with Store.open("sqlite://", SystemClock()) as opened:
        yield opened


async def test_a_notice_is_claimed_once(store: Store) -> None:
    """Who claims second gets nothing."""
    await store.commit(Batch(notices=[FIRST]))
    assert (attempt(FIRST),) == await store.claim(T0, 10)
    assert () == await store.claim(T0, 10)


async def test_a_notice_is_not_claimed_before_it_is_due(store: Store) -> None:
    """A notice waits until its time; the store says when that is."""
    await store.commit(Batch(notices=[FIRST]))
    assert () == await store.claim(T0 - timedelta(seconds=1), 10)
    assert await store.next_claim_at() == T0


async def test_a_delivered_notice_is_settled(store: Store) -> None:
    """After delivery nothing waits any more."""
    await store.commit(Batch(notices=[FIRST]))
    [claimed] = await store.claim(T0, 10)
    assert 1 == await store.waiting()
    await store.delivered(claimed, T0)
    assert 0 == await store.waiting()
    assert None is await store.next_claim_at()
    assert () == await store.claim(LATER, 10)


async def test_a_failed_notice_waits_for_its_next_attempt(store: Store) -> None:
    """A failed notice comes out again at the moment it was put back for, with its attempts counted."""
    await store.commit(Batch(notices=[FIRST]))
    [claimed] = await store.claim(T0, 10)
    again = T0 + timedelta(seconds=7)
    await store.failed(claimed, again, "no answer")
    assert () == await store.claim(again - timedelta(seconds=1), 10)
    assert await store.next_claim_at() == again
    assert (attempt(FIRST, 2),) == await store.claim(again, 10)


async def test_a_notice_that_is_given_up_is_settled(store: Store) -> None:
    """A notice that was given up never comes out again."""
    await store.commit(Batch(notices=[FIRST]))
    [claimed] = await store.claim(T0, 10)
    await store.failed(claimed, None, "no answer")
    assert 0 == await store.waiting()
    assert () == await store.claim(LATER, 10)


async def test_a_recovery_is_not_told_before_the_failure(store: Store) -> None:
    """While an earlier notice of the incident and channel is unsettled, the later one stays where it is."""
    await store.commit(Batch(notices=[FIRST]))
    await store.commit(Batch(notices=[RECOVERED]))
    [first] = await store.claim(LATER, 10)
    assert () == await store.claim(LATER, 10)
    await store.failed(first, LATER + timedelta(hours=1), "no answer")
    assert () == await store.claim(LATER, 10)
    await store.delivered(first, LATER)
    assert (attempt(RECOVERED),) == await store.claim(LATER, 10)


async def test_the_order_holds_per_channel_and_incident_only(store: Store) -> None:
    """A notice that can not be delivered holds up neither other channels nor other incidents."""
    elsewhere = replace(RECOVERED, id="n3", channel="pager")
    other = replace(FIRST, id="n4", incident=replace(INCIDENT, id="i2"), due_at=LATER)
    await store.commit(Batch(notices=[FIRST, RECOVERED, elsewhere, other]))
    assert (attempt(FIRST), attempt(elsewhere), attempt(other)) == await store.claim(LATER, 10)


async def test_one_channel_can_be_claimed_alone(store: Store) -> None:
    """A claim for a channel leaves the notices of others."""
    pager = replace(FIRST, id="n3", channel="pager", due_at=LATER)
    await store.commit(Batch(notices=[FIRST, pager]))
    assert (attempt(pager),) == await store.claim(LATER, 10, "pager")
    assert await store.next_claim_at("chat") == T0
    assert (attempt(FIRST),) == await store.claim(LATER, 10, "chat")


async def test_no_more_are_claimed_than_asked_for(store: Store) -> None:
    """The oldest due notices come out first, up to the limit."""
    notices = [
        replace(
            FIRST, id=f"n{minute}", incident=replace(INCIDENT, id=f"i{minute}"), due_at=T0 - timedelta(minutes=minute)
        )
        for minute in range(5)
    ]
    await store.commit(Batch(notices=notices))
    assert (attempt(notices[4]), attempt(notices[3])) == await store.claim(T0, 2)


async def test_a_replayed_notice_is_not_told_again(store: Store) -> None:
    """A notice that is committed again after its delivery stays delivered."""
    await store.commit(Batch(notices=[FIRST]))
    [claimed] = await store.claim(T0, 10)
    await store.delivered(claimed, T0)
    await store.commit(Batch(notices=[FIRST]))
    assert () == await store.claim(LATER, 10)


async def test_a_claim_that_nobody_settled_runs_out(store: Store) -> None:
    """Two minutes after a claim the notice is free again: who claimed it has died."""
    await store.commit(Batch(notices=[FIRST]))
    await store.claim(T0, 10)
    assert await store.next_claim_at() == T0 + timedelta(minutes=2)
    assert () == await store.claim(T0 + timedelta(seconds=119), 10)
    assert (attempt(FIRST, 2),) == await store.claim(T0 + timedelta(minutes=2), 10)


async def test_pruning_drops_old_notices(store: Store) -> None:
    """A notice made before the moment is dropped, even one of a channel that no longer exists."""
    await store.commit(Batch(notices=[FIRST]))
    await store.prune(SystemClock().now() - timedelta(days=1))
    assert 1 == await store.waiting()
    await store.prune(SystemClock().now() + timedelta(days=1))
    assert 0 == await store.waiting()
