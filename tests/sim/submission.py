"""A message that is submitted by smtplib, and what the real server says to it."""

from __future__ import annotations

import re
import smtplib

from tests.sim.sim_peer import BILLING, CANARY, Peer, xoauth2

MESSAGE = f"From: {BILLING}\r\nTo: {CANARY}\r\nSubject: Probe\r\nMessage-ID: <1@probe.example>\r\n\r\nBody.\r\n"
TRAILER = r" \[[A-Z0-9.]+\.PROD\.OUTLOOK\.COM \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [0-9A-F]{16}\]"

AUTH_FAILED = "535 5.7.3 Authentication unsuccessful"
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
BUSY = "432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"


def text(reply: tuple[int, bytes]) -> str:
    """A reply of smtplib as one line."""
    return f"{reply[0]} {reply[1].decode()}"


def is_refusal(expected: str, actual: str) -> bool:
    """Whether a reply is that sentence with the trailer of a real refusal."""
    return re.fullmatch(re.escape(expected) + TRAILER, actual) is not None


def send(session: smtplib.SMTP, sender: str = BILLING, message: str = MESSAGE) -> str:
    """One message to the canary mailbox; the reply to its final dot."""
    assert [250, 250] == [session.mail(sender)[0], session.rcpt(CANARY)[0]]
    return text(session.data(message))


def auth(peer: Peer, user: str = BILLING, token: str | None = None) -> str:
    """The reply to AUTH in a session of its own."""
    with peer.smtp() as session:
        return text(session.docmd("AUTH", f"XOAUTH2 {xoauth2(user, token or peer.token())}"))


def submitted(peer: Peer, message: str = MESSAGE, sender: str = BILLING) -> str:
    """The reply to a message in a session of its own."""
    with peer.logged_on() as session:
        return send(session, sender, message)
