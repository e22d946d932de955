"""From the name to AUTH XOAUTH2 and back: what a sender does before it sends. Nothing is sent."""

from __future__ import annotations

from checks.core.check import Check
from checks.core.kit import Kit
from checks.core.model import Phase
from checks.core.settings import Settings
from checks.core.target import Mailbox
from checks.core.trace import Trace
from checks.wire import smtp


class SmtpAuthSettings(Settings):
    """Nothing to set beside interval and timeout."""


async def run(target: Mailbox, _: SmtpAuthSettings, trace: Trace, kit: Kit) -> None:
    """The token first, so that the server's idle clock does not run while we wait for the authority."""
    token = await kit.tokens.current(target.credential, trace)
    async with smtp.session(target.endpoint, trace, kit) as session:
        await session.auth_xoauth2(target.address, token)
        await session.quit()


CHECK = Check(
    name="smtp_auth",
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
        Phase.QUIT,
    ),
    settings=SmtpAuthSettings,
    interval=300.0,
    timeout=30.0,
    always=True,
    run=run,
)
