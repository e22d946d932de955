"""The ledger: canaries that were sent against sightings of them, settled as delivered, late or lost. Pure.

A canary is late or lost only after its inbox was read by a run that began after the deadline: until then nobody knows, and
it is the inbox's own watch that fails. So nothing is settled by the clock alone. What is late may still arrive; what is
lost stays lost. A sighting is repeated until the message is removed, so one that comes before we know what was sent does
no harm.

A canary to several inboxes is well only when it is well in all of them: else what is lost on the way to one of them would be
made good by each arrival in another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from checks.core.model import Folder, InboxRead, Result, Sent, Sighting
from monitor.model import Canary, Fate, Lateness

# Canaries that are expected in one inbox at most; the oldest make room. Twice as many as 10,000 mailboxes send to it within
# the hour after which one is lost: only an inbox that can not be read comes to more. They need about 20 MB.
MAX_EXPECTED = 40_000


class Ledger:
    """The canaries that may still arrive, by the inbox that they are expected in."""

    def __init__(self) -> None:
        self._expected: dict[str, dict[str, Canary]] = {}
        self._marred: set[str] = set()  # canaries that are expected, and not well in another inbox or this one
        self._mailboxes: frozenset[str] = frozenset()
        self._lateness = Lateness()

    def follow(self, inboxes: Collection[str], mailboxes: Collection[str], lateness: Lateness) -> tuple[Canary, ...]:
        """Expect canaries in these inboxes, from these mailboxes; others are forgotten, and returned."""
        before, self._expected = self.expected, {inbox: {} for inbox in inboxes}
        self._mailboxes, self._lateness = frozenset(mailboxes), lateness
        forgotten = []
        for canary in before:
            if canary.inbox in self._expected and canary.mailbox in self._mailboxes:
                self._expected[canary.inbox][canary.id] = canary
            else:
                forgotten.append(replace(canary, fate=Fate.FORGOTTEN))
        self._marred &= {canary.id for canary in self.expected}
        return tuple(forgotten)

    def restore(self, canaries: Iterable[Canary]) -> None:
        """Take up what an earlier life left open; `follow` comes after it."""
        for canary in canaries:
            self._expected.setdefault(canary.inbox, {})[canary.id] = canary
            if canary.told_late:
                self._marred.add(canary.id)

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
                for canary in moved:
                    changed[canary.id, canary.inbox] = canary
        return tuple(changed.values())

    def _sent(self, fact: Sent) -> Iterator[Canary]:
        if fact.mailbox not in self._mailboxes:
            return
        for inbox in fact.inboxes:
            if (expected := self._expected.get(inbox)) is not None:
                canary = Canary(id=fact.canary_id, mailbox=fact.mailbox, inbox=inbox, sent_at=fact.at)
                expected[canary.id] = canary
                yield canary
                if len(expected) > MAX_EXPECTED:
                    oldest = next(iter(expected))
                    yield self._ended(replace(expected.pop(oldest), fate=Fate.FORGOTTEN))

    def _seen(self, fact: Sighting, seen_at: datetime) -> Iterator[Canary]:
        canary = self._expected.get(fact.inbox, {}).pop(fact.canary_id, None)
        if canary is None:
            return
        # The receiving server's clock may be ahead of ours, but what we saw has arrived.
        arrived_at = min(fact.arrived_at, seen_at)
        late = canary.told_late or arrived_at - canary.sent_at > timedelta(seconds=self._lateness.late_after)
        yield self._ended(
            replace(
                canary,
                fate=Fate.DELIVERED_LATE if late else Fate.DELIVERED,
                arrived_at=arrived_at,
                folder=fact.folder,
                settled_at=seen_at,
            )
        )

    def _read(self, inbox: str, began_at: datetime) -> Iterator[Canary]:
        """Everything that was expected when the run began, and was not there then."""
        expected = self._expected.get(inbox, {})
        late_before = began_at - timedelta(seconds=self._lateness.late_after)
        lost_before = began_at - timedelta(seconds=self._lateness.lost_after)
        for canary in [one for one in expected.values() if one.sent_at < late_before]:
            if canary.sent_at < lost_before:
                del expected[canary.id]
                yield self._ended(replace(canary, fate=Fate.LOST, told_late=True, settled_at=began_at))
            elif not canary.told_late:
                self._marred.add(canary.id)
                expected[canary.id] = late = replace(canary, fate=Fate.LATE, told_late=True, settled_at=began_at)
                yield late

    def _ended(self, canary: Canary) -> Canary:
        """What is no longer expected in an inbox, with what it means for the others."""
        well = canary.fate is Fate.DELIVERED and canary.folder is not Folder.JUNK and canary.id not in self._marred
        if not any(canary.id in expected for expected in self._expected.values()):
            self._marred.discard(canary.id)
            return replace(canary, everywhere=True) if well else canary
        if not well and canary.fate is not Fate.FORGOTTEN:
            self._marred.add(canary.id)
        return canary
