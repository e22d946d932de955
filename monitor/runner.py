"""Runs what is due, without harm: one run per watch, one connection per mailbox, bounds for all and per endpoint.

A watch that is due while it still runs is skipped and counted, and so is one whose cause would hurt the mailbox if it
were provoked again. What waits for its turn holds no connection; its deadline starts when it runs.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from checks.core.check import Check
from checks.core.kit import Kit
from checks.core.model import Result
from checks.core.run import run_check
from checks.core.target import endpoint_behind
from monitor.model import Skipped, SkipReason
from monitor.plan import Watch

_log = logging.getLogger(__name__)

# A probe takes about 2 s against the real service; 10,000 mailboxes every 5 minutes need 67 at a time.
MAX_RUNS = 200
# What one host sees of us at most: below what looks like an attack, above what 10,000 mailboxes on one host need.
MAX_RUNS_PER_ENDPOINT = 100


class Runner:
    """Takes offers and hands on results. `serve()` owns every run; leaving it cancels them."""

    def __init__(
        self,
        kit: Kit,
        checks: Mapping[str, Check],
        *,
        accept: Callable[[Result], Awaitable[None]],
        skipped: Callable[[Skipped], None],
        backed_off_until: Callable[[str], datetime | None],
    ) -> None:
        self._kit = kit
        self._checks = checks
        self._accept = accept
        self._skipped = skipped
        self._backed_off_until = backed_off_until
        self._running: dict[str, asyncio.Task[None]] = {}
        self._with_result: set[str] = set()
        self._all = asyncio.Semaphore(MAX_RUNS)
        self._endpoints: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(MAX_RUNS_PER_ENDPOINT)
        )
        self._occupied: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stopping = False

    def offer(self, watch: Watch) -> None:
        """Start a run of this watch, or say why not."""
        reason = self._reason_against(watch)
        if reason is not None:
            self._skipped(Skipped(at=self._kit.clock.now(), watch=watch.id, reason=reason))
            return
        task = asyncio.get_running_loop().create_task(self._run(watch), name=f"run {watch.id}")
        self._running[watch.id] = task
        task.add_done_callback(lambda done: self._ended(watch.id, done))

    def _ended(self, watch: str, task: asyncio.Task[None]) -> None:
        del self._running[watch]
        self._with_result.discard(watch)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("run of %s ended by a defect", watch, exc_info=error)

    def _reason_against(self, watch: Watch) -> SkipReason | None:
        if self._stopping:
            return SkipReason.STOPPING
        if watch.id in self._running:
            return SkipReason.STILL_RUNNING
        until = self._backed_off_until(watch.id)
        if until is not None and self._kit.clock.now() < until:
            return SkipReason.BACKED_OFF
        return None

    async def _run(self, watch: Watch) -> None:
        if watch.target.occupies is None:
            await self._run_bounded(watch)
            return
        async with self._occupied[watch.target.occupies]:
            await self._run_bounded(watch)

    async def _run_bounded(self, watch: Watch) -> None:
        check = self._checks[watch.check]
        endpoint = endpoint_behind(watch.target, check.speaks)
        async with self._endpoints[str(endpoint)], self._all:
            result = await run_check(
                check, watch.target, watch.settings, self._kit, watch=watch.id, seconds=watch.timeout
            )
        self._with_result.add(watch.id)
        await self._accept(result)

    @property
    def busy(self) -> int:
        """How many runs are under way or wait for their turn."""
        return len(self._running)

    async def stop(self) -> None:
        """Take no more offers and cancel what runs: a cancelled run makes no result. A result that is there is handed on."""
        self._stopping = True
        running = dict(self._running)
        for watch, task in running.items():
            if watch not in self._with_result:
                task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)
