"""The HTTP server of the daemon: metrics, health, readiness, reload. It knows nothing of what stands behind them.

It is built on aiohttp's low-level server, not on its `Application`: with five fixed pages a router buys nothing, and
only here do answers to malformed requests carry our headers too. A client can not hurt the probing: connections are
counted, every request line and header is bounded, no body is read, a request whose headers take too long is dropped by
aiohttp's keep-alive timer (which runs from the first moment of a connection), and so is a client that does not take
its answer.
"""

from __future__ import annotations

import asyncio
import errno
import html
import logging
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Protocol, cast
from urllib.parse import urlsplit

from aiohttp import web

from monitor.version import VERSION

_log = logging.getLogger(__name__)

# The probing needs file descriptors too, and 1024 is a common limit; Prometheus keeps one connection.
MAX_CONNECTIONS = 100
# Seconds for the headers of a request, and that an idle connection is kept. Not near a multiple of usual scrape
# intervals (15, 30, 60 s): a scrape must not meet a connection that is just being closed.
READ_SECONDS = 20.0
WRITE_SECONDS = 30.0  # for taking an answer: Prometheus gives a scrape 10 s
GRACE_SECONDS = 0.4  # for requests under way at shutdown; aiohttp and we wait this long three times at the most
_CONNECTION: Mapping[str, Any] = {
    "keepalive_timeout": READ_SECONDS,
    "lingering_time": 1.0,  # seconds for the rest of a body that nobody wants
    "max_line_size": 4096,
    "max_field_size": 8190,
    "max_headers": 64,
    "auto_decompress": False,
    "access_log": None,
}

_HEADERS = {"Server": "mailcanary", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_PLAIN = "text/plain; charset=utf-8"
_INDEX = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>mailcanary</title></head>
<body>
<h1>mailcanary {html.escape(VERSION)}</h1>
<ul>
<li><a href="/metrics">/metrics</a>: metrics for Prometheus</li>
<li><a href="/-/healthy">/-/healthy</a>: whether the process serves</li>
<li><a href="/-/ready">/-/ready</a>: whether it watches, or what it lacks</li>
<li>POST /-/reload: read the configuration again</li>
</ul>
</body>
</html>
"""

_MAX_PORT = 65535

# What to do about a port that can not be had.
_NEXT_STEPS = {
    errno.EADDRINUSE: "something else listens there: stop it, or set web.listen to another port",
    errno.EACCES: "this user may not listen there: set web.listen to a port above 1023",
    errno.EADDRNOTAVAIL: "this machine has no such address: set web.listen to one that it has, such as 127.0.0.1",
    socket.EAI_NONAME: "this name is not known: set web.listen to an address of this machine, such as 127.0.0.1",
}


class WebError(OSError):
    """The server can not listen. The text names the address and the next step."""


class Exposition(Protocol):
    """Where the metrics come from."""

    def render(self, openmetrics: bool) -> bytes:  # noqa: FBT001 - there are two formats and will be no third
        """All metrics as text, in the OpenMetrics format 1.0.0 or in Prometheus' own, 0.0.4."""

    def content_type(self, openmetrics: bool) -> str:  # noqa: FBT001
        """The media type of that text."""


@asynccontextmanager
async def serve(
    listen: tuple[str, int],
    *,
    metrics: Exposition,
    readiness: Callable[[], Sequence[str]],
    reload: Callable[[], Awaitable[Sequence[str]]],
) -> AsyncIterator[tuple[str, int]]:
    """Serve while the context lasts; gives the address it listens on, which is of use with port 0. Raises WebError.

    `readiness` gives what is lacking, nothing when ready; `reload` gives what is wrong, nothing when all was taken. One
    reload runs at a time. Leaving takes at most 2 seconds, whatever the clients do.
    """
    pages = _Pages(metrics, readiness, reload)
    server = web.Server(pages.answer)
    transports: set[asyncio.Transport] = set()
    if listen[1] > _MAX_PORT:  # uvloop would take another port without a word
        raise WebError(_cannot_listen(listen, f"no port is above {_MAX_PORT}: set web.listen to another one"))
    try:
        listening = await asyncio.get_running_loop().create_server(lambda: _Connection(server, transports), *listen)
    except OSError as error:
        # From Python 3.13 on asyncio leaves out addresses that the machine lacks, and fails without a number when none is left.
        step = _NEXT_STEPS.get(error.errno or errno.EADDRNOTAVAIL) or f"{error}: set web.listen to another address"
        raise WebError(_cannot_listen(listen, step)) from error
    try:
        host, port = listening.sockets[0].getsockname()[:2]
        yield host, port
    finally:
        listening.close()
        server.pre_shutdown()
        await server.shutdown(GRACE_SECONDS)
        await pages.stop()
        for transport in transports:
            transport.abort()
        await asyncio.sleep(0)  # the loop tells aborted connections so in its next turn


def _cannot_listen(listen: tuple[str, int], step: str) -> str:
    host, port = listen
    return f"cannot listen on {f'[{host}]' if ':' in host else host}:{port}: {step}"


class _Connection(web.RequestHandler):
    """One connection. What aiohttp leaves open: how many there are, and how long a client may take to read."""

    __slots__ = ("_deadline", "_open", "_wire")

    def __init__(self, server: web.Server, transports: set[asyncio.Transport]) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **_CONNECTION)
        self._open = transports
        self._wire: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        wire = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        if len(self._open) >= MAX_CONNECTIONS:
            wire.abort()
            return
        self._wire = wire
        self._open.add(wire)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._wire is not None:
            self._open.discard(self._wire)
        self._stop_waiting()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take what was written: it has a while to do so."""
        super().pause_writing()
        if self._wire is not None:
            self._deadline = self._loop.call_later(WRITE_SECONDS, self._wire.abort)

    def resume_writing(self) -> None:
        self._stop_waiting()
        super().resume_writing()

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it repeats what the client sent
    ) -> web.StreamResponse:
        """The answer to what is no HTTP (a client's fault, told to it alone), and to a defect of ours (logged)."""
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            response = _plain(status, ["this request can not be understood"])
        else:
            _log.error("a request for a page failed", exc_info=exc)
            response = _plain(status, ["this request failed by a defect: the log of mailcanary says more"])
        if request.writer.output_size > 0:
            raise ConnectionError("a part of another answer has been sent")
        response.force_close()
        return response


_Page = Callable[[web.BaseRequest], Awaitable[web.Response]]


class _Pages:
    """What is served: for each path its methods."""

    def __init__(
        self,
        metrics: Exposition,
        readiness: Callable[[], Sequence[str]],
        reload: Callable[[], Awaitable[Sequence[str]]],
    ) -> None:
        self._metrics = metrics
        self._readiness = readiness
        self._reload = reload
        self._one_at_a_time = asyncio.Lock()
        self._reloading: set[asyncio.Task[Any]] = set()
        self._pages: dict[str, dict[str, _Page]] = {
            "/": _readable(self._index),
            "/metrics": _readable(self._exposition),
            "/-/healthy": _readable(self._healthy),
            "/-/ready": _readable(self._ready),
            "/-/reload": {"POST": self._reloaded, "PUT": self._reloaded},
        }

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """The answer to one request."""
        methods = self._pages.get(request.path)
        if methods is None:
            return _plain(HTTPStatus.NOT_FOUND, ["there is no such page"])
        page = methods.get(request.method)
        origin = request.headers.get("Origin")
        if origin is not None and urlsplit(origin).netloc != request.host:
            # A browser says where a page comes from that sends a form: no page of others may reload us (CSRF).
            return _plain(HTTPStatus.FORBIDDEN, ["this page can not be asked for by a page of another server"])
        if page is None:
            allowed = ", ".join(methods)
            return _plain(HTTPStatus.METHOD_NOT_ALLOWED, [f"this page takes {allowed} only"], Allow=allowed)
        return await page(request)

    async def stop(self) -> None:
        """End what is still under way, also where its client has long gone."""
        for task in self._reloading:
            task.cancel()
        if self._reloading:
            await asyncio.wait(self._reloading, timeout=GRACE_SECONDS)

    async def _index(self, _request: web.BaseRequest) -> web.Response:
        policy = {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
        return _response(HTTPStatus.OK, _INDEX.encode(), "text/html; charset=utf-8", policy)

    async def _exposition(self, request: web.BaseRequest) -> web.Response:
        openmetrics = wants_openmetrics(",".join(request.headers.getall("Accept", ())))
        body, kind = self._metrics.render(openmetrics), self._metrics.content_type(openmetrics)
        return _response(HTTPStatus.OK, body, kind, {"Vary": "Accept"})

    async def _healthy(self, _request: web.BaseRequest) -> web.Response:
        return _plain(HTTPStatus.OK, ["ok"])

    async def _ready(self, _request: web.BaseRequest) -> web.Response:
        lacking = self._readiness()
        return _plain(HTTPStatus.SERVICE_UNAVAILABLE, lacking) if lacking else _plain(HTTPStatus.OK, ["ready"])

    async def _reloaded(self, _request: web.BaseRequest) -> web.Response:
        """Not ended when the client goes: half a reload is worse than one that nobody waits for."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for the types: a coroutine runs in a task
        self._reloading.add(task)
        try:
            async with self._one_at_a_time:
                problems = await self._reload()
        finally:
            self._reloading.discard(task)
        return _plain(HTTPStatus.BAD_REQUEST, problems) if problems else _plain(HTTPStatus.OK, ["reloaded"])


def _readable(page: _Page) -> dict[str, _Page]:
    """A page to look at: aiohttp leaves the body of an answer to HEAD out."""
    return {"GET": page, "HEAD": page}


def _plain(status: int, lines: Iterable[str], **headers: str) -> web.Response:
    text = "".join(f"{line}\n" for line in lines)
    return _response(status, text.encode("utf-8", "replace"), _PLAIN, headers)


def _response(status: int, body: bytes, content_type: str, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=status, body=body, headers={**_HEADERS, **headers, "Content-Type": content_type})


_QUALITY = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)").fullmatch  # RFC 9110, section 12.4.2
_OPENMETRICS_VERSIONS = frozenset({"", "0.0.1", "1.0.0"})
_TEXT_VERSIONS = frozenset({"", "0.0.4"})


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header prefers OpenMetrics to text. What can not be understood in it counts as not there.

    Of two formats that are equally welcome, OpenMetrics it is: Prometheus 2 and 3 name both, and it can carry more.
    """
    openmetrics = text = 0.0
    for entry in accept.split(","):
        kind, *rest = (part.strip().lower() for part in entry.split(";"))
        parameters = {name.rstrip(): value.strip(' \t"') for name, _, value in (part.partition("=") for part in rest)}
        quality, version = parameters.get("q", "1"), parameters.get("version", "")
        if not _QUALITY(quality):
            continue
        if kind == "application/openmetrics-text" and version in _OPENMETRICS_VERSIONS:
            openmetrics = max(openmetrics, float(quality))
        elif kind in {"text/plain", "text/*", "*/*"} and version in _TEXT_VERSIONS:
            text = max(text, float(quality))
    return openmetrics > 0 and openmetrics >= text
