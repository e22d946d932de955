"""Correlates watch states into incidents: one per cause and scope instance, however many watches it breaks.

A broken watch belongs to the incident of its finding's cause and subject. Since the subject is where the cause reaches to
(the credential, not the mailbox), an expired secret behind 500 mailboxes is one incident without any further rule. An
incident that explains no watch any more is closed. One changed state costs the same whatever the number of watches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

from checks.core.model import Level, Scope, Subject
from monitor.model import Importance, Incident, IncidentState, Severity, WatchState

Key = tuple[str, Scope, str]
Movement = tuple[Incident | None, Incident]

_NARROW = frozenset({Scope.MAILBOX, Scope.RECIPIENT, Scope.INBOX})
_LOUDNESS = list(Severity)


class Incidents:
    """The open incidents and which watch belongs to which. `new_id` names new ones."""

    def __init__(self, new_id: Callable[[str, Subject, datetime], str]) -> None:
        self._new_id = new_id
        self._open: dict[Key, Incident] = {}
        self._of: dict[str, Key] = {}

    def restore(self, incidents: Iterable[Incident]) -> None:
        """Take up the open incidents of an earlier life."""
        for incident in incidents:
            self._open[incident.key] = incident
            self._of.update(dict.fromkeys(incident.watches, incident.key))

    @property
    def open(self) -> tuple[Incident, ...]:
        """The open incidents."""
        return tuple(self._open.values())

    def replace(self, incidents: Iterable[Incident]) -> None:
        """Keep newer forms of open incidents, such as those that were told again."""
        for incident in incidents:
            if incident.key in self._open:
                self._open[incident.key] = incident

    def correlate(
        self, states: Iterable[WatchState], importance: Callable[[str], Importance], now: datetime
    ) -> tuple[Movement, ...]:
        """Follow changed states: every incident that changed, as it was before (None: new) and as it is."""
        before: dict[Key, Incident | None] = {}
        touched: dict[Key, Incident] = {}
        joined: dict[Key, set[str]] = {}
        left: dict[Key, set[str]] = {}
        for state in states:
            key = _key(state)
            old = self._of.get(state.watch)
            if old is not None and old != key:
                left.setdefault(old, set()).add(state.watch)
                joined.get(old, set()).discard(state.watch)
                del self._of[state.watch]
            if key is not None and state.finding is not None:
                joined.setdefault(key, set()).add(state.watch)
                left.get(key, set()).discard(state.watch)
                self._of[state.watch] = key
                if key not in self._open and key not in touched:
                    touched[key] = Incident(
                        id=self._new_id(state.finding.cause, state.finding.subject, now),
                        cause=state.finding.cause,
                        subject=state.finding.subject,
                        severity=Severity.INFO,
                        opened_at=now,
                        finding=state.finding,
                    )
        for key in {**joined, **left}:
            before[key] = self._open.get(key)
            incident = before[key] or touched[key]
            joins, leaves = joined.get(key, set()), left.get(key, set())
            watches = (incident.watches | joins) - leaves
            severity = max(
                [incident.severity, *(_severity(incident, importance(watch)) for watch in joins)], key=_LOUDNESS.index
            )
            touched[key] = replace(incident, watches=watches, severity=severity)
        return tuple(self._moved(before, touched, now))

    def remove(self, watches: Iterable[str], now: datetime) -> tuple[Movement, ...]:
        """Let watches go that the plan no longer has."""
        gone = [WatchState(watch=watch, since=now) for watch in watches if watch in self._of]
        return self.correlate(gone, lambda _: Importance.NORMAL, now)

    def _moved(
        self, before: dict[Key, Incident | None], touched: dict[Key, Incident], now: datetime
    ) -> Iterable[Movement]:
        for key, incident in touched.items():
            was = before[key]
            if incident.watches:
                self._open[key] = incident
                if incident != was:
                    yield was, incident
            else:
                self._open.pop(key, None)
                if was is not None:
                    yield was, replace(incident, state=IncidentState.CLOSED, closed_at=now)


def _key(state: WatchState) -> Key | None:
    if not state.broken or state.finding is None:
        return None
    subject = state.finding.subject
    return state.finding.cause, subject.scope, subject.key


def _severity(incident: Incident, importance: Importance) -> Severity:
    """A failure is critical when it reaches further than one mailbox, or that mailbox is critical; else a warning."""
    if incident.finding.level is not Level.FAIL:
        return Severity.WARNING
    wide = incident.subject.scope not in _NARROW
    return Severity.CRITICAL if wide or importance is Importance.CRITICAL else Severity.WARNING
