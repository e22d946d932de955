"""The sink for a person at a terminal: a line for each thing worth telling, and below them how everything stands.

Told are watches that begin to fail, fire and recover; incidents, notices, reloads; a database that fails. Not told are
runs that change nothing, skipped ones, and an incident that grows by a watch: their numbers stand in the status line,
which is drawn where the stream is a terminal. Moments are UTC. What servers, the configuration or anybody else chose
reaches the terminal without control characters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from shutil import get_terminal_size
from typing import TextIO, assert_never

import click

from checks.core.causes import Cause, table
from checks.core.model import Evidence, Finding, Kind
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
    Severity,
    Skipped,
    Status,
    Stored,
)

MAX_WARNINGS = 5  # `mailcanary validate` has all of them
MAX_SAID = 120  # characters of a server's words; the event log has all of them
_CLEAR = "\r\x1b[K"  # to the start of the line, and erase it (ECMA-48, EL)
_SEVERITIES = {Severity.INFO: "cyan", Severity.WARNING: "yellow", Severity.CRITICAL: "red"}
# What the status line counts, in this order, with the colour of a number that is not zero.
_COUNTED = {"ok": "green", "suspect": "yellow", "broken": "red", "unknown": "magenta", "to run": ""}
_COUNTED_AS = {
    Status.NEW: "to run",
    Status.OK: "ok",
    Status.SUSPECT: "suspect",
    Status.FIRING: "broken",
    Status.RECOVERING: "broken",
    Status.UNKNOWN: "unknown",
}

# A thing to tell: when, one word and its colour, and a text that may hold anything.
_Told = tuple[datetime, str, str, str]


def _no_words(_incident: Incident) -> Mapping[str, str]:
    return {}


class Screen:
    """Writes to a stream; with `tty` in colours and with a status line of at most `columns()` columns.

    `words` gives what fills the placeholders of an incident's first step. What can not be written is counted in `lost`.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        tty: bool,
        words: Callable[[Incident], Mapping[str, str]] = _no_words,
        columns: Callable[[], int] = lambda: get_terminal_size().columns,
    ) -> None:
        self._stream = stream
        self._encoding = stream.encoding or "utf-8"
        self._tty = tty
        self._words = words
        self._columns = columns
        self._watches = 0
        self._counted: dict[str, str] = {}
        self._incidents: set[str] = set()
        self._beat: Beat | None = None
        self._drawn = ""
        self._store_fails = False
        self.lost = 0

    def _restored(self, event: Restored) -> None:
        """Count what an earlier life of the daemon left, without telling it."""
        self._counted.update((state.watch, _COUNTED_AS[state.status]) for state in event.states)
        self._incidents.update(incident.id for incident in event.incidents)

    def close(self) -> None:
        """Take the status line away, so that what comes next begins on a line of its own."""
        if self._drawn:
            self._write(_CLEAR)
            self._drawn = ""

    def accept(self, event: Event) -> None:
        """Tell an event, or take it into account."""
        match event:
            case Ran():
                self._counted[event.result.watch] = _COUNTED_AS[event.change.after.status]
                self._tell(_watch_moved(event.at, event.change))
            case IncidentChanged():
                self._count(event.after)
                self._tell(_incident_changed(event, self._words))
            case NoticeDelivered():
                self._tell([_notice(event)])
            case Reloaded():
                self._follow(event)
                self._tell(_reloaded(event))
            case Stored():
                self._tell(self._stored(event))
            case Restored():
                self._restored(event)
            case Beat():
                self._beat = event
                self._draw()
            case Skipped() | CanarySettled():
                pass
            case _:
                assert_never(event)

    def _count(self, incident: Incident) -> None:
        if incident.state is IncidentState.OPEN:
            self._incidents.add(incident.id)
        else:
            self._incidents.discard(incident.id)

    def _follow(self, event: Reloaded) -> None:
        """Which watches have gone is not said, so then all are counted again as they run."""
        self._watches = event.watches
        if event.removed:
            self._counted.clear()

    def _stored(self, event: Stored) -> Iterator[_Told]:
        failed, self._store_fails = self._store_fails, bool(event.error)
        if event.error and not failed:
            yield event.at, "store", "red", f"the database takes nothing, what is decided is kept: {event.error}"
        elif failed and not event.error:
            yield event.at, "store", "green", "the database takes everything again"

    def _tell(self, told: Iterable[_Told]) -> None:
        lines = [self._line(*thing) for thing in told]
        if lines:
            clear = _CLEAR if self._drawn else ""
            self._drawn = self._status() if self._tty and self._beat else ""
            self._write(clear + "\n".join(lines) + "\n" + self._drawn)

    def _line(self, at: datetime, word: str, colour: str, text: str) -> str:
        shown = f"{word:<9}"
        if self._tty:
            shown = click.style(shown, fg=colour, bold=True)
        return f"{at.astimezone(UTC):%H:%M:%S}Z  {shown} {_printable(text)}"

    def _draw(self) -> None:
        if not self._tty:
            return
        status = self._status()
        if status != self._drawn:
            self._drawn = status
            self._write(_CLEAR + status)

    def _status(self) -> str:
        """For example `14 watches: 12 ok, 2 broken · 1 incident open · 0 notices waiting`."""
        numbers = Counter(self._counted.values())
        numbers["to run"] = max(0, self._watches - numbers.total() + numbers["to run"])
        watches = [(f"{numbers[name]} {name}", colour) for name, colour in _COUNTED.items() if numbers[name]]
        incidents, waiting = len(self._incidents), self._beat.waiting if self._beat else 0
        parts = [
            (_number(self._watches, "watch", "watches"), ""),
            *(part for at, counted in enumerate(watches) for part in ((", " if at else ": ", ""), counted)),
            (" · ", ""),
            (f"{_number(incidents, 'incident', 'incidents')} open", "red" if incidents else ""),
            (f" · {_number(waiting, 'notice', 'notices')} waiting", ""),
        ]
        if self._beat and self._beat.defects:
            parts += [(" · ", ""), (f"{_number(self._beat.defects, 'defect', 'defects')} of ours", "red")]
        return self._fitted(parts)

    def _fitted(self, parts: Iterable[tuple[str, str]]) -> str:
        """One line that does not wrap: what wraps can not be erased."""
        room = max(0, self._columns() - 1)
        shown = ""
        for text, colour in parts:
            fits = text[:room]
            shown += click.style(fits, fg=colour) if colour and fits else fits
            room -= len(fits)
        return shown

    def _write(self, text: str) -> None:
        try:
            # A terminal that does not speak UTF-8 gets a question mark, not an exception.
            self._stream.write(text.encode(self._encoding, "replace").decode(self._encoding))
            self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            self.lost += 1


def _watch_moved(at: datetime, change: Change) -> Iterator[_Told]:
    """Nothing where a watch moved between good and good, or is on its way to recover."""
    before, after = change.before, change.after
    if not change.moved:
        return
    told = after.finding
    if after.status is Status.OK and before.status is not Status.NEW:
        yield at, "ok", "green", f"{after.watch}: {'recovered' if before.broken else 'passes again'}"
    elif told is None:
        return
    elif after.status is Status.FIRING:
        again = "again: " if before.status is Status.RECOVERING else ""
        yield at, "firing", "red", f"{after.watch}: {again}{_seen(told)}"
    elif after.status is Status.SUSPECT:
        yield at, "suspect", "yellow", f"{after.watch}: {_seen(told)}"
    elif after.status is Status.UNKNOWN:
        yield at, "unknown", "magenta", f"{after.watch}: {_seen(told)}"


def _seen(finding: Finding) -> str:
    return f"{table()[finding.cause].title} ({_said(finding.evidence)})"


def _said(evidence: Evidence) -> str:
    words = evidence.text if len(evidence.text) <= MAX_SAID else evidence.text[: MAX_SAID - 1] + "…"
    aadsts = None if evidence.aadsts is None else f"AADSTS{evidence.aadsts}"
    known = [code for code in (evidence.spoken_code, evidence.enhanced_code, aadsts) if code]
    if not known and evidence.kind is not Kind.OBSERVED:
        known = [evidence.kind.value]
    codes = [code for code in known if not words.startswith(code)]
    return " ".join([f"{evidence.phase}:", *codes, *([words] if words else [])])


def _incident_changed(event: IncidentChanged, words: Callable[[Incident], Mapping[str, str]]) -> Iterator[_Told]:
    before, incident = event.before, event.after
    cause = table()[incident.cause]
    what = f"incident: {cause.title}, {incident.subject}"
    if incident.state is IncidentState.CLOSED:
        yield event.at, "closed", "green", f"{what} · was {incident.severity}, open for {_length(incident)}"
    elif before is None:
        breaks = _number(len(incident.watches), "watch", "watches")
        text = f"{what} · breaks {breaks} · whose move: {cause.blame.person}{_first_step(cause, words(incident))}"
        yield event.at, incident.severity, _SEVERITIES[incident.severity], text
    elif before.severity is not incident.severity:
        text = f"{what} · was {before.severity}"
        yield event.at, incident.severity, _SEVERITIES[incident.severity], text


def _first_step(cause: Cause, words: Mapping[str, str]) -> str:
    return "".join(f" · first step: {step}" for step in cause.steps_for(words)[:1])


def _length(incident: Incident) -> str:
    closed_at = incident.closed_at or incident.opened_at
    minutes, seconds = divmod(round((closed_at - incident.opened_at).total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


def _notice(event: NoticeDelivered) -> _Told:
    notice = event.notice
    reason = notice.reason.replace("_", " ")
    about = f"{reason}, {table()[notice.incident.cause].title}, {notice.incident.subject}"
    match event.delivery:
        case Delivery.DELIVERED:
            return event.at, "notice", "green", f"delivered by {notice.channel}: {about}"
        case Delivery.FAILED:
            return event.at, "notice", "yellow", f"not yet delivered by {notice.channel}: {about} · {event.error}"
        case Delivery.GIVEN_UP:
            return event.at, "notice", "red", f"given up on {notice.channel}: {about} · {event.error}"
        case _:
            assert_never(event.delivery)


def _reloaded(event: Reloaded) -> Iterator[_Told]:
    watches = _number(event.watches, "watch", "watches")
    if not event.errors:
        text = f"{watches}: {event.added} added, {event.removed} removed, {event.changed} changed"
        yield event.at, "config", "cyan", text
        for warning in event.warnings[:MAX_WARNINGS]:
            yield event.at, "config", "yellow", warning
        more = len(event.warnings) - MAX_WARNINGS
        if more > 0:
            yield event.at, "config", "yellow", f"{_number(more, 'more row is', 'more rows are')} left out"
        return
    errors = _number(len(event.errors), "error", "errors")
    yield event.at, "config", "red", f"refused for {errors}, the old one with {watches} stays:"
    for error in event.errors:
        yield event.at, "config", "red", error


def _number(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _printable(text: str) -> str:
    """The text without what could move a cursor, colour a terminal or turn the direction of writing."""
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
