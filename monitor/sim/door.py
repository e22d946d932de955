"""A listening port that can be shut and opened again under the same number, and that owns what comes in."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

from monitor.sim.wire import Gone, Wire

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger(__name__)

HOST = "127.0.0.1"
BACKLOG = 4096  # a thousand clients may knock in one moment


class Door:
    """Accepts connections on loopback and serves each in a task of its own, which ends with the door.

    `serve` gets a connection that is not read from yet, and leaves quietly by `Gone`. While the door is shut, the
    port number stays bound without listening: clients are refused, and the system gives it to no outgoing connection.
    """

    def __init__(self, serve: Callable[[Wire], Awaitable[None]], port: int = 0) -> None:
        self._serve = serve
        self._socket = _bound(port)
        self.port: int = self._socket.getsockname()[1]
        self._server: asyncio.Server | None = None
        self._sessions: dict[asyncio.Task[None], Wire] = {}

    async def open(self) -> None:
        """Listen; nothing happens when it is open."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._protocol, sock=self._socket, backlog=BACKLOG)

    async def shut(self) -> None:
        """Refuse connections and reset those that are there; nothing happens when it is shut."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for wire in self._sessions.values():
            wire.reset()
        await self._end_sessions()
        await server.wait_closed()
        self._socket = _bound(self.port)

    def drop_connections(self) -> None:
        """Reset every open connection; the door stays as it is."""
        for wire in self._sessions.values():
            wire.reset()

    async def close(self) -> None:
        """Give up the port and end everything."""
        await self.shut()
        self._socket.close()

    def _protocol(self) -> Wire:
        return Wire(self._arrived)

    def _arrived(self, wire: Wire) -> None:
        wire.hold()
        task = asyncio.get_running_loop().create_task(self._session(wire))
        self._sessions[task] = wire
        task.add_done_callback(self._left)

    async def _session(self, wire: Wire) -> None:
        try:
            await self._serve(wire)
        except Gone:
            pass
        finally:
            await wire.close()

    def _left(self, task: asyncio.Task[None]) -> None:
        del self._sessions[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a session of the simulator failed", exc_info=error)

    async def _end_sessions(self) -> None:
        tasks = list(self._sessions)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _bound(port: int) -> socket.socket:
    # asyncio switches Nagle off only where the protocol number is given; answers would be 40 ms late.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock
