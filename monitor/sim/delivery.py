"""What becomes of an accepted message: a copy in Sent Items, and one in the Inbox or the Junk folder of each recipient.

A recipient that is no mailbox of this world is somewhere else: its copy leaves and is never seen again. Not rebuilt:
non-delivery reports.

The rewriting of the Message-ID was seen at consumer mailboxes (Outlook.com): the client's own comes back in
X-Microsoft-Original-Message-ID.
"""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

from monitor.sim.mail import INBOX, JUNK, SENT

if TYPE_CHECKING:
    from monitor.sim.records import Mailbox
    from monitor.sim.submission import Envelope
    from monitor.sim.world import World

_MESSAGE_ID = re.compile(rb"^Message-ID:", re.IGNORECASE | re.MULTILINE)


def deliver(world: World, sender: Mailbox, envelope: Envelope) -> None:
    """Put the copies of a message on their way, as the sender's and each recipient's mailbox want it."""
    now = world.now()
    content = _with_new_id(world, envelope.content) if sender.rewrites_message_id else envelope.content
    world.store(sender.address).folders[SENT].post(now, content, {"\\Seen"})
    arriving = _trace(world, envelope.sender) + content
    for recipient in dict.fromkeys(address.lower() for address in envelope.recipients):
        mailbox = world.mailbox(recipient)
        if mailbox is None or mailbox.loses_mail or sender.loses_mail:
            continue
        folder = JUNK if mailbox.junks_mail or sender.junks_mail else INBOX
        delay = timedelta(seconds=max(mailbox.delivery_delay_s, sender.delivery_delay_s))
        world.store(mailbox.address).folders[folder].post(now + delay, arriving)


def _trace(world: World, sender: str) -> bytes:
    """The trace fields that the last server adds (RFC 5321, 4.4)."""
    ident = f"{world.rng.getrandbits(64):016X}"
    return (
        f"Return-Path: {sender}\r\n"
        f"Received: from sim.prod.outlook.com by sim.mail.protection.outlook.com with ESMTPS id {ident};\r\n"
        f" {format_datetime(world.now())}\r\n"
    ).encode()


def _with_new_id(world: World, content: bytes) -> bytes:
    head, blank, body = content.partition(b"\r\n\r\n")
    renamed = _MESSAGE_ID.sub(b"X-Microsoft-Original-Message-ID:", head, count=1)
    fresh = f"Message-ID: <{world.rng.getrandbits(128):032X}@SIM.EURPRD10.PROD.OUTLOOK.COM>\r\n".encode()
    return fresh + renamed + blank + body
