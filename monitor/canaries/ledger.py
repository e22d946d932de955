"""The ledger: canaries that were sent against sightings of them, settled as delivered, late or lost. Pure.

A canary is late or lost only after its inbox was read by a run that began after the deadline: until then nobody knows, and
it is the inbox's own watch that fails. So nothing is settled by the clock alone. What is late may still arrive; what is
lost stays lost. A sighting is repeated until the message is removed, so one that comes before we know what was sent does
no harm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from checks.core.model import InboxRead, Result, Sent, Sighting
from monitor.model import Canary, Fate, Lateness


class Ledger:
    """The canaries that may still arrive, by the inbox that they are expected in."""

    def __init__(self) -> None:
        self._expected: dict[str, dict[str, Canary]] = {}
        self._mailboxes: frozenset[str] = frozenset()
        self._lateness = Lateness()

    def follow(self, inboxes: Collection[str], mailboxes: Collection[str], lateness: Lateness) -> None:
        """Expect canaries in these inboxes, from these mailboxes; others are forgotten."""
        self._mailboxes, self._lateness = frozenset(mailboxes), lateness
        self._expected = {
            inbox: {
                name: canary
                for name, canary in self._expected.get(inbox, {}).items()
                if canary.mailbox in self._mailboxes
            }
            for inbox in inboxes
        }

    def restore(self, canaries: Iterable[Canary]) -> None:
        """Take up what an earlier life left open; `follow` comes after it."""
        for canary in canaries:
            self._expected.setdefault(canary.inbox, {})[canary.id] = canary

    @property
    def expected(self) -> tuple[Canary, ...]:
        """The canaries that may still arrive."""
        return tuple(canary for inbox in self._expected.values() for canary in inbox.values())

    def enter(self, results: Iterable[Result]) -> tuple[Canary, ...]:
        """Enter what was sent, seen and read: every canary that changed, as it is now."""
        changed: dict[tuple[str, str], Canary] = {}
        for result in results:
            ended_at = result.started_at + timedelta(seconds=result.seconds)
            for fact in result.facts:
                match fact:
                    case Sent():
                        moved = self._sent(fact)
                    case Sighting():
                        moved = self._seen(fact, ended_at)
                    case InboxRead():
                        moved = self._read(fact.inbox, result.started_at)
                    case _:
                        continue
                changed.update({(canary.id, canary.inbox): canary for canary in moved})
        return tuple(changed.values())

    def _sent(self, fact: Sent) -> Iterator[Canary]:
        if fact.mailbox not in self._mailboxes:
            return
        for inbox in fact.inboxes:
            if (expected := self._expected.get(inbox)) is not None:
                canary = Canary(id=fact.canary_id, mailbox=fact.mailbox, inbox=inbox, sent_at=fact.at)
                expected[canary.id] = canary
                yield canary

    def _seen(self, fact: Sighting, seen_at: datetime) -> Iterator[Canary]:
        canary = self._expected.get(fact.inbox, {}).pop(fact.canary_id, None)
        if canary is None:
            return
        # The receiving server's clock may be ahead of ours, but what we saw has arrived.
        arrived_at = min(fact.arrived_at, seen_at)
        late = canary.told_late or arrived_at - canary.sent_at > timedelta(seconds=self._lateness.late_after)
        yield replace(
            canary,
            fate=Fate.DELIVERED_LATE if late else Fate.DELIVERED,
            arrived_at=arrived_at,
            folder=fact.folder,
            settled_at=seen_at,
        )

    def _read(self, inbox: str, began_at: datetime) -> Iterator[Canary]:
        """Everything that was expected when the run began, and was not there then."""
        expected = self._expected.get(inbox, {})
        for canary in list(expected.values()):
            fate = self._unseen(began_at - canary.sent_at)
            if fate not in {canary.fate, Fate.PENDING}:
                settled = replace(canary, fate=fate, told_late=True, settled_at=began_at)
                expected[canary.id] = settled
                if fate is Fate.LOST:
                    del expected[canary.id]
                yield settled

    def _unseen(self, waited: timedelta) -> Fate:
        if waited > timedelta(seconds=self._lateness.lost_after):
            return Fate.LOST
        return Fate.LATE if waited > timedelta(seconds=self._lateness.late_after) else Fate.PENDING
