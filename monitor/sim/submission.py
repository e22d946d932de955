"""Who may log on to Exchange Online, and which messages it takes: the decisions, without any dialogue.

A reply here is the text as sent, without the trailer that `exchange` adds to refusals. AUTH, MAIL and RCPT prove
little in the real service: whether a message may be sent is only decided after its final dot, and so it is here.
Sentences were seen on the wire, in public transcripts and issue threads, or stand in Microsoft's "SMTP submission
improvements" and "Continuous Error Throttling for SMTP AUTH Submissions".
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from email.policy import compat32
from email.utils import parseaddr
from typing import TYPE_CHECKING

from monitor.sim.delivery import deliver
from monitor.sim.records import SMTP_ROLE, SMTP_SCOPE, Permission, Throttle
from monitor.sim.traffic import SESSIONS_PER_MAILBOX, Submission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from monitor.sim.records import Mailbox
    from monitor.sim.tokens import Mint
    from monitor.sim.traffic import Traffic
    from monitor.sim.world import World

# The token's audience may name either host of Exchange Online.
AUDIENCES = ("https://outlook.office365.com", "https://outlook.office.com")

AUTH_OK = "235 2.7.0 Authentication successful"
AUTH_FAILED = "535 5.7.3 Authentication unsuccessful"  # one text for many causes, as in reality
AUTH_DISABLED = (
    "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the {where}. "
    "Visit https://aka.ms/smtp_auth_disabled for more information."
)
BASIC_DISABLED = "535 5.7.139 Authentication unsuccessful, basic authentication is disabled."
MALFORMED = "451 4.7.0 Temporary server error. Please try again later. PRX4"  # persistent, in spite of its code

BAD_SENDER = "550 5.1.8 Access denied, bad outbound sender"
THREAD_LIMIT = "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"
NO_LOGON = (
    "430 4.2.0 STOREDRV; mailbox logon failure; STOREDRV.Submission.Exception:ConnectionFailedTransientException."
    "MapiExceptionLogonFailed; Failed to process message due to a transient exception with message "
    "[BeginDiagnosticData]Cannot open mailbox. AuthenticationContext has no rights on this session[EndDiagnosticData]"
)
SEND_AS_DENIED = (
    "554 5.2.252 SendAsDenied; {mailbox} not allowed to send as {sender}; STOREDRV.Submission.Exception:"
    "SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message due to a permanent exception with "
    "message [BeginDiagnosticData]Cannot submit message.[EndDiagnosticData]"
)
FULL = "554 5.2.2 mailbox full; STOREDRV.Submission.Exception:QuotaExceededException.MapiExceptionShutoffQuotaExceeded"
TOO_MANY_TODAY = (
    "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message due to a "
    "permanent exception with message The message can't be submitted because the sender's submission quota was "
    "exceeded."
)
THROTTLED = {
    Throttle.MAILBOX_FULL: "550 5.2.251 Sender throttled due to continuous mailbox full errors.",
    Throttle.SEND_AS_DENIED: "550 5.2.252 Sender throttled due to continuous send as denied errors.",
    Throttle.INVALID_LICENSE: "550 5.2.253 Sender throttled due to continuous invalid license errors.",
    Throttle.TOO_MANY_RECIPIENTS: "550 5.2.254 Sender throttled due to continuous too many recipients errors.",
    Throttle.INVALID_RECIPIENTS: "550 5.2.255 Sender throttled due to continuous invalid recipients errors.",
}

_SEPARATOR = "\x01"  # of the fields in an XOAUTH2 string; Google and Microsoft, "SASL XOAUTH2"


@dataclass(frozen=True, slots=True)
class Bearer:
    """What an XOAUTH2 string says: the mailbox and the token."""

    user: str
    token: str


@dataclass(frozen=True, slots=True)
class LogOn:
    """An authenticated session: the mailbox and the app that came for it.

    `permitted`: it needs no mailbox permission, because of RBAC or because the mailbox's own user consented.
    """

    mailbox: Mailbox
    app: str
    permitted: bool


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message at its final dot."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


def read_xoauth2(encoded: bytes) -> Bearer | None:
    """The two fields of a base64 XOAUTH2 string; none when it is not one."""
    try:
        text = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    match text.split(_SEPARATOR):
        case [user, auth, "", ""] if user.startswith("user=") and auth.lower().startswith("auth=bearer "):
            return Bearer(user[len("user=") :], auth[len("auth=bearer ") :])
    return None


def log_on(world: World, mint: Mint, bearer: Bearer) -> LogOn | str:
    """The session that this token opens, or the reply that refuses it."""
    claims = mint.read(bearer.token, world.now())
    mailbox = world.mailbox(bearer.user)
    if claims is None or mailbox is None or claims["aud"] not in AUDIENCES or claims["tid"] != mailbox.tenant:
        return AUTH_FAILED
    tenant = world.tenant(mailbox.tenant)
    if mailbox.smtp_auth_disabled:
        return AUTH_DISABLED.format(where="Mailbox")
    if mailbox.smtp_auth_disabled is None and tenant is not None and tenant.smtp_auth_disabled:
        return AUTH_DISABLED.format(where="Tenant")
    app = world.app_registered(claims["appid"])
    if app is None or not app.exchange_registered:
        return AUTH_FAILED
    # RBAC for Applications counts for tokens without the role; with it, the mailbox permission decides (Microsoft,
    # "Role Based Access Control for Applications: SMTP"). A user who consented needs neither for the own mailbox.
    permitted = SMTP_ROLE not in claims.get("roles", ())
    if "scp" in claims:
        own = str(claims["upn"]).lower() == mailbox.address.lower()
        open_to_app = own and SMTP_SCOPE in str(claims["scp"]).split()
    elif permitted:
        open_to_app = app.client_id in mailbox.rbac_apps
    else:
        open_to_app = not (mailbox.permission is Permission.NONE and mailbox.refused_at_auth)
    return LogOn(mailbox, app.name, permitted) if open_to_app else AUTH_FAILED


def submit(world: World, session: object, who: LogOn, envelope: Envelope, accepted: str) -> str:
    """The reply to the final dot; the message and its reply are logged, and what is taken is delivered.

    `accepted` is the reply if it is taken.
    """
    now = world.now()
    mailbox = world.mailbox(who.mailbox.address) or who.mailbox
    traffic = world.traffic_of(mailbox.address)
    may_log_on = who.permitted or mailbox.permission is Permission.OK
    has_thread = session in traffic.logged_on[:SESSIONS_PER_MAILBOX] and not mailbox.busy
    objections = _objections(world, mailbox, envelope, traffic, may_log_on=may_log_on, has_thread=has_thread)
    refusal, error = next(objections, (None, None))
    if error is not None:
        traffic.failed(error, now)
    if refusal is None:
        traffic.messages_accepted += 1
        traffic.recipients.append((now, len(envelope.recipients)))
        deliver(world, mailbox, envelope)
    else:
        traffic.messages_refused += 1
    reply = refusal or accepted
    world.submissions.append(
        Submission(now, mailbox.address, who.app, envelope.sender, envelope.recipients, envelope.content, reply)
    )
    return reply


def _objections(
    world: World, mailbox: Mailbox, envelope: Envelope, traffic: Traffic, *, may_log_on: bool, has_thread: bool
) -> Iterator[tuple[str, Throttle | None]]:
    """Why the message is not taken, the first reason first, each with the error that counts towards throttling."""
    throttle = mailbox.throttle or traffic.throttle(world.now())
    if throttle is not None:
        yield THROTTLED[throttle], None
    if mailbox.restricted:
        yield BAD_SENDER, None
    if not may_log_on:
        yield NO_LOGON, None
    if mailbox.full:
        yield FULL, Throttle.MAILBOX_FULL
    for sender in (envelope.sender, _header_from(envelope.content)):
        if sender and not mailbox.may_send_as(sender):
            yield SEND_AS_DENIED.format(mailbox=mailbox.address, sender=sender), Throttle.SEND_AS_DENIED
    if not has_thread:
        yield THREAD_LIMIT, None
    if traffic.recipients_today(world.now()) + len(envelope.recipients) > mailbox.daily_recipients:
        yield TOO_MANY_TODAY, None


def _header_from(content: bytes) -> str:
    return parseaddr(str(BytesHeaderParser(policy=compat32).parsebytes(content)["From"] or ""))[1]
