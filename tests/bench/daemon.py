"""The whole daemon, as its users start it, on the simulator's mailboxes."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

from monitor.sim.contoso import BILLING_SECRET, TENANT_ID
from tests.bench.process import cpu_seconds, memory_mib, started
from tests.peers.process import HOST, accepts, free_port, temporary_home

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.bench.simulator import Office

_CHECK = "smtp_auth"
_CALM = 0.3  # seconds after which the event log has what happened before: results wait a quarter of a second


@dataclass(frozen=True, slots=True)
class Run:
    """A run of smtp_auth as the event log tells it. Moments are seconds since 1970, of started_at in milliseconds."""

    watch: str
    mailbox: str
    started_at: float
    ended_at: float
    seconds: float
    phases: Mapping[str, float]
    passed: bool


@dataclass(frozen=True, slots=True)
class Cost:
    """What a daemon spent: milliseconds of CPU for each run, how many runs a second, and the share of one core."""

    milliseconds: float
    rate: float
    core: float


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon: its process, when that was started, and what it writes."""

    pid: int
    started_at: float
    log: Path

    def runs(self) -> list[Run]:
        """All runs of smtp_auth so far, in the order in which they were judged.

        By the event log and not by the metrics, since a scrape would cost the daemon what is measured.
        """
        return [_run(event) for event in self._events("run.finished") if event["check"] == _CHECK]

    def skipped(self) -> int:
        """How many runs were due and did not happen."""
        return sum(1 for _ in self._events("run.skipped"))

    def _events(self, name: str) -> Iterator[dict[str, Any]]:
        wanted = f'"event":"{name}"'
        with self.log.open(encoding="utf-8") as lines:
            for line in lines:
                if wanted in line and line.endswith("}\n"):  # the last one may not be whole yet
                    yield json.loads(line)

    def cost(self, *, windows: int, seconds: float) -> Cost:
        """Watch it for a few windows of time and take the medians. A failed run costs something else: AssertionError."""
        marks = [(time.time(), cpu_seconds(self.pid))]
        for _ in range(windows):
            time.sleep(seconds)
            marks.append((time.time(), cpu_seconds(self.pid)))
        time.sleep(_CALM)
        runs = self.runs()
        failures = sum(1 for run in runs if not run.passed)
        assert failures == 0, f"{failures} runs failed"
        costs: list[Cost] = []
        for (since, spent), (until, more) in pairwise(marks):
            done = sum(1 for run in runs if since <= run.ended_at < until)
            assert done > 0, "no run has ended"
            costs.append(Cost(1000 * (more - spent) / done, done / (until - since), (more - spent) / (until - since)))
        return Cost(
            median(cost.milliseconds for cost in costs),
            median(cost.rate for cost in costs),
            median(cost.core for cost in costs),
        )

    def memory(self) -> tuple[float, float]:
        """Resident memory in MiB: now, and the most there ever was."""
        return memory_mib(self.pid, "VmRSS"), memory_mib(self.pid, "VmHWM")


def _run(event: dict[str, Any]) -> Run:
    phases: dict[str, float] = {}
    for turn in event["phases"]:
        phases[turn["phase"]] = phases.get(turn["phase"], 0.0) + turn["seconds"]
    watch = str(event["watch"])
    return Run(
        watch=watch,
        mailbox=watch.partition("/")[2],
        started_at=_moment(event["started_at"]),
        ended_at=_moment(event["at"]),
        seconds=float(str(event["seconds"])),
        phases=phases,
        passed=event["outcome"] == "pass",
    )


def _moment(text: object) -> float:
    return datetime.fromisoformat(str(text)).timestamp()


@contextmanager
def running_daemon(office: Office, mailboxes: int, interval: float) -> Iterator[Daemon]:
    """`mailcanary run` with so many mailboxes, each probed every `interval` seconds; killed at the end."""
    with temporary_home("daemon") as home:
        port = free_port()
        secret = home / "secret"
        secret.touch(0o600)
        secret.write_text(BILLING_SECRET)
        configuration = configuration_of(office, secret, mailboxes, interval)
        configuration |= {"store": f"sqlite:///{home}/state.db", "web": {"listen": f"{HOST}:{port}"}}
        (home / "config.yaml").write_text(json.dumps(configuration))  # JSON is YAML
        started_at = time.time()
        with started(
            [sys.executable, "-m", "monitor", "run", "-c", home / "config.yaml"],
            log=home / "log",
            ready=lambda _: accepts(port),
        ) as pid:
            yield Daemon(pid, started_at, home / "log")


def configuration_of(office: Office, secret: Path, mailboxes: int, interval: float) -> dict[str, Any]:
    """What a configuration file says of the simulator, but for the places of the daemon itself."""
    boxes = (office.mailbox(number) for number in range(1, mailboxes + 1))
    app = office.mailbox().credential.app
    return {
        "tenants": {"contoso": {"tenant_id": TENANT_ID, "cloud": "lab"}},
        "apps": {
            app.id: {"tenant": "contoso", "client_id": app.client_id, "credential": {"secret": f"file:{secret}"}},
        },
        "mailboxes": {box.id: {"address": box.address.reveal(), "app": app.id} for box in boxes},
        "defaults": {"checks": {_CHECK: {"interval": f"{interval:g}s", "timeout": f"{min(interval, 30):g}s"}}},
        "clouds": {
            "lab": {
                "authority": office.authority,
                "smtp": {"host": "localhost", "port": office.smtp_port, "ca_file": office.ca_file},
                "ca_file": office.ca_file,
            }
        },
    }
