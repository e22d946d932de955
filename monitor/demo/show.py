"""Runs the demo: the embedded Microsoft 365, the daemon watching it, the script breaking it, and the verdict."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TextIO

import click

from checks.core.clock import Clock
from monitor.app import Daemon
from monitor.demo import place, report
from monitor.demo.script import Script, read_script
from monitor.demo.verdict import Done, Found, Verdict, compare
from monitor.model import Event, Incident, IncidentChanged, Notice, NoticeDelivered
from monitor.prepared import prepare
from monitor.sim import Happening, Microsoft365, play
from monitor.sinks.screen import Screen

SCRIPT = Path(__file__).with_name("demo.yaml")
INTERVAL = 2.0  # seconds between two runs of every watch, at the script's natural pace
SHORTEST_INTERVAL = 1.0  # what the configuration allows
SHORTEST = 30.0  # seconds: in less, a fault comes and goes between two runs
SETTLING = 20.0  # seconds that the last recovery may take when nobody set a time
_LOOK_EVERY = 0.1
_NOTICE_ID = re.compile(r"Notice ([0-9a-f]{16})\b")


@dataclass(slots=True)
class _Witness:
    """A sink that remembers incidents and notices, and looks into the inbox where the alerts arrive."""

    office: Microsoft365
    say: Callable[[str], None]
    incidents: dict[str, Incident] = field(default_factory=dict)
    notices: dict[str, Notice] = field(default_factory=dict)
    shown: bool = False
    lost: int = 0  # it writes no lines

    def accept(self, event: Event) -> None:
        """Take note of one event."""
        if isinstance(event, IncidentChanged):
            self.incidents[event.after.id] = event.after
        elif isinstance(event, NoticeDelivered) and not event.error:
            self.notices[event.notice.id] = event.notice
            if not self.shown and (posts := self.office.inboxes.read(place.ALERTS)):
                self.shown = True
                self.say(report.alert(posts[0]["body"]))

    @property
    def found(self) -> list[Found]:
        """Every incident, with the reasons of those notices that lie in the inbox."""
        posts = self.office.inboxes.read(place.ALERTS)
        arrived = {number for post in posts for number in _NOTICE_ID.findall(str(post["body"]))}
        return [
            Found(
                incident=incident,
                told=frozenset(
                    notice.reason
                    for notice in self.notices.values()
                    if notice.incident.id == incident.id and notice.id in arrived
                ),
            )
            for incident in self.incidents.values()
        ]


@dataclass(slots=True)
class _Stage:
    """The script on its way: what was done so far."""

    script: Script
    scale: float
    clock: Clock
    say: Callable[[str], None]
    done: dict[str, Done] = field(default_factory=dict)

    def tell(self, happening: Happening) -> None:
        """Something was broken or repaired just now."""
        fault, now = happening.fault, self.clock.now()
        if happening.what == "injected":
            expected = self.script.expectations[len(self.done)]
            self.done[fault.id] = Done(fault=fault.kind.name, subject=fault.subject, expected=expected, injected_at=now)
        else:
            self.done[fault.id] = replace(self.done[fault.id], repaired_at=now)
        self.say(report.happening(happening, now))

    async def play(self, office: Microsoft365) -> None:
        """Break and repair as the script says."""
        await play(
            self.script.steps,
            office,
            clock=self.clock.monotonic,
            sleep=self.clock.sleep,
            tell=self.tell,
            scale=self.scale,
        )


async def show(folder: Path, stream: TextIO, stop: asyncio.Event, *, clock: Clock, seconds: float | None) -> int:
    """Run the demo in a folder until `stop`, or squeezed into `seconds`; the exit status.

    0: all that was done was found, told and seen to recover, and nothing else. 2: something was not. 3: it was stopped
    before the script's end. Raises TimelineError for a bad script.
    """
    screen: Screen | None = None

    def say(text: str) -> None:
        if screen is not None:
            screen.close()  # the status line comes back with the next beat
        click.echo(text, file=stream)

    async with Microsoft365(folder, place.declared()) as office:
        script = read_script(SCRIPT, office.world)
        scale = 1.0 if seconds is None else seconds / script.length
        file = place.furnish(office, max(SHORTEST_INTERVAL, INTERVAL * scale))
        prepared = prepare(file)
        witness = _Witness(office, say)
        stage = _Stage(script, scale, clock, say)
        daemon = Daemon(file, clock=clock)
        screen = Screen(stream, tty=stream.isatty(), words=daemon.words)
        daemon.show(screen)
        daemon.show(witness)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(daemon.run(prepared), name="daemon")
            ends_at = clock.now() + timedelta(seconds=seconds if seconds is not None else script.length + SETTLING)
            await daemon.started.wait()
            say(report.welcome(file, daemon.address, office.control_url, script.length * scale))
            playing = tasks.create_task(stage.play(office), name="script")
            await _until(
                stop, clock, lambda: playing.done() and (_verdict(stage, witness).agrees or clock.now() > ends_at)
            )
            finished = playing.done()
            playing.cancel()
            verdict = _verdict(stage, witness)
            say(report.verdict(verdict, finished=finished))
            if seconds is None and finished and not stop.is_set():
                say(report.encore(office.control_url))
                await stop.wait()
            daemon.stop()
        screen.close()
    if not finished:
        return 3
    return 0 if verdict.agrees else 2


def _verdict(stage: _Stage, witness: _Witness) -> Verdict:
    return compare(list(stage.done.values()), witness.found)


async def _until(stop: asyncio.Event, clock: Clock, settled: Callable[[], bool]) -> None:
    """Wait until something is settled, or until we are told to stop."""
    while not settled() and not stop.is_set():
        await clock.sleep(_LOOK_EVERY)
