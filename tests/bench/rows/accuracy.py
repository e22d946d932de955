"""How exactly a phase is timed: what is reported when the server waits a known while before its 235."""

from __future__ import annotations

import asyncio
import re
import resource
import subprocess
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import uvloop

from checks.core.clock import SystemClock
from checks.wire.kit import open_kit
from tests.bench.daemon import running_daemon
from tests.bench.measured import Column, Row, Table, spread, spread_columns
from tests.bench.probes import blackbox_question, compiled, running_blackbox, sasl_responses
from tests.bench.process import cpu_seconds
from tests.bench.simulator import MAILBOXES, running_office
from tests.peers.available import PeerMissingError
from tests.peers.process import HOST

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.bench.measured import Value
    from tests.bench.simulator import Office

DELAY = 0.05  # seconds before the 235
RATES = {1: 60, 10: 30, 100: 20, 500: 20}  # probes a second: for so many seconds
QUICK = {20: 2, 100: 2}
# Seconds between two runs of a mailbox at the most. A daemon comes to its rate after one such round: before, every
# watch has its first run beside those of its slots.
LONGEST_INTERVAL = 20
SETTLE = 2.0  # seconds, after that round
_DURATION = re.compile(rb"^probe_duration_seconds (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Seen:
    """What a client reported, in seconds: `auth` and `served`, what the server says of the same AUTH, go in pairs.

    `lasted` is how long it was at work, `spent` the CPU that it used for it; `failed` counts what failed or did not happen.
    """

    auth: list[float] = field(default_factory=list)
    served: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    lasted: float = 0.0
    spent: float = 0.0
    failed: int = 0


class Server:
    """The late server's own account, and its CPU, while a client is at work."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._log = Path(office.served)
        self._lines = len(self._read())
        self._since, self._spent = time.monotonic(), cpu_seconds(office.pid)

    def _read(self) -> list[str]:
        return self._log.read_text().splitlines()

    def served(self) -> Mapping[str, list[float]]:
        """How long each AUTH took since the beginning, in their order, by the mailbox's id."""
        found: defaultdict[str, list[float]] = defaultdict(list)
        for line in self._read()[self._lines :]:
            address, seconds = line.split()
            found[address.partition("@")[0]].append(float(seconds))
        return found

    def core(self) -> float:
        """The share of one core that it used since the beginning, in percent."""
        return 100 * (cpu_seconds(self._office.pid) - self._spent) / (time.monotonic() - self._since)


def _by_daemon(office: Office, rate: int, seconds: float) -> Seen:
    """The whole daemon; it is told by its event log."""
    mailboxes = min(MAILBOXES, round(min(LONGEST_INTERVAL, seconds) * rate))
    server = Server(office)
    with running_daemon(office, mailboxes, mailboxes / rate) as daemon:
        time.sleep(mailboxes / rate + SETTLE)
        begin, spent = time.time(), cpu_seconds(daemon.pid)
        time.sleep(seconds)
        end, spent = time.time(), cpu_seconds(daemon.pid) - spent
        time.sleep(1.0)  # for what is under way and for the log
        runs = daemon.runs()
        skipped = daemon.skipped()
    served = server.served()
    unpaired = {run.mailbox for run in runs if not run.passed}  # nobody knows whether its AUTH came to the server
    seen = Seen(lasted=end - begin, spent=spent, failed=skipped)
    numbers: defaultdict[str, int] = defaultdict(int)
    for run in runs:
        number = numbers[run.mailbox]
        numbers[run.mailbox] += 1
        if not begin <= run.ended_at < end:
            continue
        if not run.passed:
            seen.failed += 1
            continue
        seen.whole.append(run.seconds)
        if run.mailbox not in unpaired:
            seen.auth.append(run.phases["auth"])
            seen.served.append(served[run.mailbox][number])
    return seen


def _by_c(office: Office, rate: int, seconds: float) -> Seen:
    """The program in probe.c, a thread for each probe."""
    mailboxes = [office.mailbox(number) for number in range(1, MAILBOXES + 1)]
    responses = uvloop.run(_responses(office, MAILBOXES))
    server = Server(office)
    count = round(rate * seconds)
    with compiled() as binary:
        argv = [str(binary), str(office.smtp_port), office.ca_file, str(count), str(rate)]
        begin, spent = time.monotonic(), _cpu_of_children()
        ended = subprocess.run(argv, input="\n".join(responses) + "\n", capture_output=True, text=True, check=False)
        if ended.returncode:
            raise PeerMissingError(f"C with OpenSSL at {rate}/s: {ended.stderr.strip()}")
        seen = Seen(lasted=time.monotonic() - begin, spent=_cpu_of_children() - spent)
    served = server.served()
    for number, line in enumerate(ended.stdout.splitlines()):
        auth, whole = map(float, line.split())
        turn, place = divmod(number, len(mailboxes))
        seen.auth.append(auth)
        seen.served.append(served[mailboxes[place].id][turn])
        seen.whole.append(whole)
    return seen


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _by_blackbox(office: Office, rate: int, seconds: float) -> Seen:
    """blackbox_exporter, asked at that rate; of its steps it tells only the whole."""
    (response,) = uvloop.run(_responses(office, 1))
    with running_blackbox(office, response) as (pid, port):
        spent = cpu_seconds(pid)
        seen = uvloop.run(_asked(f"http://{HOST}:{port}{blackbox_question(office)}", rate, round(rate * seconds)))
        seen.spent = cpu_seconds(pid) - spent
    return seen


async def _responses(office: Office, mailboxes: int) -> list[str]:
    async with open_kit(clock=SystemClock(), seed=1) as kit:
        return await sasl_responses(kit, [office.mailbox(number) for number in range(1, mailboxes + 1)])


async def _asked(url: str, rate: int, count: int) -> Seen:
    seen = Seen()

    async def ask() -> None:
        async with session.get(url) as answer:
            page = await answer.read()
        if (found := _DURATION.search(page)) and b"\nprobe_success 1\n" in page:
            seen.whole.append(float(found[1]))
        else:
            seen.failed += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as group:
        begin = time.monotonic()
        for number in range(count):
            await asyncio.sleep(begin + number / rate - time.monotonic())
            group.create_task(ask())
    seen.lasted = time.monotonic() - begin
    return seen


_CLIENTS: Mapping[str, Callable[[Office, int, float], Seen]] = {
    "C, OpenSSL": _by_c,
    "blackbox_exporter": _by_blackbox,
    "mailcanary, daemon": _by_daemon,
}


def _line(client: str, rate: int, seen: Seen, core: float) -> dict[str, Value]:
    return {
        "client": client,
        "wanted_per_second": rate,
        "reached_per_second": len(seen.whole) / seen.lasted,
        "failed": seen.failed,
        "client_core_percent": 100 * seen.spent / seen.lasted,
        "server_core_percent": core,
        **spread("reported", [seconds - DELAY for seconds in seen.auth]),
        **spread("server", [seconds - DELAY for seconds in seen.served]),
        **spread("beyond", [told - served for told, served in zip(seen.auth, seen.served, strict=True)]),
        **spread("whole", [seconds - DELAY for seconds in seen.whole]),
    }


def _measured(quick: bool) -> list[Table]:  # noqa: FBT001 - the shape of a row
    lines: list[dict[str, Value]] = []
    notes: list[str] = []
    with running_office(delay=DELAY) as office:
        for rate, seconds in (QUICK if quick else RATES).items():
            for client, probe in _CLIENTS.items():
                server = Server(office)
                try:
                    seen = probe(office, rate, seconds)
                except PeerMissingError as missing:
                    notes.append(f"left out: {missing}")
                    continue
                lines.append(_line(client, rate, seen, server.core()))
    head = (Column("client", "client"), Column("wanted_per_second", "probes/s"))
    phase = (
        *spread_columns("reported", "reported - 50 ms:"),
        *spread_columns("server", "server's own - 50 ms:"),
        *spread_columns("beyond", "reported - server's own:"),
    )
    whole = (
        Column("reached_per_second", "reached", 1),
        Column("failed", "failed"),
        *spread_columns("whole", ""),
        Column("client_core_percent", "client, % of a core"),
        Column("server_core_percent", "server, % of a core"),
    )
    phases = [line for line in lines if "reported_median_ms" in line]
    return [
        Table("The phase auth, of which the server takes 50 ms; all in ms", (*head, *phase), phases),
        Table("The whole probe less those 50 ms; in ms", (*head, *whole), lines, list(dict.fromkeys(notes))),
    ]


ROW = Row(
    name="accuracy",
    title="Accuracy of a phase",
    method=(
        "The embedded server waits 50 ms before its 235, and the phase `auth` is read from the daemon's event log: the whole "
        "daemon, with its store, metrics and log at work, on as many mailboxes as make the rate. A timer never ends early, "
        "and a busy server is late by itself; so the server writes down how long each AUTH really took on its side, from "
        "the command read to the 235 handed to its socket, and each report is compared with that of the same AUTH too "
        "(`reported - server's own`): what is left is the network, waiting in sockets, and the lateness of the client. "
        "The C program measures the same with a thread for each probe; it is what the machine allows. "
        "blackbox_exporter tells of a dialogue only how long the whole took, so the whole probe is compared as well. Server "
        "and clients share the machine: where the server comes near 100 % of a core, its queue is what is seen."
    ),
    measure=_measured,
)
