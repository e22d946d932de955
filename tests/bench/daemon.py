"""The whole daemon, as its users start it, on the simulator's thousand mailboxes."""

from __future__ import annotations

import json
import re
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import TYPE_CHECKING

from monitor.sim.contoso import BILLING_ID, BILLING_SECRET, TENANT_ID
from tests.bench.process import cpu_seconds, memory_mib, started
from tests.bench.simulator import MAILBOXES
from tests.peers.process import HOST, accepts, free_port, temporary_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.bench.simulator import Office

WINDOWS = 5
WINDOW_SECONDS = 6.0
_BROWSER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process that probes on its own spent: milliseconds of CPU for each run, and how many runs a second."""

    milliseconds: float
    rate: float


def cost_of_runs(pid: int, runs: Callable[[], float], *, windows: int, seconds: float) -> Cost:
    """Watch a started process for a few windows of time; `runs` counts what it has done. The median of the windows."""
    costs: list[float] = []
    rates: list[float] = []
    for _ in range(windows):
        spent, done, since = cpu_seconds(pid), runs(), time.monotonic()
        time.sleep(seconds)
        spent, done, since = cpu_seconds(pid) - spent, runs() - done, time.monotonic() - since
        assert done > 0, "no run has ended"
        costs.append(1000 * spent / done)
        rates.append(done / since)
    return Cost(median(costs), median(rates))


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon: its process, when that was started, and its web server."""

    pid: int
    started_at: float
    port: int
    log: Path

    def samples(self, name: str) -> list[float]:
        """All values of a metric for smtp_auth."""
        with _BROWSER.open(f"http://{HOST}:{self.port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.findall(rf'^{name}{{[^}}]*check="smtp_auth"[^}}]*}} (\S+)', text, re.MULTILINE)
        return [float(value) for value in found]

    def runs(self) -> float:
        """How many runs of smtp_auth have ended."""
        return sum(self.samples("mailcanary_runs_total"))

    def first_result(self) -> float:
        """Seconds from the start of the process to its first result of smtp_auth, by the event log.

        Not by the metrics: they keep the last run of a watch, and the first watches may have run twice by now.
        """
        with self.log.open(encoding="utf-8") as lines:
            events = (json.loads(line) for line in lines if line.startswith("{"))
            first = next(event for event in events if event.get("check") == "smtp_auth")
        return datetime.fromisoformat(first["at"]).timestamp() - self.started_at

    def memory(self) -> tuple[float, float]:
        """Resident memory in MiB: now, and the most there ever was."""
        return memory_mib(self.pid, "VmRSS"), memory_mib(self.pid, "VmHWM")

    def must_be_well(self) -> None:
        """A failed run costs something else than a good one."""
        failures = sum(self.samples("mailcanary_run_failures_total"))
        assert failures == 0, f"{failures:g} runs failed"


@contextmanager
def running_daemon(office: Office, interval: int) -> Iterator[Daemon]:
    """`mailcanary run` with a thousand mailboxes, each probed every `interval` seconds; killed at the end."""
    with temporary_home("daemon") as home:
        port = free_port()
        (home / "config.yaml").write_text(json.dumps(_configuration(office, home, port, interval)))  # JSON is YAML
        started_at = time.time()
        with started(
            [sys.executable, "-m", "monitor", "run", "-c", home / "config.yaml"],
            log=home / "log",
            ready=lambda _: accepts(port),
        ) as pid:
            yield Daemon(pid, started_at, port, home / "log")


def _configuration(office: Office, home: Path, port: int, interval: int) -> dict[str, object]:
    secret = home / "secret"
    secret.touch(0o600)
    secret.write_text(BILLING_SECRET)
    mailboxes = (office.mailbox(number) for number in range(1, MAILBOXES + 1))
    return {
        "tenants": {"contoso": {"tenant_id": TENANT_ID, "cloud": "lab"}},
        "apps": {
            "billing-mailer": {
                "tenant": "contoso",
                "client_id": BILLING_ID,
                "credential": {"secret": f"file:{secret}"},
            }
        },
        "mailboxes": {
            mailbox.id: {"address": mailbox.address.reveal(), "app": "billing-mailer"} for mailbox in mailboxes
        },
        "defaults": {"checks": {"smtp_auth": {"interval": f"{interval}s", "timeout": f"{min(interval, 30)}s"}}},
        "clouds": {
            "lab": {
                "authority": office.authority,
                "smtp": {"host": "localhost", "port": office.smtp_port, "ca_file": office.ca_file},
                "ca_file": office.ca_file,
            }
        },
        "store": f"sqlite:///{home}/state.db",
        "web": {"listen": f"{HOST}:{port}"},
    }
