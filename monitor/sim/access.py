"""Who may read a mailbox by IMAP or POP: the decisions, without any dialogue.

IMAP has two questions: whether the token is good for the protocol, which AUTHENTICATE answers, and whether the mailbox
can be opened, which only the next command shows. Seen in MailKit's issues 1494 and 1496 and in email-oauth2-proxy's
issue 74. In the same trouble POP refuses the log-on itself (MailKit, issue 1496).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monitor.sim.records import Permission
from monitor.sim.submission import AUDIENCES

if TYPE_CHECKING:
    from monitor.sim.records import Mailbox
    from monitor.sim.submission import Bearer
    from monitor.sim.tokens import Mint
    from monitor.sim.world import World


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token must hold, as an app role or as a delegated scope, to be good for a protocol.

    Microsoft, "Authenticate an IMAP, POP or SMTP connection using OAuth".
    """

    role: str
    scope: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """Someone who was let in: for which address, and as which user where a user consented (else as an app).

    A foreign visitor came with the mailbox's password and needs no permission.
    """

    address: str
    user: str | None = None
    foreign: bool = False


def admit(world: World, mint: Mint, bearer: Bearer, grant: Grant) -> Visitor | None:
    """The visitor that a token makes; none when it is refused.

    Whether the mailbox exists is not asked here: a token that is good opens the door of its whole tenant.
    """
    claims = mint.read(bearer.token, world.now())
    if claims is None or claims["aud"] not in AUDIENCES:
        return None
    mailbox = world.mailbox(bearer.user)
    if mailbox is not None and mailbox.tenant != claims["tid"]:
        return None
    if grant.scope in str(claims.get("scp", "")).split():
        return Visitor(bearer.user, user=str(claims.get("upn", "")))
    app = world.app_registered(claims["appid"])
    if app is None or not app.exchange_registered or grant.role not in claims.get("roles", ()):
        return None
    return Visitor(bearer.user)


def admit_foreign(world: World, address: str, password: str) -> Visitor | None:
    """The visitor that a password makes, which only mailboxes outside Microsoft 365 have."""
    mailbox = world.mailbox(address)
    if mailbox is None or mailbox.password is None or mailbox.password != password:
        return None
    return Visitor(mailbox.address, foreign=True)


def opened(world: World, visitor: Visitor) -> Mailbox | None:
    """The mailbox as far as it can be opened at this moment, whichever the protocol; none when it can not."""
    mailbox = world.mailbox(visitor.address)
    if mailbox is None or not mailbox.licensed or mailbox.disconnected:
        return None
    own = visitor.user is not None and visitor.user.lower() == mailbox.address.lower()
    permitted = visitor.user is None and mailbox.permission is Permission.OK
    return mailbox if visitor.foreign or own or permitted else None
