"""One endpoint by one way: name, connection, greeting, TLS, chain, what is offered to sign in. Nobody signs in.

It runs once per endpoint and address family, however many mailboxes are behind it.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from types import MappingProxyType
from typing import Protocol as Shape

from pydantic import Field

from checks.core.check import Check
from checks.core.kit import Kit
from checks.core.model import Phase, Protocol
from checks.core.settings import Settings
from checks.core.target import Route
from checks.core.trace import Trace
from checks.wire import imap, pop, smtp
from checks.wire.certificates import Certificate
from checks.wire.families import lacking
from checks.wire.witness import learn, witnessed


class EndpointSettings(Settings):
    """How many days before a certificate of the chain ends somebody has to know.

    Certificates are renewed with a third of their life left ("Let's Encrypt: Integration Guide"): with 90 days that is
    30, so 21 days left mean that a renewal was missed, and 7 that nobody has cared since.
    """

    warn_days: float = Field(21.0, ge=0, le=3650)
    fail_days: float = Field(7.0, ge=0, le=3650)


class _Session(Shape):
    """What the dialogues of all mail protocols have in common."""

    @property
    def mechanisms(self) -> tuple[str, ...]: ...

    @property
    def tls(self) -> ssl.SSLObject | None: ...

    async def quit(self) -> None: ...


_SESSIONS: Mapping[Protocol, Callable[..., AbstractAsyncContextManager[_Session]]] = MappingProxyType(
    {Protocol.SMTP: smtp.session, Protocol.IMAP: imap.session, Protocol.POP: pop.session}
)


async def run(target: Route, settings: EndpointSettings, trace: Trace, kit: Kit) -> None:
    """Whether this way exists at all, then the greeting, and a look at what was shown."""
    absent = await lacking(target, kit.resolver, trace)
    if absent is not None:
        trace.observe(absent.code, absent.text, phase=absent.phase, protocol=target.protocol)
        return
    endpoint, now = target.endpoint, kit.clock.now()
    open_session = _SESSIONS[target.protocol]
    with witnessed(str(endpoint), trace, now):
        async with open_session(endpoint, trace, kit, family=target.family, ip=target.ip, wants="") as session:
            if session.tls is not None:
                _judge_end(learn(str(endpoint), session.tls, trace, now), settings, target, trace, now)
            if target.xoauth2 and "XOAUTH2" not in session.mechanisms:
                text = f"{endpoint} does not offer XOAUTH2"
                trace.observe("xoauth2_missing", text, phase=Phase.EHLO, protocol=target.protocol)
            await session.quit()


def _judge_end(
    first: Certificate | None, settings: EndpointSettings, target: Route, trace: Trace, now: datetime
) -> None:
    """Whether the certificate that ends first ends too soon."""
    if first is None:
        return
    days = first.days_left(now)
    if days < max(settings.warn_days, settings.fail_days):
        code = "certificate_ends_now" if days < settings.fail_days else "certificate_ends_soon"
        trace.observe(code, f"in {days:.1f} days: {first}", phase=Phase.TLS, protocol=target.protocol)


CHECK = Check(
    name="endpoint",
    target="route",
    phases=(
        Phase.RESOLVE,
        Phase.CONNECT,
        Phase.BANNER,
        Phase.EHLO,
        Phase.STARTTLS,
        Phase.TLS,
        Phase.QUIT,
    ),
    settings=EndpointSettings,
    interval=300.0,
    timeout=30.0,
    always=True,
    run=run,
)
