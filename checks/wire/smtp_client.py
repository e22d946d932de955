"""aiosmtplib's client on a socket that is connected already, with a reader of replies of our own.

The reader is by hand because the library parses a reply anew from its start with every segment that arrives: 5,461 short
lines in as many segments cost 6.6 s of CPU before its bound of 32 kB ends that, and every other probe waits meanwhile. It
also takes whatever `int()` takes for a code (` 25`, `+12`), reads the last code where lines disagree, and drops without a
word what stands behind the reply to STARTTLS, which is where an injected answer would be found (CVE-2011-0411).

Here every byte is looked at once, a reply has its bounds, and nonsense is called nonsense. All else is the library's own:
commands, what their replies mean, EHLO, the change to TLS.
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from typing import cast

import aiosmtplib
from aiosmtplib.protocol import SMTPProtocol

# The longest known replies (EHLO with all its extensions, banners with a legal notice) have about thirty.
MAX_LINES = 256
# RFC 5321, section 4.5.3.1.5, has 512 for one line, but servers send longer ones. This is aiosmtplib's bound for a reply.
MAX_BYTES = 32 * 1024
# RFC 5321, section 4.2: three digits, then a dash where the reply goes on, else a space or the end of the line.
_LINE = re.compile(rb"([2-5][0-9]{2})(?:([ -])(.*))?", re.DOTALL)
_READY = 220
_SHOWN = 200  # bytes of nonsense that are kept as evidence


class Reader(SMTPProtocol):
    """Makes replies of the bytes that arrive. What is no reply raises SMTPResponseException with code -1."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Callable[[SMTPProtocol], None]) -> None:
        super().__init__(loop, lost)
        self._unasked = b""  # what came behind the last reply, before we had said anything
        self._begin()

    def _begin(self) -> None:
        self._buffer.clear()  # the beginning of a line
        self._texts: list[bytes] = []
        self._code = b""
        self._size = 0

    def data_received(self, data: bytes) -> None:
        """Take a segment. What nobody asked for is dropped, as the library does: it must not answer the next command."""
        waiter = self._response_waiter
        if waiter is None or waiter.done() or not self._response_pending:
            self._unasked = data
            return
        try:
            reply = self._read(data)
        except aiosmtplib.SMTPResponseException as nonsense:
            self._begin()
            self._set_response_exception(waiter, nonsense)
            return
        if reply is not None:
            self._begin()
            waiter.set_result(reply)

    def _read(self, data: bytes) -> aiosmtplib.SMTPResponse | None:
        """The reply, when its last line is whole."""
        self._size += len(data)
        if self._size > MAX_BYTES:
            raise _nonsense(f"reply of more than {MAX_BYTES} bytes", data)
        whole, end, begun = data.rpartition(b"\n")
        if not end:
            self._buffer += begun
            return None
        lines = bytes(self._buffer + whole).split(b"\n")
        self._buffer[:] = begun
        for number, line in enumerate(lines, start=1):
            found = _LINE.fullmatch(line.rstrip(b"\r"))
            if found is None:
                raise _nonsense("Malformed SMTP response line", line)
            code, more, text = found.groups(b"")
            if self._code and self._code != code:  # RFC 5321, section 4.2.1
                raise _nonsense(f"reply {self._code.decode()} goes on with another code", line)
            self._code = code
            self._texts.append(text.strip(b" \t\r"))
            if len(self._texts) > MAX_LINES:
                raise _nonsense(f"reply of more than {MAX_LINES} lines", line)
            if more != b"-":
                self._unasked = b"\n".join([*lines[number:], begun])
                return aiosmtplib.SMTPResponse(int(code), b"\n".join(self._texts).decode("utf-8", "surrogateescape"))
        return None

    async def read_response(self, timeout: float | None = None) -> aiosmtplib.SMTPResponse:  # noqa: ASYNC109 - the library's signature
        """The reply. After a 220 it is our turn to speak; what came behind it was sent too early, or was put there."""
        reply = await super().read_response(timeout)
        if reply.code == _READY and self._unasked:
            raise _nonsense("unasked text behind the 220", self._unasked)
        return reply


class Client(aiosmtplib.SMTP):
    """The library's client, made for one connected socket, which it owns from `connect()` on.

    It has no time limits of its own (one deadline per run, and run_check holds it), and it ends by cutting off: a
    graceful end waits up to 30 s for a peer that ignores close_notify.
    """

    def __init__(
        self, sock: socket.socket, *, host: str, context: ssl.SSLContext, implicit: bool, ehlo_name: str
    ) -> None:
        super().__init__(
            sock=sock,
            hostname=host,
            use_tls=implicit,
            start_tls=False,
            tls_context=context,
            local_hostname=ehlo_name,
            timeout=None,
        )

    async def _create_connection(self, timeout: float | None) -> aiosmtplib.SMTPResponse:  # noqa: ASYNC109 - the library's signature
        loop = asyncio.get_running_loop()
        reader = Reader(loop, self._on_connection_lost)
        self.transport, self.protocol = await loop.create_connection(
            lambda: reader,
            sock=self.sock,
            ssl=self.tls_context if self.use_tls else None,
            server_hostname=self.hostname if self.use_tls else None,
        )
        greeting = await reader.read_response(timeout)
        if greeting.code != _READY:
            raise aiosmtplib.SMTPConnectResponseError(greeting.code, greeting.message)
        return greeting

    def close(self) -> None:
        """Cut the connection off."""
        if self.transport is not None:
            cast("asyncio.WriteTransport", self.transport).abort()  # uvloop's transports are none of asyncio's classes
        super().close()


def _nonsense(what: str, said: bytes) -> aiosmtplib.SMTPResponseException:
    code = aiosmtplib.SMTPStatus.invalid_response.value
    return aiosmtplib.SMTPResponseException(code, f"{what}: {said[:_SHOWN].decode('utf-8', 'surrogateescape')}")
