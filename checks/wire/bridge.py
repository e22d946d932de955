"""MSAL in a pool thread on one side, the loop's HTTP session on the other.

MSAL has no time limit of its own and follows nobody's proxy but the environment's. Its `http_client` is this bridge: each
request is handed to the loop, where it is timed, bounded in size, sent the way that is wanted, and cancelled with its run,
which also frees the thread. Evidence is read from what came over the wire, not from MSAL's exceptions, which lose the body
of a 5xx.
"""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from threading import Event
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from checks.core.model import Kind, Phase
from checks.core.secret import Secret
from checks.core.trace import Failure, Trace
from checks.wire.faults import failure_of
from checks.wire.tls import handshake_observer

# A discovery document has 2 KB and a token answer 4 KB; what is larger than this is not an authority.
MAX_BODY = 256 * 1024
# How long a proxy may take to open the way, or the host's identity endpoint to answer, in seconds. Both are near; outside
# Azure nobody answers on the endpoint's link-local address at all.
REACH_SECONDS = 10.0

_PROXY_AUTHENTICATION_REQUIRED = 407  # RFC 9110, section 15.5.8


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer, in the shape that MSAL expects of its `http_client`."""

    status_code: int
    text: str
    headers: Mapping[str, str]

    def raise_for_status(self) -> None:
        """Raise as `requests` would; the text carries nothing of the body."""
        if self.status_code >= 400:  # noqa: PLR2004 - RFC 9110, section 15.5: 4xx and 5xx are errors
            raise ValueError(f"HTTP {self.status_code}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How requests get to the other side.

    `code` stands in the evidence of a failure on the way there, which is not the other side's fault; empty: there is
    nobody else on the way. `name` is what that evidence calls it. `is_end`: the other side itself is meant by it, and has
    the same time for its answer.
    """

    code: str = ""
    name: str = ""
    is_end: bool = False
    proxy: URL | None = None
    proxy_headers: Mapping[str, str] = field(default_factory=dict)

    def says(self, status: int) -> str:
        """How an answer of the other side is introduced, where it is meant by the way."""
        return f"{self.name} answers {status}: " if self.is_end else ""


DIRECT = Way()
IDENTITY_ENDPOINT = Way(code="identity_endpoint", name="the identity endpoint of this host", is_end=True)


def through(proxy: Secret) -> Way:
    """The way through an HTTP proxy. Raises ValueError, which shows nothing, for what is no URL of one."""
    try:
        url = URL(proxy.reveal())
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError("the proxy is not given as http://HOST:PORT")
    headers = {}
    if url.user is not None:
        login = f"{url.user}:{url.password or ''}".encode()
        headers["Proxy-Authorization"] = f"Basic {base64.b64encode(login).decode()}"
    name = f"proxy {url.host}:{url.port}"
    return Way(code="proxy", name=name, proxy=url.with_user(None), proxy_headers=headers)


def private_of(proxy: Secret) -> tuple[Secret, ...]:
    """What must not show of a proxy: its URL, and the password in it."""
    try:
        password = URL(proxy.reveal()).password
    except ValueError:
        password = None
    return (proxy, Secret(password)) if password else (proxy,)


@dataclass(slots=True)
class Bridge:
    """One conversation of MSAL with one other side, under one run."""

    session: aiohttp.ClientSession
    context: Any
    trace: Trace
    loop: asyncio.AbstractEventLoop
    way: Way
    received: Callable[[Reply], None]
    pending: set[Future[Reply]] = field(default_factory=set)
    last: Reply | None = None
    failure: Failure | None = None
    abandoned: Event = field(default_factory=Event)
    limit: asyncio.Timeout | None = None

    def get(self, url: str, **request: Any) -> Reply:
        """MSAL asks."""
        return self._send("GET", url, request)

    def post(self, url: str, **request: Any) -> Reply:
        """MSAL asks."""
        return self._send("POST", url, request)

    def close(self) -> None:
        """MSAL closes what it made; this it did not make."""

    def abandon(self) -> None:
        """Cancel what is on the wire, so that the thread ends too."""
        self.abandoned.set()
        for future in tuple(self.pending):
            future.cancel()

    def turn(self, phase: Phase) -> None:
        """The request has come to a phase. Once it speaks to the other side, the way there is open."""
        self.trace.turn(phase)
        if phase in {Phase.TLS, Phase.TOKEN} and not self.way.is_end and self.limit and not self.limit.expired():
            self.limit.reschedule(None)

    def _send(self, method: str, url: str, request: dict[str, Any]) -> Reply:
        if self.abandoned.is_set():
            raise CancelledError
        future = asyncio.run_coroutine_threadsafe(self._request(method, url, request), self.loop)
        self.pending.add(future)
        if self.abandoned.is_set():  # asked last: what was abandoned before this line, nobody else would cancel
            future.cancel()
        try:
            return future.result()
        finally:
            self.pending.discard(future)

    async def _request(self, method: str, url: str, request: dict[str, Any]) -> Reply:
        observing = handshake_observer.set(lambda begins: self.turn(Phase.TLS) if begins else None)
        try:
            async with asyncio.timeout(REACH_SECONDS if self.way.code else None) as self.limit:
                reply = await self._answer(method, url, request)
        except Failure as failure:
            self.failure = failure
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self.failure = self._failure_of(error)
            raise self.failure from None  # the error may hold what the other side said, which nobody has redacted
        finally:
            handshake_observer.reset(observing)
        self.last = reply
        self.received(reply)
        return reply

    async def _answer(self, method: str, url: str, request: dict[str, Any]) -> Reply:
        if self.last is None:
            # aiohttp tells nothing of the way to a proxy, nor of looking up what is no name.
            self.turn(Phase.CONNECT if self.way.proxy or _is_ip(URL(url).host) else Phase.RESOLVE)
        data = {
            key: value.decode() if isinstance(value, bytes) else value
            for key, value in (request.get("data") or {}).items()
        }
        async with self.session.request(
            method,
            url,
            params=request.get("params"),
            data=data or None,
            headers=request.get("headers"),
            allow_redirects=False,
            ssl=self.context,
            proxy=self.way.proxy,
            proxy_headers=self.way.proxy_headers or None,
            trace_request_ctx=self,
        ) as answer:
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > MAX_BODY:
                    text = f"{self.way.says(answer.status)}more than {MAX_BODY} bytes: {bytes(body[:80])!r}"
                    raise self.trace.failure(Kind.NONSENSE, text, code=str(answer.status))
            return Reply(answer.status, body.decode("utf-8", "replace"), dict(answer.headers))

    def _failure_of(self, error: Exception) -> Failure:
        if isinstance(error, aiohttp.ClientHttpProxyError):
            code = "proxy_407" if error.status == _PROXY_AUTHENTICATION_REQUIRED else "proxy_refused"
            return self.trace.failure(Kind.HTTP, f"{self.way.name} answers {error.status} {error.message}", code=code)
        failure = _failure_of(error, self.trace)
        on_the_way = self.trace.where[0] in {Phase.RESOLVE, Phase.CONNECT}
        if not self.way.code or not (on_the_way or self.way.is_end):
            return failure
        waited = f"no answer within {REACH_SECONDS:g} s" if failure.evidence.kind is Kind.TIMEOUT else ""
        text = f"{self.way.name}: {waited or failure.evidence.text}"
        return Failure(replace(failure.evidence, code=self.way.code, text=self.trace.redact(text)))


def _is_ip(host: str | None) -> bool:
    try:
        ipaddress.ip_address(host or "")
    except ValueError:
        return False
    return True


def _failure_of(error: Exception, trace: Trace) -> Failure:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return trace.failure(Kind.RESOLVE, f"{error.host}: {error.os_error}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return failure_of(error.certificate_error, trace)
    if isinstance(error, aiohttp.ClientOSError):
        return failure_of(getattr(error, "os_error", error), trace)
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return trace.failure(Kind.CLOSED, str(error))
    if isinstance(error, aiohttp.ClientError | ValueError):
        return trace.failure(Kind.NONSENSE, str(error))
    return failure_of(error, trace)


def tracing() -> aiohttp.TraceConfig:
    """Tells the bridge of a request when names are resolved, connections made and requests sent."""
    config = aiohttp.TraceConfig()

    def turns(phase: Phase) -> Callable[[aiohttp.ClientSession, SimpleNamespace, Any], Any]:
        async def turn(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
            if isinstance(context.trace_request_ctx, Bridge):
                context.trace_request_ctx.turn(phase)

        return turn

    config.on_dns_resolvehost_start.append(turns(Phase.RESOLVE))
    config.on_dns_resolvehost_end.append(turns(Phase.CONNECT))
    config.on_connection_create_end.append(turns(Phase.TOKEN))
    config.on_connection_reuseconn.append(turns(Phase.TOKEN))
    return config
