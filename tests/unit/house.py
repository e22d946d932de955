"""A web server with what stands behind it, and clients for it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from monitor.web.server import serve


class Page:
    """Metrics of which only the format shows."""

    def render(self, openmetrics: bool) -> bytes:  # noqa: FBT001 - the protocol's
        """Which format was asked for."""
        return b"# EOF\n" if openmetrics else b"up 1\n"

    def content_type(self, openmetrics: bool) -> str:  # noqa: FBT001
        """The format's media type."""
        return "application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain; version=0.0.4"


class Long(Page):
    """More than the buffers of two sockets hold."""

    def render(self, openmetrics: bool) -> bytes:  # noqa: ARG002, FBT001
        """A body that a client must read for a while."""
        return b"x" * 50_000_000


@dataclass
class House:
    """A server that serves, and what stands behind it."""

    host: str = ""
    port: int = 0
    lacking: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reloads: int = 0
    at_once: int = 0
    most_at_once: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    clients: list[asyncio.StreamWriter] = field(default_factory=list)

    async def reload(self) -> Sequence[str]:
        """Take as long as the gate is shut."""
        self.reloads += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.set()
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
            self.ended.set()
        return tuple(self.problems)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of one's own, which ends after the server."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self.clients.append(writer)
        return reader, writer

    async def says(self, request: bytes) -> bytes:
        """What is answered to raw bytes until the server closes."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            async with asyncio.timeout(5):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def house(metrics: Page | None = None) -> AsyncIterator[House]:
    """A server on a free port, with the gate of its reload open."""
    behind = House()
    behind.gate.set()
    page = metrics or Page()
    try:
        async with serve(("127.0.0.1", 0), metrics=page, readiness=lambda: behind.lacking, reload=behind.reload) as (
            behind.host,
            behind.port,
        ):
            yield behind
    finally:
        for writer in behind.clients:
            writer.transport.abort()
        await asyncio.sleep(0)


async def ask(
    behind: House, path: str, method: str = "GET", **headers: str
) -> tuple[int, str, aiohttp.typedefs.LooseHeaders]:
    """One request: status, text, headers."""
    async with (
        aiohttp.ClientSession(f"http://{behind.host}:{behind.port}") as session,
        session.request(method, path, headers=headers) as response,
    ):
        return response.status, await response.text(), response.headers
