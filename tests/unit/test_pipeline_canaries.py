"""Canaries on their way through the pipeline: what was sent and seen becomes the state of the mailbox's delivery."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from checks.core.model import Folder, InboxRead, Result, Sent, Sighting
from checks.core.target import Inbox
from monitor.model import CanarySettled, Event, Fate, Lateness, Policy, Ran, Status
from monitor.pipeline import Pipeline
from monitor.plan import Plan
from monitor.store import Store
from tests.unit.test_pipeline import Bench, HandClock
from tests.unit.world import CLOUD, CREDENTIAL, mailbox, watch

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


async def test_old_canaries_are_pruned() -> None:
    """They are kept as long as incidents are, and no longer."""
    clock = HandClock()
    async with Store.open("sqlite://", clock) as store:
        desk = await opened(clock, store)
        await desk.pipeline.turn([sent(desk, "c1")])
        await store.prune(clock.at - timedelta(seconds=1))
        assert 1 == len((await store.load()).canaries)
        await store.prune(clock.at + timedelta(seconds=1))
        assert () == (await store.load()).canaries
