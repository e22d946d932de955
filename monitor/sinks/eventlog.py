"""The sink that writes the event log: one JSON object a line, of every run whether it failed or not.

It is the audit log of every authentication attempt. `event` names what happened, in the past tense; the other keys are
those of the records, without those that are absent or empty there. Moments are ISO 8601 in UTC, durations are seconds.
What a record holds has been redacted, so the log needs no filter of its own; its lines are ASCII, so nothing in them
can start a line or move a cursor. Left out on purpose: how the daemon itself is (metrics say that), and the watches of
an incident as a whole, which can be ten thousand: a line says which ones joined and left. Lines that are missing are
missed: `lines.lost` stands in their place and says how many.
"""

from __future__ import annotations

import heapq
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never, get_args

from checks.core.model import Evidence, Fact, Finding, Result, Subject
from monitor.model import (
    Beat,
    CanarySettled,
    Change,
    Delivery,
    Event,
    Incident,
    IncidentChanged,
    IncidentState,
    NoticeDelivered,
    Ran,
    Reloaded,
    Restored,
    Skipped,
    Stored,
    WatchState,
)
from monitor.plan import DELIVERY, watch_id
from monitor.sinks.linewriter import LineWriter, Output

MAX_WARNINGS = 20  # of a fleet with as many bad rows as good ones
MAX_WATCHES = 20  # names of watches that one line of an incident holds; their number is always told
# A full disk refuses a commit many times a second, and the log may lie on the same disk.
REPEAT_AFTER = timedelta(minutes=1)
CLOSING_SECONDS = 0.5  # a stop has ten seconds, and all of its other steps together may take nine

_Line = dict[str, Any]
_DELIVERIES = {
    Delivery.DELIVERED: "notice.delivered",
    Delivery.FAILED: "notice.failed",
    Delivery.GIVEN_UP: "notice.given_up",
}
# For each type of fact its name and keys, so that a new one is logged without a word here.
_FACTS: Mapping[type[Fact], tuple[str, tuple[str, ...]]] = {
    kind: (re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower(), tuple(field.name for field in fields(kind)))
    for kind in get_args(Fact)
}


def _no_labels(_watch: str) -> Mapping[str, str]:
    return {}


class EventLog:
    """Writes to an unbuffered file. `labels` gives what may be shown of a watch: its tenant, app, mailbox by id.

    Writing is left to a thread. What can not be written (a reader that stalls, a broken pipe, a full disk) is counted in
    `lost` and never tried again.
    """

    def __init__(self, output: Output, labels: Callable[[str], Mapping[str, str]] = _no_labels) -> None:
        self._labels = labels
        self._failure: Stored | None = None
        self._at = datetime.fromtimestamp(0, UTC)  # of the last event
        self._lines = LineWriter(output, self._lines_lost)

    @property
    def lost(self) -> int:
        """How many lines were not written."""
        return self._lines.lost

    def close(self) -> None:
        """Write what is not written yet, as far as the reader takes it soon."""
        self._lines.close(CLOSING_SECONDS)

    def accept(self, event: Event) -> None:
        """Write the line of an event, where it has one."""
        self._at = event.at
        match event:
            case Ran():
                self._write(self._ran(event))
            case Skipped():
                self._write([self._about(event.at, "run.skipped", event.watch, {"reason": event.reason})])
            case IncidentChanged():
                self._write([_incident_changed(event)])
            case CanarySettled():
                self._write([self._settled(event)])
            case NoticeDelivered():
                self._write([_notice(event)])
            case Reloaded():
                self._write([_reloaded(event)])
            case Restored():
                self._write([_restored(event)])
            case Stored():
                self._stored(event)
            case Beat():
                pass
            case _:
                assert_never(event)

    def _settled(self, event: CanarySettled) -> _Line:
        canary = event.canary
        return self._about(
            event.at,
            "canary.settled",
            watch_id(DELIVERY, canary.mailbox),
            {
                "canary": canary.id,
                "inbox": canary.inbox,
                "fate": canary.fate,
                "folder": canary.folder,
                "sent_at": _moment(canary.sent_at),
                "delay_seconds": canary.delay,
            },
        )

    def _ran(self, event: Ran) -> list[_Line]:
        result = event.result
        lines = [self._about(event.at, "run.finished", result.watch, _run(result))]
        if event.change.moved:
            change = {"run_id": result.run_id, **_change(event.change)}
            lines.append(self._about(event.at, "state.changed", result.watch, change))
        return lines

    def _about(self, at: datetime, event: str, watch: str, fields: _Line) -> _Line:
        labels = self._labels(watch)
        if labels:
            return {"at": _moment(at), "event": event, "watch": watch, "labels": dict(labels), **fields}
        return {"at": _moment(at), "event": event, "watch": watch, **fields}

    def _stored(self, event: Stored) -> None:
        """A failure that goes on is told again now and then."""
        told = self._failure
        if not event.error:
            self._failure = None
        elif told is None or told.error != event.error or event.at - told.at >= REPEAT_AFTER:
            self._failure = event
            at, seconds = _moment(event.at), round(event.seconds, 6)
            self._write([{"at": at, "event": "store.failed", "seconds": seconds, "error": event.error}])

    def _write(self, lines: list[_Line]) -> None:
        for line in [_encoded(line) for line in lines]:
            self._lines.put(line)

    def _lines_lost(self, number: int) -> bytes:
        return _encoded({"at": _moment(self._at), "event": "lines.lost", "lines": number})


def _encoded(line: _Line) -> bytes:
    return b"%b\n" % _json(line).encode("ascii")


def _plain(value: object) -> object:
    """What JSON does not know. Nothing is printed for want of better: a masked type is a defect here, not a text."""
    if isinstance(value, datetime):
        return _moment(value)
    raise TypeError(f"{type(value).__name__} is not to be logged")


_encode = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":"), default=_plain).encode


def _json(line: _Line) -> str:
    try:
        return _encode(line)
    except ValueError:  # a number that JSON does not have, such as a lifetime of 1e999 seconds
        return _encode(_finite(line))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _run(result: Result) -> _Line:
    line: _Line = {
        "run_id": result.run_id,
        "check": result.check,
        "started_at": _moment(result.started_at),
        "seconds": round(result.seconds, 6),
        "outcome": result.outcome,
        "phases": [
            {"phase": time.phase, "seconds": round(time.seconds, 6), "finished": time.finished}
            for time in result.phases
        ],
    }
    if result.measures:
        line["measures"] = dict(result.measures)
    if result.facts:
        line["facts"] = [_fact(fact) for fact in result.facts]
    if result.findings:
        line["findings"] = [_finding(finding) for finding in result.findings]
        if result.transcript:
            line["transcript"] = result.transcript
    return line


def _fact(fact: Fact) -> _Line:
    name, keys = _FACTS[type(fact)]
    line: _Line = {"fact": name}
    for key in keys:
        line[key] = getattr(fact, key)
    return line


def _finding(finding: Finding) -> _Line:
    return {**_cause(finding), "evidence": _evidence(finding.evidence)}


def _cause(finding: Finding) -> _Line:
    return {"cause": finding.cause, "level": finding.level, "subject": _subject(finding.subject)}


def _subject(subject: Subject) -> _Line:
    return {"scope": subject.scope, "key": subject.key}


def _evidence(evidence: Evidence) -> _Line:
    line: _Line = {"protocol": evidence.protocol, "phase": evidence.phase, "kind": evidence.kind}
    for key in ("code", "enhanced_code", "aadsts", "error", "suberror", "text", "correlation_id"):
        value = getattr(evidence, key)
        if value:
            line[key] = value
    return line


def _change(change: Change) -> _Line:
    return {"reason": change.reason, "before": _state(change.before), "after": _state(change.after)}


def _state(state: WatchState) -> _Line:
    """Without the evidence, which the line of the run has."""
    line: _Line = {
        "status": state.status,
        "since": _moment(state.since),
        "streak": state.streak,
        "failures": state.failures,
    }
    if state.finding is not None:
        line["finding"] = _cause(state.finding)
    if state.explained_by is not None:
        line["explained_by"] = state.explained_by
    if state.last_pass_at is not None:
        line["last_pass_at"] = _moment(state.last_pass_at)
    if state.backed_off_until is not None:
        line["backed_off_until"] = _moment(state.backed_off_until)
    return line


def _incident_changed(event: IncidentChanged) -> _Line:
    before, after = event.before, event.after
    if before is None:
        name = "incident.opened"
    else:
        name = "incident.closed" if after.state is IncidentState.CLOSED else "incident.changed"
    old = before.watches if before else frozenset[str]()
    line = {"at": _moment(event.at), "event": name, **_incident(after), "watches_total": len(after.watches)}
    for key, watches in (("joined", after.watches - old), ("left", old - after.watches)):
        if watches:
            line[key] = _some(watches)
            line[f"{key}_total"] = len(watches)
    if before is not None and before.severity is not after.severity:
        line["severity_before"] = before.severity
    line["finding"] = _finding(after.finding)
    return line


def _some(watches: Iterable[str]) -> list[str]:
    return heapq.nsmallest(MAX_WATCHES, watches)


def _incident(incident: Incident) -> _Line:
    line = {
        "id": incident.id,
        "cause": incident.cause,
        "subject": _subject(incident.subject),
        "severity": incident.severity,
        "state": incident.state,
        "opened_at": _moment(incident.opened_at),
    }
    if incident.closed_at is not None:
        line["closed_at"] = _moment(incident.closed_at)
    return line


def _notice(event: NoticeDelivered) -> _Line:
    notice = event.notice
    line = {
        "at": _moment(event.at),
        "event": _DELIVERIES[event.delivery],
        "id": notice.id,
        "incident": notice.incident.id,
        "cause": notice.incident.cause,
        "subject": _subject(notice.incident.subject),
        "severity": notice.incident.severity,
        "reason": notice.reason,
        "channel": notice.channel,
        "due_at": _moment(notice.due_at),
        "attempts": notice.attempts,
    }
    if event.error:
        line["error"] = event.error
    return line


def _restored(event: Restored) -> _Line:
    counts = {"watches_total": len(event.states), "incidents_open": len(event.incidents)}
    return {"at": _moment(event.at), "event": "state.restored", **counts}


def _reloaded(event: Reloaded) -> _Line:
    line: _Line = {
        "at": _moment(event.at),
        "event": "config.refused" if event.errors else "config.loaded",
        "watches": event.watches,
        "added": event.added,
        "removed": event.removed,
        "changed": event.changed,
    }
    if event.errors:
        line["errors"] = event.errors
    if event.warnings:
        line["warnings"] = event.warnings[:MAX_WARNINGS]
        line["warnings_total"] = len(event.warnings)
    return line
