"""A connection of lines, for IMAP and POP: bounded, cheap to a hostile server, and cut off at the end.

By hand, because the libraries there are lose what matters here: aioimaplib never answers the challenge that precedes a
refused token, so that the refusal ends in its timeout and the server's words are gone, it does not notice a connection
that closes in the middle of a command, and none of them takes a socket that is connected already.

Every byte is looked at once, a line, a literal and an answer have their bounds, and reading stops while nobody asks. There
are no time limits here: one deadline per run, and run_check holds it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from checks.core.cloud import Endpoint, Family, TlsMode
from checks.core.kit import Kit
from checks.core.model import EndpointSeen, Kind, Phase, Protocol
from checks.core.trace import Failure, Trace
from checks.wire.faults import context_of, failure_of
from checks.wire.net import connect

# RFC 2683, section 3.2.1.5, and RFC 5034 have less, but an answer to SEARCH is one line: 5,000 numbers of 32 bits and the
# blanks between them are 55,000 bytes.
MAX_LINE = 64 * 1024
# What of a literal is kept: the few header fields that are asked for have about 400 bytes.
MAX_KEPT = 8 * 1024
# A literal beyond that is no header: Exchange Online takes 256 kB of header fields at most ("Exchange Online limits").
MAX_LITERAL = 1024 * 1024
# What is kept of one answer. A line counts for more than it holds, so that empty ones come to an end too: this many bytes
# are some 3,000 folders.
MAX_ANSWER = 512 * 1024
_LINE_COSTS = 64
# Reading pauses above this. It is more than any line, so that a line can always become whole.
_HIGH_WATER = 2 * MAX_LINE
# asyncio gives up a handshake after 60 s by itself, in words that sound like a reset: longer than any deadline of a run.
_HANDSHAKE_SECONDS = 3600.0
_SHOWN = 200  # bytes of nonsense that are kept as evidence


class Lines(asyncio.Protocol):
    """One connection. Every method that reads raises Failure, in the phase that is under way."""

    def __init__(self, endpoint: Endpoint, trace: Trace, protocol: Protocol) -> None:
        self._endpoint = endpoint
        self._trace = trace
        self._protocol = protocol
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._looked = 0
        self._left = MAX_ANSWER
        self._paused = False
        self._ended: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands; uvloop's transports are none of asyncio's classes."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Keep a segment until somebody asks for it."""
        self._buffer += data
        if len(self._buffer) > _HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """The other side says no more."""
        self._ended = self._ended or EOFError("connection closed")
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone; whole lines that came before are still read."""
        self._ended = self._ended or exc or EOFError("connection closed")
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _more(self) -> None:
        """Wait until there is more than was there before."""
        if self._ended is not None:
            raise failure_of(self._ended, self._trace) from self._ended
        self._waiter = asyncio.get_running_loop().create_future()
        if self._paused and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        await self._waiter

    def send(self, line: bytes, shown: str) -> None:
        """Send a line, which begins an answer; `shown` is what the transcript has of it."""
        self._left = MAX_ANSWER
        self._trace.line("C", shown)
        if self._transport is not None:
            self._transport.write(line + b"\r\n")

    def heard(self, line: bytes) -> None:
        """Put a line of the server's into the transcript."""
        self._trace.line("S", text_of(line))

    async def line(self) -> bytes:
        """The next line, without its end."""
        while (end := self._buffer.find(b"\n", self._looked)) < 0:
            self._looked = len(self._buffer)
            if self._looked > MAX_LINE:
                raise self.nonsense(f"line of more than {MAX_LINE} bytes", self._buffer)
            await self._more()
        if end > MAX_LINE:
            raise self.nonsense(f"line of more than {MAX_LINE} bytes", self._buffer)
        line = self._take(end + 1)
        self._spend(len(line) + _LINE_COSTS)
        return line.removesuffix(b"\n").removesuffix(b"\r")

    async def literal(self, size: int) -> bytes:
        """The next `size` bytes; of a long literal its first `MAX_KEPT`, the rest is dropped as it comes."""
        if size > MAX_LITERAL:
            raise self.nonsense(f"literal of more than {MAX_LITERAL} bytes", str(size).encode())
        kept = await self._exactly(min(size, MAX_KEPT))
        left = size - len(kept)
        while left:
            left -= len(self._take(min(left, MAX_LINE))) if self._buffer else 0
            if left and not self._buffer:
                await self._more()
        self._spend(len(kept))
        return kept

    async def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]  # moves the beginning, not the bytes behind it
        self._looked = 0
        return taken

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:  # what it is made of stays out: names of folders are nobody's business
            raise self._trace.failure(Kind.NONSENSE, f"answer of more than {MAX_ANSWER} bytes")

    def nothing_more(self) -> None:
        """It is our turn to speak: in clear text behind a go-ahead for TLS, more was put there (CVE-2011-0411)."""
        if self._buffer:
            raise self.nonsense("unasked text", self._buffer)

    def nonsense(self, what: str, said: bytes | bytearray) -> Failure:
        """What the server said is against the protocol."""
        return self._trace.failure(Kind.NONSENSE, f"{what}: {text_of(bytes(said[:_SHOWN]))}")

    async def starttls(self, context: ssl.SSLContext) -> None:
        """Turn the connection into TLS, at once after `nothing_more`: no segment can come in between."""
        with self._trace.phase(Phase.TLS, self._protocol):
            if self._ended is not None or self._transport is None:
                lost = self._ended or EOFError("connection closed")
                raise failure_of(lost, self._trace) from lost
            try:
                secured = await asyncio.get_running_loop().start_tls(
                    self._transport,
                    self,
                    context,
                    server_hostname=self._endpoint.host,
                    ssl_handshake_timeout=_HANDSHAKE_SECONDS,
                )
            except (OSError, EOFError) as error:
                raise failure_of(error, self._trace) from error
            if secured is None:
                raise self._trace.failure(Kind.CLOSED, "connection closed")
            self._transport = secured

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The handshake's outcome; None in clear text and when the connection is closed."""
        return self._transport.get_extra_info("ssl_object") if self._transport is not None else None

    def seen(self, mechanisms: tuple[str, ...]) -> None:
        """Record what the endpoint showed of itself."""
        tls, peer = self.tls, self._transport.get_extra_info("peername") if self._transport is not None else None
        if tls is None:  # closed since the last answer: the next command will say so
            return
        self._trace.learn(
            EndpointSeen(
                endpoint=str(self._endpoint),
                ip=peer[0] if peer else "",
                tls_version=tls.version() or "",
                cipher=(tls.cipher() or ("",))[0],
                auth_mechanisms=mechanisms,
            )
        )

    @property
    def lost(self) -> bool:
        """Whether the other side has gone: it takes no more commands."""
        return self._ended is not None

    def abort(self) -> None:
        """Cut the connection off: a graceful end waits for a peer that may ignore it."""
        if self._transport is not None:
            self._transport.abort()


@asynccontextmanager
async def connected(
    endpoint: Endpoint, trace: Trace, kit: Kit, protocol: Protocol, *, family: Family = Family.ANY, ip: str = ""
) -> AsyncIterator[tuple[Lines, ssl.SSLContext]]:
    """A connection before its greeting, in TLS already where that is implicit, and the context for STARTTLS.

    `family` and `ip` say by which way, as in `connect`. It is cut off at the end, whatever happened.
    """
    context = context_of(endpoint.ca_file, kit, trace, protocol)
    sock = await connect(endpoint, kit.resolver, trace, protocol, family=family, ip=ip)
    lines = Lines(endpoint, trace, protocol)
    try:
        if endpoint.tls is TlsMode.IMPLICIT:
            with trace.phase(Phase.TLS, protocol):
                await _attach(lines, sock, trace, context, endpoint.host)
        else:
            await _attach(lines, sock, trace)
        yield lines, context
    finally:
        lines.abort()
        sock.close()  # where it never came to a transport, which would have closed it


async def _attach(
    lines: Lines, sock: socket.socket, trace: Trace, context: ssl.SSLContext | None = None, host: str | None = None
) -> None:
    try:
        await asyncio.get_running_loop().create_connection(
            lambda: lines,
            sock=sock,
            ssl=context,
            server_hostname=host,
            ssl_handshake_timeout=None if context is None else _HANDSHAKE_SECONDS,
        )
    except (OSError, EOFError) as error:
        raise failure_of(error, trace) from error


def text_of(said: bytes) -> str:
    """Foreign bytes as text; what is no UTF-8 stays as lone surrogates, which the redactor replaces."""
    return said.decode("utf-8", "surrogateescape")


def xoauth2(address: str, token: str) -> bytes:
    """The response of the mechanism XOAUTH2, in base64 (Microsoft: "Authenticate an IMAP, POP or SMTP connection")."""
    return base64.b64encode(f"user={address}\x01auth=Bearer {token}\x01\x01".encode())


def challenge_of(said: bytes) -> str:
    """The JSON inside a challenge, or the text itself where it is no base64."""
    try:
        return base64.b64decode(said, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return text_of(said)
