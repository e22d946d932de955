"""What a probe costs, in several ways and in one run: `make bench`, or `python -m tests.bench`.

Every way speaks to the same server in a process of its own: the embedded Microsoft 365, which needs nothing to be
installed and takes a token as Exchange Online does. First all ways probe one after another as fast as they can, in turns, so that
whatever else the machine does hits all of them; then again at the rate at which the daemon probes, since a processor
that was busy with something else meanwhile does the same work more slowly. Read ratios, not absolutes.
"""

from __future__ import annotations

import argparse
import asyncio
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from statistics import median
from typing import TYPE_CHECKING

import uvloop

from checks.core.clock import SystemClock
from checks.wire.kit import open_kit
from tests.bench.daemon import WINDOW_SECONDS, WINDOWS, cost_of_runs, running_daemon
from tests.bench.probes import Way, by_aiosmtplib, by_blackbox, by_c, by_run_check, by_smtplib, sasl_response
from tests.bench.simulator import MAILBOXES, running_office
from tests.peers.available import PeerMissingError
from tests.peers.process import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.simulator import Office

WARM_UP = 30  # probes
RATE = 100.0  # probes a second, of the daemon and of what is compared with it
BUSY_INTERVAL = MAILBOXES / RATE  # seconds between two runs for one mailbox
CALM_INTERVAL = 60
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


async def _clients(office: Office, rounds: int, probes: int) -> tuple[Costs, Costs]:
    """What the clients cost as fast as they can, and at the daemon's rate."""
    async with open_kit(clock=SystemClock(), seed=1) as kit:
        mailbox = office.mailbox()
        response = await sasl_response(kit, mailbox)
        with ExitStack() as stack, ThreadPoolExecutor(1) as pool:
            ways: list[Way] = []
            for start in (by_c, by_blackbox):
                try:
                    ways.append(stack.enter_context(start(office, response)))
                except PeerMissingError as missing:
                    print(f"left out: {missing}")  # noqa: T201 - a program for the terminal
            ways += [by_aiosmtplib(office, response), by_smtplib(office, response, pool), by_run_check(kit, mailbox)]
            fast = await _measure(ways, rounds, probes)
            steady = [way for way in ways if way.name != FLOOR]  # which starts anew for every batch
            return fast, await _measure(steady, max(3, rounds // 2), probes, RATE)


def _daemon(office: Office) -> tuple[float, list[str]]:
    """What the daemon costs for one probe, and what else is to be said of it."""
    with running_daemon(office, round(BUSY_INTERVAL)) as daemon:
        time.sleep(1.5 * BUSY_INTERVAL)
        busy = cost_of_runs(daemon.pid, daemon.runs, windows=WINDOWS, seconds=WINDOW_SECONDS)
        daemon.must_be_well()
    with running_daemon(office, CALM_INTERVAL) as daemon:
        time.sleep(CALM_INTERVAL / 2)
        first = daemon.first_result()
        time.sleep(CALM_INTERVAL / 2 + 5)
        calm = cost_of_runs(daemon.pid, daemon.runs, windows=1, seconds=WINDOWS * WINDOW_SECONDS)
        daemon.must_be_well()
        resident, peak = daemon.memory()
    return busy.milliseconds, [
        f"daemon, {MAILBOXES} mailboxes every {BUSY_INTERVAL:g} s: {busy.rate:.1f} probes/s, {busy.milliseconds:.2f} ms each",
        f"daemon, {MAILBOXES} mailboxes every {CALM_INTERVAL} s: {calm.rate:.1f} probes/s, {calm.milliseconds:.2f} ms each",
        f"  resident {resident:.0f} MiB, at most {peak:.0f} MiB; first result {first:.2f} s after the start of the process",
    ]


def _table(fast: Mapping[str, float], steady: Mapping[str, float]) -> list[str]:
    """One line for each way; a column is left empty where there is nothing to compare with."""

    def ratio(costs: Mapping[str, float], name: str, base: str) -> str:
        return f"{costs[name] / costs[base]:.2f}" if name in costs and base in costs else ""

    def cost(costs: Mapping[str, float], name: str) -> str:
        return f"{costs[name]:.3f}" if name in costs else ""

    shape = "{:<24}{:>16}{:>8}{:>12}{:>18}{:>12}"
    lines = [
        shape.format("", "back to back", "", "", f"at {RATE:g} a second", ""),
        shape.format("CPU for one probe", "ms", "/ C", "/ blackbox", "ms", "/ blackbox"),
    ]
    lines += [
        shape.format(
            name,
            cost(fast, name),
            ratio(fast, name, FLOOR),
            ratio(fast, name, RIVAL),
            cost(steady, name),
            ratio(steady, name, RIVAL),
        )
        for name in {**fast, **steady}
    ]
    return lines


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(prog="python -m tests.bench", description="What a probe costs.")
    arguments.add_argument("--rounds", type=int, default=9, help="rounds of which the median is taken")
    arguments.add_argument("--probes", type=int, default=200, help="probes of each way in each round")
    arguments.add_argument("--without-daemon", action="store_true", help="leave out the daemon (2.5 minutes)")
    given = arguments.parse_args()
    print(f"server: the embedded Microsoft 365 in its own process; OpenSSL of Python: {ssl.OPENSSL_VERSION}")  # noqa: T201
    remarks: list[str] = []
    with running_office() as office:
        fast, steady = uvloop.run(_clients(office, given.rounds, given.probes))
        if not given.without_daemon:
            try:
                steady["mailcanary, daemon"], remarks = _daemon(office)
            except (StartError, OSError, AssertionError) as error:
                remarks = [f"left out: the daemon: {error}"]
    print("", *_table(fast, steady), "", *remarks, sep="\n")  # noqa: T201


if __name__ == "__main__":
    main()
