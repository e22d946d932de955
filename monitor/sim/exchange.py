"""Exchange Online's SMTP submission: the dialogue on the port, command by command.

The dialogue was written after a transcript of smtp.office365.com of November 2025: its banner with the session id, its
two EHLO lists, its acceptance of any MAIL and RCPT. Who may log on and what is taken is decided in `submission`.

Every reply goes through `Session._say` with the phase it belongs to; that is the one place where faults bite. Not
rebuilt: the delay beyond 30 messages a minute, DSN handling, and the limit of failed AUTHs, which nobody knows.
"""

from __future__ import annotations

import asyncio
import base64
import re
from typing import TYPE_CHECKING

from monitor.sim.fault_settings import SmtpReply
from monitor.sim.submission import (
    AUTH_OK,
    BASIC_DISABLED,
    MALFORMED,
    Envelope,
    LogOn,
    log_on,
    read_xoauth2,
    submit,
)
from monitor.sim.wire import Gone, TooLong, misbehave

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable

    from monitor.sim.tokens import Mint
    from monitor.sim.wire import Wire
    from monitor.sim.world import World

SERVER = "smtp"
SIZE = 157_286_400  # as advertised by smtp.office365.com
RECIPIENTS = 1000  # per message, the largest an organisation can set; Microsoft, "Exchange Online limits"
LINE_LIMIT = 12_288  # of an AUTH line (RFC 4954, 4.5.3.1); tokens make them long
IDLE_S = 300.0  # the least a server must wait for a command (RFC 5321, 4.5.3.2.7); Exchange's own value is unknown

_MAIL = re.compile(rb"FROM:\s*<([^<>\s]*)>(?: .*)?", re.IGNORECASE)
_RCPT = re.compile(rb"TO:\s*<([^<>\s]+)>(?: .*)?", re.IGNORECASE)
_GMAIL_CHALLENGE = b'{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}'


class Exchange:
    """The SMTP server: hands every connection to a session."""

    def __init__(self, world: World, mint: Mint, context: Callable[[], ssl.SSLContext]) -> None:
        self.world = world
        self.mint = mint
        self.context = context

    async def serve(self, wire: Wire, sock: socket.socket) -> None:
        """One connection, from the banner to its end."""
        await wire.open(sock)
        await Session(self, wire).run()


class Session:
    """One SMTP session."""

    def __init__(self, exchange: Exchange, wire: Wire) -> None:
        self._exchange = exchange
        self._world = exchange.world
        self._wire = wire
        site = self._world.rng.choice(("AM0PR10CA0012.EURPRD10", "SY5P282CA0097.AUSP282", "FR4P281CA0123.DEUP281"))
        self._host = f"{site}.PROD.OUTLOOK.COM"
        self._id = f"{self._world.rng.getrandbits(64):016X}"
        self._greeted = False
        self._secure = False
        self._named: str | None = None
        self._who: LogOn | None = None
        self._sender: str | None = None
        self._recipients: list[str] = []
        self._chunks = bytearray()
        self._commands: dict[bytes, Callable[[bytes], Awaitable[None]]] = {
            b"EHLO": self._ehlo,
            b"HELO": self._helo,
            b"STARTTLS": self._starttls,
            b"AUTH": self._auth,
            b"MAIL": self._mail,
            b"RCPT": self._rcpt,
            b"DATA": self._data,
            b"BDAT": self._bdat,
            b"RSET": self._rset,
            b"NOOP": self._noop,
            b"QUIT": self._quit,
        }

    async def run(self) -> None:
        """Greet, then obey until one side leaves (`Gone`)."""
        moment = f"{self._world.now():%a, %d %b %Y %H:%M:%S} +0000"
        try:
            await self._say("banner", f"220 {self._host} Microsoft ESMTP MAIL Service ready at {moment} [{self._id}]")
            while True:
                await self._obey(await self._line())
        except TooLong:
            await self._refuse("", "500 5.5.2 Syntax error, line too long")
        except TimeoutError:
            await self._refuse("", "451 4.7.0 Timeout waiting for client input")
        finally:
            self._log_off()

    async def _obey(self, line: bytes) -> None:
        verb, _, argument = line.partition(b" ")
        command = self._commands.get(verb.upper())
        if command is None:
            await self._refuse("", "500 5.3.3 Unrecognized command")
        else:
            await command(argument.strip())

    async def _line(self) -> bytes:
        async with asyncio.timeout(IDLE_S):
            return await self._wire.line(LINE_LIMIT)

    async def _say(self, phase: str, reply: str) -> bool:
        """Reply, or do what a fault of this phase wants instead. False: the client was told something else."""
        proper = f"{reply}\r\n".encode()
        fault = self._world.wire_fault(SERVER, phase, self._named) if phase else None
        if fault is None:
            await self._wire.send(proper)
            return True
        return await misbehave(self._wire, fault, proper)

    async def _refuse(self, phase: str, reply: str) -> bool:
        """Reply with the trailer that real refusals carry: host, time, session id."""
        moment = self._world.now()
        stamp = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
        return await self._say(phase, f"{reply} [{self._host} {stamp} {self._id}]")

    async def _ehlo(self, argument: bytes) -> None:
        if not argument:
            await self._refuse("", "501 5.5.4 Invalid domain name")
            return
        offered = ["SIZE 157286400", "PIPELINING", "DSN", "ENHANCEDSTATUSCODES"]
        if self._secure:
            xoauth2 = not self._world.has_wire_fault(SERVER, "no_xoauth2")
            offered.append("AUTH LOGIN XOAUTH2" if xoauth2 else "AUTH LOGIN")
        elif not self._world.has_wire_fault(SERVER, "no_starttls"):
            offered.append("STARTTLS")
        lines = [f"{self._host} Hello [{self._wire.peer}]", *offered, "8BITMIME", "BINARYMIME", "CHUNKING", "SMTPUTF8"]
        reply = "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"])
        if await self._say("ehlo2" if self._secure else "ehlo", reply):
            self._greeted = True
            self._forget()

    async def _helo(self, _: bytes) -> None:
        if await self._say("ehlo2" if self._secure else "ehlo", f"250 {self._host} Hello [{self._wire.peer}]"):
            self._greeted = True
            self._forget()

    async def _starttls(self, _: bytes) -> None:
        if self._secure or self._world.has_wire_fault(SERVER, "no_starttls"):
            await self._refuse("starttls", "500 5.3.3 Unrecognized command")
            return
        if not await self._say("starttls", "220 2.0.0 SMTP server ready"):
            return
        fault = self._world.wire_fault(SERVER, "tls")
        if fault is not None:
            await misbehave(self._wire, fault, b"")
            raise Gone
        await self._wire.start_tls(self._exchange.context())
        self._secure = True
        self._greeted = False  # what was said in clear text counts no more (RFC 3207, 4.2)

    async def _auth(self, argument: bytes) -> None:
        mechanism, _, initial = argument.partition(b" ")
        if not self._secure or not self._greeted:
            await self._refuse("auth", "503 5.5.2 Send hello first")
        elif self._who is not None:
            await self._refuse("auth", "503 5.5.1 Already authenticated")
        elif mechanism.upper() == b"XOAUTH2" and not self._world.has_wire_fault(SERVER, "no_xoauth2"):
            await self._auth_xoauth2(initial.strip())
        elif mechanism.upper() == b"LOGIN":
            await self._auth_login(initial.strip())
        else:
            await self._refuse("auth", "504 5.7.4 Unrecognized authentication type")

    async def _auth_xoauth2(self, encoded: bytes) -> None:
        if not encoded:
            encoded = await self._ask(b"")
        if encoded == b"*":
            await self._refuse("auth", "501 5.7.0 Authentication aborted")
            return
        bearer = read_xoauth2(encoded)
        if bearer is None:
            await self._refuse("auth", MALFORMED)
            return
        self._name(bearer.user)
        outcome = log_on(self._world, self._exchange.mint, bearer)
        if isinstance(outcome, LogOn):
            if await self._say("auth", AUTH_OK):
                self._who = outcome
                traffic = self._world.traffic_of(outcome.mailbox.address)
                traffic.auth_accepted += 1
                traffic.logged_on.append(self)
            return
        if self._named is not None:
            self._world.traffic_of(self._named).auth_refused += 1
        if self._world.has_wire_fault(SERVER, "gmail_challenge"):
            await self._ask(_GMAIL_CHALLENGE)
        await self._refuse("auth", outcome)

    async def _auth_login(self, user: bytes) -> None:
        """The old mechanism: still offered, always refused."""
        if not user:
            await self._ask(b"Username:")
        await self._ask(b"Password:")
        await self._refuse("auth", BASIC_DISABLED)

    async def _ask(self, challenge: bytes) -> bytes:
        await self._wire.send(b"334 " + base64.b64encode(challenge) + b"\r\n")
        return await self._line()

    async def _mail(self, argument: bytes) -> None:
        if not self._secure:
            await self._refuse("mail", "451 5.7.3 STARTTLS is required to send mail")
        elif self._who is None:
            await self._refuse("mail", "530 5.7.57 Client not authenticated to send mail.")
        elif self._sender is not None:
            await self._refuse("mail", "503 5.5.2 Sender already specified")
        elif (found := _MAIL.fullmatch(argument)) is None:
            await self._refuse("mail", "501 5.1.7 Invalid address")
        elif await self._say("mail", "250 2.1.0 Sender OK"):
            self._sender = found[1].decode("utf-8", "replace")

    async def _rcpt(self, argument: bytes) -> None:
        if self._sender is None:
            await self._refuse("rcpt", "503 5.5.2 Need mail command")
        elif (found := _RCPT.fullmatch(argument)) is None:
            await self._refuse("rcpt", "501 5.1.3 Invalid address")
        elif len(self._recipients) >= RECIPIENTS:
            await self._refuse("rcpt", "452 4.5.3 Too many recipients")
        elif await self._say("rcpt", "250 2.1.5 Recipient OK"):
            self._recipients.append(found[1].decode("utf-8", "replace"))

    async def _data(self, _: bytes) -> None:
        if not self._recipients:
            await self._refuse("data", "503 5.5.2 Need rcpt command")
            return
        if not await self._say("data", "354 Start mail input; end with <CRLF>.<CRLF>"):
            return
        async with asyncio.timeout(IDLE_S):
            content = await self._wire.mail_data(SIZE)
        await self._accept(content)

    async def _bdat(self, argument: bytes) -> None:
        """A chunk of a message (RFC 3030, 2); offered by CHUNKING."""
        size, _, last = argument.partition(b" ")
        if not size.isdigit() or len(size) > len(str(SIZE)) or last.upper() not in {b"", b"LAST"}:
            await self._refuse("data", "501 5.5.4 Invalid arguments")
            raise Gone  # the length of what follows is unknown
        async with asyncio.timeout(IDLE_S):
            chunk = await self._wire.exactly(int(size), SIZE + 1)
        if not self._recipients:
            await self._refuse("data", "503 5.5.2 Need rcpt command")
            return
        self._chunks += chunk[: SIZE + 1 - len(self._chunks)]
        if last:
            await self._accept(bytes(self._chunks) if len(self._chunks) <= SIZE else None)
        else:
            await self._say("data", f"250 2.0.0 CHUNK received OK, {len(chunk)} octets")

    async def _accept(self, content: bytes | None) -> None:
        """Answer a whole message. A literal reply by a fault means that it was never taken; a lost reply does not."""
        who, sender, recipients = self._who, self._sender, tuple(self._recipients)
        self._forget()
        if content is None:
            await self._refuse("accept", "552 5.3.4 Message size exceeds fixed maximum message size")
            return
        fault = self._world.wire_fault(SERVER, "accept", self._named)
        if fault is not None and isinstance(fault.settings, SmtpReply):
            await misbehave(self._wire, fault, b"")
            return
        if who is None or sender is None:  # the order of the commands has seen to both
            raise Gone
        host = self._host.lower()
        accepted = f"250 2.0.0 OK <{self._id}.{self._world.rng.getrandbits(32):08x}@{host}> [Hostname={self._host}]"
        reply = submit(self._world, self, who, Envelope(sender, recipients, content), accepted)
        if reply == accepted:
            await self._say("accept", reply)
        else:
            await self._refuse("accept", reply)

    async def _rset(self, _: bytes) -> None:
        self._forget()
        await self._say("", "250 2.0.0 Resetting")

    async def _noop(self, _: bytes) -> None:
        await self._say("", "250 2.0.0 OK")

    async def _quit(self, _: bytes) -> None:
        if await self._say("quit", "221 2.0.0 Service closing transmission channel"):
            raise Gone

    def _forget(self) -> None:
        """Drop the message that was being described."""
        self._sender = None
        self._recipients.clear()
        self._chunks.clear()

    def _name(self, mailbox: str) -> None:
        """Count this session for the mailbox that it names, once; what does not exist has no counters."""
        if self._named != mailbox and self._world.mailbox(mailbox) is not None:
            self._log_off()
            self._named = mailbox
            self._world.traffic_of(mailbox).opened()

    def _log_off(self) -> None:
        if self._named is not None:
            traffic = self._world.traffic_of(self._named)
            traffic.open -= 1
            if self in traffic.logged_on:
                traffic.logged_on.remove(self)
            self._named = None
