"""The store: an async face over one connection in one writer thread.

Every call is one transaction. A call that is cancelled while it waits may still take place: what it wrote was decided,
and is true. Statements run in the order of the calls.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sqlalchemy import Connection, bindparam, delete, select

from checks.core.clock import Clock
from checks.core.model import Outcome
from monitor.model import IncidentState, Notice
from monitor.store import queue
from monitor.store.database import connect, place_of
from monitor.store.errors import explained
from monitor.store.records import CANARY, INCIDENT, RESULT, STATE, Batch, LastRun, Loaded
from monitor.store.schema import canary, incident, last_run, notice, watch_state
from monitor.store.writing import write

T = TypeVar("T")

# Ten thousand mailboxes send half a million canaries a day, and of those that are settled only the last ones are of use.
SETTLED_KEPT = timedelta(days=1)


class Store:
    """Watch states, incidents, notices and last runs; made by `Store.open`."""

    __slots__ = ("_clock", "_connection", "_place", "_writer")

    def __init__(self, connection: Connection, writer: ThreadPoolExecutor, place: str, clock: Clock) -> None:
        self._connection = connection
        self._writer = writer
        self._place = place
        self._clock = clock

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, clock: Clock) -> AsyncIterator[Store]:
        """A store that is closed at the end of the block. Raises `StoreError` when the database can not be used."""
        place = place_of(url)
        writer = ThreadPoolExecutor(1, thread_name_prefix="store")
        try:
            connection = await asyncio.get_running_loop().run_in_executor(writer, connect, url)
        except BaseException:
            writer.shutdown(wait=False)
            raise
        store = cls(connection, writer, place, clock)
        try:
            yield store
        finally:
            await store.close()

    async def load(self) -> Loaded:
        """Everything the daemon needs to go on where it stopped."""
        return await self._do(_load)

    async def commit(self, batch: Batch) -> None:
        """Store a batch in one transaction: whole, or (with a `StoreError`) not at all."""
        now = self._clock.now()
        await self._do(lambda connection: write(connection, batch, now))

    async def claim(self, now: datetime, limit: int, channel: str | None = None) -> tuple[Notice, ...]:
        """Take up to `limit` due notices (of one channel) for delivery: nobody else gets them for two minutes.

        Per incident and channel only the oldest unsettled notice is given out. `attempts` counts this attempt.
        """
        return await self._do(lambda connection: queue.claim(connection, now, limit, channel))

    async def next_claim_at(self, channel: str | None = None) -> datetime | None:
        """When the next notice (of one channel) can be claimed; None when none is waiting."""
        moment = await self._do(lambda connection: queue.next_claim_at(connection, channel))
        return None if moment is None else datetime.fromtimestamp(moment, UTC)

    async def waiting(self) -> int:
        """How many notices are neither delivered nor given up."""
        return await self._do(queue.count_waiting)

    async def delivered(self, item: Notice, at: datetime) -> None:
        """Mark a notice as delivered."""
        await self._do(lambda connection: queue.settle(connection, item, "delivered", at, ""))

    async def failed(self, item: Notice, next_attempt_at: datetime | None, error: str) -> None:
        """Let a notice wait for its next attempt, or give it up (None). `error` is redacted by the caller."""
        if next_attempt_at is None:
            now = self._clock.now()
            await self._do(lambda connection: queue.settle(connection, item, "given_up", now, error))
        else:
            await self._do(lambda connection: queue.put_back(connection, item, next_attempt_at, error))

    async def last_run(self, watch: str) -> LastRun | None:
        """The newest run of a watch and the newest failed one, or None for a watch that never ran."""
        return await self._do(lambda connection: _last_run(connection, watch))

    async def forget(self, watches: Iterable[str]) -> None:
        """Drop state and runs of watches that are no longer in the plan."""
        rows = [{"gone": watch} for watch in watches]
        if rows:
            await self._do(lambda connection: _forget(connection, rows))

    async def prune(self, before: datetime) -> None:
        """Drop incidents that were closed before a moment, and notices that are older, whatever became of them.

        Canaries go with them, and those that are settled earlier, `SETTLED_KEPT` after they were sent.
        """
        settled_before = max(before, self._clock.now() - SETTLED_KEPT)
        await self._do(lambda connection: _prune(connection, before.timestamp(), settled_before.timestamp()))

    async def close(self) -> None:
        """Wait for what was asked before, then close the database. Closing twice does nothing more."""
        if self._connection.closed:
            return
        done = asyncio.get_running_loop().run_in_executor(self._writer, self._connection.close)
        self._writer.shutdown(wait=False)
        await asyncio.shield(done)

    async def _do(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, self._transaction, work)

    def _transaction(self, work: Callable[[Connection], T]) -> T:
        with explained(self._place), self._connection.begin():
            return work(self._connection)


def _load(connection: Connection) -> Loaded:
    states = connection.execute(select(watch_state.c.watch, watch_state.c.state))
    opened = select(incident.c.record).where(incident.c.state == IncidentState.OPEN.value)
    records = connection.execute(opened.order_by(incident.c.opened_at, incident.c.id)).scalars()
    under_way = select(canary.c.record).where(canary.c.fate.in_(["pending", "late"])).order_by(canary.c.sent_at)
    return Loaded(
        states={watch: STATE.validate_json(state) for watch, state in states},
        incidents=tuple(INCIDENT.validate_json(record) for record in records),
        canaries=tuple(CANARY.validate_json(record) for record in connection.execute(under_way).scalars()),
    )


def _last_run(connection: Connection, watch: str) -> LastRun | None:
    row = connection.execute(select(last_run).where(last_run.c.watch == watch)).one_or_none()
    if row is None:
        return None
    return LastRun(
        watch=watch,
        started_at=datetime.fromtimestamp(row.started_at, UTC),
        outcome=Outcome(row.outcome),
        seconds=row.seconds,
        result=RESULT.validate_json(row.result),
        failed=None if row.failed is None else RESULT.validate_json(row.failed),
    )


def _forget(connection: Connection, rows: list[dict[str, str]]) -> None:
    for table in (watch_state, last_run):
        connection.execute(delete(table).where(table.c.watch == bindparam("gone")), rows)


def _prune(connection: Connection, moment: float, settled_before: float) -> None:
    connection.execute(delete(notice).where(notice.c.created_at < moment))
    connection.execute(delete(incident).where(incident.c.closed_at < moment))
    connection.execute(delete(canary).where(canary.c.sent_at < moment))
    settled = canary.c.fate.not_in(["pending", "late"])
    connection.execute(delete(canary).where(settled, canary.c.sent_at < settled_before))
