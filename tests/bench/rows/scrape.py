"""What a scrape costs, beside the client library on the same samples."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import uvloop
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.parser import text_string_to_metric_families

from checks.core.model import Outcome, PhaseTime, Result
from checks.core.settings import Settings
from checks.registry import CHECKS
from monitor.model import Change, Ran, Status, WatchState
from monitor.plan import Plan, Watch, watch_id
from monitor.sinks.metrics import Metrics
from monitor.web.server import serve
from tests.bench.measured import Column, LeftOutError, Row, Table
from tests.bench.simulator import NOWHERE
from tests.peers.process import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from prometheus_client import Metric as LibraryMetric

    from tests.bench.measured import Value

SERIES, QUICK_SERIES = 200_000, 4_000
SERIES_OF_A_WATCH = 16  # seven gauges and counters of a watch that passes, and one for each of nine phases
SCRAPES = 9
CHANGED = 500  # runs between two scrapes: 10,000 mailboxes every 5 minutes, a scrape every 15 s
_BROWSER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
_TEXT = {"Accept": "text/plain; version=0.0.4"}


class _Parsed:
    """A registry of samples that are there already, so that the library has nothing to do but to write them."""

    def __init__(self, families: Iterable[LibraryMetric]) -> None:
        self._families = list(families)

    def collect(self) -> Sequence[LibraryMetric]:
        """Every family."""
        return self._families


def _lines(page: bytes) -> set[bytes]:
    """What is in a page, but for the metrics of the process, which are others every time."""
    return {line for line in page.splitlines() if b"process_" not in line}


def _watches(count: int) -> list[Watch]:
    check = CHECKS["smtp_auth"]
    return [
        Watch(
            id=watch_id(check.name, box.id),
            check=check.name,
            target=box,
            settings=Settings(),
            interval=check.interval,
            timeout=check.timeout,
        )
        for box in (NOWHERE.mailbox(number) for number in range(1, count + 1))
    ]


def _ran(watch: Watch, number: int) -> Ran:
    """A run that passed; its times differ from run to run, as real ones do."""
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(milliseconds=137 * number)
    phases = tuple(
        PhaseTime(phase, (number * 7919 + place) % 100_003 / 1e5, finished=True)
        for place, phase in enumerate(CHECKS[watch.check].phases)
    )
    result = Result(
        run_id=f"{number:016x}",
        watch=watch.id,
        check=watch.check,
        started_at=at,
        seconds=sum(phase.seconds for phase in phases),
        phases=phases,
    )
    state = WatchState(
        watch=watch.id, status=Status.OK, since=at, outcome=Outcome.PASS, last_seen_at=at, last_pass_at=at
    )
    return Ran(at=at, result=result, change=Change(before=state, after=state, reason="still_ok"))


def _cpu_ms(work: Callable[[], object]) -> float:
    """CPU of this thread."""
    before = time.thread_time()
    work()
    return 1000 * (time.thread_time() - before)


async def _measured_with(metrics: Metrics, watches: Sequence[Watch], scrapes: int) -> tuple[Costs, int, int]:
    library = _Parsed(text_string_to_metric_families(metrics.render(openmetrics=False).decode()))
    if _lines(generate_latest(library)) != _lines(metrics.render(openmetrics=False)):
        raise LeftOutError("the library has other samples than we: nothing can be compared")
    theirs = {
        "library text": partial(generate_latest, library),
        "library openmetrics": partial(openmetrics_exposition.generate_latest, library),
    }
    ours = {
        "text": partial(metrics.render, openmetrics=False),
        "openmetrics": partial(metrics.render, openmetrics=True),
    }
    over_http = {"HTTP text": _TEXT, "HTTP openmetrics": _OPENMETRICS}
    costs: Costs = {}
    number, size = len(watches), 0
    async with serve((HOST, 0), metrics=metrics, readiness=lambda: (), reload=_never) as (host, port):

        def fetch(headers: dict[str, str]) -> int:
            request = urllib.request.Request(f"http://{host}:{port}/metrics", headers=headers)
            with _BROWSER.open(request, timeout=30) as answer:
                return len(answer.read())

        def show() -> None:
            """What happened since the last scrape."""
            nonlocal number
            events = [_ran(watches[(number + turn) % len(watches)], number + turn) for turn in range(CHANGED)]
            number += CHANGED
            costs.setdefault("change", []).append(_cpu_ms(partial(_accept, metrics, events)))

        for _ in range(scrapes):
            metrics.render(openmetrics=False)  # not counted: the memory that the library gave back is fetched again
            for name, render in ours.items():
                show()
                costs.setdefault(name, []).append(_cpu_ms(render))
            for name, headers in over_http.items():
                show()
                before = time.thread_time()
                size = await asyncio.to_thread(fetch, headers)
                costs.setdefault(name, []).append(1000 * (time.thread_time() - before))
            for name, render in theirs.items():
                costs.setdefault(name, []).append(_cpu_ms(render))
    return costs, size, sum(len(family.samples) for family in library.collect())


def _accept(metrics: Metrics, events: Sequence[Ran]) -> None:
    for event in events:
        metrics.accept(event)


async def _never() -> Sequence[str]:
    return ()


Costs = dict[str, list[float]]  # by way: milliseconds of CPU of each time


def _measured(quick: bool) -> list[Table]:  # noqa: FBT001 - the shape of a row
    watches = _watches((QUICK_SERIES if quick else SERIES) // SERIES_OF_A_WATCH)
    metrics = Metrics()
    metrics.follow(Plan.of(watches))
    for number, watch in enumerate(watches):
        metrics.accept(_ran(watch, number))
    costs, size, samples = uvloop.run(_measured_with(metrics, watches, 2 if quick else SCRAPES))
    middle = {name: median(found) for name, found in costs.items()}

    def line(way: str, prefix: str) -> dict[str, Value]:
        text, openmetrics = middle[f"{prefix}text"], middle[f"{prefix}openmetrics"]
        return {
            "way": way,
            "text_ms": text,
            "text_to_library": text / middle["library text"],
            "openmetrics_ms": openmetrics,
            "openmetrics_to_library": openmetrics / middle["library openmetrics"],
        }

    lines = [
        line("mailcanary, the page", ""),
        line("mailcanary, over HTTP", "HTTP "),
        line("prometheus_client, the page", "library "),
    ]
    columns = (
        Column("way", "CPU of one scrape"),
        Column("text_ms", "text 0.0.4, ms", 1),
        Column("text_to_library", "/ library", 4),
        Column("openmetrics_ms", "OpenMetrics, ms", 1),
        Column("openmetrics_to_library", "/ library", 4),
    )
    facts: dict[str, Value] = {
        "samples": samples,
        "page_mib": size / 2**20,
        "change_us": 1000 * middle["change"] / CHANGED,
    }
    return [
        Table(f"A scrape of {samples:,} samples", columns, lines),
        Table(
            "What it shows",
            (
                Column("samples", "samples"),
                Column("page_mib", "page, MiB", 1),
                Column("change_us", "CPU to show one run, µs", 1),
            ),
            [facts],
        ),
    ]


ROW = Row(
    name="scrape",
    title="A scrape",
    method=(
        "The metrics of the daemon are filled by events of runs that passed, for as many mailboxes as make 200,000 samples; "
        "500 runs end before each scrape, as many as 10,000 mailboxes every 5 minutes have in 15 s. Counted is the CPU of "
        "the thread of the event loop, which stands still as long: to make the page, and to give it over HTTP to a client in "
        "another thread, in a process that made such pages before (the very first ones cost three times as much, for memory that "
        "has to be had). What making the page leaves out was done before, when a run ended (`CPU to show one run`). "
        "prometheus_client writes the same samples, handed to it ready; the two pages have the same lines, which is "
        "verified before. Its own metric objects would cost it more. Not measured: compression, which there is none of."
    ),
    measure=_measured,
)
