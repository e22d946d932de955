"""All of it in one object: the world, the CA, the servers, and the faults between them."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from aiohttp import web

from monitor.sim.certificates import ServerCertificates
from monitor.sim.consents import Consents
from monitor.sim.contoso import CLUSTER, contoso
from monitor.sim.control import Control
from monitor.sim.door import HOST, Door
from monitor.sim.entra import SERVER as ENTRA
from monitor.sim.entra import Entra
from monitor.sim.exchange import SERVER as SMTP
from monitor.sim.exchange import Exchange
from monitor.sim.fault_settings import AtPhase, BadCertificate, EndingCertificate, OtherCertificate
from monitor.sim.federation import Issuer
from monitor.sim.grants import Desk
from monitor.sim.identity import IdentityEndpoint
from monitor.sim.imap import EXCHANGE, FOREIGN, OLD_EXCHANGE, PARTNER, Imap
from monitor.sim.imap import SERVER as IMAP
from monitor.sim.inboxes import Inboxes
from monitor.sim.pop import SERVER as POP
from monitor.sim.pop import Pop
from monitor.sim.tokens import Mint, make_key
from monitor.sim.world import World

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

    from cryptography.hazmat.primitives.asymmetric import rsa

    from monitor.sim.contoso import Declaration
    from monitor.sim.faults import Fault
    from monitor.sim.imap import Manner


def _wall_clock() -> datetime:
    return datetime.now(UTC)


class Microsoft365:
    """An embedded Microsoft 365 on loopback, as an async context manager that leaves nothing running.

    Into `directory` it writes `ca.pem`, which clients must trust, and for each app with a certificate a PEM file with
    its private key and certificate, named after the app. Ports of 0 are chosen by the system.

        async with Microsoft365(tmp_path) as office:
            fault = await office.inject("secret_expired", "billing-mailer")
            ...
            await office.repair(fault.id)
    """

    def __init__(
        self,
        directory: Path,
        declaration: Declaration | None = None,
        *,
        now: Callable[[], datetime] = _wall_clock,
        seed: int = 365,
        key: rsa.RSAPrivateKey | None = None,
        entra_port: int = 0,
        smtp_port: int = 0,
        imap_port: int = 0,
        pop_port: int = 0,
        partner_imap_port: int = 0,
        control_port: int = 0,
        old_imap_greeting: bool = False,
    ) -> None:
        declared = declaration or contoso()
        self.world = World(
            tenants=declared.tenants,
            apps=declared.apps,
            mailboxes=declared.mailboxes,
            now=now,
            rng=random.Random(seed),  # noqa: S311  reproducible on purpose; nothing here is a secret
        )
        self.inboxes = Inboxes(now)
        self.directory = directory
        self.ca_file = directory / "ca.pem"
        self._declared = declared
        self._certificates = ServerCertificates()
        key = key or make_key()
        self._mint = Mint(key)
        self.cluster = Issuer(key, CLUSTER)
        self.consents = Consents(self.world)
        self._identity = IdentityEndpoint(self.world, self._mint)
        self._identity_port = 0
        self._ports = {
            ENTRA: entra_port,
            SMTP: smtp_port,
            IMAP: imap_port,
            POP: pop_port,
            PARTNER: partner_imap_port,
        }
        self._imap_manner = OLD_EXCHANGE if old_imap_greeting else EXCHANGE
        self._control_port = control_port
        self._doors: dict[str, Door] = {}
        self._changing = asyncio.Lock()
        self._running = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._certificates.write_ca(self.ca_file)
        for name, certificate in self._declared.client_certificates.items():
            certificate.write(self.directory / f"{name}.pem")
        async with AsyncExitStack() as starting:
            desk = Desk(self.world, self.consents, (self.cluster,))
            entra = Entra(desk, self._mint, lambda: self._context(ENTRA))
            exchange = Exchange(self.world, self._mint, lambda: self._context(SMTP))
            await entra.start()
            starting.push_async_callback(entra.stop)
            imap = self._imap(IMAP, self._imap_manner)
            partner = self._imap(PARTNER, FOREIGN)
            pop = Pop(self.world, self._mint, lambda: self._context(POP))
            servers = {
                ENTRA: entra.serve,
                SMTP: exchange.serve,
                IMAP: imap.serve,
                POP: pop.serve,
                PARTNER: partner.serve,
            }
            for name, serve in servers.items():
                door = self._doors[name] = Door(serve, self._ports[name])
                starting.push_async_callback(door.close)
                await door.open()
            self._control_port = await _listen(Control(self).app, self._control_port, starting)
            self._identity_port = await _listen(self._identity.app, 0, starting)
            self._running = starting.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()

    @property
    def authority_url(self) -> str:
        """Where Entra ID is, to be followed by a tenant."""
        return f"https://localhost:{self.entra_port}"

    @property
    def entra_port(self) -> int:
        """The port of Entra ID (HTTPS)."""
        return self._doors[ENTRA].port

    @property
    def smtp_port(self) -> int:
        """The port of Exchange Online (SMTP with STARTTLS)."""
        return self._doors[SMTP].port

    @property
    def imap_port(self) -> int:
        """The port of Exchange Online's IMAP (TLS from the first byte)."""
        return self._doors[IMAP].port

    @property
    def pop_port(self) -> int:
        """The port of Exchange Online's POP (TLS from the first byte)."""
        return self._doors[POP].port

    @property
    def partner_imap_port(self) -> int:
        """The port of another provider's IMAP (TLS from the first byte), where mailboxes have passwords."""
        return self._doors[PARTNER].port

    @property
    def identity_url(self) -> str:
        """Where the identity endpoint of the host is (plain HTTP), as AZURE_POD_IDENTITY_AUTHORITY_HOST names it."""
        return f"http://{HOST}:{self._identity_port}"

    @property
    def app_service(self) -> dict[str, str]:
        """What App Service puts into the environment of its apps."""
        return {"IDENTITY_ENDPOINT": f"{self.identity_url}/msi/token", "IDENTITY_HEADER": self._identity.header}

    @property
    def control_url(self) -> str:
        """Where the control endpoint and the alert inboxes are (plain HTTP)."""
        return f"http://{HOST}:{self._control_port}"

    async def inject(self, name: object, subject: object, settings: Mapping[str, object] | None = None) -> Fault:
        """Put a fault in force; returns when it is. `FaultError` when there is no such fault, subject or setting."""
        fault = self.world.inject(name, subject, settings)
        await self._follow((fault,))
        return fault

    async def repair(self, fault_id: str) -> Fault:
        """Take a fault out of force; returns when it is. `KeyError` when it is not in force."""
        fault = self.world.repair(fault_id)
        await self._follow((fault,))
        return fault

    async def reset(self) -> None:
        """Repair everything and forget what happened."""
        faults = tuple(self.world.faults.values())
        self.world.reset()
        self.inboxes.clear()
        await self._follow(faults)

    def _context(self, server: str) -> ssl.SSLContext:
        fault = self.world.other_certificate(server)
        match fault.settings if fault else None:
            case BadCertificate(problem=problem):
                return self._certificates.context(problem)
            case EndingCertificate(days=days) if fault is not None:
                return self._certificates.ending(fault.id, days)
        return self._certificates.context(None)

    def _imap(self, server: str, manner: Manner) -> Imap:
        return Imap(self.world, self._mint, lambda: self._context(server), server=server, manner=manner)

    async def _follow(self, changed: tuple[Fault, ...]) -> None:
        """Make the ports agree with the faults.

        Clients keep HTTPS connections open: a fault of the handshake would never be seen if they were left alone. Sessions
        of mail go on, as they do where a certificate is renewed: the next one has a handshake of its own.
        """
        async with self._changing:
            for name, door in self._doors.items():
                if self.world.has_wire_fault(name, "refused"):
                    await door.shut()
                else:
                    await door.open()
                if name == ENTRA and any(fault.subject == name and _concerns_handshake(fault) for fault in changed):
                    door.drop_connections()


async def _listen(app: web.Application, port: int, starting: AsyncExitStack) -> int:
    """Serve plain HTTP on loopback until the end; the port."""
    runner = web.AppRunner(app, access_log=None)
    starting.push_async_callback(runner.cleanup)
    await runner.setup()
    await web.TCPSite(runner, HOST, port).start()
    listening: int = runner.addresses[0][1]
    return listening


def _concerns_handshake(fault: Fault) -> bool:
    settings = fault.settings
    return isinstance(settings, OtherCertificate) or (isinstance(settings, AtPhase) and settings.phase == "tls")
