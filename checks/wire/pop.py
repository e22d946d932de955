"""POP (RFC 1939) as far as a probe needs it, with everything the server said kept as evidence.

In evidence of kind `reply` the code is `-ERR`, the enhanced code its response code without brackets (RFC 2449, section 8:
`SYS/TEMP`, `IN-USE`), and the text all it said.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from checks.core.cloud import Endpoint, Family, TlsMode
from checks.core.kit import AccessToken, Kit
from checks.core.model import Evidence, Kind, Phase, Protocol
from checks.core.secret import Address
from checks.core.trace import Failure, Trace
from checks.wire.lines import Lines, challenge_of, connected, text_of, xoauth2
from checks.wire.mechanisms import named

_POP = Protocol.POP
_OK, _ERR, _QUESTION = b"+OK", b"-ERR", b"+"
_CODE = re.compile(r"\[([A-Za-z0-9/-]{1,32})\]")


class Session:
    """One dialogue, step by step. What is named after a phase is one; every method raises Failure."""

    def __init__(self, lines: Lines, endpoint: Endpoint, trace: Trace) -> None:
        self._lines = lines
        self._endpoint = endpoint
        self._trace = trace
        self._capabilities: dict[str, tuple[str, ...]] = {}

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms that are offered, and USER for the commands USER and PASS."""
        offered = {*self._capabilities.get("SASL", ()), *({"USER"} & self._capabilities.keys())}
        return named(offered)

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The handshake's outcome; None when the connection is closed."""
        return self._lines.tls

    def seen(self) -> None:
        """Record what the endpoint showed of itself."""
        self._lines.seen(self.mechanisms)

    async def greeting(self) -> None:
        """Wait for the server's first word, the phase banner."""
        with self._trace.phase(Phase.BANNER, _POP):
            self._must_be_ok(*await self._answer())

    async def capability(self, wants: str = "") -> None:
        """Ask what is offered (RFC 2449), the phase ehlo; with `wants`, fail unless that is."""
        with self._trace.phase(Phase.EHLO, _POP):
            await self._command(b"CAPA")
            self._capabilities = {}
            while (line := await self._lines.line()) != b".":
                self._lines.heard(line)
                name, *words = text_of(line).upper().split() or [""]
                self._capabilities[name] = tuple(words)
            known = {"starttls": "STLS" in self._capabilities, "xoauth2": "XOAUTH2" in self.mechanisms}
            if wants and not known[wants]:
                text = f"{self._endpoint} does not offer {wants.upper()}"
                raise self._trace.failure(Kind.OBSERVED, text, code=f"{wants}_missing")

    async def starttls(self, context: ssl.SSLContext) -> None:
        """Turn the connection into TLS (RFC 2595): the command is the phase starttls, the handshake the phase tls."""
        with self._trace.phase(Phase.STARTTLS, _POP):
            await self._command(b"STLS")
            self._lines.nothing_more()
        await self._lines.starttls(context)

    async def auth_xoauth2(self, address: Address, token: AccessToken) -> None:
        """AUTH XOAUTH2 in two steps (RFC 5034): a command line has 255 octets at most, less than any token.

        What a refused token is told beforehand is part of the evidence.
        """
        self._trace.redact.learn(token.value)
        challenge = b""
        with self._trace.phase(Phase.AUTH, _POP):
            self._lines.send(b"AUTH XOAUTH2", "AUTH XOAUTH2")
            word, rest = await self._answer(asked=True)
            if word == _QUESTION:
                self._lines.send(xoauth2(address.reveal(), token.value.reveal()), "***")
                word, rest = await self._answer(asked=True)
            if word == _QUESTION:
                challenge = rest
                self._trace.line("S", f"+ {challenge_of(challenge)}")
                self._lines.send(b"", "")
                word, rest = await self._answer()
            self._must_be_ok(word, rest, challenge=challenge)

    async def open_inbox(self) -> None:
        """Ask how many messages there are, the phase open: only then is the mailbox known to be there."""
        with self._trace.phase(Phase.OPEN, _POP):
            await self._command(b"STAT")

    async def quit(self) -> None:
        """Take leave."""
        with self._trace.phase(Phase.QUIT, _POP):
            await self._command(b"QUIT")

    async def _command(self, words: bytes) -> None:
        self._lines.nothing_more()  # it would be the answer to this
        self._lines.send(words, words.decode())
        self._must_be_ok(*await self._answer())

    async def _answer(self, *, asked: bool = False) -> tuple[bytes, bytes]:
        """`+OK`, `-ERR` or, where one may come, `+` for a question; and what stands behind it."""
        line = await self._lines.line()
        self._lines.heard(line)
        word, _, rest = line.partition(b" ")
        if word not in {_OK, _ERR} and not (asked and word == _QUESTION):
            raise self._lines.nonsense("no POP answer", line)
        return word, rest

    def _must_be_ok(self, word: bytes, rest: bytes, *, challenge: bytes = b"") -> None:
        if word == _OK:
            return
        phase, protocol = self._trace.where
        text = text_of(rest)
        found = _CODE.match(text)
        raise Failure(
            Evidence(
                protocol=protocol,
                phase=phase,
                kind=Kind.REPLY,
                code=word.decode(),
                enhanced_code=self._trace.redact(found[1].upper()) if found else None,
                text=self._trace.redact(f"{text}; challenge {challenge_of(challenge)}" if challenge else text),
            )
        )


@asynccontextmanager
async def session(
    endpoint: Endpoint,
    trace: Trace,
    kit: Kit,
    *,
    family: Family = Family.ANY,
    ip: str = "",
    wants: str = "xoauth2",
) -> AsyncIterator[Session]:
    """A session over verified TLS, greeted, with `wants` on offer. It is cut off at the end, whatever happened.

    `family` and `ip` say by which way, as in `connect`. An empty `wants` takes whatever is offered.
    """
    async with connected(endpoint, trace, kit, _POP, family=family, ip=ip) as (lines, context):
        dialogue = Session(lines, endpoint, trace)
        await dialogue.greeting()
        if endpoint.tls is TlsMode.STARTTLS:
            await dialogue.capability(wants="starttls")
            await dialogue.starttls(context)
        await dialogue.capability(wants=wants)
        dialogue.seen()
        yield dialogue
