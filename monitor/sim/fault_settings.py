"""What can be set on a fault: one small strict model each, so that a wrong fault is refused with its place.

Phases name the moment in which a server misbehaves. On the SMTP port they are the replies of the dialogue, in its
order, and `tls`, the handshake after STARTTLS; on the HTTPS port `tls` is the handshake, `discovery` and `token`
are requests. On the IMAP and POP ports they are commands: `list` also means STATUS and NAMESPACE, `open` SELECT and
EXAMINE or STAT and LIST, `clean` STORE and EXPUNGE.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from monitor.sim.records import Throttle

SMTP_PHASES = (
    "banner",
    "ehlo",
    "starttls",
    "tls",
    "ehlo2",
    "auth",
    "mail",
    "rcpt",
    "data",
    "accept",
    "quit",
)
ENTRA_PHASES = ("tls", "discovery", "token")
IMAP_PHASES = ("tls", "banner", "capability", "auth", "list", "open", "search", "fetch", "clean", "quit")
POP_PHASES = ("tls", "banner", "capability", "auth", "open", "quit")
PHASES = {"smtp": SMTP_PHASES, "entra": ENTRA_PHASES, "imap": IMAP_PHASES, "pop": POP_PHASES}

Seconds = Annotated[float, Field(gt=0, le=3600)]


class Settings(BaseModel):
    """Base of all: nothing unknown is accepted, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PermissionMissing(Settings):
    """Where the missing mailbox permission shows: 535 at AUTH, or 430 after DATA. Both have been seen."""

    refused_at: Literal["auth", "accept"] = "accept"


class SenderThrottled(Settings):
    """The error that was repeated too often."""

    reason: Throttle = Throttle.MAILBOX_FULL


class ImapThrottled(Settings):
    """How long Exchange suggests to wait; values between five seconds and five minutes have been seen."""

    milliseconds: int = Field(default=92_415, ge=0, le=3_600_000)


class DeliveryDelayed(Settings):
    """How long a message is on its way."""

    seconds: float = Field(default=600.0, gt=0, le=86_400)


class OtherCertificate(Settings):
    """The server shows another certificate than its proper one."""


class BadCertificate(OtherCertificate):
    """What is wrong with the certificate that the server shows."""

    problem: Literal["expired", "wrong_name", "unknown_ca"]


class EndingCertificate(OtherCertificate):
    """A good certificate with this many days left, counted from its first use."""

    days: float = Field(default=7.0, gt=0, le=3650)


class AtPhase(Settings):
    """A fault of one phase."""

    phases: ClassVar[frozenset[str]] = frozenset(phase for phases in PHASES.values() for phase in phases)
    phase: str


class Drip(AtPhase):
    """The proper answer, one byte at a time; a handshake has none that could be dripped."""

    phases: ClassVar[frozenset[str]] = AtPhase.phases - {"tls"}
    seconds_per_byte: Seconds = 1.0


class Nonsense(AtPhase):
    """What is sent in place of an answer; `endless` is one line that never ends."""

    kind: Literal["binary", "text", "endless"] = "binary"


class SmtpReply(AtPhase):
    """A literal reply in place of the proper one; lines are parted by newlines.

    With a mailbox it is given to that mailbox alone, which works from the phase `auth` on: before it, the server
    does not know whom it talks to.
    """

    reply: str = Field(min_length=1, max_length=8192)
    mailbox: str | None = None


class HttpPhase(AtPhase):
    """A fault of one kind of request."""

    phases: ClassVar[frozenset[str]] = frozenset({"discovery", "token"})
    phase: str = "token"


class HttpReply(HttpPhase):
    """A literal HTTP answer."""

    status: int = Field(ge=200, le=599)
    body: str = ""
    content_type: str = "application/json"
    headers: dict[str, str] = {}


class HtmlError(HttpReply):
    """What a proxy in between says when the server behind it is gone."""

    status: int = Field(default=502, ge=200, le=599)
    body: str = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\r\n"
    content_type: str = "text/html"


class TooManyRequests(HttpReply):
    """429 with the number of seconds to wait."""

    status: int = Field(default=429, ge=200, le=599)
    body: str = (
        '{"error":"temporarily_unavailable","error_description":"AADSTS90055: The server received too many requests.",'
        '"error_codes":[90055]}'
    )
    headers: dict[str, str] = {"Retry-After": "30"}


class Unavailable(HttpReply):
    """503 with Entra's own body."""

    status: int = Field(default=503, ge=200, le=599)
    body: str = (
        '{"error":"temporarily_unavailable","error_description":"AADSTS90033: A transient error has occurred. '
        'Please try again.","error_codes":[90033]}'
    )


class Redirect(HttpReply):
    """A redirect to elsewhere, as a captive portal or a wrong proxy makes it."""

    status: int = Field(default=302, ge=300, le=399)
    headers: dict[str, str] = {"Location": "https://login.example.invalid/"}


class EndlessBody(HttpPhase):
    """Status 200 and a body without end."""


class Slow(HttpPhase):
    """The proper answer, late."""

    seconds: Seconds = 20.0


class ClockSkew(Settings):
    """How far the `Date` header is off; positive: the server seems to live in the future."""

    seconds: float = Field(default=600.0, ge=-86400, le=86400)
