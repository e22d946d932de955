"""One accepted connection, and the ways in which it can go wrong.

`Wire` is a protocol of its own rather than asyncio's streams for three reasons: what came in before STARTTLS is
dropped by clearing one buffer, another protocol can be served through it without giving up the connection, and bounds
on lines and messages are kept while they arrive.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Any

from monitor.sim.fault_settings import Drip, Nonsense, SmtpReply

if TYPE_CHECKING:
    import ssl

    from monitor.sim.faults import Fault

HIGH_WATER = 256 * 1024  # bytes that may wait unread before the peer is slowed down
HANDSHAKE_TIMEOUT_S = 30.0

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close() sends RST
NONSENSE = {
    "binary": bytes(range(128, 256)) * 4 + b"\x00\xff\r\n",
    "text": b"Lorem ipsum dolor sit amet,\r\nconsectetur adipiscing elit.\r\n",
}
_ENDLESS_CHUNK = b"x" * 16384


class Gone(Exception):  # noqa: N818  a name for what happened, not for a mistake
    """The connection is over: the peer left, or a fault ended it."""


class TooLong(Exception):  # noqa: N818  likewise
    """A line that exceeds its bound. The connection is out of step and must be closed."""


class Wire(asyncio.Protocol):
    """A connection to read lines and bytes from, to send bytes on, and to break."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._buffer = bytearray()
        self._ended = False
        self._lost = asyncio.get_running_loop().create_future()
        self._reading: asyncio.Future[None] | None = None
        self._writing: asyncio.Future[None] | None = None
        self._held = False
        self._doomed = False
        self._delegate: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self._transport = transport
        if self._delegate is not None:
            self._delegate.connection_made(transport)
        if self._doomed:
            reset(transport)

    def data_received(self, data: bytes) -> None:
        """Something came in."""
        if self._delegate is not None:
            self._delegate.data_received(data)
            return
        self._buffer += data
        if len(self._buffer) > HIGH_WATER and not self._held:
            self._held = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> bool:
        """The peer sends no more; nothing is left to be said then."""
        self._ended = True
        if self._delegate is not None:
            self._delegate.eof_received()
        self._wake()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._ended = True
        if self._delegate is not None:
            self._delegate.connection_lost(exc)
        if not self._lost.done():
            self._lost.set_result(None)
        self._wake()
        self._go_on_writing()

    def pause_writing(self) -> None:
        """The peer does not read as fast as it is written to."""
        if self._delegate is not None:
            self._delegate.pause_writing()
        elif self._writing is None:
            self._writing = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """The peer has caught up."""
        if self._delegate is not None:
            self._delegate.resume_writing()
        self._go_on_writing()

    def _go_on_writing(self) -> None:
        if self._writing is not None and not self._writing.done():
            self._writing.set_result(None)
        self._writing = None

    async def open(self, sock: socket.socket) -> None:
        """Begin on an accepted socket, in clear text."""
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self, sock)

    async def open_tls(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        """Begin on an accepted socket, in TLS from the first byte. `Gone` when the handshake fails."""
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self, sock, ssl=context, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
            )
        except OSError as error:  # refused certificates, resets, time-outs: ssl.SSLError is one too
            raise Gone from error
        if self._transport is None:  # the peer left during the handshake without a word, which is not an error there
            raise Gone

    async def serve_tls(self, sock: socket.socket, context: ssl.SSLContext, protocol: asyncio.Protocol) -> None:
        """Serve an accepted socket in TLS by another protocol; returns when the connection is over.

        `Gone` when the handshake fails.
        """
        self._delegate = protocol
        await self.open_tls(sock, context)
        await self._lost

    async def accept_tls(self, sock: socket.socket, context: ssl.SSLContext, fault: Fault | None) -> None:
        """Begin as `open_tls` does, or as a fault of the handshake wants it (`Gone`)."""
        if fault is not None:
            await self.open(sock)
            await misbehave(self, fault, b"")
        await self.open_tls(sock, context)

    @property
    def peer(self) -> str:
        """The peer's address."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if name else "unknown"

    async def line(self, limit: int) -> bytes:
        """The next line without its end (CRLF or a bare LF). `TooLong` beyond the limit, `Gone` at the end."""
        scanned = 0
        while (end := self._buffer.find(b"\n", scanned)) < 0:
            scanned = len(self._buffer)
            if scanned > limit:
                raise TooLong
            await self._more()
        if end > limit:
            raise TooLong
        return self._take(end + 1).rstrip(b"\r\n")

    async def exactly(self, count: int, keep: int) -> bytes:
        """The next bytes; of more than `keep` only the first are kept, the others are read and dropped."""
        kept = bytearray()
        missing = count
        while missing:
            if not self._buffer:
                await self._more()
            part = self._take(min(missing, len(self._buffer)))
            missing -= len(part)
            kept += part[: keep - len(kept)]
        return bytes(kept)

    async def mail_data(self, limit: int) -> bytes | None:
        """A message up to the line with the single dot, its dots unstuffed (RFC 5321, 4.5.2); none beyond the limit.

        Only CRLF counts as the end of a line here: a dot between bare line feeds ends nothing, so that no second
        message can be smuggled into the first.
        """
        data = bytearray(b"\r\n")  # the end of the DATA command's own line: an empty message is a dot at once
        searched, too_long = 0, False
        while (end := data.find(b"\r\n.\r\n", searched)) < 0:
            if len(data) > limit:
                too_long = True
                del data[:-4]
            searched = max(0, len(data) - 4)
            if not self._buffer:
                await self._more()
            data += self._take(len(self._buffer))
        self._buffer[:0] = data[end + 5 :]
        if too_long or end > limit:
            return None
        return bytes(data[: end + 2]).replace(b"\r\n..", b"\r\n.")[2:]

    async def send(self, data: bytes) -> None:
        """Send bytes, waiting while the peer does not read. `Gone` when there is nobody to send to."""
        if self._transport.is_closing():
            raise Gone
        self._transport.write(data)
        if self._writing is not None:
            await self._writing
        if self._ended:
            raise Gone

    async def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on in TLS, as the server. What came in before is dropped, so that nothing is smuggled in (RFC 3207, 5).

        `Gone` when the handshake fails.
        """
        self._buffer.clear()
        plain = self._transport
        try:
            self._transport = await asyncio.get_running_loop().start_tls(
                plain, self, context, server_side=True, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
            )
        except BaseException as error:
            plain.abort()
            self.connection_lost(None)  # before the end of a handshake nobody else would say so
            if isinstance(error, OSError):  # refused certificates, resets, time-outs: ssl.SSLError is one too
                raise Gone from error
            raise
        if self._transport is None:  # the peer left during the handshake
            self._transport = plain
            self.connection_lost(None)
            raise Gone

    def reset(self) -> None:
        """End the connection with a TCP reset; one that is still in its handshake, at its end."""
        self._doomed = True
        if self._transport is not None:
            reset(self._transport)

    async def close(self) -> None:
        """Send what is left and close; returns when the connection is gone, at the latest after a second."""
        if self._transport is None or self._lost.done():
            return
        self._transport.close()
        try:
            async with asyncio.timeout(1.0):
                await asyncio.shield(self._lost)
        except TimeoutError:
            self._transport.abort()

    async def until_gone(self) -> None:
        """Read and drop everything until the peer leaves."""
        while True:
            self._take(len(self._buffer))
            await self._more()

    def _take(self, count: int) -> bytes:
        part = bytes(self._buffer[:count])
        del self._buffer[:count]
        if self._held and len(self._buffer) <= HIGH_WATER:
            self._held = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return part

    async def _more(self) -> None:
        if self._ended:
            raise Gone
        if self._held:  # everything that waits is being looked at: ask for more
            self._held = False
            self._transport.resume_reading()
        self._reading = asyncio.get_running_loop().create_future()
        await self._reading

    def _wake(self) -> None:
        if self._reading is not None and not self._reading.done():
            self._reading.set_result(None)


def reset(transport: Any) -> None:
    """Break a transport's connection with a TCP reset."""
    if not transport.is_closing():
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


async def misbehave(wire: Wire, fault: Fault, proper: bytes) -> bool:
    """Do on a connection what the fault says, in place of sending the proper answer.

    True: the proper answer was given after all, only slowly. False: another answer was given and the dialogue goes
    on. `Gone` where the fault ends it.
    """
    match fault.settings:
        case SmtpReply(reply=reply):
            await wire.send("".join(f"{line}\r\n" for line in reply.splitlines()).encode())
            return False
        case Drip(seconds_per_byte=pause):
            for value in proper:
                await wire.send(bytes((value,)))
                await asyncio.sleep(pause)
            return True
        case Nonsense(kind="endless"):
            while True:
                await wire.send(_ENDLESS_CHUNK)
                await asyncio.sleep(0)
        case Nonsense(kind=kind):
            await wire.send(NONSENSE[kind])
            await wire.close()
    match fault.kind.name:
        case "reset":
            wire.reset()
        case "silent":
            await wire.until_gone()
        case "closed":
            await wire.close()
    raise Gone
