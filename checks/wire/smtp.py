"""SMTP submission through aiosmtplib, one phase per step, with everything the server said kept as evidence.

What aiosmtplib would lose is done by hand on its `execute_command`: the 334 challenge that precedes a refusal (RFC 4954,
section 4) and the two-step form of AUTH, since long tokens do not fit into the command line of every server.
"""

from __future__ import annotations

import base64
import binascii
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import TracebackType

import aiosmtplib

from checks.core.cloud import Endpoint, Family, TlsMode
from checks.core.kit import AccessToken, Kit
from checks.core.model import EndpointSeen, Evidence, Kind, Phase, Protocol
from checks.core.secret import Address
from checks.core.trace import Failure, Trace
from checks.wire.faults import chain, context_of, failure_of
from checks.wire.mechanisms import named
from checks.wire.net import connect
from checks.wire.smtp_client import Client
from checks.wire.tls import handshake_observer

_SMTP = Protocol.SMTP
# RFC 5321, section 4.5.3.1.4: a command line has at most 512 octets. Postfix cuts at 2,048 and Dovecot's submission
# service refused 1,416 (both seen), so a longer initial response goes into the answer to an empty challenge instead.
MAX_COMMAND = 512
# RFC 3463: class, subject, detail. It stays text.
_ENHANCED = re.compile(r"[245]\.\d{1,3}\.\d{1,3}\b")
_CHALLENGE, _AUTHENTICATED, _GO_AHEAD = 334, 235, 354


def evidence_of_reply(code: int, message: str, trace: Trace, *, challenge: str = "") -> Evidence:
    """A reply as evidence, in the current phase. What is no SMTP reply at all is nonsense."""
    phase, protocol = trace.where
    text = trace.redact(" ".join(message.split()))
    if not 200 <= code <= 599:  # noqa: PLR2004 - RFC 5321, section 4.2: the first digit is 2 to 5
        return Evidence(protocol=protocol, phase=phase, kind=Kind.NONSENSE, text=text)
    enhanced = _ENHANCED.match(text)
    return Evidence(
        protocol=protocol,
        phase=phase,
        kind=Kind.REPLY,
        code=str(code),
        enhanced_code=enhanced.group() if enhanced else None,
        text=f"{text}; challenge {trace.redact(challenge)}" if challenge else text,
    )


def _failure(error: Exception, trace: Trace) -> Failure:
    """Translate whatever aiosmtplib, asyncio or OpenSSL raised."""
    for link in chain(error):
        if isinstance(link, aiosmtplib.SMTPRecipientsRefused):
            refused = link.recipients[0]
            return Failure(evidence_of_reply(refused.code, refused.message, trace))
        if isinstance(link, aiosmtplib.SMTPResponseException):
            return Failure(evidence_of_reply(link.code, link.message, trace))
        if isinstance(link, ValueError) and not isinstance(link, OSError):  # some of OpenSSL's errors are both
            return trace.failure(Kind.NONSENSE, str(link))
    causes = [link for link in chain(error) if not isinstance(link, aiosmtplib.SMTPException)]
    if isinstance(error, aiosmtplib.SMTPTimeoutError) and not causes:
        return trace.failure(Kind.TIMEOUT, str(error))
    return failure_of(causes[-1] if causes else error, trace)


class Session:
    """One dialogue, step by step. Every method is a phase and raises Failure."""

    def __init__(self, client: Client, endpoint: Endpoint, trace: Trace, greeted: str) -> None:
        self._client = client
        self._endpoint = endpoint
        self._trace = trace
        trace.line("S", greeted)

    async def ehlo(self, wants: str = "") -> None:
        """Introduce ourselves; with `wants`, fail unless the server offers that extension or AUTH mechanism."""
        with _Step(self._trace, Phase.EHLO):
            self._trace.line("C", "EHLO")
            reply = await self._client.ehlo()
            self._trace.line("S", f"{reply.code} {reply.message}")
            offered = {*self._client.esmtp_extensions, *self._client.server_auth_methods}
            if wants and wants not in offered:
                text = f"{self._endpoint} does not offer {wants.upper()}"
                raise self._trace.failure(Kind.OBSERVED, text, code=f"{wants}_missing")

    async def starttls(self) -> None:
        """Turn the connection into TLS: the command is the phase starttls, the handshake the phase tls."""
        with _Step(self._trace, Phase.STARTTLS):
            self._trace.line("C", "STARTTLS")
            await self._client.starttls()

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """The AUTH mechanisms that the last EHLO offered."""
        return named(self._client.server_auth_methods)

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The handshake's outcome; None when the connection is closed."""
        transport = self._client.transport
        return transport.get_extra_info("ssl_object") if transport is not None else None

    def seen(self) -> None:
        """Record what the endpoint showed of itself."""
        transport, tls = self._client.transport, self.tls
        if transport is None:  # closed since the last reply: the next command will say so
            return
        peer = transport.get_extra_info("peername")
        self._trace.learn(
            EndpointSeen(
                endpoint=str(self._endpoint),
                ip=peer[0] if peer else "",
                tls_version=tls.version() or "" if tls else "",
                cipher=(tls.cipher() or ("",))[0] if tls else "",
                auth_mechanisms=self.mechanisms,
            )
        )

    async def auth_xoauth2(self, address: Address, token: AccessToken) -> None:
        """AUTH XOAUTH2 (Microsoft: "Authenticate an IMAP, POP or SMTP connection using OAuth", SASL XOAUTH2)."""
        self._trace.redact.learn(token.value)
        response = base64.b64encode(f"user={address.reveal()}\x01auth=Bearer {token.value.reveal()}\x01\x01".encode())
        with _Step(self._trace, Phase.AUTH):
            self._trace.line("C", "AUTH XOAUTH2 ***")
            execute = self._client.execute_command
            if len(response) + len(b"AUTH XOAUTH2 \r\n") <= MAX_COMMAND:
                reply = await execute(b"AUTH", b"XOAUTH2", response)
            else:
                reply = await execute(b"AUTH", b"XOAUTH2")
                if reply.code == _CHALLENGE:
                    reply = await execute(response)
            challenge = ""
            if reply.code == _CHALLENGE:
                challenge = _decoded(reply.message)
                self._trace.line("S", f"334 {challenge}")
                reply = await execute(b"")
            self._trace.line("S", f"{reply.code} {reply.message}")
            if reply.code != _AUTHENTICATED:
                raise Failure(evidence_of_reply(reply.code, reply.message, self._trace, challenge=challenge))

    async def send(self, sender: Address, recipients: tuple[Address, ...], message: bytes) -> str:
        """MAIL, RCPT, DATA and the reply to the final dot, which alone proves sending: that reply, redacted."""
        trace, client = self._trace, self._client
        with _Step(self._trace, Phase.MAIL):
            trace.line("C", f"MAIL FROM:<{sender.reveal()}>")
            reply = await client.mail(sender.reveal())
            trace.line("S", f"{reply.code} {reply.message}")
        with _Step(self._trace, Phase.RCPT):
            for recipient in recipients:
                trace.line("C", f"RCPT TO:<{recipient.reveal()}>")
                reply = await client.rcpt(recipient.reveal())
                trace.line("S", f"{reply.code} {reply.message}")
        with _Step(self._trace, Phase.DATA):
            trace.line("C", "DATA")
            reply = await client.execute_command(b"DATA")
            trace.line("S", f"{reply.code} {reply.message}")
            if reply.code != _GO_AHEAD:
                raise Failure(evidence_of_reply(reply.code, reply.message, trace))
        with _Step(self._trace, Phase.ACCEPT):
            # Not `client.data()`, which has one name for a refusal before and after the message. Nothing can arrive
            # between the two calls: the second one is waiting before it first yields.
            protocol = client.protocol
            if protocol is None:
                raise aiosmtplib.SMTPServerDisconnected("connection lost")
            protocol.write(_stuffed(message) + b".\r\n")
            reply = await protocol.read_response()
            trace.line("S", f"{reply.code} {reply.message}")
            if not 200 <= reply.code < 300:  # noqa: PLR2004 - RFC 5321, section 4.2.1: 2yz is a positive completion
                raise Failure(evidence_of_reply(reply.code, reply.message, trace))
            return trace.redact(reply.message)

    async def quit(self) -> None:
        """Take leave."""
        with _Step(self._trace, Phase.QUIT):
            self._trace.line("C", "QUIT")
            reply = await self._client.execute_command(b"QUIT")
            self._trace.line("S", f"{reply.code} {reply.message}")


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
    """A session over verified TLS, greeted twice, with `wants` on offer. It is cut off at the end, whatever happened.

    `family` and `ip` say by which way, as in `connect`. An empty `wants` takes whatever is offered.
    """
    context = context_of(endpoint.ca_file, kit, trace, _SMTP)
    sock = await connect(endpoint, kit.resolver, trace, _SMTP, family=family, ip=ip)
    implicit = endpoint.tls is TlsMode.IMPLICIT
    client = Client(sock, host=endpoint.host, context=context, implicit=implicit, ehlo_name=kit.ehlo_name)
    observing = handshake_observer.set(_turner(trace, after=Phase.BANNER if implicit else None))
    try:
        with _Step(trace, Phase.TLS if implicit else Phase.BANNER):
            greeting = await client.connect()
        dialogue = Session(client, endpoint, trace, f"{greeting.code} {greeting.message}")
        if not implicit:
            await dialogue.ehlo(wants="starttls")
            await dialogue.starttls()
        await dialogue.ehlo(wants=wants)
        dialogue.seen()
        yield dialogue
    finally:
        handshake_observer.reset(observing)
        client.close()
        sock.close()  # where it never came to a transport, which would have closed it


def _turner(trace: Trace, *, after: Phase | None) -> Callable[[bool], None]:
    def turn(begins: bool) -> None:  # noqa: FBT001 - the shape of an observer
        if begins:
            trace.turn(Phase.TLS)
        elif after is not None:
            trace.turn(after)

    return turn


class _Step:
    """A phase in which whatever the library raises becomes a Failure.

    By hand, since a probe has six of them: two nested generators for each cost 3 % of the whole probe.
    """

    __slots__ = ("_phase", "_trace")

    def __init__(self, trace: Trace, phase: Phase) -> None:
        self._trace = trace
        self._phase = phase

    def __enter__(self) -> None:
        self._trace.begin(self._phase, _SMTP)

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        self._trace.end(finished=error is None)
        if isinstance(error, aiosmtplib.SMTPException | OSError | EOFError | ValueError):
            raise _failure(error, self._trace) from error


def _decoded(challenge: str) -> str:
    """The JSON inside a 334, or the text itself where it is no base64."""
    try:
        return base64.b64decode(challenge, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return challenge


def _stuffed(message: bytes) -> bytes:
    """Dot-stuffing (RFC 5321, section 4.5.2); the message already has CRLF line ends and ends in one."""
    return re.sub(rb"(?m)^\.", b"..", message)
