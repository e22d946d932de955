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
ACCEPT_PAUSE_S = 0.1


class Door:
    """Accepts connections on loopback and serves each in a task of its own, which ends with the door.

    `serve` gets a socket from which nothing was read, so that it can begin with a TLS handshake or without (uvloop
    reads from a connection as soon as it has a transport, paused or not), and a wire to open on it. It leaves quietly
    by `Gone`. While the door is shut, the port number stays bound without listening: clients are refused, and the
    system gives it to no outgoing connection.
    """

    def __init__(self, serve: Callable[[Wire, socket.socket], Awaitable[None]], port: int = 0) -> None:
        self._serve = serve
        self._socket = _bound(port)
        self.port: int = self._socket.getsockname()[1]
        self._accepting: asyncio.Task[None] | None = None
        self._sessions: dict[asyncio.Task[None], tuple[Wire, socket.socket]] = {}

    async def open(self) -> None:
        """Listen; nothing happens when it is open."""
        if self._accepting is None:
            self._socket.listen(BACKLOG)
            self._accepting = asyncio.create_task(self._accept())

    async def shut(self) -> None:
        """Refuse connections and reset those that are there; nothing happens when it is shut."""
        if self._accepting is None:
            return
        accepting, self._accepting = self._accepting, None
        await _end([accepting])
        self._socket.close()
        self._socket = _bound(self.port)
        self.drop_connections()
        await _end(list(self._sessions))

    def drop_connections(self) -> None:
        """Reset every open connection; the door stays as it is."""
        for wire, _ in self._sessions.values():
            wire.reset()

    async def close(self) -> None:
        """Give up the port and end everything."""
        await self.shut()
        self._socket.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._socket)
            except OSError:  # no file descriptor is left, or the client left already: others wait in the backlog
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            wire = Wire()
            task = loop.create_task(self._session(wire, sock))
            self._sessions[task] = (wire, sock)
            task.add_done_callback(self._left)

    async def _session(self, wire: Wire, sock: socket.socket) -> None:
        try:
            await self._serve(wire, sock)
        except Gone:
            pass
        finally:
            await wire.close()

    def _left(self, task: asyncio.Task[None]) -> None:
        _, sock = self._sessions.pop(task)
        sock.close()  # where it never came to a transport, which would have closed it
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a session of the simulator failed", exc_info=error)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _bound(port: int) -> socket.socket:
    # asyncio switches Nagle off only where the protocol number is given; answers would be 40 ms late.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.settimeout(0)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((HOST, port))
    except OSError:
        sock.close()
        raise
    return sock
