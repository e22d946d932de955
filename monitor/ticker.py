"""The clock of the daemon: APScheduler says when a watch is due, and does nothing else.

Its own interval trigger lets jitter add up, its coroutine jobs swallow cancellation, and jobs added one by one to a
running scheduler queue a wake-up each; so the trigger is ours, the job is a plain call that only offers the watch, and
changes are made while it is paused.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta

from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger

from checks.core.clock import Clock
from monitor.plan import Difference, Watch

# A watch runs once within this many seconds of the start, if its interval is longer.
FIRST_RUN_WITHIN = 60.0
TIMER_SLACK = 0.001  # seconds
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# Two INFO lines for each run would nearly double what a tick costs.
logging.getLogger("apscheduler").setLevel(logging.WARNING)


class Slots(BaseTrigger):  # type: ignore[misc]  # APScheduler has no types
    """One fire in every slot: slot k begins at offset + k * interval since the epoch. `first` comes before them.

    A slot that begins less than half an interval behind `first` is left out: else a daemon that starts would do the work of
    two intervals in its first one, with all mailboxes at once.

    It counts in whole microseconds, as datetimes do: a slot that came back a rounding error too early would be due again
    and again, and APScheduler would walk the same moment for ever.
    """

    __slots__ = ("first", "interval", "offset")

    def __init__(self, interval: float, offset: float, first: datetime | None = None) -> None:
        self.interval = round(interval * 1e6)
        self.offset = round(offset * 1e6) % self.interval
        self.first = first

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime:
        """The next moment, later than `now` and the previous one; a slot that was missed is not made up for."""
        if previous_fire_time is None and self.first is not None:
            return max(self.first, now)
        base = max(now, previous_fire_time) if previous_fire_time else now
        if self.first is not None:
            base = max(base, self.first + self.interval * _MICROSECOND / 2)
        slot = ((base - _EPOCH) // _MICROSECOND - self.offset) // self.interval + 1
        return _EPOCH + timedelta(microseconds=self.offset + slot * self.interval)


class _Scheduler(AsyncIOScheduler):  # type: ignore[misc]  # APScheduler has no types
    """Wakes up no earlier than a watch is due."""

    def _start_timer(self, wait_seconds: float | None) -> None:
        # uvloop counts whole milliseconds, from when its pass began, and its timers come up to that much early. APScheduler
        # then finds nothing due and sets the next one: 3.4 wake-ups for one run were seen, which cost as much as the rest.
        super()._start_timer(None if wait_seconds is None else wait_seconds + TIMER_SLACK)


class Ticker:
    """Calls `offer(watch id)` when a watch is due. Belongs to one running loop."""

    def __init__(self, clock: Clock, offer: Callable[[str], None]) -> None:
        self._clock = clock
        self._offer = offer
        self._scheduler = _Scheduler(
            timezone=UTC,
            executors={"default": DebugExecutor()},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        self._patient: frozenset[str] = frozenset()

    def start(self, watches: Iterable[Watch], last_runs: Mapping[str, datetime], patient: frozenset[str]) -> None:
        """Begin. Watches of the checks in `patient` wait for their slot when their last run is younger than that."""
        self._patient = patient
        self._scheduler.start(paused=True)
        for watch in _scheduled(*watches):
            self._add(watch, last_runs)
        self._scheduler.resume()

    def change(self, what: Difference, last_runs: Mapping[str, datetime]) -> None:
        """Follow a new plan: what did not change keeps its place, the rest begins as at the start."""
        self._scheduler.pause()
        for watch in _scheduled(*what.removed, *what.changed):
            self._scheduler.remove_job(watch.id)
        for watch in _scheduled(*what.added, *what.changed):
            self._add(watch, last_runs)
        self._scheduler.resume()

    def stop(self) -> None:
        """No watch is due any more."""
        self._scheduler.pause()
        self._scheduler.shutdown(wait=False)

    def _add(self, watch: Watch, last_runs: Mapping[str, datetime]) -> None:
        now = self._clock.now()
        last_run = last_runs.get(watch.id) if watch.check in self._patient else None
        young = last_run is not None and now - last_run < timedelta(seconds=watch.interval)
        within = min(watch.interval, FIRST_RUN_WITHIN)
        first = None if young else now + timedelta(seconds=watch.offset / watch.interval * within)
        self._scheduler.add_job(
            self._offer,
            Slots(watch.interval, watch.offset, first),
            args=(watch.id,),
            id=watch.id,
            name=watch.check,
        )


def _scheduled(*watches: Watch) -> list[Watch]:
    return [watch for watch in watches if not watch.derived]
