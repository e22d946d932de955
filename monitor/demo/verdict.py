"""Compares what was done with what was found. Pure.

Each fault must have opened one incident of the expected cause and scope after it was injected, the incident must have
closed after the repair, and people must have been told of both: the alerts are read where they arrived. An incident that
no fault explains is a false alarm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from monitor.demo.script import Expectation
from monitor.model import Incident, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A fault that was injected, and when it was repaired, if it was."""

    fault: str
    subject: str
    expected: Expectation
    injected_at: datetime
    repaired_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An incident as it stands, and which reasons of notices about it arrived."""

    incident: Incident
    told: frozenset[Reason]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault beside what was found of it. `lacks` says in words what is missing; nothing for a full agreement."""

    done: Done
    found: Found | None
    lacks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """All faults, and the incidents that none of them explains."""

    rows: tuple[Row, ...]
    false_alarms: tuple[Found, ...]

    @property
    def agrees(self) -> bool:
        """Whether everything that was done was found, told and seen to recover, and nothing else was."""
        return bool(self.rows) and not self.false_alarms and not any(row.lacks for row in self.rows)


def compare(done: Sequence[Done], found: Collection[Found]) -> Verdict:
    """The verdict. An incident answers for one fault at the most."""
    left = sorted(found, key=lambda one: one.incident.opened_at)
    rows: list[Row] = []
    for one in done:
        answer = next((candidate for candidate in left if _answers(candidate.incident, one)), None)
        if answer is not None:
            left.remove(answer)
        rows.append(Row(done=one, found=answer, lacks=tuple(_lacks(one, answer))))
    return Verdict(tuple(rows), tuple(left))


def _answers(incident: Incident, done: Done) -> bool:
    same = (incident.cause, incident.subject.scope) == (done.expected.cause, done.expected.scope)
    return same and incident.opened_at >= done.injected_at


def _lacks(done: Done, found: Found | None) -> Iterator[str]:
    if found is None:
        yield "not detected"
        return
    if Reason.FIRST not in found.told:
        yield "no alert arrived"
    if done.repaired_at is None:
        yield "not repaired"
    elif found.incident.closed_at is None:
        yield "recovery not detected"
    elif found.incident.closed_at < done.repaired_at:
        yield "said to have recovered before it was repaired"
    elif Reason.RECOVERED not in found.told:
        yield "no message of the recovery arrived"
