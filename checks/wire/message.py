"""The canary: a small, marked, honest message that says what it is and that no machine should answer."""

from __future__ import annotations

from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from checks.core.secret import Address

ID_HEADER = "X-Mailcanary-Id"


def canary_message(canary_id: str, sender: Address, recipients: tuple[Address, ...], now: datetime) -> bytes:
    """The message with CRLF line ends. The id stands in header, subject and Message-ID: one of them survives rewriting.

    RFC 3834 (Auto-Submitted) and Microsoft's X-Auto-Response-Suppress keep auto-replies away; `OOF, AutoReply` and not
    `All`, so that a non-delivery report still comes.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender.reveal()
    message["To"] = ", ".join(recipient.reveal() for recipient in recipients)
    message["Subject"] = f"mailcanary {canary_id}"
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{canary_id}.mailcanary@{sender.domain}>"
    message[ID_HEADER] = canary_id
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "OOF, AutoReply"
    message["Precedence"] = "bulk"
    message.set_content(
        "This is a test message of mailcanary, which checks that this mailbox can send.\n"
        "It needs no answer and may be deleted.\n"
        f"\nId: {canary_id}\nSent: {now.isoformat(timespec='seconds')}\n"
    )
    return message.as_bytes()
