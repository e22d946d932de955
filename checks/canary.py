"""A canary: one marked message, to the end of DATA. Only the reply to the final dot proves that a mailbox can send."""

from __future__ import annotations

from checks.core.check import Check
from checks.core.kit import Kit
from checks.core.model import Phase, Sent
from checks.core.settings import Settings
from checks.core.target import Inbox, Mailbox
from checks.core.trace import Trace
from checks.wire import smtp
from checks.wire.message import canary_message


class CanarySettings(Settings):
    """Where the message goes; without a recipient it goes to the sending mailbox itself."""

    to: tuple[Inbox, ...] = ()


async def run(target: Mailbox, settings: CanarySettings, trace: Trace, kit: Kit) -> None:
    """The way of `smtp_auth`, then MAIL, RCPT, DATA and the message."""
    recipients = tuple(inbox.address for inbox in settings.to) or (target.address,)
    for recipient in recipients:
        trace.redact.learn(recipient)
    canary_id = f"{kit.rng.getrandbits(96):024x}"
    token = await kit.tokens.current(target.credential, trace)
    async with smtp.session(target.endpoint, trace, kit) as session:
        await session.auth_xoauth2(target.address, token)
        now = kit.clock.now()
        message = canary_message(canary_id, target.address, recipients, now)
        reply = await session.send(target.address, recipients, message)
        trace.learn(
            Sent(
                canary_id=canary_id,
                mailbox=target.id,
                recipients=len(recipients),
                reply=reply,
                at=now,
                inboxes=tuple(inbox.id for inbox in settings.to),
            )
        )
        with trace.part():  # the message has left: an unfriendly farewell does not undo that
            await session.quit()


CHECK = Check(
    name="canary",
    target="mailbox",
    phases=(
        Phase.TOKEN,
        Phase.RESOLVE,
        Phase.CONNECT,
        Phase.BANNER,
        Phase.EHLO,
        Phase.STARTTLS,
        Phase.TLS,
        Phase.AUTH,
        Phase.MAIL,
        Phase.RCPT,
        Phase.DATA,
        Phase.ACCEPT,
        Phase.QUIT,
    ),
    settings=CanarySettings,
    # Two an hour: under 1 % of a mailbox's 10,000 recipients a day.
    interval=1800.0,
    timeout=60.0,
    always=False,
    patient=True,
    run=run,
)
