"""When watches are due: once in every slot, and every moment later than the one before."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import uvloop
from hypothesis import given
from hypothesis import strategies as st

from checks.core.clock import SystemClock
from monitor.plan import Difference
from monitor.ticker import Slots, Ticker
from tests.unit.test_pipeline import HandClock
from tests.unit.world import mailbox, watch

MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants them so


@given(
    interval=st.floats(1.0, 86400.0),
    share=st.floats(0.0, 1.0, exclude_max=True),
    now=MOMENTS,
)
def test_every_moment_is_later_than_the_one_before(interval: float, share: float, now: datetime) -> None:
    """Whatever the rounding, the next moment lies behind the previous one, by one interval, however long we go on."""
    slots = Slots(interval, share * interval)
    moments = [slots.get_next_fire_time(None, now)]
    for _ in range(50):
        moments.append(slots.get_next_fire_time(moments[-1], now))
    gaps = {later - earlier for earlier, later in pairwise(moments)}
    assert moments[0] > now
    assert {timedelta(microseconds=round(interval * 1e6))} == gaps


@given(interval=st.floats(1.0, 86400.0), share=st.floats(0.0, 1.0, exclude_max=True), now=MOMENTS)
def test_a_missed_slot_is_not_made_up_for(interval: float, share: float, now: datetime) -> None:
    """After a sleep of a day the next moment lies ahead, less than one interval away."""
    next_one = Slots(interval, share * interval).get_next_fire_time(now - timedelta(days=1), now)
    assert now < next_one <= now + timedelta(seconds=interval, microseconds=1)


def test_the_first_run_comes_before_the_slots() -> None:
    """A first moment is taken once; one in the past is now."""
    now = datetime(2026, 11, 25, tzinfo=UTC)
    soon = now + timedelta(seconds=7)
    assert soon == Slots(300, 10, soon).get_next_fire_time(None, now)
    assert now == Slots(300, 10, now - timedelta(seconds=7)).get_next_fire_time(None, now)


@given(
    interval=st.floats(1.0, 86400.0),
    share=st.floats(0.0, 1.0, exclude_max=True),
    ahead=st.floats(0.0, 60.0),
    now=MOMENTS,
)
def test_the_first_run_and_the_slots_keep_their_distance(
    interval: float, share: float, ahead: float, now: datetime
) -> None:
    """From the first run to the slot after it is half an interval to one and a half; then all are one apart."""
    slots = Slots(interval, share * interval, now + timedelta(seconds=ahead))
    first = slots.get_next_fire_time(None, now)
    second = slots.get_next_fire_time(first, first)
    third = slots.get_next_fire_time(second, second)
    exact = timedelta(microseconds=slots.interval)
    assert exact / 2 <= second - first <= exact * 1.5
    assert exact == third - second


async def test_a_reload_hurries_no_patient_watch() -> None:
    """A canary whose watch changes, as by a label, waits for its slot: not all of a fleet are sent within a minute."""
    clock = HandClock()
    canary, hasty = watch("canary", mailbox("billing")), watch("smtp_auth", mailbox("billing"))

    def hurried(last_runs: Mapping[str, datetime]) -> set[str]:
        """The watches that run before their slot when all change."""
        ticker = Ticker(clock, lambda _: None)
        ticker.start([canary, hasty], {}, frozenset({"canary"}))
        ticker.change(Difference(added=(), changed=(canary, hasty), removed=()), last_runs)
        jobs = {job.id: job.trigger for job in ticker._scheduler.get_jobs()}
        ticker.stop()
        return {id_ for id_, slots in jobs.items() if slots.first is not None}

    just_now = clock.now() - timedelta(seconds=1)
    assert {hasty.id} == hurried({canary.id: just_now, hasty.id: just_now})
    assert {canary.id, hasty.id} == hurried({})


def test_one_run_is_one_wake_up() -> None:
    """Uvloop's timers come up to a millisecond early: the scheduler must not wake up to find nothing due."""
    due, wanted, wake_ups = [], 40, 0
    quick = replace(watch("smtp_auth", mailbox("billing")), interval=0.0125)

    async def tick() -> None:
        enough = asyncio.Event()

        def offer(name: str) -> None:
            due.append(name)
            if len(due) == wanted:
                enough.set()

        ticker = Ticker(SystemClock(), offer)
        walk = ticker._scheduler._process_jobs

        def counted() -> object:
            nonlocal wake_ups
            wake_ups += 1
            return walk()

        ticker._scheduler._process_jobs = counted
        ticker.start([quick], {}, frozenset())
        async with asyncio.timeout(10):
            await enough.wait()
        ticker.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(tick())
    assert wake_ups <= wanted * 1.5
