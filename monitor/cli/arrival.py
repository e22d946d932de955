"""Waits for the canaries that a command has just sent: reads their inboxes until each is settled, or late."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from checks.core.clock import Clock
from checks.core.model import Outcome, Result
from checks.core.target import Mailbox, Target
from monitor.canaries.delivery import verdict
from monitor.canaries.ledger import Ledger
from monitor.model import Canary, Fate, Lateness
from monitor.plan import DELIVERY, Watch, watch_id

# Between two looks into one inbox, in seconds: a person waits, but a server counts log-ins.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 10.0


class Arrivals:
    """What was sent, and where it is looked for.

    `run` runs the watch of one of the `inboxes`, `unread` hears of one that can not be read, `told` of each canary's fate.
    """

    def __init__(
        self,
        inboxes: Iterable[Watch],
        lateness: Lateness,
        clock: Clock,
        *,
        run: Callable[[Watch], Awaitable[Result]],
        unread: Callable[[Target, Result], None],
        told: Callable[[Canary, Mailbox, Result], None],
        progress: Callable[[str], None],
    ) -> None:
        self._watches = {watch.target.id: watch for watch in inboxes}
        self._clock = clock
        self._run = run
        self._unread = unread
        self._told = told
        self._progress = progress
        self._lateness = lateness
        self._ledger = Ledger()

    async def wait_for(self, results: Iterable[Result], mailboxes: Iterable[Mailbox]) -> list[Result]:
        """Wait for the canaries of these results: the verdict on each, and the run of every inbox that can not be read.

        An inbox that can not be read is not asked again: nobody knows what is in it. Nor is one that is not read to its end
        although its canaries are late by now, since it is busy or too full.
        """
        known = {mailbox.id: mailbox for mailbox in mailboxes}
        self._ledger.follow(self._watches.keys(), known.keys(), self._lateness)
        self._ledger.enter(results)
        began, pause = self._clock.monotonic(), FIRST_PAUSE
        verdicts: list[Result] = []
        while waiting := self._waiting():
            for inbox in sorted({canary.inbox for canary in waiting}):
                late = self._clock.monotonic() - began > self._lateness.late_after
                result = await self._run(self._watches[inbox])
                verdicts += self._verdicts(self._ledger.enter([result]), known)
                unread = late and any(canary.inbox == inbox for canary in self._waiting())
                if unread or result.outcome in {Outcome.FAIL, Outcome.UNKNOWN}:
                    self._unread(self._watches.pop(inbox).target, result)
                    self._ledger.follow(self._watches.keys(), known.keys(), self._lateness)
                    verdicts.append(result)
            if left := len(self._waiting()):
                waited = self._clock.monotonic() - began
                self._progress(f"{left} {'canary' if left == 1 else 'canaries'} on the way, {waited:.0f} s")
                await self._clock.sleep(pause)
                pause = min(pause * 1.5, LONGEST_PAUSE)
        return verdicts

    def _waiting(self) -> list[Canary]:
        return [canary for canary in self._ledger.expected if canary.fate is Fate.PENDING]

    def _verdicts(self, settled: Iterable[Canary], mailboxes: dict[str, Mailbox]) -> Iterable[Result]:
        for canary in settled:
            mailbox = mailboxes[canary.mailbox]
            result = verdict(canary, mailbox, watch_id(DELIVERY, mailbox.id), self._clock.now())
            if result is not None:
                self._told(canary, mailbox, result)
                yield result
