"""What happened at the servers: sessions, messages and errors, so that a test can prove what a monitor did."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from email.parser import BytesHeaderParser
from email.policy import compat32
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from monitor.sim.records import Throttle

KEPT_SUBMISSIONS = 10_000  # the log is a window, not an archive
SESSIONS_PER_MAILBOX = 3  # Microsoft, "SMTP submission improvements"; the fourth gets 432 4.3.2
_DAY = timedelta(hours=24)

# Microsoft publishes neither how many errors are too many nor how long the throttling lasts ("Continuous Error
# Throttling for SMTP AUTH Submissions"); these stand in for both.
ERRORS_TOO_MANY = 20
ERRORS_WITHIN = timedelta(hours=1)
THROTTLED_FOR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Submission:
    """One message that reached the end of DATA, and what was answered; it is in a mailbox only if `accepted`."""

    at: datetime
    mailbox: str
    app: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    reply: str

    @property
    def accepted(self) -> bool:
        """Whether the message was taken over for delivery."""
        return self.reply.startswith("250 ")

    def describe(self) -> dict[str, object]:
        """The submission as plain JSON, without the message's body."""
        headers = BytesHeaderParser(policy=compat32).parsebytes(self.content)
        return {
            "at": self.at.isoformat(),
            "mailbox": self.mailbox,
            "app": self.app,
            "sender": self.sender,
            "recipients": list(self.recipients),
            "message_id": headers["Message-ID"],
            "subject": headers["Subject"],
            "bytes": len(self.content),
            "accepted": self.accepted,
            "reply": self.reply,
        }


@dataclass(slots=True)
class Traffic:
    """Counters of one mailbox since the start or the last reset.

    A session counts for the mailbox that it names in AUTH, whether it is let in or not; `most_open` is the largest
    number of such sessions at one moment.
    """

    sessions: int = 0
    open: int = 0
    most_open: int = 0
    auth_accepted: int = 0
    auth_refused: int = 0
    messages_accepted: int = 0
    messages_refused: int = 0
    logged_on: list[object] = field(default_factory=list, repr=False)
    recipients: deque[tuple[datetime, int]] = field(default_factory=deque, repr=False)
    errors: dict[Throttle, deque[datetime]] = field(default_factory=dict, repr=False)
    throttled: tuple[Throttle, datetime] | None = field(default=None, repr=False)

    def opened(self) -> None:
        """A session named this mailbox for the first time."""
        self.sessions += 1
        self.open += 1
        self.most_open = max(self.most_open, self.open)

    def recipients_today(self, now: datetime) -> int:
        """Recipients of accepted messages in the last 24 hours."""
        while self.recipients and self.recipients[0][0] <= now - _DAY:
            self.recipients.popleft()
        return sum(count for _, count in self.recipients)

    def failed(self, reason: Throttle, now: datetime) -> None:
        """One more error of a kind that is throttled when it goes on."""
        recent = self.errors.setdefault(reason, deque(maxlen=ERRORS_TOO_MANY))
        recent.append(now)
        if len(recent) == ERRORS_TOO_MANY and recent[0] > now - ERRORS_WITHIN:
            self.throttled = (reason, now + THROTTLED_FOR)

    def throttle(self, now: datetime) -> Throttle | None:
        """The reason for which the mailbox is throttled at this moment."""
        if self.throttled is None or self.throttled[1] <= now:
            return None
        return self.throttled[0]

    def describe(self) -> dict[str, int]:
        """The counters as plain JSON."""
        return {
            "sessions": self.sessions,
            "open": self.open,
            "most_open": self.most_open,
            "auth_accepted": self.auth_accepted,
            "auth_refused": self.auth_refused,
            "messages_accepted": self.messages_accepted,
            "messages_refused": self.messages_refused,
        }
