"""How late a run begins that was due: the ticker and the runner alone."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import uvloop

from checks.core.check import Check
from checks.core.clock import SystemClock
from checks.core.model import Phase
from checks.core.settings import Settings
from checks.wire.kit import open_kit
from monitor.plan import Watch, watch_id
from monitor.runner import Runner
from monitor.ticker import FIRST_RUN_WITHIN, Ticker
from tests.bench.measured import Column, Row, Table, spread, spread_columns
from tests.bench.simulator import NOWHERE

if TYPE_CHECKING:
    from checks.core.kit import Kit
    from checks.core.model import Result
    from checks.core.target import Mailbox
    from checks.core.trace import Trace
    from monitor.model import Skipped
    from tests.bench.measured import Value

WATCHES = 10_000
INTERVALS = {300: 60, 60: 30, 20: 20, 10: 20}  # seconds between two runs of a watch: measured for so many seconds
QUICK_WATCHES, QUICK = 500, {2: 2}


@dataclass(slots=True)
class _Starts:
    """When each run began, in seconds since 1970, by its mailbox."""

    of: dict[str, list[float]] = field(default_factory=dict)
    skipped: int = 0

    async def run(self, target: Mailbox, _: Settings, __: Trace, ___: Kit) -> None:
        """A check that costs nothing."""
        self.of.setdefault(target.id, []).append(time.time())

    def skip(self, _: Skipped) -> None:
        """Count a run that was due and did not happen."""
        self.skipped += 1


async def _forget(_: Result) -> None:
    """Where results go."""


def lateness(watch: Watch, started_at: float) -> float:
    """By how many seconds a run began after its slot. Not for the first run of a watch, which has a moment of its own.

    A moment may be a millisecond too early, since it was cut to milliseconds: that counts as in time.
    """
    late = (started_at - watch.offset) % watch.interval
    return 0.0 if late > watch.interval - 0.001 else late


async def _one(watches: int, interval: float, seconds: float) -> dict[str, Value]:
    starts = _Starts()
    check = Check(
        name="nothing",
        target="mailbox",
        phases=(Phase.RESOLVE,),
        settings=Settings,
        interval=interval,
        timeout=interval,
        always=True,
        run=starts.run,
    )
    boxes = (NOWHERE.mailbox(number) for number in range(1, watches + 1))
    plan = {
        (id_ := watch_id(check.name, box.id)): Watch(
            id=id_, check=check.name, target=box, settings=Settings(), interval=interval, timeout=interval
        )
        for box in boxes
    }
    async with open_kit(clock=SystemClock(), seed=1) as kit:
        runner = Runner(kit, {check.name: check}, accept=_forget, skipped=starts.skip, backed_off_until=lambda _: None)
        ticker = Ticker(kit.clock, lambda id_: runner.offer(plan[id_]))
        ticker.start(plan.values(), {}, frozenset())
        await asyncio.sleep(min(interval, FIRST_RUN_WITHIN) + 1.0)
        begin, spent = time.time(), time.process_time()
        await asyncio.sleep(seconds)
        end, spent = time.time(), time.process_time() - spent
        ticker.stop()
        await runner.stop()
    by_mailbox = {watch.target.id: watch for watch in plan.values()}
    late = [
        lateness(by_mailbox[mailbox], at)
        for mailbox, moments in starts.of.items()
        for at in moments[1:]
        if begin <= at < end
    ]
    return {
        "watches": watches,
        "interval_seconds": interval,
        "runs_per_second": len(late) / (end - begin),
        "skipped": starts.skipped,
        **spread("late", late),
        "cpu_us": 1e6 * spent / len(late),
    }


def _measured(quick: bool) -> list[Table]:  # noqa: FBT001 - the shape of a row
    watches, intervals = (QUICK_WATCHES, QUICK) if quick else (WATCHES, INTERVALS)
    lines = [uvloop.run(_one(watches, interval, seconds)) for interval, seconds in intervals.items()]
    columns = (
        Column("watches", "watches"),
        Column("interval_seconds", "every, s"),
        Column("runs_per_second", "runs/s", 1),
        *spread_columns("late", "late, ms:"),
        Column("skipped", "skipped"),
        Column("cpu_us", "CPU for one run, µs"),
    )
    return [Table("Ticker and runner, with a check that costs nothing", columns, lines)]


ROW = Row(
    name="lateness",
    title="Lateness of runs",
    method=(
        "From the moment a watch is due by its place in the interval to the first line of its check. Here the ticker and the "
        "runner are alone with a check that does nothing, so that only the schedule is measured; how late runs are in "
        "the whole daemon, with a server that answers, stands under *The daemon*. The first run of each watch is left out: "
        "its moment is spread over the first minute."
    ),
    measure=_measured,
)
