"""From the name to AUTH XOAUTH2 by POP and one command that opens the mailbox, and back. Nothing is changed in it."""

from __future__ import annotations

from checks.core.check import Check
from checks.core.kit import Kit
from checks.core.model import Phase, Protocol
from checks.core.settings import Settings
from checks.core.target import Mailbox
from checks.core.trace import Trace
from checks.wire import pop


class PopAuthSettings(Settings):
    """Nothing to set beside interval and timeout."""


async def run(target: Mailbox, _: PopAuthSettings, trace: Trace, kit: Kit) -> None:
    """The token first, as in smtp_auth. Signed in is not enough: Exchange Online finds the mailbox only when it is opened."""
    endpoint = target.cloud.pop
    if endpoint is None:
        text = f"cloud {target.cloud.name} has no POP server"
        trace.observe("pop_not_configured", text, phase=Phase.RESOLVE, protocol=Protocol.POP)
        return
    token = await kit.tokens.current(target.credential, trace)
    async with pop.session(endpoint, trace, kit) as session:
        await session.auth_xoauth2(target.address, token)
        await session.open_inbox()
        await session.quit()


CHECK = Check(
    name="pop_auth",
    target="mailbox",
    phases=(
        Phase.TOKEN,
        Phase.RESOLVE,
        Phase.CONNECT,
        Phase.TLS,
        Phase.BANNER,
        Phase.EHLO,
        Phase.STARTTLS,
        Phase.AUTH,
        Phase.OPEN,
        Phase.QUIT,
    ),
    settings=PopAuthSettings,
    interval=300.0,
    timeout=30.0,
    always=False,
    speaks=Protocol.POP,
    run=run,
)
