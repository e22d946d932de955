"""IMAP (RFC 3501) as far as a probe needs it, with everything the server said kept as evidence.

In evidence of kind `reply` the code is the server's status (`NO`, `BAD`, `BYE`), the enhanced code its response code
without brackets (RFC 5530: `AUTHENTICATIONFAILED`, `UNAVAILABLE`), and the text all it said. No greeting is compared with
anything: Exchange Online changed its own.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from checks.core.cloud import Endpoint, Family, TlsMode
from checks.core.kit import AccessToken, Kit
from checks.core.model import Evidence, Kind, Phase, Protocol
from checks.core.secret import Address, Secret
from checks.core.trace import Failure, Trace
from checks.wire.imap_answers import Answer, Data, NotImapError, Status, literal_at_end, status_of
from checks.wire.lines import Lines, challenge_of, connected, text_of, xoauth2
from checks.wire.mechanisms import named

_IMAP = Protocol.IMAP
# RFC 2683, section 3.2.1.5: a server should take lines of 8,000 octets. Dovecot closes the connection for 10,000 (seen), so
# a longer initial response (RFC 4959) goes into the answer to an empty challenge instead.
MAX_COMMAND = 8000
_LOST = {Kind.CLOSED, Kind.RESET}


class Session:
    """One dialogue, step by step. What is named after a phase is one; every method raises Failure."""

    def __init__(self, lines: Lines, endpoint: Endpoint, trace: Trace) -> None:
        self._lines = lines
        self._endpoint = endpoint
        self._trace = trace
        self._count = 0
        self._bye: Status | None = None
        self.capabilities: frozenset[str] = frozenset()

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The SASL mechanisms that are offered, and LOGIN where that command is not forbidden."""
        offered = {word.removeprefix("AUTH=") for word in self.capabilities if word.startswith("AUTH=")}
        return named(offered if "LOGINDISABLED" in self.capabilities else offered | {"LOGIN"})

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The handshake's outcome; None when the connection is closed."""
        return self._lines.tls

    @property
    def lost(self) -> bool:
        """Whether the server has gone."""
        return self._lines.lost

    def seen(self) -> None:
        """Record what the endpoint showed of itself."""
        self._lines.seen(self.mechanisms)

    async def greeting(self) -> None:
        """Wait for the server's first word, the phase banner."""
        with self._trace.phase(Phase.BANNER, _IMAP):
            said = await self._response()
            if not isinstance(said, Status) or said.word not in {"OK", "BYE"}:
                raise self._lines.nonsense("no IMAP greeting", said.text if isinstance(said, Status) else b"")
            if said.word == "BYE":
                raise Failure(self._evidence(said))

    async def capability(self, wants: str = "") -> None:
        """Ask what is offered, the phase ehlo; with `wants`, fail unless that is."""
        with self._trace.phase(Phase.EHLO, _IMAP):
            await self.ask_capability()
            known = {"starttls": "STARTTLS", "xoauth2": "AUTH=XOAUTH2"}
            if wants and known[wants] not in self.capabilities:
                text = f"{self._endpoint} does not offer {wants.upper()}"
                raise self._trace.failure(Kind.OBSERVED, text, code=f"{wants}_missing")

    async def ask_capability(self) -> None:
        """Ask what is offered, in whichever phase that is: after a login it may be more."""
        answer = await self.command(b"CAPABILITY")
        words = [word for data in answer.of(b"CAPABILITY") for word in data.pieces[0].split()[1:]]
        self.capabilities = frozenset(text_of(word).upper() for word in words)

    async def starttls(self, context: ssl.SSLContext) -> None:
        """Turn the connection into TLS: the command is the phase starttls, the handshake the phase tls."""
        with self._trace.phase(Phase.STARTTLS, _IMAP):
            await self.command(b"STARTTLS")
            self._lines.nothing_more()
        await self._lines.starttls(context)

    async def auth_xoauth2(self, address: Address, token: AccessToken) -> None:
        """AUTHENTICATE XOAUTH2. What a refused token is told beforehand is part of the evidence."""
        self._trace.redact.learn(token.value)
        response = xoauth2(address.reveal(), token.value.reveal())
        challenge = b""
        with self._trace.phase(Phase.AUTH, _IMAP):
            tag, shown = self._tag(), "AUTHENTICATE XOAUTH2"
            line = tag + b" AUTHENTICATE XOAUTH2"
            if "SASL-IR" in self.capabilities and len(line) + len(response) + 3 <= MAX_COMMAND:
                self._lines.send(line + b" " + response, f"{tag.decode()} {shown} ***")
                answer = await self._until(tag)
            else:
                self._lines.send(line, f"{tag.decode()} {shown}")
                answer = await self._until(tag)
                if isinstance(answer, bytes):
                    self._lines.send(response, "***")
                    answer = await self._until(tag)
            if isinstance(answer, bytes):
                challenge = answer
                self._trace.line("S", f"+ {challenge_of(challenge)}")
                self._lines.send(b"", "")
                answer = await self._until(tag)
            self.must_be_ok(answer, challenge=challenge)

    async def login(self, address: Address, password: Secret) -> None:
        """LOGIN with a password, for inboxes of others. Characters that no quoted string may hold go as a literal."""
        if "LOGINDISABLED" in self.capabilities:
            with self._trace.phase(Phase.AUTH, _IMAP):
                text = f"{self._endpoint} takes no passwords (LOGINDISABLED)"
                raise self._trace.failure(Kind.OBSERVED, text, code="login_disabled")
        with self._trace.phase(Phase.AUTH, _IMAP):
            tag = self._tag()
            line, shown = tag + b" LOGIN", f"{tag.decode()} LOGIN *** ***"
            for value in (address.reveal().encode(), password.reveal().encode()):
                if quotable(value):
                    line += b" " + quoted(value)
                    continue
                self._lines.send(line + b" {%d}" % len(value), shown)
                answer = await self._until(tag)
                if not isinstance(answer, bytes):  # refused before it was all said
                    self.must_be_ok(answer)
                    return
                line, shown = value, "***"
            self._lines.send(line, shown)
            self.must_be_ok(await self._until(tag))

    async def open_inbox(self) -> None:
        """Open the mailbox without changing it, the phase open: only then is it known to be there."""
        with self._trace.phase(Phase.OPEN, _IMAP):
            await self.command(b"EXAMINE INBOX")

    async def quit(self) -> None:
        """Take leave. A server that closes behind its BYE has said all that matters."""
        with self._trace.phase(Phase.QUIT, _IMAP):
            tag = self._tag()
            self._lines.send(tag + b" LOGOUT", f"{tag.decode()} LOGOUT")
            try:
                self.must_be_ok(await self._until(tag))
            except Failure:
                if self._bye is None:
                    raise

    async def command(self, words: bytes) -> Answer:
        """Say something and have the whole answer, which must be OK; the words may be shown."""
        answer = await self.ask(words)
        self.must_be_ok(answer)
        return answer

    async def ask(self, words: bytes) -> Answer:
        """Say something and have the whole answer, whatever it is."""
        tag = self._tag()
        self._lines.send(tag + b" " + words, text_of(tag + b" " + words))
        answer = await self._until(tag)
        if isinstance(answer, bytes):
            raise self._lines.nonsense("a question where an answer should be", answer)
        return answer

    def nonsense(self, error: NotImapError) -> Failure:
        """An answer that can not be understood, as a failure of the phase that is under way."""
        return self._lines.nonsense("not understood", str(error).encode())

    def _tag(self) -> bytes:
        self._count += 1
        return b"A%d" % self._count

    def must_be_ok(self, answer: Answer | bytes, *, challenge: bytes = b"") -> None:
        """Whatever is not OK is a failure, with all that was said."""
        if isinstance(answer, bytes):
            raise self._lines.nonsense("one question too many", answer)
        if answer.status.word != "OK":
            raise Failure(self._evidence(answer.status, *answer.said, challenge=challenge))

    def _evidence(self, status: Status, *said: Status, challenge: bytes = b"") -> Evidence:
        phase, protocol = self._trace.where
        texts = [text_of(status.text), *(text_of(one.text) for one in said if one.word != "OK")]
        if challenge:
            texts.append(f"challenge {challenge_of(challenge)}")
        return Evidence(
            protocol=protocol,
            phase=phase,
            kind=Kind.REPLY,
            code=status.word,
            enhanced_code=self._trace.redact(status.code) if status.code else None,
            text=self._trace.redact("; ".join(texts)),
        )

    async def _until(self, tag: bytes) -> Answer | bytes:
        """The answer to what was said under this tag, or the question that comes first: what stands behind its `+`."""
        said: list[Status] = []
        data: list[Data] = []
        while True:
            response = await self._response(tag)
            match response:
                case bytes():
                    return response
                case Data():
                    data.append(response)
                case Status():
                    said.append(response)
                case (status,):
                    return Answer(status, tuple(said), tuple(data))

    async def _response(self, tag: bytes | None = None) -> Data | Status | bytes | tuple[Status]:
        """One response: data, an untagged status, a question, or, in a tuple of one, the status under this tag."""
        line = await self._line()
        first, _, rest = line.partition(b" ")
        status = status_of(rest)
        if first == b"*" and status is None and rest:
            return await self._data(rest)
        self._lines.heard(line)
        if first == b"*" and status is not None:
            if status.word == "BYE":
                self._bye = status
            return status
        if tag is not None and first == b"+":
            return rest
        if tag is not None and first == tag and status is not None and status.word in {"OK", "NO", "BAD"}:
            return (status,)
        raise self._lines.nonsense("no IMAP response", line)

    async def _data(self, line: bytes) -> Data:
        """Data with the literals in it. It stays out of the transcript: names of folders are nobody's business."""
        pieces, literals = [line], []
        while (size := literal_at_end(pieces[-1])) is not None:
            literals.append(await self._lines.literal(size))
            pieces.append(await self._line())
        return Data(tuple(pieces), tuple(literals))

    async def _line(self) -> bytes:
        """The next line. A server that closed after it had said why has said it with BYE."""
        try:
            return await self._lines.line()
        except Failure as lost:
            if self._bye is not None and lost.evidence.kind in _LOST:
                raise Failure(self._evidence(self._bye)) from lost
            raise


def quotable(value: bytes) -> bool:
    """Whether a quoted string may hold it (RFC 3501, section 9): printable ASCII, which the backslash makes safe."""
    return all(0x20 <= byte < 0x7F for byte in value)  # noqa: PLR2004 - the printable ones


def quoted(value: bytes) -> bytes:
    """A quoted string."""
    return b'"' + value.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


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
    async with connected(endpoint, trace, kit, _IMAP, family=family, ip=ip) as (lines, context):
        dialogue = Session(lines, endpoint, trace)
        await dialogue.greeting()
        if endpoint.tls is TlsMode.STARTTLS:
            await dialogue.capability(wants="starttls")
            await dialogue.starttls(context)
        await dialogue.capability(wants=wants)
        dialogue.seen()
        yield dialogue
