"""Our checks aimed at the real servers."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from checks.core.clock import SystemClock
from checks.core.cloud import Cloud, Endpoint, TlsMode
from checks.core.kit import Network
from checks.core.material import ClientSecret
from checks.core.run import run_check
from checks.core.secret import Address, Secret
from checks.core.target import App, Credential, Inbox, Mailbox, Tenant
from checks.registry import CHECKS
from checks.wire.kit import open_kit
from checks.wire.net import PooledResolver, ip_of

if TYPE_CHECKING:
    from checks.core.clock import Clock
    from checks.core.model import Result
    from checks.core.settings import Settings
    from checks.core.target import Target
    from tests.peers.dovecot import Dovecot
    from tests.peers.oidc import Oidc


class EarlierClock(SystemClock):
    """Shows what the clock of this machine showed a while ago."""

    def __init__(self, seconds: float) -> None:
        self._ago = timedelta(seconds=seconds)

    def now(self) -> datetime:
        """That moment."""
        return super().now() - self._ago


def credential(
    oidc: Oidc,
    dovecot: Dovecot,
    app: str = "by_secret",
    *,
    clear: bool = False,
    smtp: int = 1,
    host: str = "localhost",
) -> Credential:
    """The credential of one of the issuer's apps, in a cloud whose mail lies in this Dovecot."""

    def endpoint(port: int, tls: TlsMode) -> Endpoint:
        return Endpoint(host=host, port=port, tls=tls, ca_file=str(oidc.ca_file))

    tls = TlsMode.STARTTLS if clear else TlsMode.IMPLICIT
    cloud = Cloud(
        name="peers",
        authority=oidc.authority.rpartition("/")[0],
        scope=oidc.scope,
        smtp=endpoint(smtp, TlsMode.STARTTLS),
        imap=endpoint(dovecot.imap_clear_port if clear else dovecot.imap_port, tls),
        pop=endpoint(dovecot.pop_clear_port if clear else dovecot.pop_port, tls),
        ca_file=str(oidc.ca_file),
    )
    known = getattr(oidc.apps, app)
    tenant = Tenant(name="peers", tenant_id=oidc.tenant, cloud=cloud)
    material = ClientSecret(Secret(known.secret))
    return Credential(app=App(id=app.replace("_", "-"), tenant=tenant, client_id=known.client_id), material=material)


def mailbox(owner: Credential, address: str) -> Mailbox:
    """A mailbox that an app sends as."""
    return Mailbox(id=address.partition("@")[0], address=Address(address), credential=owner, endpoint=owner.cloud.smtp)


def inbox(owner: Credential, address: str) -> Inbox:
    """The same, to read canaries from."""
    return Inbox(id="ops", address=Address(address), endpoint=owner.cloud.imap, credential=owner)


def usual_settings(check: str) -> Settings:
    """A check's settings where nothing is said, but for canaries: they are taken out at once."""
    return CHECKS[check].settings(**({"keep_seconds": 0} if check == "inbox" else {}))


async def run(
    check: str,
    target: Target,
    settings: Settings | None = None,
    *,
    clock: Clock | None = None,
    ips: tuple[str, ...] = (),
) -> Result:
    """One run with a kit of its own; with `ips`, these are the addresses of every mail server, whatever its name."""
    known, clock = CHECKS[check], clock or SystemClock()
    async with open_kit(clock=clock, seed=None) as kit:
        used = kit
        if ips:
            resolver = PooledResolver(clock, Network(), lambda _: tuple(map(ip_of, ips)))
            used = dataclasses.replace(kit, resolver=resolver)
        return await run_check(
            known, target, settings or usual_settings(check), used, watch=f"{check}/peer", seconds=20
        )
