"""A notice in words: what is broken, since when, what it harms, whose move it is and what to do. Pure.

The text is plain: Apprise escapes it for services that show Markdown or HTML, while it would hand Markdown unchanged to
those that show plain text. What others chose (a server's words, ids from the configuration) stands on one line and can
not call people. No address is shown unless it is handed in among the words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import accumulate

from checks.core.causes import Cause
from checks.core.model import Evidence
from monitor.model import Incident, IncidentState, Notice, Reason, Severity

# Microsoft Teams workflows take the fewest characters of Apprise's services (`body_maxlen` of its plugins).
MAX_BODY = 1000
MAX_TITLE = 150  # mail clients and telephones cut longer ones
# What each part may take of the body, so that their sum always fits.
_MAX_WATCHES = 10
_MAX_WATCHES_TEXT = 180
_MAX_SAID = 220
_MAX_NAME = 64

# What Apprise puts a backslash before in a service that shows Markdown (its `text_to_markdown`); it counts twice.
_ESCAPED = re.compile(r"[\\_*\[\]()~`>#+=|{}.!&-]")
# "@everyone" and "<!channel>" ring everybody's telephone in Discord and Slack; a zero-width space breaks them.
_CALLS = re.compile(r"([@<])")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Tone(StrEnum):
    """How a message is coloured; Apprise's words."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    FAILURE = "failure"


_TONES = {Severity.INFO: Tone.INFO, Severity.WARNING: Tone.WARNING, Severity.CRITICAL: Tone.FAILURE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a channel sends, in plain text; the body has at most `MAX_BODY` characters, also after escaping."""

    title: str
    body: str
    tone: Tone


def render(notice: Notice, cause: Cause, words: Mapping[str, str]) -> Message:
    """The message of a notice. `words` fill the cause's steps; `contact` and `address` are shown where they are given."""
    incident = notice.incident
    closed = incident.state is IncidentState.CLOSED
    status = _status(notice)
    what = f"{status}: {_tame(cause.title)}, {_tame(str(incident.subject))}"
    if "address" in words:
        what += f" ({_cut(words['address'], _MAX_NAME)})"
    parts = [f"{what}, {_time(incident)}"]
    footer = f"Notice {notice.id}, cause {_tame(cause.id)}"
    if not closed:
        parts += [_breaks(incident.watches), f"Seen: {_said(incident.finding.evidence)}", _move(cause, words)]
        parts += _steps(cause, words, MAX_BODY - _size(_joined([*parts, footer])))
    return Message(
        title=_cut(what, MAX_TITLE),
        body=_joined([*parts, footer]),
        tone=Tone.SUCCESS if closed else _TONES[incident.severity],
    )


def _joined(parts: list[str]) -> str:
    return "\n\n".join(parts)


def _status(notice: Notice) -> str:
    if notice.incident.state is IncidentState.CLOSED:
        return "RECOVERED"
    severity = notice.incident.severity.value.upper()
    return {Reason.REMINDER: f"STILL {severity}", Reason.ESCALATED: f"NOW {severity}"}.get(notice.reason, severity)


def _time(incident: Incident) -> str:
    since = _moment(incident.opened_at)
    if incident.closed_at is None:
        return f"since {since}"
    return f"broken from {since} to {_moment(incident.closed_at)} ({_length(incident.closed_at - incident.opened_at)})"


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _length(duration: timedelta) -> str:
    minutes = round(duration.total_seconds() / 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _breaks(watches: frozenset[str]) -> str:
    """How many watches are broken, and the first ones by name as far as they fit."""
    shown: list[str] = []
    for watch in sorted(watches)[:_MAX_WATCHES]:
        name = _tame(watch)
        if _size(", ".join([*shown, name])) > _MAX_WATCHES_TEXT:
            break
        shown.append(name)
    more = [f"{len(watches) - len(shown)} more"] if len(watches) > len(shown) else []
    plural = "watch" if len(watches) == 1 else "watches"
    return f"Breaks {len(watches)} {plural}: {', '.join([*shown, *more]) or 'none'}"


def _said(evidence: Evidence) -> str:
    aadsts = None if evidence.aadsts is None else f"AADSTS{evidence.aadsts}"
    codes = [evidence.spoken_code, evidence.enhanced_code, aadsts, evidence.error, evidence.suberror]
    seen = [evidence.protocol.value, evidence.phase.value, evidence.kind.value, *(code for code in codes if code)]
    text = f": {evidence.text}" if evidence.text else ""
    return _tame(" ".join(seen) + text, _MAX_SAID)


def _move(cause: Cause, words: Mapping[str, str]) -> str:
    contact = words.get("contact")
    known = f", contact {_tame(contact)}" if contact else ""
    return f"Whose move: {cause.blame.person}{known}"


def _steps(cause: Cause, words: Mapping[str, str], room: int) -> list[str]:
    """The steps as a list, as many whole ones as fit; the others are left to `mailcanary explain`."""
    lines = [f"{number}. {_filled(step, words)}" for number, step in enumerate(cause.steps, 1)]
    pointer = [f"More: mailcanary explain {_tame(cause.id)}"]
    for count in range(len(lines), -1, -1):
        steps = ["\n".join(lines[:count])] if count else []
        found = steps if count == len(lines) else [*steps, *pointer]
        if _size(_joined(["", *found])) <= room:
            return found
    return []


def _filled(step: str, words: Mapping[str, str]) -> str:
    """A step with its placeholders filled; one that no word is known for stays to be seen."""
    return _PLACEHOLDER.sub(lambda found: _tame(words.get(found[1]) or found[0]), step)


def _size(text: str) -> int:
    """The length of a text where it is longest: escaped for Markdown."""
    return len(text) + len(_ESCAPED.findall(text))


def _tame(text: str, limit: int = _MAX_NAME) -> str:
    """Foreign text on one line that calls nobody, of at most `limit` characters where it is longest."""
    line = _CALLS.sub("\\1\u200b", " ".join(text.split()))
    if _size(line) <= limit:
        return line
    ends = accumulate(map(_size, line), initial=len("…"))
    return line[: sum(end <= limit for end in ends) - 1] + "…"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
