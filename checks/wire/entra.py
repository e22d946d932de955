"""Tokens from Entra ID by MSAL, without MSAL's memories and under the run's deadline.

MSAL answers from two caches and does not say so, and has no time limit of its own. So every round trip uses a new
application object with empty caches, in a bounded pool thread, and its `http_client` hands each request to the loop's
aiohttp session: there it is timed, bounded in size, and cancelled with its run, which also frees the thread.
Evidence is read from what came over the wire, not from MSAL's exceptions, which lose the body of a 5xx.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from threading import Event
from types import SimpleNamespace
from typing import Any

import aiohttp
import jwt
import msal
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509 import load_pem_x509_certificate

from checks.core.clock import Clock
from checks.core.kit import AccessToken
from checks.core.material import ClientCertificate, ClientSecret
from checks.core.model import ClaimsSeen, Evidence, Kind, Phase, Protocol
from checks.core.secret import Secret
from checks.core.target import Credential
from checks.core.trace import Failure, Trace
from checks.wire.faults import failure_of
from checks.wire.tls import Contexts, handshake_observer

_OAUTH = Protocol.OAUTH
# A discovery document has 2 KB and a token answer 4 KB; what is larger than this is not an authority.
MAX_BODY = 256 * 1024
# High Volume Email refuses tokens with less life than this ("501 5.5.127 … Token will expire soon"), in seconds.
MARGIN = 600.0
# How long a refusal is repeated to others who want the same token: MSAL's own 60 s for HTTP 400. Entra's loop detection
# counts 15 equal requests in 5 minutes (AADSTS50196), and 500 mailboxes may share one broken credential.
REFUSED_FOR = 60.0
# How far clocks may differ before tokens are refused: the usual tolerance for JWT times, in seconds.
MAX_SKEW = 300.0
# Entra wants client assertions that live 5 to 10 minutes ("Certificate credentials").
ASSERTION_LIFE = timedelta(minutes=5)

# MSAL logs the whole body of an answer that is not JSON, and a traceback with it.
logging.getLogger("msal").setLevel(logging.CRITICAL)


class _NoCache(dict[Any, Any]):
    """MSAL's HTTP cache, which remembers refusals for a minute: this one keeps nothing."""

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Reply:
    """One HTTP answer, in the shape that MSAL expects of its `http_client`."""

    status_code: int
    text: str
    headers: Mapping[str, str]

    def raise_for_status(self) -> None:
        """Raise as `requests` would; the text carries nothing of the body."""
        if self.status_code >= 400:  # noqa: PLR2004 - RFC 9110, section 15.5: 4xx and 5xx are errors
            raise ValueError(f"HTTP {self.status_code}")


@dataclass(slots=True)
class _Exchange:
    """One acquisition: MSAL in a thread on one side, the loop's HTTP session on the other."""

    credential: Credential
    session: aiohttp.ClientSession
    context: Any
    trace: Trace
    loop: asyncio.AbstractEventLoop
    received: Callable[[_Reply], None]
    pending: set[Future[_Reply]] = field(default_factory=set)
    last: _Reply | None = None
    failure: Failure | None = None
    abandoned: Event = field(default_factory=Event)

    def acquire(self) -> Mapping[str, Any]:
        """In a pool thread: MSAL's answer. Whatever it raises, `last` and `failure` say what happened on the wire."""
        app = self.credential.app
        client = msal.ConfidentialClientApplication(
            app.client_id,
            client_credential=_msal_credential(self.credential),
            authority=f"{app.tenant.cloud.authority}/{app.tenant.tenant_id}",
            instance_discovery=False,
            http_client=self,
            http_cache=_NoCache(),
            token_cache=msal.TokenCache(),
        )
        answer: Mapping[str, Any] = client.acquire_token_for_client(scopes=[app.tenant.cloud.scope])
        return answer

    def get(self, url: str, **request: Any) -> _Reply:
        """MSAL asks."""
        return self._send("GET", url, request)

    def post(self, url: str, **request: Any) -> _Reply:
        """MSAL asks."""
        return self._send("POST", url, request)

    def close(self) -> None:
        """MSAL closes what it made; this it did not make."""

    def _send(self, method: str, url: str, request: dict[str, Any]) -> _Reply:
        if self.abandoned.is_set():
            raise CancelledError
        future = asyncio.run_coroutine_threadsafe(self._request(method, url, request), self.loop)
        self.pending.add(future)
        if self.abandoned.is_set():  # asked last: what was abandoned before this line, nobody else would cancel
            future.cancel()
        return future.result()

    async def _request(self, method: str, url: str, request: dict[str, Any]) -> _Reply:
        observing = handshake_observer.set(lambda begins: self.trace.turn(Phase.TLS) if begins else None)
        data = {
            key: value.decode() if isinstance(value, bytes) else value
            for key, value in (request.get("data") or {}).items()
        }
        try:
            async with self.session.request(
                method,
                url,
                params=request.get("params"),
                data=data or None,
                headers=request.get("headers"),
                allow_redirects=False,
                ssl=self.context,
                trace_request_ctx=self.trace,
            ) as answer:
                body = bytearray()
                async for part in answer.content.iter_any():
                    body += part
                    if len(body) > MAX_BODY:
                        text = f"more than {MAX_BODY} bytes: {bytes(body[:80])!r}"
                        raise self.trace.failure(Kind.NONSENSE, text, code=str(answer.status))
                reply = _Reply(answer.status, body.decode("utf-8", "replace"), dict(answer.headers))
        except Failure as failure:
            self.failure = failure
            raise
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self.failure = _http_failure(error, self.trace)
            raise self.failure from error
        finally:
            handshake_observer.reset(observing)
        self.last = reply
        self.received(reply)
        return reply

    def abandon(self) -> None:
        """Cancel what is on the wire, so that the thread ends too."""
        self.abandoned.set()
        for future in tuple(self.pending):
            future.cancel()


def _http_failure(error: Exception, trace: Trace) -> Failure:
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
    """Tells the trace of a request when names are resolved, connections made and requests sent."""
    config = aiohttp.TraceConfig()

    def turns(phase: Phase) -> Callable[[aiohttp.ClientSession, SimpleNamespace, Any], Any]:
        async def turn(_: aiohttp.ClientSession, context: SimpleNamespace, __: Any) -> None:
            if isinstance(context.trace_request_ctx, Trace):
                context.trace_request_ctx.turn(phase)

        return turn

    config.on_dns_resolvehost_start.append(turns(Phase.RESOLVE))
    config.on_dns_resolvehost_end.append(turns(Phase.CONNECT))
    config.on_connection_create_end.append(turns(Phase.TOKEN))
    config.on_connection_reuseconn.append(turns(Phase.TOKEN))
    return config


class Authority:
    """Implements `Tokens`: fresh ones by a real round trip, current ones shared until they grow old."""

    def __init__(
        self, session: aiohttp.ClientSession, contexts: Contexts, pool: ThreadPoolExecutor, clock: Clock
    ) -> None:
        self._session = session
        self._contexts = contexts
        self._pool = pool
        self._clock = clock
        self._locks: dict[Credential, asyncio.Lock] = {}
        self._known: dict[Credential, AccessToken] = {}
        self._refused: dict[Credential, tuple[float, Evidence]] = {}

    async def fresh(self, credential: Credential, trace: Trace) -> AccessToken:
        """A new token by a real round trip. Raises Failure; a cancelled call leaves neither request nor thread."""
        for private in credential.private:
            trace.redact.learn(private)
        with trace.phase(Phase.RESOLVE, _OAUTH):
            token = await self._acquire(credential, trace)
        # The newest token is what mail uses next; and a credential that works again is not refused for any longer.
        self._known[credential] = token
        self._refused.pop(credential, None)
        return token

    async def _acquire(self, credential: Credential, trace: Trace) -> AccessToken:
        try:
            context = self._contexts.context(credential.cloud.ca_file)
        except OSError as error:
            raise trace.failure(Kind.TLS, f"{credential.cloud.ca_file}: {error}", code="ca_file") from error
        loop = asyncio.get_running_loop()
        exchange = _Exchange(
            credential, self._session, context, trace, loop, received=lambda reply: self._measure(reply, trace)
        )
        thread = loop.run_in_executor(self._pool, exchange.acquire)
        try:
            answer = await asyncio.shield(thread)
        except asyncio.CancelledError:
            exchange.abandon()
            thread.add_done_callback(_retrieve)
            raise
        except Exception as error:  # MSAL raises many types; the wire knows better what happened
            failure = exchange.failure or (exchange.last and _refusal(exchange.last, trace))
            if failure:
                raise failure from error
            raise
        if "access_token" not in answer or exchange.last is None:
            if exchange.last is None:
                raise trace.failure(Kind.NONSENSE, "no answer from the authority")
            raise _refusal(exchange.last, trace)
        token = AccessToken(
            value=Secret(str(answer["access_token"])),
            lifetime=float(answer.get("expires_in", 0)),
            given_at=self._clock.monotonic(),
        )
        trace.redact.learn(token.value)
        return token

    def _measure(self, reply: _Reply, trace: Trace) -> None:
        there = _http_date(reply.headers.get("Date", ""))
        if there is not None:
            trace.measure("clock_skew_seconds", (self._clock.now() - there).total_seconds())

    async def current(self, credential: Credential, trace: Trace) -> AccessToken:
        """The last token while it has `MARGIN` left, else a new one; a refusal is repeated for `REFUSED_FOR`."""
        with trace.phase(Phase.TOKEN, _OAUTH):
            async with self._locks.setdefault(credential, asyncio.Lock()):
                now = self._clock.monotonic()
                known = self._known.get(credential)
                if known and now < known.given_at + known.lifetime - MARGIN:
                    return known
                until, refusal = self._refused.get(credential, (0.0, None))
                if refusal and now < until:
                    raise Failure(refusal)
                try:
                    return await self.fresh(credential, Trace(self._clock, trace.redact))
                except Failure as failure:
                    self._refused[credential] = self._clock.monotonic() + REFUSED_FOR, failure.evidence
                    raise

    def keep_only(self, credentials: frozenset[Credential]) -> None:
        """Forget the tokens of credentials that the plan no longer has."""
        for known in (self._locks, self._known, self._refused):
            for credential in [old for old in known if old not in credentials]:
                del known[credential]


def _retrieve(done: asyncio.Future[Any]) -> None:
    """Take the outcome of an abandoned thread, so that asyncio does not call it forgotten."""
    if not done.cancelled():
        done.exception()


def _refusal(reply: _Reply, trace: Trace) -> Failure:
    """An answer that is no token, as evidence ("Microsoft identity platform error codes": error, error_codes, …)."""
    status = str(reply.status_code)
    try:
        body = json.loads(reply.text)
    except ValueError:
        body = None
    if isinstance(body, dict) and isinstance(body.get("error"), str):
        phase, protocol = trace.where
        codes = body.get("error_codes")
        code = codes[0] if isinstance(codes, list) and codes and isinstance(codes[0], int) else None
        return Failure(
            Evidence(
                protocol=protocol,
                phase=phase,
                kind=Kind.OAUTH,
                code=status,
                aadsts=code,
                error=trace.redact(body["error"]),
                suberror=trace.redact(str(body["suberror"])) if body.get("suberror") else None,
                text=trace.redact(str(body.get("error_description", ""))),
                correlation_id=trace.redact(str(body["correlation_id"])) if body.get("correlation_id") else None,
            )
        )
    kind = Kind.NONSENSE if reply.status_code == 200 else Kind.HTTP  # noqa: PLR2004 - RFC 9110: OK
    return trace.failure(kind, reply.text[:200], code=status)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


@lru_cache(maxsize=1024)
def _signing_key(certificate: ClientCertificate) -> tuple[rsa.RSAPrivateKey, str]:
    """The loaded key (parsing one costs 29 ms) and the certificate's SHA-256 thumbprint in base64url."""
    key = serialization.load_pem_private_key(certificate.key_pem.reveal().encode(), password=None)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise TypeError("Entra ID takes RSA keys only")
    digest = load_pem_x509_certificate(certificate.certificate_pem.encode()).fingerprint(hashes.SHA256())
    return key, base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _msal_credential(credential: Credential) -> object:
    material = credential.material
    if isinstance(material, ClientSecret):
        return material.value.reveal()

    def assertion(wanted: Mapping[str, str]) -> str:
        """A client assertion as "Certificate credentials" describes it: PS256, x5t#S256, a new jti each time."""
        key, thumbprint = _signing_key(material)
        now = datetime.now().astimezone()
        claims = {
            "aud": wanted["token_endpoint"],
            "iss": wanted["client_id"],
            "sub": wanted["client_id"],
            "jti": str(uuid.uuid4()),
            "nbf": now,
            "exp": now + ASSERTION_LIFE,
        }
        return jwt.encode(claims, key, algorithm="PS256", headers={"x5t#S256": thumbprint})

    return {"client_assertion": assertion}


def peek(token: AccessToken) -> ClaimsSeen:
    """What a token says of itself, unverified, for diagnosis only; an opaque one is simply not readable."""
    parts = token.value.reveal().split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError, binascii.Error):
        claims = None
    if not isinstance(claims, dict):
        return ClaimsSeen(readable=False, lifetime=token.lifetime)
    roles = claims.get("roles", [])
    return ClaimsSeen(
        readable=True,
        lifetime=token.lifetime,
        audience=str(claims.get("aud", "")),
        tenant_id=str(claims.get("tid", "")),
        client_id=str(claims.get("appid") or claims.get("azp") or ""),
        credential_kind=str(claims.get("appidacr") or claims.get("azpacr") or ""),
        roles=tuple(str(role) for role in roles) if isinstance(roles, list) else (),
    )
