"""Tokens from Entra ID, without MSAL's memories and under the run's deadline.

Every acquisition is a real round trip in a bounded pool thread (`materials` says what is asked, `bridge` how it gets there).
What is remembered, a token until it grows old and a refusal for a minute, is remembered here.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from checks.core.clock import Clock
from checks.core.kit import AccessToken, Prompt
from checks.core.material import FederatedToken, ManagedIdentity, RefreshToken
from checks.core.model import Evidence, Kind, Phase, Protocol
from checks.core.secret import Secret
from checks.core.target import Credential
from checks.core.trace import Failure, Trace
from checks.wire.bridge import DIRECT, IDENTITY_ENDPOINT, Bridge, Reply, Way, private_of, through
from checks.wire.device import PENDING, DeviceFlow
from checks.wire.files import ensure_replaceable
from checks.wire.materials import Asking, mistake
from checks.wire.refresh import RefreshTokens, Stored, save
from checks.wire.tls import Contexts

_OAUTH = Protocol.OAUTH
# High Volume Email refuses tokens with less life than this ("501 5.5.127 … Token will expire soon"), in seconds.
MARGIN = 600.0
# How long a refusal is repeated to others who want the same token: MSAL's own 60 s for HTTP 400. Entra's loop detection
# counts 15 equal requests in 5 minutes (AADSTS50196), and 500 mailboxes may share one broken credential.
REFUSED_FOR = 60.0
# How long one question of a sign-in may take, in seconds: there is no run whose deadline would end it.
QUESTION_SECONDS = 30.0

_AADSTS = re.compile(r"AADSTS(\d{4,8})\b").match
T = TypeVar("T")


class Authority:
    """Implements `Tokens`: fresh ones by a real round trip, current ones shared until they grow old."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        contexts: Contexts,
        pool: ThreadPoolExecutor,
        clock: Clock,
        proxy: Secret | None = None,
    ) -> None:
        self._session = session
        self._contexts = contexts
        self._pool = pool
        self._clock = clock
        self._proxy = proxy
        self._refresh_tokens = RefreshTokens()
        self._files: dict[str, asyncio.Lock] = {}
        self._locks: dict[Credential, asyncio.Lock] = {}
        self._known: dict[Credential, AccessToken] = {}
        self._refused: dict[Credential, tuple[float, Evidence]] = {}

    async def fresh(self, credential: Credential, trace: Trace) -> AccessToken:
        """A new token by a real round trip. Raises Failure; a cancelled call leaves neither request nor thread."""
        # What stands in a file is read before anything is resolved.
        from_file = isinstance(credential.material, FederatedToken | RefreshToken)
        with trace.phase(Phase.TOKEN if from_file else Phase.RESOLVE, _OAUTH):
            token = await self._acquire(credential, trace)
        # The newest token is what mail uses next; and a credential that works again is not refused for any longer.
        self._known[credential] = token
        self._refused.pop(credential, None)
        return token

    async def current(self, credential: Credential, trace: Trace) -> AccessToken:
        """The last token while it has `MARGIN` left, else a new one; a refusal is repeated for `REFUSED_FOR`.

        A token that hardly ever had so much is used for half of that, or of its life: to ask anew for each probe would be
        a loop (AADSTS50196).
        """
        with trace.phase(Phase.TOKEN, _OAUTH):
            async with self._locks.setdefault(credential, asyncio.Lock()):
                now = self._clock.monotonic()
                known = self._known.get(credential)
                if known and now < known.given_at + max(known.lifetime - MARGIN, min(known.lifetime, MARGIN) / 2):
                    return known
                until, refusal = self._refused.get(credential, (0.0, None))
                if refusal and now < until:
                    raise Failure(refusal)
                try:
                    return await self.fresh(credential, Trace(self._clock, trace.redact))
                except Failure as failure:
                    self._refused[credential] = self._clock.monotonic() + REFUSED_FOR, failure.evidence
                    raise

    async def sign_in(self, credential: Credential, trace: Trace, show: Callable[[Prompt], None]) -> None:
        """Let a person sign in with a device code, and keep the refresh token in the credential's file. Raises Failure.

        Waits for as long as the code is good.
        """
        material = credential.material
        if not isinstance(material, RefreshToken):
            raise TypeError("only a refresh token is signed in for")
        file = Path(material.file)
        with trace.phase(Phase.TOKEN, _OAUTH):
            flow = DeviceFlow(self._asking(credential, trace), material)
            try:  # nobody should sign in for nothing
                await asyncio.to_thread(ensure_replaceable, file)
                given = await self._signed_in(flow, show)
                now = self._clock.now()
                token = Secret(str(given["refresh_token"]))
                stored = Stored(token=token, obtained_at=now, signed_in_at=now, scopes=material.scopes)
                await asyncio.to_thread(save, file, stored)
            except OSError as error:
                problem = f"cannot be written: {error.strerror}"
                raise mistake(trace, "refresh_token_unwritable", problem, file) from error

    def keep_only(self, credentials: frozenset[Credential]) -> None:
        """Forget the tokens of credentials that the plan no longer has."""
        for known in (self._locks, self._known, self._refused):
            for credential in [old for old in known if old not in credentials]:
                del known[credential]

    async def _acquire(self, credential: Credential, trace: Trace) -> AccessToken:
        asking = self._asking(credential, trace)
        async with self._alone(credential):
            answer = await self._ask(asking.bridge, asking.ask)
        given = answer.given
        if answer.age is not None:
            trace.measure("refresh_token_age_seconds", answer.age)
        if "access_token" not in given:
            raise _refusal(asking.bridge)
        token = AccessToken(
            value=Secret(str(given["access_token"])),
            lifetime=float(given.get("expires_in", 0)),
            given_at=self._clock.monotonic(),
        )
        trace.redact.learn(token.value)
        if isinstance(credential.material, RefreshToken) and answer.unsaved:
            trace.fail(mistake(trace, "refresh_token_unsaved", answer.unsaved, Path(credential.material.file)).evidence)
        return token

    def _asking(self, credential: Credential, trace: Trace) -> Asking:
        for private in (*credential.private, *(private_of(self._proxy) if self._proxy else ())):
            trace.redact.learn(private)
        try:
            context = self._contexts.context(credential.cloud.ca_file)
        except OSError as error:
            raise trace.failure(Kind.TLS, f"{credential.cloud.ca_file}: {error}", code="ca_file") from error
        way = self._way(credential, trace)
        bridge = Bridge(
            session=self._session,
            context=context,
            trace=trace,
            loop=asyncio.get_running_loop(),
            way=way,
            received=lambda reply: None if way is IDENTITY_ENDPOINT else self._measure(reply, trace),
        )
        return Asking(credential=credential, bridge=bridge, clock=self._clock, refresh_tokens=self._refresh_tokens)

    def _way(self, credential: Credential, trace: Trace) -> Way:
        """Through the proxy, where there is one; the identity endpoint is a part of this host."""
        if isinstance(credential.material, ManagedIdentity):
            return IDENTITY_ENDPOINT
        if self._proxy is None:
            return DIRECT
        try:
            return through(self._proxy)
        except ValueError as error:
            raise mistake(trace, "proxy", str(error)) from error

    @asynccontextmanager
    async def _alone(self, credential: Credential) -> AsyncIterator[None]:
        """One acquisition at a time for each file that it may replace; those who wait hold no thread."""
        if isinstance(credential.material, RefreshToken):
            async with self._files.setdefault(credential.material.file, asyncio.Lock()):
                yield
        else:
            yield

    async def _ask(self, bridge: Bridge, question: Callable[[], T]) -> T:
        """Put a question of MSAL's in a pool thread. Raises Failure; a cancelled call leaves neither request nor thread."""
        thread = asyncio.get_running_loop().run_in_executor(self._pool, question)
        try:
            return await asyncio.shield(thread)
        except asyncio.CancelledError:
            bridge.abandon()
            thread.add_done_callback(_retrieve)
            raise
        except Failure:
            raise
        except Exception:  # MSAL raises many types; the wire knows better what happened, and what of it may show
            if bridge.failure is not None:
                raise bridge.failure from None
            if bridge.last is not None:
                raise _refusal(bridge) from None
            raise

    async def _signed_in(self, flow: DeviceFlow, show: Callable[[Prompt], None]) -> dict[str, Any]:
        """What the authority gives in the end."""
        bridge = flow.asking.bridge
        trace = bridge.trace
        begun = await self._question(bridge, flow.begin)
        code, page = begun.get("user_code"), begun.get("verification_uri") or begun.get("verification_url")
        if not code or not page:
            raise _refusal(bridge)
        life = float(begun["expires_in"])
        show(Prompt(page=trace.redact(str(page)), code=trace.redact(str(code)), seconds=life))
        ends = self._clock.monotonic() + life
        while True:
            given = await self._question(bridge, flow.poll)
            if given.get("error") not in PENDING:
                break
            if self._clock.monotonic() > ends:
                raise mistake(trace, "device_code_expired", f"nobody signed in within {life:.0f} s")
            await asyncio.sleep(flow.interval)
        if "access_token" not in given:
            raise _refusal(bridge)
        if "refresh_token" not in given:
            raise mistake(trace, "no_refresh_token", "the authority gave a token, but none to renew it with")
        return dict(given)

    async def _question(self, bridge: Bridge, question: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(QUESTION_SECONDS):
                return await self._ask(bridge, question)
        except TimeoutError as error:
            raise bridge.trace.failure(Kind.TIMEOUT, f"no answer within {QUESTION_SECONDS:g} s") from error

    def _measure(self, reply: Reply, trace: Trace) -> None:
        there = _http_date(reply.headers.get("Date", ""))
        if there is not None:
            trace.measure("clock_skew_seconds", (self._clock.now() - there).total_seconds())


def _retrieve(done: asyncio.Future[Any]) -> None:
    """Take the outcome of an abandoned thread, so that asyncio does not call it forgotten."""
    if not done.cancelled():
        done.exception()


def _refusal(bridge: Bridge) -> Failure:
    """An answer that is no token, as evidence ("Microsoft identity platform error codes": error, error_codes, …)."""
    reply, trace = bridge.last, bridge.trace
    if reply is None:
        return trace.failure(Kind.NONSENSE, "no answer from the authority")
    status = str(reply.status_code)
    try:
        body = json.loads(reply.text)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict) and isinstance(body.get("error"), str):
        phase, protocol = trace.where
        description = str(body.get("error_description", ""))
        return Failure(
            Evidence(
                protocol=protocol,
                phase=phase,
                kind=Kind.OAUTH,
                code=status,
                aadsts=_aadsts(body.get("error_codes"), description),
                error=trace.redact(body["error"]),
                suberror=trace.redact(str(body["suberror"])) if body.get("suberror") else None,
                text=trace.redact(description),
                correlation_id=trace.redact(str(body["correlation_id"])) if body.get("correlation_id") else None,
            )
        )
    introduced = bridge.way.says(reply.status_code)
    if reply.status_code != 200:  # noqa: PLR2004 - RFC 9110: OK
        return trace.failure(Kind.HTTP, introduced + reply.text[:200], code=status)
    # What half looks like a grant may hold tokens that nobody knows yet: only its keys are shown.
    said = (
        f"JSON with {', '.join(sorted(body))[:200] or 'nothing in it'}" if isinstance(body, dict) else reply.text[:200]
    )
    return trace.failure(Kind.NONSENSE, introduced + said, code=status)


def _aadsts(codes: object, description: str) -> int | None:
    """The authority's own number; the identity endpoint passes on its sentence only, which begins with it."""
    if isinstance(codes, list) and codes and isinstance(codes[0], int):
        return codes[0]
    found = _AADSTS(description)
    return int(found[1]) if found else None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None
