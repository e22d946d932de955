"""Reading ten thousand mailboxes, and reading them again."""

from __future__ import annotations

import asyncio
import gc
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

import trustme
import uvloop
import yaml

from checks.core.clock import SystemClock
from checks.registry import CHECKS
from monitor.config import load
from monitor.plan import Plan, difference, plan_of
from monitor.prepared import prepare
from monitor.ticker import Ticker
from tests.bench.daemon import configuration_of
from tests.bench.measured import Column, Row, Table, spread, spread_columns
from tests.bench.simulator import NOWHERE
from tests.peers.process import temporary_home

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.bench.measured import Value

MAILBOXES = 10_000
TURNS = 5
FEW = 100  # one in a hundred of the mailboxes changed
BEAT = 0.005  # seconds

Costs = dict[str, list[float]]  # by step: seconds of CPU of each turn


def _timed(costs: Costs, step: str, work: Callable[[], object]) -> None:
    gc.collect()
    before = time.process_time()
    work()
    costs.setdefault(step, []).append(time.process_time() - before)


def _written(home: Path, mailboxes: int) -> tuple[Path, Path]:
    """The same mailboxes twice: in the configuration file, and in a CSV that it names."""
    secret = home / "secret"
    secret.touch(0o600)
    secret.write_text("a secret")
    authority = home / "ca.pem"
    trustme.CA().cert_pem.write_to_path(authority)
    configuration = configuration_of(replace(NOWHERE, ca_file=str(authority)), secret, mailboxes, 300)
    inside, beside, fleet = (home / name for name in ("inside.yaml", "beside.yaml", "fleet.csv"))
    inside.write_text(yaml.safe_dump(configuration, sort_keys=False))
    boxes = configuration.pop("mailboxes")
    rows = (f"{id_},{box['address']},{box['app']}\n" for id_, box in boxes.items())
    fleet.write_text("".join(["id,address,app\n", *rows]))
    beside.write_text(yaml.safe_dump({**configuration, "mailboxes_from": [{"file": fleet.name}]}, sort_keys=False))
    return inside, beside


def _changed(plan: Plan, share: int) -> Plan:
    """The same plan with another time limit in one of `share` watches."""
    watches = enumerate(plan.watches.values())
    return Plan.of([watch if number % share else replace(watch, timeout=29.0) for number, watch in watches])


async def _reloaded(costs: Costs, plan: Plan) -> None:
    """What a reload does to the schedule of a running daemon, after the file was read."""
    ticker = Ticker(SystemClock(), lambda _: None)
    _timed(costs, "start of the ticker", lambda: ticker.start(plan.watches.values(), {}, frozenset()))
    for words, after in ((f"1 in {FEW} changed", _changed(plan, FEW)), ("all changed", _changed(plan, 1))):
        what = difference(plan, after)
        _timed(costs, f"difference of two plans, {words}", partial(difference, plan, after))
        _timed(costs, f"change of the ticker, {words}", partial(ticker.change, what, {}))
    ticker.stop()


async def _beside(file: Path, turns: int) -> list[float]:
    """By how many seconds a timer of the loop was late while a thread read the file, as it does at a reload."""
    late: list[float] = []
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        for _ in range(turns):
            reading = loop.run_in_executor(pool, prepare, file)
            while not reading.done():
                due = time.perf_counter() + BEAT
                await asyncio.sleep(BEAT)
                late.append(time.perf_counter() - due)
            await reading
    return late


def _measured(quick: bool) -> list[Table]:  # noqa: FBT001 - the shape of a row
    mailboxes, turns = (500, 1) if quick else (MAILBOXES, TURNS)
    costs: Costs = {}
    with temporary_home("load") as home:
        inside, beside = _written(home, mailboxes)
        plan = prepare(inside).plan  # what is imported once and cached once is not counted
        assert plan == prepare(beside).plan, "the CSV names other mailboxes"
        configuration = load(inside, CHECKS)
        for _ in range(turns):
            _timed(costs, "mailboxes in the file: to the prepared plan", lambda: prepare(inside))
            _timed(costs, "  of it: configuration to plan", lambda: plan_of(configuration))
            _timed(costs, "mailboxes in a CSV: to the prepared plan", lambda: prepare(beside))
            uvloop.run(_reloaded(costs, plan))
        late = uvloop.run(_beside(inside, turns))
        size = inside.stat().st_size
    lines: list[dict[str, Value]] = [{"step": step, "cpu_seconds": median(found)} for step, found in costs.items()]
    columns = (Column("step", "step"), Column("cpu_seconds", "CPU, s", 3))
    notes = (f"{mailboxes:,} mailboxes in a YAML file of {size / 1e6:.2f} MB, or in a CSV beside it.",)
    return [
        Table("Load and reload", columns, lines, notes),
        Table(
            "Lateness of the event loop while a reload reads the file; in ms",
            (Column("beats", "timers of 5 ms"), *spread_columns("late", "")),
            [{"beats": len(late), **spread("late", late)}],
        ),
    ]


ROW = Row(
    name="load",
    title="Load and reload",
    method=(
        "CPU of the process, median of five turns: from the files to the plan that could be put in force at once "
        "(`prepare`: read, validate, resolve secrets, make watches), which happens at the start and, in a thread of its own, at a "
        "reload; then what a reload does to a schedule that runs. A reload also compares the two plans in that thread; how late the "
        "loop is while it reads is timed by timers of 5 ms. The "
        "start of Python and of the libraries (about half a second) is not counted."
    ),
    measure=_measured,
)
