"""The whole daemon with a thousand and with ten thousand mailboxes: memory, CPU, lateness."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from checks.core.settings import Settings
from monitor.plan import Watch
from monitor.ticker import FIRST_RUN_WITHIN
from tests.bench.daemon import running_daemon
from tests.bench.measured import Column, Row, Table, spread, spread_columns
from tests.bench.rows.lateness import lateness
from tests.bench.simulator import running_office

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.bench.daemon import Run
    from tests.bench.measured import Value
    from tests.bench.simulator import Office

FLEETS = ((1_000, 300), (1_000, 60), (10_000, 300), (10_000, 100))  # mailboxes, seconds between two runs for each
QUICK = ((20, 2), (120, 2))
WINDOWS, WINDOW_SECONDS = 5, 12.0


def _one(office: Office, mailboxes: int, interval: float, windows: int, seconds: float) -> dict[str, Value]:
    with running_daemon(office, mailboxes, interval) as daemon:
        time.sleep(min(interval, FIRST_RUN_WITHIN) + 5.0)
        cost = daemon.cost(windows=windows, seconds=seconds)
        resident, peak = daemon.memory()
        runs, skipped = daemon.runs(), daemon.skipped()
    late = _late(runs, {number: office.mailbox(number).id for number in range(1, mailboxes + 1)}, office, interval)
    return {
        "mailboxes": mailboxes,
        "interval_seconds": interval,
        "probes_per_second": cost.rate,
        "cpu_ms": cost.milliseconds,
        "core_percent": 100 * cost.core,
        "resident_mib": resident,
        "peak_mib": peak,
        "first_result_seconds": min(run.ended_at for run in runs) - daemon.started_at,
        **spread("late", late),
        "skipped": skipped,
    }


def _late(runs: list[Run], ids: Mapping[int, str], office: Office, interval: float) -> list[float]:
    """How late all runs were but the first of each watch."""
    numbers = {id_: number for number, id_ in ids.items()}
    seen: set[str] = set()
    late: list[float] = []
    for run in sorted(runs, key=lambda run: run.started_at):
        if run.watch in seen:
            target = office.mailbox(numbers[run.mailbox])
            watch = Watch(
                id=run.watch, check="", target=target, settings=Settings(), interval=interval, timeout=interval
            )
            late.append(lateness(watch, run.started_at))
        seen.add(run.watch)
    return late


def _measured(quick: bool) -> list[Table]:  # noqa: FBT001 - the shape of a row
    fleets = QUICK if quick else FLEETS
    windows, seconds = (1, 2.0) if quick else (WINDOWS, WINDOW_SECONDS)
    with running_office(mailboxes=max(mailboxes for mailboxes, _ in fleets)) as office:
        lines = [_one(office, mailboxes, interval, windows, seconds) for mailboxes, interval in fleets]
    columns = (
        Column("mailboxes", "mailboxes"),
        Column("interval_seconds", "every, s"),
        Column("probes_per_second", "probes/s", 1),
        Column("cpu_ms", "CPU for one probe, ms", 2),
        Column("core_percent", "% of a core", 1),
        Column("resident_mib", "resident, MiB"),
        Column("peak_mib", "at most, MiB"),
        Column("first_result_seconds", "first result after, s", 1),
        *spread_columns("late", "late, ms:", 1),
        Column("skipped", "skipped"),
    )
    return [Table("The daemon on one check, smtp_auth", columns, lines), memory(lines)]


def memory(lines: list[dict[str, Value]]) -> Table:
    """The slope between the smallest and the largest fleet, and what is left for none."""
    ends = sorted((float(str(line["mailboxes"])), float(str(line["resident_mib"]))) for line in lines)
    (few, low), (many, high) = ends[0], ends[-1]
    slope = (high - low) / (many - few)
    columns = (
        Column("per_thousand_mib", "for each 1,000 mailboxes, MiB", 1),
        Column("base_mib", "without any, MiB", 1),
    )
    return Table("Memory", columns, [{"per_thousand_mib": 1000 * slope, "base_mib": low - slope * few}])


ROW = Row(
    name="daemon",
    title="The daemon",
    method=(
        "`mailcanary run` in a process of its own, as users start it: store in SQLite, metrics, event log into a file, no "
        "scrape; every mailbox has the check `smtp_auth`, all of them one app and one server, the embedded Microsoft 365. "
        "After the first minute, in which every watch runs once, its CPU is read five times, for 12 s each, and divided by "
        "the runs that its event log tells of: the median. Resident memory is that of the kernel (VmRSS, VmHWM). Lateness "
        "is from the moment a watch is due to the start of its run, in the log's milliseconds."
    ),
    measure=_measured,
)
