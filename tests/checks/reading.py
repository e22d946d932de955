"""A server for IMAP and POP that says what a test tells it to, and the checks aimed at it, without any other service."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import struct
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import trustme

from checks.core.clock import SystemClock
from checks.core.cloud import Cloud, Endpoint, TlsMode
from checks.core.kit import AccessToken, Kit
from checks.core.material import ClientSecret
from checks.core.run import run_check
from checks.core.secret import Address, Secret
from checks.core.target import App, Credential, Inbox, Mailbox, Tenant
from checks.registry import CHECKS
from checks.wire.kit import open_kit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping
    from pathlib import Path

    from checks.core.model import Result
    from checks.core.trace import Trace

ADDRESS = "ops@contoso.example"
TOKEN = "eyJ0eXAiOiJKV1Qi.eyJhdWQiOiJ0ZXN0.c2lnbmF0dXJl"


class Do(Enum):
    """What a server may do instead of an answer."""

    HANG_UP = "closed"
    RESET = "reset"
    FALL_SILENT = "silent"


# For each command what is written, segment by segment; `%t` stands for the client's tag. A function is told the line.
Reply = bytes | list[bytes | Do] | Do
Script = dict[str, "Reply | Callable[[bytes], Reply]"]

IMAP: Script = {
    "": b"* OK Microsoft Exchange IMAP4 service ready.\r\n",
    "CAPABILITY": b"* CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2 UIDPLUS\r\n%t OK CAPABILITY completed.\r\n",
    "AUTHENTICATE": b"%t OK AUTHENTICATE completed.\r\n",
    "LOGIN": b"%t OK LOGIN completed.\r\n",
    "EXAMINE": b"* 2 EXISTS\r\n* 0 RECENT\r\n%t OK [READ-ONLY] EXAMINE completed.\r\n",
    "SELECT": b"* 2 EXISTS\r\n* OK [UIDVALIDITY 14] UIDVALIDITY value\r\n%t OK [READ-WRITE] SELECT completed.\r\n",
    "LIST": b'* LIST (\\HasNoChildren) "/" INBOX\r\n* LIST (\\HasNoChildren) "/" Sent\r\n%t OK LIST completed.\r\n',
    "UID SEARCH": b"* SEARCH\r\n%t OK SEARCH completed.\r\n",
    "UID FETCH": b"%t OK FETCH completed.\r\n",
    "UID STORE": b"%t OK STORE completed.\r\n",
    "UID EXPUNGE": b"%t OK EXPUNGE completed.\r\n",
    "LOGOUT": b"* BYE Microsoft Exchange Server IMAP4 server signing off.\r\n%t OK LOGOUT completed.\r\n",
}
POP: Script = {
    "": b"+OK The Microsoft Exchange POP3 service is ready.\r\n",
    "CAPA": b"+OK\r\nTOP\r\nUIDL\r\nSASL XOAUTH2\r\n.\r\n",
    "AUTH": b"+ \r\n",
    "token": b"+OK User successfully authenticated.\r\n",
    "STAT": b"+OK 2 200\r\n",
    "QUIT": b"+OK Microsoft Exchange Server POP3 server signing off.\r\n",
}


@dataclass
class Server:
    """A scripted server and what it was told."""

    script: Mapping[str, Reply | Callable[[bytes], Reply]]
    tls: ssl.SSLContext
    port: int = 0
    said: list[bytes] = field(default_factory=list)

    @property
    def commands(self) -> list[str]:
        """What the client said, without tags."""
        return [line.partition(b" ")[2].decode() for line in self.said]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Play the script until the client has gone."""
        with suppress(OSError, asyncio.IncompleteReadError):
            await self._say("", b"", reader, writer)
            while line := (await reader.readline()).rstrip(b"\r\n"):
                self.said.append(line)
                tag, _, rest = line.partition(b" ")
                words = (rest or line if b" " in line and b"A" == tag[:1] and tag[1:].isdigit() else line).split(b" ")
                two, one = b" ".join(words[:2]).decode(errors="replace"), words[0].decode(errors="replace")
                name = next((name for name in (two, one, "token") if name in self.script), "token")
                await self._say(name, line, reader, writer)
                if name in {"STARTTLS", "STLS"}:
                    await writer.start_tls(self.tls)
                    await asyncio.sleep(0)
        writer.close()

    async def _say(self, name: str, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reply = self.script.get(name, b"%t BAD Command Error. 12\r\n")
        if callable(reply):
            reply = reply(line)
        for part in reply if isinstance(reply, list) else [reply]:
            if part is Do.HANG_UP:
                writer.close()
                raise ConnectionError
            if part is Do.RESET:
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
                raise ConnectionError
            if part is Do.FALL_SILENT:
                await reader.read()
                raise ConnectionError
            assert isinstance(part, bytes)
            writer.write(part.replace(b"%t", line.partition(b" ")[0]))
            await writer.drain()
            await asyncio.sleep(0)


class OneToken:
    """Tokens of an authority that is always well."""

    async def current(self, _: Credential, __: Trace) -> AccessToken:
        """The one token."""
        return AccessToken(value=Secret(TOKEN), lifetime=3600.0, given_at=0.0)

    fresh = current

    def keep_only(self, credentials: frozenset[Credential]) -> None:
        """Nothing to forget."""


@dataclass(frozen=True)
class Desk:
    """Runs checks against scripts."""

    kit: Kit
    tls: ssl.SSLContext
    ca_file: Path

    def endpoint(self, port: int, tls: TlsMode = TlsMode.IMPLICIT) -> Endpoint:
        """Where a script is played."""
        return Endpoint(host="localhost", port=port, tls=tls, ca_file=str(self.ca_file))

    def target(self, check: str, endpoint: Endpoint, password: str | None = None) -> Mailbox | Inbox:
        """What a check is aimed at: a mailbox in a cloud with this server, or an inbox in it."""
        cloud = Cloud(
            name="lab", authority="https://localhost:1", scope="x", smtp=endpoint, imap=endpoint, pop=endpoint
        )
        tenant = Tenant(name="contoso", tenant_id="contoso.example", cloud=cloud)
        owner = Credential(
            app=App(id="app", tenant=tenant, client_id="x"), material=ClientSecret(Secret("client-secret"))
        )
        address = Address(ADDRESS)
        if check != "inbox":
            return Mailbox(id="ops", address=address, credential=owner, endpoint=endpoint)
        if password is not None:
            return Inbox(id="ops", address=address, endpoint=endpoint, password=Secret(password))
        return Inbox(id="ops", address=address, endpoint=endpoint, credential=owner)

    @asynccontextmanager
    async def playing(
        self, script: Mapping[str, Reply | Callable[[bytes], Reply]], tls: TlsMode = TlsMode.IMPLICIT
    ) -> AsyncIterator[Server]:
        """A server that plays a script."""
        server = Server(script, self.tls)
        implicit = self.tls if tls is TlsMode.IMPLICIT else None
        async with await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=implicit) as listening:
            server.port = listening.sockets[0].getsockname()[1]
            yield server

    async def run(
        self,
        check: str,
        script: Mapping[str, Reply | Callable[[bytes], Reply]],
        *,
        tls: TlsMode = TlsMode.IMPLICIT,
        password: str | None = None,
        seconds: float = 10.0,
        **settings: object,
    ) -> tuple[Result, Server]:
        """What a check says of a server that plays this script, and that server."""
        async with self.playing(script, tls) as server:
            target = self.target(check, self.endpoint(server.port, tls), password)
            known = CHECKS[check]
            usual = {"keep_seconds": 0} if check == "inbox" else {}
            result = await run_check(
                known, target, known.settings(**{**usual, **settings}), self.kit, watch=f"{check}/lab", seconds=seconds
            )
            return result, server


@asynccontextmanager
async def open_desk(directory: Path, authority: trustme.CA) -> AsyncIterator[Desk]:
    """A desk with a kit of its own."""
    ca_file = directory / "ca.pem"
    authority.cert_pem.write_to_path(ca_file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    async with open_kit(clock=SystemClock(), seed=1) as real:
        kit = Kit(
            clock=real.clock,
            rng=random.Random(1),  # noqa: S311 - run ids
            resolver=real.resolver,
            tls=real.tls,
            tokens=OneToken(),
            ehlo_name="test.example",
        )
        yield Desk(kit, context, ca_file)
