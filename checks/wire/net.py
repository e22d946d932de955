"""Names and connections: a resolver in a bounded pool of its own, and sockets by Happy Eyeballs (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor

import aiohappyeyeballs

from checks.core.clock import Clock
from checks.core.kit import Ip, Resolver
from checks.core.model import Kind, Phase, Protocol
from checks.core.target import Endpoint
from checks.core.trace import Trace
from checks.wire.faults import failure_of

# getaddrinfo does not tell a record's time to live; the mail hosts of Microsoft 365 use 5 minutes and less.
TTL = 60.0
# The pause before the next address is tried: RFC 8305, section 8, "Connection Attempt Delay".
ATTEMPT_DELAY = 0.25


class PooledResolver:
    """The system's resolver, asked once per name and `TTL`, however many probes want it.

    A hung look-up holds one thread until libc gives up and nobody else's run: those who wait end at their deadlines.
    """

    def __init__(self, pool: ThreadPoolExecutor, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._known: dict[str, tuple[float, tuple[Ip, ...]]] = {}
        self._asked: dict[str, asyncio.Future[tuple[Ip, ...]]] = {}

    async def resolve(self, host: str) -> tuple[Ip, ...]:
        """All addresses of a host. Raises socket.gaierror when there are none; a failure is not remembered."""
        until, known = self._known.get(host, (0.0, ()))
        if known and self._clock.monotonic() < until:
            return known
        asked = self._asked.get(host)
        if asked is None:
            asked = asyncio.get_running_loop().run_in_executor(self._pool, _look_up, host)
            self._asked[host] = asked
            asked.add_done_callback(lambda done: self._keep(host, done))
        # The look-up is shared: who is cancelled must not cancel it for the others.
        return await asyncio.shield(asked)

    def _keep(self, host: str, done: asyncio.Future[tuple[Ip, ...]]) -> None:
        self._asked.pop(host, None)
        if not done.cancelled() and done.exception() is None:
            self._known[host] = self._clock.monotonic() + TTL, done.result()


def _look_up(host: str) -> tuple[Ip, ...]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(Ip(family, str(address[0])) for family, _, _, _, address in found))


async def connect(endpoint: Endpoint, resolver: Resolver, trace: Trace, protocol: Protocol) -> socket.socket:
    """A connected socket, timed as the phases resolve and connect. The caller owns it. Raises Failure."""
    with trace.phase(Phase.RESOLVE, protocol):
        try:
            ips = await resolver.resolve(endpoint.host)
        except (OSError, UnicodeError) as error:  # UnicodeError: a host name that IDNA cannot encode
            raise trace.failure(Kind.RESOLVE, f"{endpoint.host}: {error}") from error
    with trace.phase(Phase.CONNECT, protocol):
        infos = [
            (ip.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (ip.ip, endpoint.port))
            if ip.family == socket.AF_INET
            else (ip.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (ip.ip, endpoint.port, 0, 0))
            for ip in ips
        ]
        try:
            return await aiohappyeyeballs.start_connection(infos, happy_eyeballs_delay=ATTEMPT_DELAY, interleave=1)
        except OSError as error:
            raise failure_of(error, trace) from error
