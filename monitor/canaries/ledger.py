"""The ledger: canaries that were sent against sightings of them, settled as delivered, late or lost. Pure.

A canary is late or lost only after its inbox was read by a run that began after the deadline: until then nobody knows, and
it is the inbox's own watch that fails. What is late may still arrive; what is lost stays lost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from checks.core.model import InboxRead, Result, Sent, Sighting
from monitor.model import Canary, Fate, Lateness

Key = tuple[str, str]


class Ledger:
    """The canaries that are not settled yet. Every method gives the canaries that changed, as they are now."""

    def __init__(self) -> None:
        self._open: dict[Key, Canary] = {}
        self._read: dict[str, datetime] = {}
        self._lateness = Lateness()
        self._inboxes: frozenset[str] = frozenset()

    def follow(self, inboxes: Collection[str], mailboxes: Collection[str], lateness: Lateness) -> None:
        """Expect canaries in these inboxes, from these mailboxes; others are forgotten."""
        self._inboxes, self._lateness = frozenset(inboxes), lateness
        gone = [
            key for key, canary in self._open.items() if canary.inbox not in inboxes or canary.mailbox not in mailboxes
        ]
        for key in gone:
            del self._open[key]

    def restore(self, canaries: Iterable[Canary]) -> None:
        """Take up what an earlier life left open."""
        self._open.update({(canary.id, canary.inbox): canary for canary in canaries})

    @property
    def open(self) -> tuple[Canary, ...]:
        """The canaries that may still arrive."""
        return tuple(self._open.values())

    def enter(self, results: Iterable[Result]) -> tuple[Canary, ...]:
        """Enter what was sent and seen. What was seen before we knew it was sent belongs to nobody."""
        changed: dict[Key, Canary] = {}
        for result in results:
            for fact in result.facts:
                match fact:
                    case Sent():
                        changed.update(self._sent(fact))
                    case Sighting():
                        changed.update(self._seen(fact))
                    case InboxRead():
                        self._read[fact.inbox] = result.started_at
                    case _:
                        pass
        return tuple(changed.values())

    def settle(self, now: datetime) -> tuple[Canary, ...]:
        """Settle what by now can only be late or lost."""
        changed = []
        for key, canary in list(self._open.items()):
            fate = self._fate(canary, now)
            if fate is not canary.fate:
                changed.append(replace(canary, fate=fate, told_late=True, settled_at=now))
                self._open[key] = changed[-1]
                if fate is Fate.LOST:
                    del self._open[key]
        return tuple(changed)

    def _sent(self, fact: Sent) -> Iterator[tuple[Key, Canary]]:
        for inbox in fact.inboxes:
            if inbox in self._inboxes:
                canary = Canary(id=fact.canary_id, mailbox=fact.mailbox, inbox=inbox, sent_at=fact.at)
                self._open[canary.id, inbox] = canary
                yield (canary.id, inbox), canary

    def _seen(self, fact: Sighting) -> Iterator[tuple[Key, Canary]]:
        key = fact.canary_id, fact.inbox
        canary = self._open.pop(key, None)
        if canary is not None:
            took = fact.arrived_at - canary.sent_at
            in_time = took <= timedelta(seconds=self._lateness.late_after)
            yield (
                key,
                replace(
                    canary,
                    fate=Fate.DELIVERED if in_time and not canary.told_late else Fate.DELIVERED_LATE,
                    arrived_at=fact.arrived_at,
                    folder=fact.folder,
                    settled_at=fact.arrived_at,
                ),
            )

    def _fate(self, canary: Canary, now: datetime) -> Fate:
        """What it is by now, as far as its inbox was read since."""
        seen_until = min(now, self._read.get(canary.inbox, canary.sent_at))
        waited = (seen_until - canary.sent_at).total_seconds()
        if waited > self._lateness.lost_after:
            return Fate.LOST
        return Fate.LATE if waited > self._lateness.late_after else canary.fate
