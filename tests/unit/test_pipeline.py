"""The pipeline: results become states, incidents and notices, whole and in order, whatever the database does."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from checks.core.model import (
    Evidence,
    Finding,
    Kind,
    Level,
    Outcome,
    Phase,
    PhaseTime,
    Protocol,
    Result,
    Scope,
    Subject,
)
from monitor.model import Event, IncidentChanged, IncidentState, Lateness, Policy, Ran, Reason, Severity, Status, Stored
from monitor.pipeline import MAX_BATCH, MAX_QUEUED, Pipeline, incident_id
from monitor.plan import Plan, Watch
from monitor.store import Batch, Store, StoreError
from tests.unit.world import EXPIRED, T0, mailbox, watch


class HandClock:
    """A clock that moves when it is told to, or when somebody sleeps."""

    def __init__(self) -> None:
        self.at = T0

    def now(self) -> datetime:
        """The moment the clock shows."""
        return self.at

    def monotonic(self) -> float:
        """Seconds since the clock began."""
        return (self.at - T0).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        self.at += timedelta(seconds=seconds)
        await asyncio.sleep(0)


def box(number: int) -> Watch:
    """A watch on a mailbox of its own."""
    return watch("smtp_auth", mailbox(f"box{number}"))


def finding(cause: str, scope: Scope, key: str) -> Finding:
    """A failure of that cause."""
    evidence = Evidence(protocol=Protocol.SMTP, phase=Phase.AUTH, kind=Kind.REPLY, code="535", text="said")
    return Finding(cause=cause, level=Level.FAIL, subject=Subject(scope, key), evidence=evidence)


def result(number: int, *findings: Finding, at: datetime = T0) -> Result:
    """What a run of a watch came to."""
    return Result(
        run_id=f"{number}-{at.timestamp()}",
        watch=f"smtp_auth/box{number}",
        check="smtp_auth",
        started_at=at,
        seconds=0.1,
        phases=(PhaseTime(Phase.AUTH, 0.1, not findings),),
        findings=findings,
    )


@dataclass
class Bench:
    """A pipeline with what it published."""

    pipeline: Pipeline
    store: Store
    clock: HandClock
    events: list[Event] = field(default_factory=list)
    notified: list[datetime] = field(default_factory=list)

    def of(self, kind: type) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def notices(self) -> list[tuple[Reason, str]]:
        """What waits in the outbox, as reason and channel."""
        claimed: list[tuple[Reason, str]] = []
        while found := await self.store.claim(self.clock.now(), 100):
            for notice in found:
                claimed.append((notice.reason, notice.channel))
                await self.store.delivered(notice, self.clock.now())
        return claimed


@asynccontextmanager
async def bench(url: str = "sqlite://", watches: int = 3, policy: Policy | None = None) -> AsyncIterator[Bench]:
    """A pipeline that follows a plan of some watches and tells one channel."""
    clock = HandClock()
    async with Store.open(url, clock) as store:
        events: list[Event] = []
        notified: list[datetime] = []
        pipeline = Pipeline(
            store=store, publish=events.extend, notify=lambda: notified.append(clock.now()), clock=clock
        )
        await pipeline.restore()
        await pipeline.follow(Plan.of(map(box, range(watches))), policy or Policy(), ["chat"], Lateness())
        yield Bench(pipeline, store, clock, events, notified)


async def fail(desk: Bench, numbers: Sequence[int], cause: Finding = EXPIRED, times: int = 2) -> None:
    """Let watches fail often enough to fire."""
    for _ in range(times):
        await desk.pipeline.turn([result(number, cause, at=desk.clock.now()) for number in numbers])
        desk.clock.at += timedelta(seconds=300)


async def test_one_cause_behind_many_watches_is_one_incident_and_one_notice() -> None:
    """An expired secret behind three mailboxes opens one incident, told once, that names all three watches."""
    async with bench() as desk:
        await fail(desk, [0, 1, 2])
        changed = desk.of(IncidentChanged)
        assert [(None, 3)] == [(event.before, len(event.after.watches)) for event in changed]
        assert [(Reason.FIRST, "chat")] == await desk.notices()
        assert [Severity.CRITICAL] == [incident.severity for incident in desk.pipeline.open_incidents]


async def test_a_recovery_closes_the_incident_and_is_told() -> None:
    """The incident stays open until its last watch is ok again; then it is told to have recovered, once."""
    async with bench() as desk:
        await fail(desk, [0, 1])
        await desk.pipeline.turn([result(0)])
        await desk.pipeline.turn([result(0), result(1)])
        assert 1 == len(desk.pipeline.open_incidents)
        await desk.pipeline.turn([result(1)])
        assert () == desk.pipeline.open_incidents
        assert [IncidentState.OPEN, IncidentState.OPEN, IncidentState.CLOSED] == [
            event.after.state for event in desk.of(IncidentChanged)
        ]
        assert [(Reason.FIRST, "chat"), (Reason.RECOVERED, "chat")] == await desk.notices()


async def test_what_is_told_stands_in_the_events() -> None:
    """The event of an incident carries the moment at which it was told, as the store does."""
    async with bench() as desk:
        await fail(desk, [0])
        (event,) = desk.of(IncidentChanged)
        assert event.after.told_at == event.at
        assert desk.pipeline.open_incidents == (event.after,) == (await desk.store.load()).incidents


async def test_every_result_is_shown_with_its_change() -> None:
    """Each result becomes one event, in order, with the state before and after."""
    async with bench() as desk:
        await desk.pipeline.turn([result(0), result(1, EXPIRED)])
        assert [(Status.NEW, Status.OK), (Status.NEW, Status.SUSPECT)] == [
            (event.change.before.status, event.change.after.status) for event in desk.of(Ran)
        ]


async def test_a_stranger_changes_nothing() -> None:
    """A result of a watch that the plan no longer has is dropped."""
    async with bench(watches=1) as desk:
        await desk.pipeline.turn([result(7, EXPIRED)])
        assert [] == desk.events
        assert {} == (await desk.store.load()).states


async def test_a_harmful_cause_backs_off() -> None:
    """A refused login is provoked again after one, two, four … intervals, less half a one; a success lifts that."""
    refused = finding("smtp.auth_refused", Scope.MAILBOX, "box0")
    async with bench() as desk:
        await fail(desk, [0], refused, times=1)
        first = desk.pipeline.backed_off_until("smtp_auth/box0")
        await fail(desk, [0], refused, times=1)
        second = desk.pipeline.backed_off_until("smtp_auth/box0")
        assert (T0 + timedelta(seconds=150), T0 + timedelta(seconds=300 + 450)) == (first, second)
        await desk.pipeline.turn([result(0)])
        assert desk.pipeline.backed_off_until("smtp_auth/box0") is None


async def test_an_open_incident_is_told_again() -> None:
    """After `remind_every` seconds without a result, the clock alone brings a reminder, and only one."""
    async with bench(policy=Policy(remind_every=3600)) as desk:
        await fail(desk, [0])
        assert [(Reason.FIRST, "chat")] == await desk.notices()
        desk.clock.at += timedelta(seconds=3600)
        await desk.pipeline.turn([])
        await desk.pipeline.turn([])
        assert [(Reason.REMINDER, "chat")] == await desk.notices()


async def test_a_removed_watch_leaves_its_incident() -> None:
    """A watch that the new plan lacks is forgotten, and an incident that explains nothing else is closed."""
    async with bench(watches=2) as desk:
        await fail(desk, [0, 1])
        await desk.pipeline.follow(Plan.of([box(0)]), Policy(), ["chat"], Lateness())
        assert [frozenset({"smtp_auth/box0"})] == [one.watches for one in desk.pipeline.open_incidents]
        assert desk.pipeline.state("smtp_auth/box1") is None
        await desk.pipeline.follow(Plan(), Policy(), ["chat"], Lateness())
        assert ({}, ()) == ((await desk.store.load()).states, (await desk.store.load()).incidents)


async def test_a_restart_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """Streaks, incidents and what was told survive: nothing is told twice, and the recovery is told once."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with bench(url) as desk:
        await fail(desk, [0, 1])
        assert [(Reason.FIRST, "chat")] == await desk.notices()
    async with bench(url) as desk:
        await fail(desk, [0, 1], times=1)
        assert [] == await desk.notices()
        for _ in range(2):
            await desk.pipeline.turn([result(0), result(1)])
        assert [(Reason.RECOVERED, "chat")] == await desk.notices()


async def test_a_watch_that_left_while_we_were_down_leaves_its_incident(tmp_path: Path) -> None:
    """An incident of an earlier life whose watches the plan no longer has is closed at the start."""
    url = f"sqlite:///{tmp_path / 'state.db'}"
    async with bench(url) as desk:
        await fail(desk, [2])
    async with bench(url, watches=2) as desk:
        assert () == desk.pipeline.open_incidents
        assert [IncidentState.CLOSED] == [event.after.state for event in desk.of(IncidentChanged)]


async def test_what_a_full_disk_refused_is_stored_later(monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that fails keeps its notices and states for the next one; each is stored once, and sinks see all."""
    async with bench() as desk:
        commit = desk.store.commit
        answers: Iterator[StoreError | None] = iter([*[StoreError("db", "the disk is full", "make room")] * 3])

        async def refuse(_: object, batch: Batch) -> None:
            if (error := next(answers, None)) is not None:
                raise error
            await commit(batch)

        monkeypatch.setattr(Store, "commit", refuse)
        await fail(desk, [0, 1, 2])
        assert (6, 1) == (len(desk.of(Ran)), len(desk.of(IncidentChanged)))
        assert ([], []) == (desk.notified, await desk.notices())
        await desk.pipeline.turn([])
        await desk.pipeline.turn([])
        assert ["db: the disk is full; make room"] * 3 + [""] == [event.error for event in desk.of(Stored)]
        assert [(Reason.FIRST, "chat")] == await desk.notices()
        assert 1 == len(desk.notified)
        stored = await desk.store.load()
        assert ({Status.FIRING}, 1) == ({state.status for state in stored.states.values()}, len(stored.incidents))


async def test_a_reload_during_a_refused_commit_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plan that changes while a commit is under way waits for it: what that commit could not store is kept."""
    refused = finding("smtp.auth_refused", Scope.MAILBOX, "box2")
    async with bench() as desk:
        await fail(desk, [2], refused)
        await fail(desk, [0], times=1)
        assert [(Reason.FIRST, "chat")] == await desk.notices()
        commit, refuse, accept = desk.store.commit, asyncio.Event(), asyncio.Event()
        gates = iter([refuse, accept])

        async def at_the_gates(_: object, batch: Batch) -> None:
            gate = next(gates, None)
            if gate is not None:
                await gate.wait()
            if gate is refuse:
                raise StoreError("db", "the disk is full", "make room")
            await commit(batch)

        monkeypatch.setattr(Store, "commit", at_the_gates)
        turning = asyncio.create_task(desk.pipeline.turn([result(0, EXPIRED)]))
        changing = asyncio.create_task(desk.pipeline.follow(Plan.of([box(0), box(1)]), Policy(), ["chat"], Lateness()))
        await asyncio.wait([turning, changing], timeout=0)
        refuse.set()
        await turning
        accept.set()
        await changing
        await desk.pipeline.turn([])
        assert {(Reason.FIRST, "chat"), (Reason.RECOVERED, "chat")} == set(await desk.notices())
        assert desk.pipeline.open_incidents == (await desk.store.load()).incidents


async def test_results_are_dealt_with_in_batches() -> None:
    """A burst is judged in batches of at most 200, all of it, before `run` ends."""
    async with bench(watches=450) as desk:
        running = asyncio.create_task(desk.pipeline.run())
        for number in range(450):
            await desk.pipeline.accept(result(number))
        desk.pipeline.finish()
        await running
        assert (450, 0) == (len(desk.of(Ran)), desk.pipeline.queued)
        assert 3 == len(desk.of(Stored))
        assert MAX_BATCH >= 200


async def test_a_full_queue_makes_runs_wait() -> None:
    """Nobody is lost when the queue is full: who brings a result waits until there is room."""
    async with bench(watches=1) as desk:
        bringing = [asyncio.create_task(desk.pipeline.accept(result(0))) for _ in range(MAX_QUEUED + 1)]
        _, waiting = await asyncio.wait(bringing, timeout=0)
        while len(waiting) > 1:
            _, waiting = await asyncio.wait(bringing, timeout=0)
        assert MAX_QUEUED == desk.pipeline.queued
        desk.pipeline.finish()
        await desk.pipeline.run()
        await asyncio.gather(*bringing)
        assert MAX_QUEUED + 1 == len(desk.of(Ran))


def test_an_incident_has_the_same_name_for_the_same_thing() -> None:
    """The id follows from cause, subject and moment, and from nothing else."""
    subject = Subject(Scope.TENANT, "contoso")
    assert incident_id("a", subject, T0) == incident_id("a", subject, T0)
    others = {incident_id("b", subject, T0), incident_id("a", Subject(Scope.APP, "contoso"), T0)}
    assert incident_id("a", subject, T0) not in {*others, incident_id("a", subject, T0 + timedelta(seconds=1))}


def test_a_batch_after_another_keeps_the_last_of_each() -> None:
    """Joining batches keeps every notice and the newest of every other record, so it does not grow for ever."""
    older = Batch(results=[result(0), result(1)])
    newer = Batch(results=[result(0, EXPIRED)])
    assert [Outcome.FAIL, Outcome.PASS] == [one.outcome for one in older.then(newer).results]
    assert Batch().then(newer) == newer
