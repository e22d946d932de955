"""Makes the kit and closes it: the only place where the shared things of the checks come to life."""

from __future__ import annotations

import asyncio
import random
import re
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from checks.core.clock import Clock
from checks.core.kit import Kit, Network, Resolver
from checks.wire.bridge import tracing
from checks.wire.entra import Authority
from checks.wire.net import PooledResolver, of_family
from checks.wire.tls import Contexts

# Threads wait, they do not compute: enough for that many hung token requests at one time.
TOKEN_THREADS = 16


class _HttpResolver(AbstractResolver):
    """Lets aiohttp use the resolver that the mail probes use."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        wanted = self._resolver.network.family
        found = of_family(await self._resolver.resolve(host), wanted)
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, f"no {wanted} address")
        return [
            ResolveResult(hostname=host, host=ip.ip, port=port, family=ip.family, proto=0, flags=socket.AI_NUMERICHOST)
            for ip in found
            if family in {socket.AF_UNSPEC, ip.family}
        ]

    async def close(self) -> None:
        """Nothing of its own to close."""


def default_ehlo_name() -> str:
    """This host's name where it may stand in EHLO (RFC 5321, section 4.1.1.1), else an address literal."""
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", name) else "[127.0.0.1]"


@asynccontextmanager
async def open_kit(*, clock: Clock, network: Network | None = None, seed: int | None = None) -> AsyncIterator[Kit]:
    """A kit for as many runs as wanted. At the end nothing of it is left, but daemon threads of look-ups that hang."""
    tokens = ThreadPoolExecutor(TOKEN_THREADS, "mailcanary-token")
    network = network or Network()
    resolver = PooledResolver(clock, network)
    contexts = Contexts()
    # No cookies: Entra's loop detection follows them ("Reference: breaking changes", AADSTS50196).
    connector = aiohttp.TCPConnector(resolver=_HttpResolver(resolver), use_dns_cache=False, limit=TOKEN_THREADS)
    session: Any = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        trace_configs=[tracing()],
        trust_env=False,
    )
    try:
        yield Kit(
            clock=clock,
            rng=random.Random(seed),  # noqa: S311 - run ids and jitter, no secrets
            resolver=resolver,
            tls=contexts,
            tokens=Authority(session, contexts, tokens, clock, proxy=network.proxy),
            ehlo_name=network.ehlo_name or default_ehlo_name(),
        )
    finally:
        await session.close()
        await asyncio.sleep(0)  # aiohttp closes its transports in the loop's next pass
        tokens.shutdown(wait=False, cancel_futures=True)
        await resolver.close()
