"""Entra ID over HTTPS: discovery, instance discovery, the token endpoint, device codes.

Only the HTTP of it: who gets a token is decided in `grants`, how a refusal reads is in `refusals`. Two things of the
real service live here because they are about connections and cookies: loop detection, and the headers of an answer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING

from aiohttp import web

from monitor.sim.consents import CODE_LIFE_S
from monitor.sim.fault_settings import ClockSkew, Drip, EndlessBody, HttpReply, Nonsense, Slow
from monitor.sim.grants import begin_sign_in, decide, find_tenant
from monitor.sim.refusals import Refused, refused
from monitor.sim.wire import NONSENSE, misbehave, reset

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from monitor.sim.faults import Fault
    from monitor.sim.grants import Desk, Grant
    from monitor.sim.tokens import Mint
    from monitor.sim.wire import Wire

SERVER = "entra"

# 15 equal requests of one client instance in 5 minutes; Microsoft, "What's new for authentication: Looping clients".
LOOP_REQUESTS = 15
LOOP_WINDOW = timedelta(minutes=5)
LOOP_MEMORY = 10_000  # clients that are remembered

LIFETIME_S = (3600, 5400)  # random between 60 and 90 minutes; Microsoft, "Configurable token lifetimes"

_COOKIE = "fpc"  # the cookie by which Entra knows a browser or client again
_NO_STORE = {"Cache-Control": "no-store, no-cache", "Pragma": "no-cache"}
_ESTS = "2.1.22345.6 - WEULR1 ProdSlices"


class Entra:
    """The HTTPS server. `start` before the first connection is served, `stop` after the last."""

    def __init__(self, desk: Desk, mint: Mint, context: Callable[[], ssl.SSLContext]) -> None:
        self._desk = desk
        self._world = desk.world
        self._mint = mint
        self._context = context
        self._loops = _Loops()
        app = web.Application(middlewares=[self._faulty], client_max_size=1 << 20)
        app.router.add_get("/common/discovery/instance", self._instance)
        app.router.add_get("/{tenant}/v2.0/.well-known/openid-configuration", self._discovery)
        app.router.add_route("*", "/{tenant}/oauth2/v2.0/token", self._token)
        app.router.add_post("/{tenant}/oauth2/v2.0/devicecode", self._device_code)
        app.on_response_prepare.append(self._date)
        # A request whose client left is cancelled, so that a silent answer ends with its connection.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None)

    async def start(self) -> None:
        """Make the server ready to be handed connections."""
        await self._runner.setup()

    async def stop(self) -> None:
        """End the server."""
        await self._runner.cleanup()

    async def serve(self, wire: Wire, sock: socket.socket) -> None:
        """One connection, from the handshake to its end."""
        fault = self._world.wire_fault(SERVER, "tls")
        if fault is not None:
            await wire.open(sock)
            await misbehave(wire, fault, b"")
        server = self._runner.server
        if server is not None:
            await wire.serve_tls(sock, self._context(), server())

    async def _instance(self, request: web.Request) -> web.Response:
        """What MSAL asks before it trusts an unknown authority, and after every error."""
        tenant = request.query.get("authorization_endpoint", f"https://{request.host}/common/").split("/")[3]
        return web.json_response(
            {
                "tenant_discovery_endpoint": f"https://{request.host}/{tenant}/v2.0/.well-known/openid-configuration",
                "api-version": "1.1",
                "metadata": [
                    {"preferred_network": request.host, "preferred_cache": request.host, "aliases": [request.host]}
                ],
            }
        )

    async def _discovery(self, request: web.Request) -> web.Response:
        name = request.match_info["tenant"]
        try:
            tenant = find_tenant(self._world, name)
        except Refused as refusal:
            return self._refused(refusal, request)
        base = f"https://{request.host}/{name}"
        return web.json_response(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": [
                    "client_secret_post",
                    "private_key_jwt",
                    "client_secret_basic",
                ],
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "issuer": f"https://{request.host}/{tenant.id}/v2.0",
                "request_uri_parameter_supported": False,
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "tenant_region_scope": "EU",
                "cloud_instance_name": request.host,
            }
        )

    async def _token(self, request: web.Request) -> web.Response:
        cookie = request.cookies.get(_COOKIE)
        try:
            response = self._granted(await self._decide(request, cookie))
        except Refused as refusal:
            response = self._refused(refusal, request)
        if cookie is None:
            response.set_cookie(_COOKIE, self._world.rng.randbytes(16).hex(), secure=True, httponly=True)
        return response

    async def _device_code(self, request: web.Request) -> web.Response:
        """Begin a sign-in; the page that it names is for people, who are played by `Consents.sign_in`."""
        try:
            device_code, code = begin_sign_in(self._desk, request.match_info["tenant"], await _form(request))
        except Refused as refusal:
            return self._refused(refusal, request)
        page = f"https://{request.host}/device"
        return web.json_response(
            {
                "user_code": code.user_code,
                "device_code": device_code,
                "verification_uri": page,
                "expires_in": CODE_LIFE_S,
                "interval": self._desk.consents.interval_s,
                "message": f"To sign in, use a web browser to open the page {page} and enter the code "
                f"{code.user_code} to authenticate.",
            },
            headers=_NO_STORE,
        )

    async def _decide(self, request: web.Request, cookie: str | None) -> Grant:
        if request.method != "POST":
            raise refused(900561, method=request.method)
        form = await _form(request)
        if self._loops.looping(cookie, form, self._world.now()):
            raise refused(50196)
        token_url = f"https://{request.host}{request.path}"
        authorization = request.headers.get("Authorization")
        return decide(self._desk, request.match_info["tenant"], form, authorization, token_url)

    def _granted(self, grant: Grant) -> web.Response:
        lifetime_s = self._world.rng.randint(*LIFETIME_S) - 1  # 3599 in Microsoft's samples
        consent = grant.consent
        token = self._mint.issue(
            self._world,
            grant.app,
            audience=grant.audience,
            credential=grant.credential,
            lifetime_s=lifetime_s,
            user=consent.user if consent else "",
            scopes=consent.scopes if consent else (),
        )
        body: dict[str, object] = {
            "token_type": "Bearer",
            "expires_in": lifetime_s,
            "ext_expires_in": lifetime_s,
            "access_token": token,
        }
        if consent is not None:
            body["scope"] = " ".join(f"{consent.resource}/{scope}" for scope in consent.scopes)
            body["refresh_token"] = self._desk.consents.give_token(consent)
        headers = {**_NO_STORE, "x-ms-request-id": self._world.uuid(), "x-ms-ests-server": _ESTS}
        return web.json_response(body, headers=headers)

    def _refused(self, refusal: Refused, request: web.Request) -> web.Response:
        trace_id = self._world.uuid()
        correlation_id = request.headers.get("client-request-id") or self._world.uuid()
        headers = {**_NO_STORE, "x-ms-request-id": trace_id, "x-ms-ests-server": _ESTS}
        if refusal.status == web.HTTPTooManyRequests.status_code:
            headers["Retry-After"] = "30"
        body = refusal.body(self._world, trace_id, correlation_id)
        return web.json_response(body, status=refusal.status, headers=headers)

    async def _date(self, _: web.Request, response: web.StreamResponse) -> None:
        """Date every answer by the world's clock, skewed where a fault says so."""
        skew = self._world.wire_setting(SERVER, ClockSkew)
        moment = self._world.now() + timedelta(seconds=skew.seconds if skew else 0)
        response.headers["Date"] = format_datetime(moment, usegmt=True)

    @web.middleware
    async def _faulty(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Answer as the fault of this kind of request wants it, or properly."""
        phase = "token" if request.path.endswith(("/token", "/devicecode")) else "discovery"
        fault = self._world.wire_fault(SERVER, phase)
        if fault is None:
            return await handler(request)
        match fault.settings:
            case HttpReply() as literal:
                headers = {**literal.headers, "Content-Type": literal.content_type}
                return web.Response(status=literal.status, body=literal.body.encode(), headers=headers)
            case Slow(seconds=seconds):
                await asyncio.sleep(seconds)
                return await handler(request)
            case Drip(seconds_per_byte=pause):
                return await _dripping(request, await handler(request), pause)
            case EndlessBody():
                return await _endless(request, b'{"token_type":"Bearer","access_token":"', b"A" * 16384)
        return await _broken(request, fault)


async def _form(request: web.Request) -> dict[str, str]:
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


class _Loops:
    """Remembers equal requests of one client instance, known by its cookie."""

    def __init__(self) -> None:
        self._seen: OrderedDict[tuple[str, str, str], deque[datetime]] = OrderedDict()

    def looping(self, cookie: str | None, form: dict[str, str], now: datetime) -> bool:
        """Whether this request is one too many."""
        if cookie is None:
            return False
        key = (cookie, form.get("client_id", ""), form.get("scope", ""))
        recent = self._seen.setdefault(key, deque(maxlen=LOOP_REQUESTS))
        self._seen.move_to_end(key)
        if len(self._seen) > LOOP_MEMORY:
            self._seen.popitem(last=False)
        recent.append(now)
        return len(recent) == LOOP_REQUESTS and recent[0] > now - LOOP_WINDOW


async def _dripping(request: web.Request, proper: web.StreamResponse, pause: float) -> web.StreamResponse:
    body = proper.body if isinstance(proper, web.Response) and isinstance(proper.body, bytes) else b""
    response = web.StreamResponse(status=proper.status, headers={"Content-Type": "application/json"})
    response.content_length = len(body)
    await response.prepare(request)
    for value in body:
        await response.write(bytes((value,)))
        await asyncio.sleep(pause)
    return response


async def _endless(request: web.Request, start: bytes, chunk: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(start)
    while True:
        await response.write(chunk)
        await asyncio.sleep(0)


async def _broken(request: web.Request, fault: Fault) -> web.StreamResponse:
    """End the connection without an HTTP answer."""
    transport = request.transport
    if transport is not None:
        match fault.settings, fault.kind.name:
            case Nonsense(kind="endless"), _:
                transport.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
                while not transport.is_closing():
                    if transport.get_write_buffer_size() == 0:
                        transport.write(b"x" * 16384)
                    await asyncio.sleep(0.001)
            case Nonsense(kind=kind), _:
                transport.write(NONSENSE[kind])
                transport.close()
            case _, "reset":
                reset(transport)
            case _, "closed":
                transport.close()
            case _:
                await asyncio.Event().wait()  # silent: until the client leaves, which cancels this request
    return web.Response()  # nobody is there to get it
