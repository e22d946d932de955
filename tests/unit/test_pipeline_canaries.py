"""Canaries on their way through the pipeline: what was sent and seen becomes the state of the mailbox's delivery."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from checks.core.model import Folder, InboxRead, Result, Sent, Sighting
from checks.core.target import Inbox
from monitor.model import Canary, CanarySettled, Event, Fate, Lateness, Policy, Ran, Status, Stored
from monitor.pipeline import MAX_BATCH, Pipeline
from monitor.plan import Plan
from monitor.store import Batch, Store
from monitor.store.schema import canary
from tests.unit.test_pipeline import Bench, HandClock
from tests.unit.world import CLOUD, CREDENTIAL, T0, mailbox, watch

if TYPE_CHECKING:
    from checks.core.model import Fact

INBOX = Inbox(id="inbox", address=mailbox("canary").address, endpoint=CLOUD.smtp, credential=CREDENTIAL)
DELIVERY = replace(watch("delivery", mailbox("billing")), derived=True)
PLAN = Plan.of([watch("canary", mailbox("billing")), watch("inbox", INBOX), DELIVERY])


async def opened(clock: HandClock, store: Store) -> Bench:
    """A pipeline on a store that follows the plan with a policy that fires at once."""
    events: list[Event] = []
    pipeline = Pipeline(store=store, publish=events.extend, notify=lambda: None, clock=clock)
    await pipeline.restore()
    await pipeline.follow(PLAN, Policy(fail_after=1, recover_after=1), ["chat"], Lateness())
    return Bench(pipeline, store, clock, events)


def ran(name: str, desk: Bench, *facts: Fact) -> Result:
    """A good run of a watch that learnt these facts."""
    return Result(
        run_id=f"{name}{desk.clock.at}",
        watch=name,
        check=name.partition("/")[0],
        started_at=desk.clock.at,
        seconds=0.5,
        phases=(),
        facts=facts,
    )


def sent(desk: Bench, name: str) -> Result:
    """A run that sent a canary now."""
    fact = Sent(canary_id=name, mailbox="billing", recipients=1, reply="OK", at=desk.clock.at, inboxes=("inbox",))
    return ran("canary/billing", desk, fact)


def read(desk: Bench, *names: str) -> Result:
    """A run that read the inbox now and saw these."""
    at = desk.clock.at
    seen = [Sighting(canary_id=name, inbox="inbox", folder=Folder.INBOX, arrived_at=at) for name in names]
    return ran("inbox/inbox", desk, *seen, InboxRead(inbox="inbox", removed=0))


async def test_a_lost_canary_fires_and_the_next_one_recovers() -> None:
    """The derived watch has a state like any other, and an incident at the mailbox that sent."""
    clock = HandClock()
    async with Store.open("sqlite://", clock) as store:
        desk = await opened(clock, store)
        await desk.pipeline.turn([sent(desk, "c1")])
        assert desk.pipeline.state(DELIVERY.id) is None
        clock.at += timedelta(hours=2)
        await desk.pipeline.turn([read(desk)])
        state = desk.pipeline.state(DELIVERY.id)
        assert state is not None
        assert Status.FIRING is state.status
        (incident,) = desk.pipeline.open_incidents
        assert ("mailbox billing", frozenset({DELIVERY.id})) == (str(incident.subject), incident.watches)
        await desk.pipeline.turn([sent(desk, "c2")])
        clock.at += timedelta(seconds=60)
        await desk.pipeline.turn([read(desk, "c2")])
        assert () == desk.pipeline.open_incidents
        settled = [event.canary.fate for event in desk.events if isinstance(event, CanarySettled)]
        assert [Fate.LOST, Fate.DELIVERED] == settled
        told = [event.result.watch for event in desk.events if isinstance(event, Ran)]
        assert 2 == told.count(DELIVERY.id)


async def test_canaries_on_their_way_survive_a_restart(tmp_path: Path) -> None:
    """What was sent by one life is found by the next one, and is not asked for a third time."""
    url, clock = f"sqlite:///{tmp_path / 'state.db'}", HandClock()
    async with Store.open(url, clock) as store:
        desk = await opened(clock, store)
        await desk.pipeline.turn([sent(desk, "c1"), sent(desk, "c2")])
    async with Store.open(url, clock) as store:
        desk = await opened(clock, store)
        await desk.pipeline.turn([read(desk, "c1", "c2", "stranger")])
        settled = [event.canary for event in desk.events if isinstance(event, CanarySettled)]
        assert ["c1", "c2"] == [canary.id for canary in settled]
    async with Store.open(url, clock) as store:
        assert () == (await store.load()).canaries


async def test_an_inbox_where_all_arrives_hides_no_other_where_nothing_does() -> None:
    """Each canary goes to two inboxes and gets lost on the way to one of them: two in a row fire, as with one inbox."""
    clock = HandClock()
    outside = replace(INBOX, id="outside")
    async with Store.open("sqlite://", clock) as store:
        desk = await opened(clock, store)
        plan = Plan.of([*PLAN.watches.values(), watch("inbox", outside)])
        await desk.pipeline.follow(plan, Policy(fail_after=2, recover_after=2), ["chat"], Lateness())
        for name in ("c1", "c2"):
            both = Sent(
                canary_id=name, mailbox="billing", recipients=2, reply="OK", at=clock.at, inboxes=("inbox", "outside")
            )
            await desk.pipeline.turn([ran("canary/billing", desk, both)])
            clock.at += timedelta(minutes=1)
            await desk.pipeline.turn([read(desk, name)])
            clock.at += timedelta(minutes=9)
            await desk.pipeline.turn([ran("inbox/outside", desk, InboxRead(inbox="outside", removed=0))])
        state = desk.pipeline.state(DELIVERY.id)
        assert state is not None
        assert Status.FIRING is state.status


async def test_what_left_the_plan_is_not_taken_up_again(tmp_path: Path) -> None:
    """A canary of a mailbox that is gone is forgotten in the store too; nobody is told."""
    clock = HandClock()
    async with Store.open(f"sqlite:///{tmp_path}/s.db", clock) as store:
        desk = await opened(clock, store)
        await desk.pipeline.turn([sent(desk, "c1")])
        assert 1 == len((await store.load()).canaries)
        await desk.pipeline.follow(Plan.of([watch("inbox", INBOX)]), Policy(), ["chat"], Lateness())
        assert () == (await store.load()).canaries
        assert [] == [event for event in desk.events if isinstance(event, CanarySettled)]


async def test_what_an_inbox_settles_at_once_is_decided_in_parts() -> None:
    """A read after a long time settles all that was sent meanwhile: the loop is not held up for all of it at a time."""
    clock = HandClock()
    async with Store.open("sqlite://", clock) as store:
        desk = await opened(clock, store)
        names = [str(number) for number in range(2 * MAX_BATCH + 1)]
        await desk.pipeline.turn([sent(desk, name) for name in names])
        clock.at += timedelta(hours=2)
        desk.events.clear()
        await desk.pipeline.turn([read(desk)])
        settled = [event.canary.id for event in desk.events if isinstance(event, CanarySettled)]
        assert names == settled
        assert 3 == sum(isinstance(event, Stored) for event in desk.events)
        assert () == (await store.load()).canaries


def test_a_full_disk_fills_no_memory_with_canaries() -> None:
    """What was sent and settled while nothing could be stored is not kept; what the store has as pending is."""
    known, unknown, under_way = (
        Canary(id=name, mailbox="billing", inbox="inbox", sent_at=T0) for name in ("known", "unknown", "under way")
    )
    refused = Batch(canaries=[unknown, under_way])
    whole = refused.then(Batch(canaries=[replace(one, fate=Fate.DELIVERED) for one in (known, unknown)]))
    assert [("under way", Fate.PENDING), ("known", Fate.DELIVERED)] == [(one.id, one.fate) for one in whole.canaries]


async def test_old_canaries_are_pruned() -> None:
    """What is on its way is kept as long as incidents are; what is settled goes after a day."""
    clock = HandClock()
    async with Store.open("sqlite://", clock) as store:
        desk = await opened(clock, store)
        await desk.pipeline.turn([sent(desk, "settled"), sent(desk, "expected")])
        await desk.pipeline.turn([read(desk, "settled")])
        for passed, left in ((timedelta(hours=23), 2), (timedelta(hours=2), 1), (timedelta(days=30), 0)):
            clock.at += passed
            await store.prune(clock.at - timedelta(days=30))
            assert left == await rows(store)


async def rows(store: Store) -> int:
    """How many canaries the store has."""
    return await store._do(lambda connection: connection.execute(select(func.count()).select_from(canary)).scalar_one())
