"""The records of the daemon: watches, their states, incidents, notices and events. All frozen plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from checks.core.model import Finding, Folder, Outcome, Result, Scope, Subject
from checks.core.secret import Secret


class Status(StrEnum):
    """Where a watch stands. `suspect`: failing, not yet often enough; `recovering`: passing, not yet often enough."""

    NEW = "new"
    OK = "ok"
    SUSPECT = "suspect"
    FIRING = "firing"
    RECOVERING = "recovering"
    UNKNOWN = "unknown"


class Severity(StrEnum):
    """How loudly an incident is told."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Importance(StrEnum):
    """What a mailbox is worth: weighs in an incident's severity."""

    NORMAL = "normal"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchState:
    """What is known of a watch after its last judged result.

    `streak` counts the results in a row that point away from (suspect, recovering) or to (ok, firing) the status.
    `finding` is the worst finding of the last bad result and stays until the watch is ok again. `backed_off_until`: no
    run before that moment, because the cause harms the mailbox when it is provoked again.
    """

    watch: str
    status: Status = Status.NEW
    since: datetime
    streak: int = 0
    failures: int = 0
    finding: Finding | None = None
    outcome: Outcome | None = None
    last_seen_at: datetime | None = None
    last_pass_at: datetime | None = None
    explained_by: str | None = None
    backed_off_until: datetime | None = None

    @property
    def broken(self) -> bool:
        """Whether the watch counts as failing: firing, or recovering but not yet recovered."""
        return self.status in {Status.FIRING, Status.RECOVERING}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a result did to a watch. `reason` is a short name, the same for every watch."""

    before: WatchState
    after: WatchState
    reason: str

    @property
    def moved(self) -> bool:
        """Whether the status or the cause is another one than before."""
        return self.before.status is not self.after.status or _cause(self.before) != _cause(self.after)


def _cause(state: WatchState) -> str | None:
    return state.finding.cause if state.finding else None


class Fate(StrEnum):
    """What became of a canary in one inbox. Delivered, delivered late and lost are the end; late may still arrive.

    Forgotten is the end too, and says nothing: nobody looks for it any more.
    """

    PENDING = "pending"
    LATE = "late"
    DELIVERED = "delivered"
    DELIVERED_LATE = "delivered_late"
    LOST = "lost"
    FORGOTTEN = "forgotten"

    @property
    def open(self) -> bool:
        """Whether the canary may still arrive."""
        return self in {Fate.PENDING, Fate.LATE}

    @property
    def told(self) -> bool:
        """Whether it says something of the mailbox that sent."""
        return self not in {Fate.PENDING, Fate.FORGOTTEN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Canary:
    """One canary on its way to one inbox. `told_late`: it was late before it arrived.

    `everywhere`: with this inbox it has arrived well in all that it was sent to and that are read.
    """

    id: str
    mailbox: str
    inbox: str
    sent_at: datetime
    fate: Fate = Fate.PENDING
    told_late: bool = False
    everywhere: bool = False
    arrived_at: datetime | None = None
    folder: Folder | None = None
    settled_at: datetime | None = None

    @property
    def delay(self) -> float | None:
        """How long it took, in seconds; two clocks may differ, so never less than none."""
        return None if self.arrived_at is None else max(0.0, (self.arrived_at - self.sent_at).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    """When a canary that was not seen is late and when it is lost, which is not before; in seconds after it was sent."""

    late_after: float = 300.0
    lost_after: float = 3600.0


class IncidentState(StrEnum):
    """An incident is open until every watch it explains is ok again."""

    OPEN = "open"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One cause at one scope instance, however many watches it breaks. Open ones are unique on (cause, subject)."""

    id: str
    cause: str
    subject: Subject
    severity: Severity
    opened_at: datetime
    closed_at: datetime | None = None
    state: IncidentState = IncidentState.OPEN
    watches: frozenset[str] = frozenset()
    finding: Finding
    told_at: datetime | None = None

    @property
    def key(self) -> tuple[str, Scope, str]:
        """What no two open incidents share."""
        return self.cause, self.subject.scope, self.subject.key


class Reason(StrEnum):
    """Why a notice is sent."""

    FIRST = "first"
    CAUSE_CHANGED = "cause_changed"
    ESCALATED = "escalated"
    RUNG = "rung"
    REMINDER = "reminder"
    RECOVERED = "recovered"
    BLIND = "blind"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """A message that must reach a person by one channel. Its id stands in the message, so a duplicate can be seen.

    It carries the incident as it was when the notice was due, so that what is sent late still says what was meant.
    """

    id: str
    incident: Incident
    reason: Reason
    channel: str
    due_at: datetime
    attempts: int = 0


class SkipReason(StrEnum):
    """Why a due run did not happen."""

    STILL_RUNNING = "still_running"
    BACKED_OFF = "backed_off"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """Event: a run ended and its watch was judged."""

    at: datetime
    result: Result
    change: Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """Event: a run was due and did not happen."""

    at: datetime
    watch: str
    reason: SkipReason


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentChanged:
    """Event: an incident opened, grew, shrank or closed. `before` is None for a new one."""

    at: datetime
    before: Incident | None
    after: Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class CanarySettled:
    """Event: a canary was delivered, is late, or is lost."""

    at: datetime
    canary: Canary


class Delivery(StrEnum):
    """What became of one attempt to deliver a notice."""

    DELIVERED = "delivered"
    FAILED = "failed"
    GIVEN_UP = "given_up"


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeDelivered:
    """Event: an attempt to deliver a notice ended. `error` is redacted and empty on success."""

    at: datetime
    notice: Notice
    delivery: Delivery
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reloaded:
    """Event: the configuration was read, at the start or again. With `errors` it was not taken and the old plan stays.

    `watches` is how many the plan in force has; each error, and each warning of a row that was left out, is one line that
    names file, line and key.
    """

    at: datetime
    watches: int
    added: int = 0
    removed: int = 0
    changed: int = 0
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """Event, once at the start: what an earlier life left. Sinks take it into account and tell nobody anew."""

    at: datetime
    states: tuple[WatchState, ...]
    incidents: tuple[Incident, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """Event: a batch was committed in `seconds`, or could not be (`error` says why) and is kept for the next commit."""

    at: datetime
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Event, once a second: how the daemon itself is.

    `busy`: runs under way or waiting for their turn; `queued`: results not yet judged; `waiting`: notices neither
    delivered nor given up; `lag`: seconds by which the event loop was late. Since the start: `defects`, turns of ours that
    ended by an exception, and `lost`, lines that sinks did not write.
    """

    at: datetime
    busy: int
    queued: int
    waiting: int
    lag: float
    defects: int
    lost: int


Event = Ran | Skipped | IncidentChanged | CanarySettled | NoticeDelivered | Reloaded | Restored | Stored | Beat


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When a watch fires and recovers, and how often an open incident is told again (seconds; 0: never)."""

    fail_after: int = 2
    recover_after: int = 2
    remind_every: float = 4 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One way to reach people: its name, and the Apprise URL, which is a secret.

    `proxy` is the URL of the HTTP proxy that leads there, if it speaks HTTPS.
    """

    name: str
    url: Secret
    proxy: Secret | None = None


Labels = Mapping[str, str]
