"""When people are told of an incident. Pure: moments are handed in, and nothing is sent here.

An incident is told once when it opens, when its severity rises, every so often while it stays open, and when it
closes. Only what was told to be broken is told to have recovered. A notice's id follows from what it tells, so that a
decision that is made twice makes one notice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from monitor.model import Incident, IncidentState, Notice, Policy, Reason, Severity

_RISING = (Severity.INFO, Severity.WARNING, Severity.CRITICAL)
ID_LENGTH = 16  # hex digits: 64 bits keep a million notices apart, and can still be read out on the telephone


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was decided: the incidents that are told now, with the moment noted in `told_at`, and their notices."""

    incidents: tuple[Incident, ...] = ()
    notices: tuple[Notice, ...] = ()


def decide(before: Incident | None, after: Incident, channels: Sequence[str], now: datetime) -> Told:
    """What to tell of one change of an incident, by each of the named channels.

    `before` is None for an incident that has just opened. Where nobody can be told (no channels) an incident counts as
    untold and is told as soon as somebody can.
    """
    told_at = after.told_at or (before.told_at if before else None)
    if after.state is IncidentState.CLOSED:
        if told_at is None or after.closed_at is None or (before and before.state is IncidentState.CLOSED):
            return Told()
        return _tell(after, Reason.RECOVERED, channels, now, after.closed_at.isoformat())
    if told_at is None:
        return _tell(after, Reason.FIRST, channels, now, after.opened_at.isoformat())
    if before and _RISING.index(after.severity) > _RISING.index(before.severity):
        return _tell(after, Reason.ESCALATED, channels, now, after.severity.value)
    return Told()


def remind(incidents: Iterable[Incident], policy: Policy, channels: Sequence[str], now: datetime) -> Told:
    """What to tell again of the open incidents, because it was last told `policy.remind_every` seconds ago."""
    reminded: list[Incident] = []
    notices: list[Notice] = []
    for incident in incidents:
        told = _remind_one(incident, policy, channels, now)
        reminded.extend(told.incidents)
        notices.extend(told.notices)
    return Told(incidents=tuple(reminded), notices=tuple(notices))


def _remind_one(incident: Incident, policy: Policy, channels: Sequence[str], now: datetime) -> Told:
    if incident.state is IncidentState.CLOSED:
        return Told()
    if incident.told_at is None:
        return decide(None, incident, channels, now)
    if policy.remind_every <= 0 or now - incident.told_at < timedelta(seconds=policy.remind_every):
        return Told()
    return _tell(incident, Reason.REMINDER, channels, now, incident.told_at.isoformat())


def _tell(incident: Incident, reason: Reason, channels: Sequence[str], now: datetime, occasion: str) -> Told:
    """One notice per channel. `occasion` tells apart what an incident may be told for the same reason."""
    if not channels:
        return Told()
    told = replace(incident, told_at=now)
    notices = tuple(
        Notice(
            id=_notice_id(incident.id, reason.value, channel, occasion),
            incident=told,
            reason=reason,
            channel=channel,
            due_at=now,
        )
        for channel in channels
    )
    return Told(incidents=(told,), notices=notices)


def _notice_id(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:ID_LENGTH]
