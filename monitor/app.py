"""Builds, starts, reloads and stops the daemon: the only file that knows every part.

Start: what can fail without harm first (the configuration is prepared by the caller, then the port, the database),
probing last. Reload: the whole new plan is prepared beside the old one; only then is anything live changed, and only what
differs. Stop: no new runs, cancel runs, judge and store what was seen, deliver what is due, close the database, then
the web server; each step has its own time limit, and all of them together stay below ten seconds.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from checks.core.causes import table
from checks.core.clock import Clock, SystemClock
from checks.core.kit import Kit
from checks.registry import CHECKS
from checks.wire.kit import open_kit
from monitor.alerts.outbox import Outbox
from monitor.alerts.render import Message, render
from monitor.alerts.words import Words
from monitor.config import ConfigurationError
from monitor.config.changes import Changes, Stamps, stamps
from monitor.model import Beat, Incident, Notice, Reloaded, Restored, Skipped
from monitor.pipeline import Pipeline
from monitor.plan import Difference, difference
from monitor.prepared import Prepared, prepare
from monitor.runner import Runner
from monitor.selfcheck import SelfCheck
from monitor.sinks import Sink, Sinks
from monitor.sinks.metrics import Metrics
from monitor.store import Store, StoreError
from monitor.ticker import Ticker
from monitor.web.server import serve

_log = logging.getLogger(__name__)
T = TypeVar("T")

BEAT = 1.0  # seconds
# Limits of the steps of a stop, in seconds: their sum leaves room below the ten seconds that init systems give at least.
STORING_SECONDS = 3.0
DELIVERING_SECONDS = 4.0
LOOK_AT_FLEETS_EVERY = 10.0  # seconds
PRUNE_EVERY = timedelta(hours=1)


@dataclass(slots=True, kw_only=True)
class _Parts:
    """What lives from start to stop. `prepared` is the configuration in force, `words` what its notices may name."""

    prepared: Prepared
    words: Words
    store: Store
    kit: Kit
    pipeline: Pipeline
    runner: Runner
    ticker: Ticker
    outbox: Outbox
    selfcheck: SelfCheck


class Daemon:
    """The daemon on one configuration file. `run` is its life; `stop` and `reload` may be called while it lasts."""

    def __init__(self, file: Path, *, clock: Clock | None = None) -> None:
        self._file = file
        self._clock = clock or SystemClock()
        self._metrics = Metrics()
        self._sinks = Sinks([self._metrics])
        self._parts: _Parts | None = None
        self._stopping = asyncio.Event()
        self._reload_wanted = asyncio.Event()
        self._reloading = asyncio.Lock()
        self.started = asyncio.Event()
        self.address: tuple[str, int] | None = None  # of the web server, while it listens

    def show(self, sink: Sink) -> None:
        """Show every event from now on to a sink."""
        self._sinks.add(sink)

    def names(self, watch: str) -> Mapping[str, str]:
        """What may be shown of a watch beside its id; empty for one that the plan in force does not have."""
        planned = self._parts.prepared.plan.watches.get(watch) if self._parts is not None else None
        return planned.names if planned else {}

    def words(self, incident: Incident) -> Mapping[str, str]:
        """What the steps of an incident's cause may name."""
        return self._parts.words.of(incident) if self._parts is not None else {}

    def stop(self) -> None:
        """End `run`, in order."""
        self._stopping.set()

    def want_reload(self) -> None:
        """Reload soon, as SIGHUP asks for; what is wrong with the file goes to the sinks."""
        self._reload_wanted.set()

    async def run(self, prepared: Prepared) -> None:
        """Live by a prepared configuration until `stop`. Raises WebError or StoreError when it can not start."""
        configuration = prepared.configuration
        async with AsyncExitStack() as stack:
            web = serve(configuration.listen, metrics=self._metrics, readiness=self._lacks, reload=self.reload)
            self.address = await stack.enter_async_context(web)
            store = await stack.enter_async_context(Store.open(configuration.store_url, self._clock))
            kit = await stack.enter_async_context(open_kit(clock=self._clock, network=configuration.network))
            parts = self._assemble(prepared, store, kit)
            await self._restore(parts)
            async with asyncio.TaskGroup() as tasks:
                pipeline = tasks.create_task(parts.pipeline.run(), name="pipeline")
                others = [
                    tasks.create_task(parts.selfcheck.run(parts.pipeline.accept), name="own network"),
                    tasks.create_task(self._reload_when_fleets_change(parts), name="fleets"),
                    tasks.create_task(self._deliver(parts), name="outbox"),
                    tasks.create_task(self._beat(parts), name="beat"),
                    tasks.create_task(self._reload_when_wanted(), name="reload"),
                ]
                try:
                    self._begin(parts)
                    await self._stopping.wait()
                finally:
                    parts.ticker.stop()
                    await parts.runner.stop()
                parts.selfcheck.stop()
                parts.pipeline.finish()
                await asyncio.wait([pipeline], timeout=STORING_SECONDS)
                await parts.outbox.drain(DELIVERING_SECONDS)
                for task in (pipeline, *others):
                    task.cancel()

    def _assemble(self, prepared: Prepared, store: Store, kit: Kit) -> _Parts:
        selfcheck = SelfCheck(prepared.configuration.network.reach, kit)
        pipeline = Pipeline(
            store=store,
            publish=self._sinks.publish,
            notify=self._notify,
            clock=self._clock,
            fair=selfcheck.fair,
        )
        runner = Runner(
            kit, CHECKS, accept=pipeline.accept, skipped=self._skipped, backed_off_until=pipeline.backed_off_until
        )
        return _Parts(
            prepared=prepared,
            words=_words(prepared),
            store=store,
            kit=kit,
            pipeline=pipeline,
            runner=runner,
            ticker=Ticker(self._clock, self._offer),
            outbox=self._outbox(prepared, store),
            selfcheck=selfcheck,
        )

    def _outbox(self, prepared: Prepared, store: Store) -> Outbox:
        return Outbox(
            store=store,
            channels=prepared.senders,
            render=self._render,
            publish=self._sinks.publish,
            clock=self._clock,
            rng=random.Random(),  # noqa: S311 - spreads retries in time
        )

    async def _restore(self, parts: _Parts) -> None:
        """Take up what an earlier life left, as far as the plan still has it."""
        self._parts = parts
        await parts.pipeline.restore()
        self._metrics.follow(parts.prepared.plan)
        known, incidents = tuple(parts.pipeline.states), parts.pipeline.open_incidents
        self._sinks.publish([Restored(at=self._clock.now(), states=known, incidents=incidents)])
        await self._follow(parts)

    def _begin(self, parts: _Parts) -> None:
        watches = parts.prepared.plan.watches
        patient = frozenset(name for name, check in CHECKS.items() if check.patient)
        parts.ticker.start(watches.values(), _last_runs(parts.pipeline), patient)
        self.started.set()
        warnings = _warnings(parts.prepared)
        self._sinks.publish(
            [Reloaded(at=self._clock.now(), watches=len(watches), added=len(watches), warnings=warnings)]
        )

    async def _follow(self, parts: _Parts) -> None:
        """Let every part that follows a plan follow the one in force."""
        prepared = parts.prepared
        self._metrics.follow(prepared.plan)
        self._metrics.channels(prepared.senders)
        await parts.pipeline.follow(
            prepared.plan, prepared.configuration.policy, prepared.senders, prepared.configuration.lateness
        )

    async def reload(self) -> Sequence[str]:
        """Take the file as it is now: empty when it was taken, else every problem in one line each and nothing changed."""
        async with self._reloading:
            parts = self._parts
            if parts is None or self._stopping.is_set():
                return ("the daemon is starting or stopping: try again",)
            before = parts.prepared
            try:
                prepared, words, change = await _in_thread(lambda: _prepare_beside(self._file, before))
            except ConfigurationError as error:
                return self._refused(tuple(str(problem) for problem in error.problems))
            except Exception:  # noqa: BLE001 - a file that we stumble over is no reason to stop watching
                _log.exception("the configuration could not be read by a defect")
                return self._refused((f"{self._file}: could not be read by a defect of mailcanary: its log says more",))
            parts.prepared, parts.words = prepared, words
            parts.kit.tls.forget()
            parts.kit.tokens.keep_only(prepared.plan.credentials)
            await self._follow(parts)
            parts.ticker.change(change, _last_runs(parts.pipeline))
            if prepared.configuration.channels != before.configuration.channels:
                await parts.outbox.drain(DELIVERING_SECONDS)
            self._sinks.publish([_reloaded(prepared, change, self._clock)])
            return ()

    def _refused(self, problems: tuple[str, ...]) -> Sequence[str]:
        watches = len(self._parts.prepared.plan.watches) if self._parts is not None else 0
        self._sinks.publish([Reloaded(at=self._clock.now(), watches=watches, errors=problems)])
        return problems

    async def _reload_when_wanted(self) -> None:
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            for problem in await self.reload():
                _log.error("not reloaded: %s", problem)

    async def _reload_when_fleets_change(self, parts: _Parts) -> None:
        """Look now and then whether a fleet's file has changed: then all is read again, the main file too.

        A change of the main file alone waits for a reload that somebody asks for.
        """
        while True:
            followed = parts.prepared
            _, *fleets = followed.configuration.files
            changes = Changes(tuple(fleets))
            while parts.prepared is followed:
                await self._clock.sleep(LOOK_AT_FLEETS_EVERY)
                if fleets and changes.due(await _now(changes)):
                    self.want_reload()

    async def _deliver(self, parts: _Parts) -> None:
        """Run one outbox after another: a reload that changes channels ends the one before."""
        while True:
            await parts.outbox.run()
            if self._stopping.is_set():
                return
            parts.outbox = self._outbox(parts.prepared, parts.store)

    async def _beat(self, parts: _Parts) -> None:
        """Once a second: what is due by the clock alone, and how the daemon is."""
        waiting = 0
        pruned_at = self._clock.now() - PRUNE_EVERY
        while True:
            due = self._clock.monotonic() + BEAT
            await self._clock.sleep(BEAT)
            now, lag = self._clock.now(), max(0.0, self._clock.monotonic() - due)
            parts.pipeline.tick()
            try:
                waiting = await parts.store.waiting()
                if now - pruned_at >= PRUNE_EVERY:
                    pruned_at = now
                    await parts.store.prune(now - timedelta(seconds=parts.prepared.configuration.retention))
            except StoreError as error:
                _log.warning("the database does not answer: %s", error)
            beat = Beat(
                at=now,
                busy=parts.runner.busy,
                queued=parts.pipeline.queued,
                waiting=waiting,
                lag=lag,
                defects=self._sinks.defects + parts.outbox.defects,
                lost=self._sinks.lost,
            )
            self._sinks.publish([beat])

    def _offer(self, watch: str) -> None:
        if self._parts is not None and (planned := self._parts.prepared.plan.watches.get(watch)) is not None:
            self._parts.runner.offer(planned)

    def _skipped(self, event: Skipped) -> None:
        self._sinks.publish([event])

    def _notify(self) -> None:
        if self._parts is not None:
            self._parts.outbox.notify()

    def _render(self, notice: Notice) -> Message:
        return render(notice, table()[notice.incident.cause], self.words(notice.incident))

    def _lacks(self) -> Sequence[str]:
        """What keeps the daemon from being ready."""
        if self._stopping.is_set():
            return ("stopping",)
        return () if self._parts is not None else ("starting",)


async def _now(changes: Changes) -> Stamps:
    return await _in_thread(lambda: stamps(stamp.path for stamp in changes.read))


def _last_runs(pipeline: Pipeline) -> Mapping[str, datetime]:
    return {state.watch: state.last_seen_at for state in pipeline.states if state.last_seen_at}


def _words(prepared: Prepared) -> Words:
    return Words(prepared.plan, addresses="notices" in prepared.configuration.show_addresses)


def _prepare_beside(file: Path, before: Prepared) -> tuple[Prepared, Words, Difference]:
    """In a thread, since it reads files and compares every watch."""
    prepared = prepare(file)
    old, new = before.configuration, prepared.configuration
    for key, was, is_ in (
        ("store", old.store_url, new.store_url),
        ("web.listen", old.listen, new.listen),
        ("network", old.network, new.network),
    ):
        if was != is_:
            _log.warning("%s has changed: it takes effect at the next start", key)
    return prepared, _words(prepared), difference(before.plan, prepared.plan)


async def _in_thread(work: Callable[[], T]) -> T:
    """Blocking work in a thread of its own, so that no other pool waits for it."""
    with_thread = ThreadPoolExecutor(1, "mailcanary-prepare")
    try:
        return await asyncio.get_running_loop().run_in_executor(with_thread, work)
    finally:
        with_thread.shutdown(wait=False)


def _warnings(prepared: Prepared) -> tuple[str, ...]:
    return tuple(str(warning) for warning in prepared.configuration.warnings)


def _reloaded(prepared: Prepared, change: Difference, clock: Clock) -> Reloaded:
    return Reloaded(
        at=clock.now(),
        watches=len(prepared.plan.watches),
        warnings=_warnings(prepared),
        added=len(change.added),
        removed=len(change.removed),
        changed=len(change.changed),
    )
