"""CPU of one probe, in several ways and in one run."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

import uvloop

from checks.core.clock import SystemClock
from checks.wire.kit import open_kit
from tests.bench.daemon import running_daemon
from tests.bench.measured import Column, Row, Table
from tests.bench.probes import Way, by_aiosmtplib, by_blackbox, by_c, by_run_check, by_smtplib, sasl_responses
from tests.bench.simulator import MAILBOXES, running_office
from tests.peers.available import PeerMissingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.measured import Value
    from tests.bench.simulator import Office

WARM_UP = 30  # probes
RATE = 100.0  # probes a second, of the daemon and of what is compared with it
INTERVAL = MAILBOXES / RATE  # seconds between two runs for one mailbox
ROUNDS, PROBES = 9, 200
FLOOR, RIVAL = "C, OpenSSL", "blackbox_exporter"

Costs = dict[str, float]  # by way: milliseconds of CPU for one probe


async def _measure(ways: Sequence[Way], rounds: int, probes: int, rate: float | None = None) -> Costs:
    """The median over the rounds, in each of which all ways have their turn."""
    found: dict[str, list[float]] = {way.name: [] for way in ways}
    for way in ways:
        await way.run(WARM_UP)
    for _ in range(rounds):
        for way in ways:
            before = way.cpu()
            await (_paced(way, probes, rate) if rate else way.run(probes))
            found[way.name].append(1000 * (way.cpu() - before) / probes)
    return {name: median(costs) for name, costs in found.items()}


async def _paced(way: Way, probes: int, rate: float) -> None:
    begin = time.monotonic()
    for number in range(probes):
        await asyncio.sleep(begin + number / rate - time.monotonic())
        await way.run(1)


async def _clients(office: Office, rounds: int, probes: int) -> tuple[Costs, Costs, list[str]]:
    """What the clients cost as fast as they can, and at the daemon's rate; which ones are not there."""
    async with open_kit(clock=SystemClock(), seed=1) as kit:
        mailbox = office.mailbox()
        (response,) = await sasl_responses(kit, [mailbox])
        with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
            ways: list[Way] = []
            missed: list[str] = []
            for start in (by_c, by_blackbox):
                try:
                    ways.append(stack.enter_context(start(office, response)))
                except PeerMissingError as missing:
                    missed.append(f"left out: {missing}")
            ways += [by_aiosmtplib(office, response), by_smtplib(office, response, pool), by_run_check(kit, mailbox)]
            fast = await _measure(ways, rounds, probes)
            steady = [way for way in ways if way.name != FLOOR]  # which starts anew for every batch
            return fast, await _measure(steady, max(1, rounds // 2), probes, RATE), missed


def _line(name: str, fast: Mapping[str, float], steady: Mapping[str, float]) -> dict[str, Value]:
    """What is known of one way; nothing where there is nothing to compare with."""
    line: dict[str, Value] = {"way": name}
    for kind, costs in (("fast", fast), ("steady", steady)):
        line[f"{kind}_ms"] = costs.get(name)
        for short, base in (("c", FLOOR), ("blackbox", RIVAL)):
            line[f"{kind}_to_{short}"] = costs[name] / costs[base] if {name, base} <= costs.keys() else None
    return line


def _measured(quick: bool) -> list[Table]:  # noqa: FBT001 - the shape of a row
    rounds, probes = (1, 20) if quick else (ROUNDS, PROBES)
    windows, seconds = (1, 2.0) if quick else (5, 6.0)
    with running_office() as office:
        fast, steady, notes = uvloop.run(_clients(office, rounds, probes))
        with running_daemon(office, MAILBOXES, INTERVAL) as daemon:
            time.sleep(3 if quick else 1.5 * INTERVAL)
            cost = daemon.cost(windows=windows, seconds=seconds)
    steady["mailcanary, daemon"] = cost.milliseconds
    notes.append(f"The daemon had {MAILBOXES:,} mailboxes, each every {INTERVAL:g} s: {cost.rate:.1f} probes a second.")
    columns = (
        Column("way", "CPU for one probe"),
        Column("fast_ms", "back to back, ms", 3),
        Column("fast_to_c", "/ C", 2),
        Column("fast_to_blackbox", "/ blackbox", 2),
        Column("steady_ms", f"at {RATE:g}/s, ms", 3),
        Column("steady_to_blackbox", "/ blackbox", 2),
    )
    return [Table("One probe", columns, [_line(name, fast, steady) for name in {**fast, **steady}], notes)]


ROW = Row(
    name="probe",
    title="CPU of one probe",
    method=(
        "Every way does the same dialogue (connect, banner, EHLO, STARTTLS, a verified handshake, EHLO, AUTH XOAUTH2 in two "
        "steps, QUIT) with the same server, the embedded Microsoft 365 in a process of its own. Counted is the CPU (user and "
        "system) of the process that probes, never the server's. First all ways probe one after another as fast as they can, "
        "in turns, so that whatever else the machine does hits all of them; then again at the daemon's rate, since a "
        "processor that was busy with something else meanwhile does the same work more slowly. `run_check` is the check from "
        "the cached token to the result; the daemon adds schedule, judgement, store, metrics and event log, and its idle "
        "second. blackbox_exporter does the same in Go and answers in Prometheus' format; it asks for no token and "
        "keeps no history. The C program is the floor: OpenSSL and nothing else."
    ),
    measure=_measured,
)
