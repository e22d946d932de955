"""What becomes of results: judge, correlate, decide, commit, publish. The whole of it is `Pipeline.turn`.

What is decided holds from then on, in memory; the database follows. A batch that could not be committed (a full disk) is
kept and committed with the next one, so nothing is decided twice and nothing that was decided is lost while we live.
Turns and changes of the plan happen one after the other, so no decision ever sees half of another one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from checks.core.causes import table
from checks.core.clock import Clock
from checks.core.model import Fact, Result, Subject
from checks.core.target import Inbox, Mailbox, Route
from monitor.alerts.policy import ID_LENGTH, Told, decide, remind
from monitor.canaries.delivery import verdict
from monitor.canaries.ledger import Ledger
from monitor.incidents.correlate import Incidents, Movement
from monitor.model import (
    Canary,
    CanarySettled,
    Change,
    Event,
    Importance,
    Incident,
    IncidentChanged,
    Lateness,
    Policy,
    Ran,
    Stored,
    WatchState,
)
from monitor.plan import DELIVERY, Plan, watch_id
from monitor.state.drift import drift, remembered
from monitor.state.judge import judge
from monitor.store import Batch, Store, StoreError

_log = logging.getLogger(__name__)

MAX_BATCH = 200  # results of one turn: about 20 ms of work, and one transaction
# Seconds that a first result waits for others: at 100 runs a second a transaction for 25 of them, and no person waits for it.
LINGER = 0.25
# Results that wait to be judged; beyond it finished runs wait, and watches that are due are skipped and counted.
MAX_QUEUED = 2000
_REMIND_EVERY = timedelta(seconds=1)


def incident_id(cause: str, subject: Subject, opened_at: datetime) -> str:
    """The name of an incident: the same for the same thing, so that a decision made twice makes one incident."""
    parts = (cause, subject.scope.value, subject.key, opened_at.isoformat())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:ID_LENGTH]


class Pipeline:
    """Takes results and moves states, incidents and notices. `run` is its task; `notify` says that notices are due.

    `fair` says of results how they are to be judged, before anything else is done with them.
    """

    def __init__(
        self,
        *,
        store: Store,
        publish: Callable[[Sequence[Event]], None],
        notify: Callable[[], None],
        clock: Clock,
        fair: Callable[[Sequence[Result]], Awaitable[Sequence[Result]]] | None = None,
    ) -> None:
        self._store = store
        self._publish = publish
        self._notify = notify
        self._clock = clock
        self._fair = fair
        self._plan = Plan()
        self._policy = Policy()
        self._channels: tuple[str, ...] = ()
        self._states: dict[str, WatchState] = {}
        self._incidents = Incidents(incident_id)
        self._ledger = Ledger()
        self._shown: dict[str, tuple[Fact, ...]] = {}
        self._unsaved = Batch()
        self._one_at_a_time = asyncio.Lock()
        self._queue: deque[Result] = deque()
        self._room = asyncio.Semaphore(MAX_QUEUED)
        self._awake = asyncio.Event()
        self._finishing = False
        self._reminded_at = clock.now()

    @property
    def queued(self) -> int:
        """How many results wait to be judged."""
        return len(self._queue)

    @property
    def open_incidents(self) -> tuple[Incident, ...]:
        """The incidents that are open now."""
        return self._incidents.open

    @property
    def states(self) -> Iterable[WatchState]:
        """Where every watch stands that ever ran."""
        return self._states.values()

    def state(self, watch: str) -> WatchState | None:
        """Where a watch stands; None when it never ran."""
        return self._states.get(watch)

    def backed_off_until(self, watch: str) -> datetime | None:
        """The moment before which a watch must not run, if there is one."""
        state = self._states.get(watch)
        return state.backed_off_until if state else None

    async def restore(self) -> None:
        """Take up what an earlier life stored. Raises StoreError."""
        loaded = await self._store.load()
        self._states = loaded.states
        self._incidents.restore(loaded.incidents)
        self._ledger.restore(loaded.canaries)

    async def follow(self, plan: Plan, policy: Policy, channels: Iterable[str], lateness: Lateness) -> None:
        """Work by another plan from now on. Watches that it lacks leave their incidents and are forgotten."""
        async with self._one_at_a_time:
            forgotten = self._ledger.follow(*_canary_ways(plan), lateness)
            await self._remember(plan)
            await self._change(plan, policy, channels, forgotten)

    async def _remember(self, plan: Plan) -> None:
        """What the endpoints of a plan showed in their last run, in this life or an earlier one."""
        for watch in plan.watches.values():
            if isinstance(watch.target, Route) and watch.id not in self._shown:
                try:
                    last = await self._store.last_run(watch.id)
                except StoreError as error:
                    _log.warning("the last run of %s can not be read: %s", watch.id, error)
                    return
                self._shown[watch.id] = remembered((), last.result) if last else ()

    async def _change(self, plan: Plan, policy: Policy, channels: Iterable[str], forgotten: Sequence[Canary]) -> None:
        now = self._clock.now()
        self._plan, self._policy, self._channels = plan, policy, tuple(channels)
        known = {*self._states, *(watch for incident in self._incidents.open for watch in incident.watches)}
        gone = sorted(known - plan.watches.keys())
        for watch in gone:
            self._states.pop(watch, None)
            self._shown.pop(watch, None)
        await self._settle((), self._incidents.remove(gone, now), now, forgotten)
        try:
            await self._store.forget(gone)
        except StoreError as error:
            _log.warning("%d watches that are gone could not be forgotten: %s", len(gone), error)

    async def accept(self, result: Result) -> None:
        """Take a result. Waits while too many others do."""
        await self._room.acquire()
        self._queue.append(result)
        self._awake.set()

    def tick(self) -> None:
        """Look what is due by the clock alone."""
        self._awake.set()

    def finish(self) -> None:
        """Let `run` end once everything that was accepted is dealt with."""
        self._finishing = True
        self._awake.set()

    async def run(self) -> None:
        """Deal with results as they come, in batches, until `finish`."""
        while not self._finishing or self._queue:
            await self._awake.wait()
            if self._queue and len(self._queue) < MAX_BATCH and not self._finishing:
                await self._clock.sleep(LINGER)
            self._awake.clear()
            await self.turn(self._take())
            if self._queue:
                self._awake.set()

    def _take(self) -> list[Result]:
        batch = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
        for _ in batch:
            self._room.release()
        return batch

    async def turn(self, results: Sequence[Result]) -> None:
        """One turn, from results to events."""
        async with self._one_at_a_time:
            now = self._clock.now()
            if self._fair is not None:
                results = await self._fair(results)
            results = [self._drifted(result) for result in results]
            canaries = self._ledger.enter(results)
            await self._decide(results, canaries[:MAX_BATCH], now)
            # An inbox that is read again after a long time may settle all that was sent meanwhile.
            for start in range(MAX_BATCH, len(canaries), MAX_BATCH):
                await self._decide((), canaries[start : start + MAX_BATCH], now)

    async def _decide(self, results: Sequence[Result], canaries: Sequence[Canary], now: datetime) -> None:
        """What results and the fates of canaries change; one transaction."""
        verdicts = [said for canary in canaries if (said := self._verdict(canary, now)) is not None]
        known = [result for result in (*results, *verdicts) if result.watch in self._plan.watches]
        judged = [(result, self._judge(result, now)) for result in known]
        movements = self._incidents.correlate([change.after for _, change in judged], self._importance, now)
        await self._settle(judged, movements, now, canaries)

    def _drifted(self, result: Result) -> Result:
        """The result with what an endpoint shows otherwise than before."""
        watch = self._plan.watches.get(result.watch)
        if watch is None or not isinstance(watch.target, Route):
            return result
        before = self._shown.get(watch.id, ())
        self._shown[watch.id] = remembered(before, result)
        return drift(before, result, watch.target)

    def _verdict(self, canary: Canary, now: datetime) -> Result | None:
        """What a canary's fate says of its mailbox. That it is well waits for all of its inboxes."""
        watch = self._plan.watches.get(watch_id(DELIVERY, canary.mailbox))
        if watch is None or not isinstance(watch.target, Mailbox):
            return None
        said = verdict(canary, watch.target, watch.id, now)
        return said if said is None or said.findings or canary.everywhere else None

    def _judge(self, result: Result, now: datetime) -> Change:
        watch = self._plan.watches[result.watch]
        state = self._states.get(watch.id) or WatchState(watch=watch.id, since=now)
        worst = result.worst
        harm = worst is not None and table()[worst.cause].harm
        change = judge(state, result, self._policy, now, harm=harm, interval=watch.interval)
        self._states[watch.id] = change.after
        return change

    def _importance(self, watch: str) -> Importance:
        planned = self._plan.watches.get(watch)
        return planned.importance if planned else Importance.NORMAL

    async def _settle(
        self,
        judged: Sequence[tuple[Result, Change]],
        movements: Sequence[Movement],
        now: datetime,
        canaries: Sequence[Canary] = (),
    ) -> None:
        """Decide who is told, commit, publish."""
        told = self._told(movements, now)
        self._incidents.replace(told.incidents)
        moved = {after.id: after for _, after in movements} | {incident.id: incident for incident in told.incidents}
        await self._commit(
            Batch(
                states=[change.after for _, change in judged],
                incidents=[*moved.values()],
                notices=told.notices,
                canaries=canaries,
                results=[result for result, _ in judged],
            ),
            now,
        )
        self._publish(
            [
                *(Ran(at=now, result=result, change=change) for result, change in judged),
                *(CanarySettled(at=now, canary=one) for one in canaries if one.fate.told),
                *(IncidentChanged(at=now, before=before, after=moved[after.id]) for before, after in movements),
            ]
        )

    def _told(self, movements: Sequence[Movement], now: datetime) -> Told:
        """What is to be told of movements, and of what stays open for long."""
        decided = [decide(before, after, self._channels, now) for before, after in movements]
        if now - self._reminded_at >= _REMIND_EVERY:
            self._reminded_at = now
            fresh = {after.key for _, after in movements}
            quiet = [incident for incident in self._incidents.open if incident.key not in fresh]
            decided.append(remind(quiet, self._policy, self._channels, now))
        return Told(
            incidents=tuple(incident for one in decided for incident in one.incidents),
            notices=tuple(notice for one in decided for notice in one.notices),
        )

    async def _commit(self, batch: Batch, now: datetime) -> None:
        whole = self._unsaved.then(batch)
        if whole.empty:
            return
        start = self._clock.monotonic()
        error = ""
        try:
            await self._store.commit(whole)
        except StoreError as refused:
            error = str(refused)
            if self._unsaved.empty:
                _log.error("what was decided can not be stored, and is kept for the next try: %s", error)
            whole = replace(whole, results=())  # the last runs are of use only while they are new
        self._unsaved = whole if error else Batch()
        self._publish([Stored(at=now, seconds=self._clock.monotonic() - start, error=error)])
        if whole.notices and not error:
            self._notify()


def _canary_ways(plan: Plan) -> tuple[set[str], set[str]]:
    """The inboxes that are read, and the mailboxes whose canaries are expected there."""
    watches = plan.watches.values()
    inboxes = {watch.target.id for watch in watches if isinstance(watch.target, Inbox)}
    mailboxes = {watch.target.id for watch in watches if isinstance(watch.target, Mailbox) and watch.derived}
    return inboxes, mailboxes
