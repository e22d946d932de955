"""The closed lists and frozen records that every check speaks in.

The enumerations are labels of metrics and words in JSON, so they only ever grow. Records are plain data; what reaches
a record has been through a `Redactor`, so every record may be stored, logged and shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is. `throttled` is a verdict of its own: the other side is busy, not broken."""

    INFO = "info"
    WARN = "warn"
    THROTTLED = "throttled"
    UNKNOWN = "unknown"
    FAIL = "fail"


class Outcome(StrEnum):
    """What one run came to: `pass`, or the worst level among its findings."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    INFO = "info"
    WARN = "warn"
    THROTTLED = "throttled"
    UNKNOWN = "unknown"
    FAIL = "fail"

    @property
    def exit_code(self) -> int:
        """The exit status of a command that ends with this outcome: 0, 1 (degraded), 2 (failed) or 3 (unknown)."""
        return _EXIT_CODES[self]

    @staticmethod
    def worst(outcomes: Mapping[str, Outcome] | list[Outcome]) -> Outcome:
        """The worst of several outcomes; `pass` when there are none."""
        values = list(outcomes.values()) if isinstance(outcomes, Mapping) else outcomes
        return max(values, key=_BADNESS.index, default=Outcome.PASS)


_EXIT_CODES = {
    Outcome.PASS: 0,
    Outcome.INFO: 0,
    Outcome.WARN: 1,
    Outcome.THROTTLED: 1,
    Outcome.FAIL: 2,
    Outcome.UNKNOWN: 3,
}
# From best to worst: a known failure outweighs not knowing (so does CRITICAL over UNKNOWN in Nagios-style monitors).
_BADNESS = [Outcome.PASS, Outcome.INFO, Outcome.WARN, Outcome.THROTTLED, Outcome.UNKNOWN, Outcome.FAIL]


class Permanence(StrEnum):
    """Whether trying again may help. An error that stays transient for longer than its row allows is permanent."""

    TRANSIENT = "transient"
    THROTTLED = "throttled"
    PERMANENT = "permanent"
    UNCLEAR = "unclear"


class Blame(StrEnum):
    """Whose move it is."""

    CONFIGURATION = "configuration"
    ENTRA_ADMIN = "entra_admin"
    EXCHANGE_ADMIN = "exchange_admin"
    USER = "user"
    NETWORK = "network"
    MICROSOFT = "microsoft"
    MONITOR = "monitor"
    UNCLEAR = "unclear"

    @property
    def person(self) -> str:
        """Who that is, as it reads after "whose move:"."""
        return _PERSONS[self]


_PERSONS = {
    Blame.CONFIGURATION: "whoever configures the application",
    Blame.ENTRA_ADMIN: "the Entra ID administrator",
    Blame.EXCHANGE_ADMIN: "the Exchange Online administrator",
    Blame.USER: "the owner of the mailbox",
    Blame.NETWORK: "the network team",
    Blame.MICROSOFT: "Microsoft",
    Blame.MONITOR: "whoever runs mailcanary",
    Blame.UNCLEAR: "not clear yet",
}


class Scope(StrEnum):
    """How far a cause reaches. A row of the table may say `target`: whatever the watch is aimed at."""

    MONITOR = "monitor"
    NETWORK = "network"
    ENDPOINT = "endpoint"
    TENANT = "tenant"
    APP = "app"
    CREDENTIAL = "credential"
    MAILBOX = "mailbox"
    RECIPIENT = "recipient"
    INBOX = "inbox"
    TARGET = "target"


class Protocol(StrEnum):
    """The conversation in which something was seen. `oauth` is everything said to the authority over HTTPS."""

    OAUTH = "oauth"
    SMTP = "smtp"
    IMAP = "imap"
    POP = "pop"


class Kind(StrEnum):
    """What sort of thing a piece of evidence is.

    `reply` and `oauth` are the protocol's own words, `http` a status without such words. `observed` is what we measured
    ourselves while everybody said yes (a skewed clock); `internal` is a defect or limit of our own.
    """

    REPLY = "reply"
    OAUTH = "oauth"
    HTTP = "http"
    RESOLVE = "resolve"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    CLOSED = "closed"
    RESET = "reset"
    TLS = "tls"
    NONSENSE = "nonsense"
    OBSERVED = "observed"
    INTERNAL = "internal"


class Phase(StrEnum):
    """A named step of a check. `accept` is the reply to the final dot, the only one that proves sending."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    BANNER = "banner"
    EHLO = "ehlo"
    STARTTLS = "starttls"
    TLS = "tls"
    TOKEN = "token"  # noqa: S105 - the name of a step
    CLAIMS = "claims"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    ACCEPT = "accept"
    QUIT = "quit"
    OPEN = "open"
    SEARCH = "search"
    FETCH = "fetch"
    CLEAN = "clean"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Structured facts of one failure, as the other side gave them. `text` is redacted and bounded.

    `code` is text, whatever the protocol: an SMTP reply code (`535`), a status of IMAP or POP (`NO`, `BAD`, `BYE`, `-ERR`;
    their response code, such as `UNAVAILABLE`, is the enhanced one), an HTTP status (`401`), OpenSSL's verify code or
    reason for TLS (`10`, `WRONG_VERSION_NUMBER`), the name of the measurement for `observed`. The enhanced code stays
    text too: 5.7.139 is not 709. `aadsts` is the first number of the authority's `error_codes`.
    """

    protocol: Protocol
    phase: Phase
    kind: Kind
    code: str | None = None
    enhanced_code: str | None = None
    aadsts: int | None = None
    error: str | None = None
    suberror: str | None = None
    text: str = ""
    correlation_id: str | None = None

    @property
    def spoken_code(self) -> str | None:
        """The code as the other side gave it; the name of a measurement of ours says nothing to people."""
        return None if self.kind is Kind.OBSERVED else self.code


@dataclass(frozen=True, slots=True, order=True)
class Subject:
    """One instance of a scope: the endpoint `smtp.office365.com:587`, the credential `billing-mailer/current`."""

    scope: Scope
    key: str

    def __str__(self) -> str:
        return f"{self.scope} {self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A cause seen in one run: `cause` is its id in the table, `subject` what it reaches."""

    cause: str
    level: Level
    subject: Subject
    evidence: Evidence


@dataclass(frozen=True, slots=True)
class PhaseTime:
    """How long one phase took, in seconds, and whether it came to its end."""

    phase: Phase
    seconds: float
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A fact: a canary was accepted by the server (the reply to the final dot was positive), for these inboxes.

    `at` is when the message was made, which is what its `Date` says.
    """

    canary_id: str
    mailbox: str
    recipients: int
    reply: str
    at: datetime
    inboxes: tuple[str, ...] = ()


class Folder(StrEnum):
    """Where a canary was found. Other folders of an inbox are not read."""

    INBOX = "inbox"
    JUNK = "junk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """A fact: a canary was seen in an inbox. `arrived_at` is the server's own word (IMAP INTERNALDATE, whole seconds)."""

    canary_id: str
    inbox: str
    folder: Folder
    arrived_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRead:
    """A fact: every folder of an inbox was searched. What was not seen then, was not there when the run began."""

    inbox: str
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSeen:
    """A fact: what an endpoint showed of itself in one connection."""

    endpoint: str
    ip: str
    tls_version: str
    cipher: str
    auth_mechanisms: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateSeen:
    """A fact: one certificate that an endpoint presented. `position` 0 is the server's own; the root need not be there.

    `fingerprint` is SHA-256 in lower-case hexadecimal.
    """

    endpoint: str
    position: int
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    fingerprint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimsSeen:
    """A fact: what an access token says of itself, for diagnosis only.

    Microsoft asks clients not to depend on the content of access tokens ("Access token claims reference"), so nothing
    is decided on them alone; an opaque token gives `readable=False`. `lifetime` is in seconds. App-only tokens have roles,
    delegated ones have scopes.
    """

    readable: bool
    lifetime: float
    audience: str = ""
    tenant_id: str = ""
    client_id: str = ""
    credential_kind: str = ""
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()


Fact = Sent | Sighting | InboxRead | EndpointSeen | CertificateSeen | ClaimsSeen


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything one run of one watch produced. Durations are in seconds, moments are aware UTC."""

    run_id: str
    watch: str
    check: str
    started_at: datetime
    seconds: float
    phases: tuple[PhaseTime, ...]
    measures: Mapping[str, float] = field(default_factory=dict)
    facts: tuple[Fact, ...] = ()
    findings: tuple[Finding, ...] = ()
    transcript: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """`pass`, or the worst level among the findings."""
        return Outcome.worst([Outcome(finding.level.value) for finding in self.findings])

    @property
    def worst(self) -> Finding | None:
        """The first finding of the worst level, or None for a clean run."""
        outcome = self.outcome
        return next((finding for finding in self.findings if finding.level.value == outcome.value), None)
