"""Brings stored notices to people: claim, render, send, mark; at least once, in a lane of its own for each channel.

A process that dies between sending and marking sends again: the notice's id stands in the message. A notice that can
not be delivered waits longer after every attempt and is given up after a day. What fails by a defect of ours is left
claimed, and so comes out again when the claim runs out.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, Protocol

from checks.core.clock import Clock
from monitor.alerts.channels import Sender
from monitor.alerts.render import Message
from monitor.model import Delivery, Event, Notice, NoticeDelivered

log = logging.getLogger(__name__)

SHORTEST_DELAY_S = 5.0
LONGEST_DELAY_S = 300.0
GIVE_UP_AFTER = timedelta(hours=24)
_LONGEST_REST_S = 60.0  # so that a wall clock that was set back delays nothing for long


@dataclass(frozen=True, slots=True)
class _Lane:
    channel: str
    sender: Sender
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class NoticeStore(Protocol):
    """What the outbox needs of the store (law 1: alerts and store do not import each other)."""

    async def claim(self, now: datetime, limit: int, channel: str) -> tuple[Notice, ...]:
        """Mark due notices of a channel as under way, and give them."""

    async def delivered(self, item: Notice, at: datetime) -> None:
        """A notice has arrived."""

    async def failed(self, item: Notice, next_attempt_at: datetime | None, error: str) -> None:
        """An attempt failed; None: there will be no other."""

    async def next_claim_at(self, channel: str) -> datetime | None:
        """When the next notice of a channel is due."""


class Outbox:
    """Delivers what the store holds. `run` is its task; whoever commits notices calls `notify`."""

    def __init__(
        self,
        *,
        store: NoticeStore,
        channels: Mapping[str, Sender],
        render: Callable[[Notice], Message],
        publish: Callable[[Sequence[Event]], None],
        clock: Clock,
        rng: Random,
    ) -> None:
        self._store = store
        self._lanes = [_Lane(name, sender) for name, sender in channels.items()]
        self._render = render
        self._publish = publish
        self._clock = clock
        self._rng = rng
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = asyncio.Event()
        self.defects = 0  # how often a turn ended by an exception

    async def run(self) -> None:
        """Deliver until cancelled, or until `drain` ends it. A send that is cut off is made again after a restart."""
        async with asyncio.TaskGroup() as group:
            self._tasks = [group.create_task(self._serve(lane), name=f"outbox-{lane.channel}") for lane in self._lanes]
        await self._draining.wait()

    def notify(self) -> None:
        """Look for due notices now."""
        for lane in self._lanes:
            lane.wake.set()

    async def drain(self, seconds: float) -> None:
        """Deliver what is due now and end `run`; what takes longer than `seconds` is cut off."""
        self._draining.set()
        self.notify()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            await _end(late)

    async def _serve(self, lane: _Lane) -> None:
        while True:
            lane.wake.clear()
            try:
                delivered = await self._turn(lane)
            except Exception:
                self.defects += 1
                log.exception("outbox.turn_failed channel=%s", lane.channel)
                delivered = False
                if not self._draining.is_set():
                    await self._pause(lane, SHORTEST_DELAY_S)
            if delivered:
                continue
            if self._draining.is_set():
                return
            await self._rest(lane)

    async def _turn(self, lane: _Lane) -> bool:
        """Deal with one due notice; whether there was one."""
        claimed = await self._store.claim(self._clock.now(), 1, lane.channel)
        for notice in claimed:
            if notice.attempts > 1 and self._clock.now() - notice.due_at > GIVE_UP_AFTER:
                await self._settle(notice, "its time had run out")
            else:
                await self._settle(notice, await lane.sender.send(self._render(notice)))
        return bool(claimed)

    async def _settle(self, notice: Notice, error: str) -> None:
        """Note how an attempt ended, and tell the sinks."""
        now = self._clock.now()
        if not error:
            delivery = Delivery.DELIVERED
            await self._store.delivered(notice, now)
        else:
            again = now + timedelta(seconds=self._delay(notice.attempts))
            late = again - notice.due_at > GIVE_UP_AFTER
            delivery = Delivery.GIVEN_UP if late else Delivery.FAILED
            await self._store.failed(notice, None if late else again, error)
        self._publish([NoticeDelivered(at=now, notice=notice, delivery=delivery, error=error)])

    def _delay(self, attempts: int) -> float:
        """Seconds until the next attempt: drawn from a range that doubles, so that many do not come back together."""
        longest = min(LONGEST_DELAY_S, SHORTEST_DELAY_S * 2.0 ** min(attempts, 10))
        return self._rng.uniform(SHORTEST_DELAY_S, longest)

    async def _rest(self, lane: _Lane) -> None:
        """Wait for a call of `notify` or for the next notice that was put back."""
        at: datetime | None = await self._store.next_claim_at(lane.channel)
        if at is None:
            await lane.wake.wait()
        else:
            await self._pause(lane, (at - self._clock.now()).total_seconds())

    async def _pause(self, lane: _Lane, seconds: float) -> None:
        await _first(lane.wake.wait(), self._clock.sleep(min(max(seconds, 0.0), _LONGEST_REST_S)))


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    """Wait until one of several waits ends; end the others."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks)


async def _end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
