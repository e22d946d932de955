"""POP: the dialogue of Exchange Online, as far as it takes to see that a mailbox can be opened.

Greeting and capabilities were seen in transcripts of outlook.office365.com (MailKit's issue 1948 of September 2025,
vmime's issue 267), the answers to AUTH stand in Microsoft's "Authenticate an IMAP, POP or SMTP connection using OAuth",
"Server Unavailable. 21" in email-oauth2-proxy's issue 379. A token comes on a line of its own, never with the command.
Not rebuilt: reading and deleting messages.
"""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

from monitor.sim.access import Grant, admit, opened
from monitor.sim.mail import INBOX
from monitor.sim.records import POP_ROLE, POP_SCOPE
from monitor.sim.submission import read_xoauth2
from monitor.sim.wire import Gone, TooLong, misbehave

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable

    from monitor.sim.tokens import Mint
    from monitor.sim.wire import Wire
    from monitor.sim.world import World

SERVER = "pop"
GRANT = Grant(POP_ROLE, POP_SCOPE)
LINE_LIMIT = 12_288  # of the line with the token, as RFC 4954, 4.5.3.1 has it for SMTP; RFC 5034 names none
IDLE_S = 600.0  # the least that a server must wait for a command (RFC 1939, 3)

AUTH_OK = "+OK User successfully authenticated."
AUTH_FAILED = "-ERR Authentication failure: unknown user name or bad password."
UNAVAILABLE = "-ERR Server Unavailable. 21"
WRONG_STATE = "-ERR Command is not valid in this state."
PROTOCOL_ERROR = "-ERR Protocol error."


class Pop:
    """The POP server, with TLS from the first byte: hands every connection to a session."""

    def __init__(self, world: World, mint: Mint, context: Callable[[], ssl.SSLContext]) -> None:
        self.world = world
        self.mint = mint
        self._context = context

    async def serve(self, wire: Wire, sock: socket.socket) -> None:
        """One connection, from the handshake to its end."""
        await wire.accept_tls(sock, self._context(), self.world.wire_fault(SERVER, "tls"))
        await Session(self, wire).run()


class Session:
    """One POP session. The sizes of the messages in the Inbox are there once somebody has logged on."""

    def __init__(self, pop: Pop, wire: Wire) -> None:
        self._world = pop.world
        self._mint = pop.mint
        self._wire = wire
        self._sizes: list[int] | None = None
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "CAPA": self._capa,
            "AUTH": self._auth,
            "STAT": self._stat,
            "LIST": self._list,
            "NOOP": self._noop,
            "QUIT": self._quit,
        }

    async def run(self) -> None:
        """Greet, then obey until one side leaves (`Gone`)."""
        host = base64.b64encode("SIM.EURPRD10.PROD.OUTLOOK.COM".encode("utf-16-le")).decode()
        try:
            await self._say("banner", f"+OK Microsoft Exchange POP3 server ready (tcpproxy/15.20.9137.005). [{host}]")
            while True:
                verb, _, argument = (await self._line()).decode("latin-1").strip().partition(" ")
                run = self._commands.get(verb.upper())
                if run is None:
                    await self._say("", PROTOCOL_ERROR)
                else:
                    await run(argument.strip())
        except TooLong:
            await self._say("", PROTOCOL_ERROR)
        except TimeoutError:
            return

    async def _line(self) -> bytes:
        async with asyncio.timeout(IDLE_S):
            return await self._wire.line(LINE_LIMIT)

    async def _say(self, phase: str, *lines: str) -> bool:
        """Reply, or do what a fault of this phase wants instead. False: the client was told something else."""
        proper = "".join(f"{line}\r\n" for line in lines).encode()
        fault = self._world.wire_fault(SERVER, phase) if phase else None
        if fault is None:
            await self._wire.send(proper)
            return True
        return await misbehave(self._wire, fault, proper)

    @property
    def _knows_xoauth2(self) -> bool:
        return not self._world.has_wire_fault(SERVER, "no_xoauth2")

    async def _capa(self, _: str) -> None:
        mechanisms = ["SASL XOAUTH2"] if self._knows_xoauth2 else []
        await self._say("capability", "+OK", *mechanisms, ".")

    async def _auth(self, argument: str) -> None:
        if self._sizes is not None:
            await self._say("auth", WRONG_STATE)
            return
        if argument.upper() != "XOAUTH2" or not self._knows_xoauth2:
            await self._say("auth", PROTOCOL_ERROR)
            return
        await self._wire.send(b"+ \r\n")
        bearer = read_xoauth2(await self._line())
        visitor = admit(self._world, self._mint, bearer, GRANT) if bearer else None
        mailbox = opened(self._world, visitor) if visitor else None
        if self._world.has_wire_fault(SERVER, "unavailable"):
            await self._say("auth", UNAVAILABLE)
        elif mailbox is None or not mailbox.pop_enabled:
            await self._say("auth", AUTH_FAILED)
        elif await self._say("auth", AUTH_OK):
            store = self._world.store(mailbox.address)
            store.settle(self._world.now())
            self._sizes = [len(message.content) for message in store.folders[INBOX].messages.values()]

    async def _stat(self, _: str) -> None:
        if self._sizes is None:
            await self._say("open", WRONG_STATE)
        else:
            await self._say("open", f"+OK {len(self._sizes)} {sum(self._sizes)}")

    async def _list(self, argument: str) -> None:
        if self._sizes is None:
            await self._say("open", WRONG_STATE)
        elif not argument:
            lines = (f"{number} {size}" for number, size in enumerate(self._sizes, 1))
            await self._say("open", f"+OK {len(self._sizes)} {sum(self._sizes)}", *lines, ".")
        elif argument in {str(number) for number in range(1, len(self._sizes) + 1)}:
            await self._say("open", f"+OK {argument} {self._sizes[int(argument) - 1]}")
        else:
            await self._say("open", "-ERR The specified message is out of range.")

    async def _noop(self, _: str) -> None:
        await self._say("", "+OK")

    async def _quit(self, _: str) -> None:
        if await self._say("quit", "+OK Microsoft Exchange Server POP3 server signing off."):
            raise Gone
