"""The web server: five pages, plain answers to everybody, and no client that can hold up the daemon."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest

from monitor.version import VERSION
from monitor.web import server
from monitor.web.server import MAX_CONNECTIONS, WebError, serve, wants_openmetrics

PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
# Accept headers, and whether they get OpenMetrics.
ACCEPTS = {
    "": False,
    "*/*": False,
    "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8": False,
    PROMETHEUS_3: True,
    PROMETHEUS_2: True,
    "application/openmetrics-text": True,
    "application/openmetrics-text, */*": True,
    "APPLICATION/OpenMetrics-Text; Version=1.0.0": True,
    'application/openmetrics-text ; version="1.0.0"': True,
    "application/openmetrics-text;version=0.0.1": True,
    "application/openmetrics-text;version=abc": False,
    "application/openmetrics-text;version=9.9.9": False,
    "application/openmetrics-text;version=2.0.0, text/plain": False,
    "application/openmetrics-text;version=": True,
    "application/openmetrics-text;q=0": False,
    "application/openmetrics-text;q=0.000, text/plain;q=0.001": False,
    "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0;q=0.4": False,
    "application/openmetrics-text;q=nan": False,
    "application/openmetrics-text;q=inf": False,
    "application/openmetrics-text;q=-1": False,
    "application/openmetrics-text;q=1e9": False,
    "application/openmetrics-text;q=0.99999999": False,
    "application/openmetrics-text;q=²": False,
    "application/openmetrics-text;;;=;q=;": False,
    "application/openmetrics-text;version": True,
    ";;;,,,===;q=q=q": False,
    ",": False,
    "a/b" + ";" * 8000: False,
    "," * 8000: False,
    '"': False,
    "\t": False,
    "application/openmetrics-text\x00": False,
    "ÿþ\u2028": False,
}


class Page:
    """Metrics of which only the format shows."""

    def render(self, openmetrics: bool) -> bytes:  # noqa: FBT001 - the protocol's
        """Which format was asked for."""
        return b"# EOF\n" if openmetrics else b"up 1\n"

    def content_type(self, openmetrics: bool) -> str:  # noqa: FBT001
        """The format's media type."""
        return "application/openmetrics-text; version=1.0.0" if openmetrics else "text/plain; version=0.0.4"


class Long(Page):
    """More than the buffers of two sockets hold."""

    def render(self, openmetrics: bool) -> bytes:  # noqa: ARG002, FBT001
        """A body that a client must read for a while."""
        return b"x" * 50_000_000


@dataclass
class House:
    """A server that serves, and what stands behind it."""

    host: str = ""
    port: int = 0
    lacking: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    reloads: int = 0
    at_once: int = 0
    most_at_once: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    clients: list[asyncio.StreamWriter] = field(default_factory=list)

    async def reload(self) -> Sequence[str]:
        """Take as long as the gate is shut."""
        self.reloads += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.begun.set()
        try:
            await self.gate.wait()
        finally:
            self.at_once -= 1
            self.ended.set()
        return tuple(self.problems)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection of one's own, which ends after the server."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        self.clients.append(writer)
        return reader, writer

    async def says(self, request: bytes) -> bytes:
        """What is answered to raw bytes until the server closes."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            async with asyncio.timeout(5):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def house(metrics: Page | None = None) -> AsyncIterator[House]:
    """A server on a free port, with the gate of its reload open."""
    behind = House()
    behind.gate.set()
    page = metrics or Page()
    try:
        async with serve(("127.0.0.1", 0), metrics=page, readiness=lambda: behind.lacking, reload=behind.reload) as (
            behind.host,
            behind.port,
        ):
            yield behind
    finally:
        for writer in behind.clients:
            writer.transport.abort()
        await asyncio.sleep(0)


async def ask(
    behind: House, path: str, method: str = "GET", **headers: str
) -> tuple[int, str, aiohttp.typedefs.LooseHeaders]:
    """One request: status, text, headers."""
    async with (
        aiohttp.ClientSession(f"http://{behind.host}:{behind.port}") as session,
        session.request(method, path, headers=headers) as response,
    ):
        return response.status, await response.text(), response.headers


@pytest.fixture
async def behind() -> AsyncIterator[House]:
    """A server that serves."""
    async with house() as serving:
        yield serving


async def test_the_first_page_names_the_version_and_links_the_others(behind: House) -> None:
    """Whoever opens the port in a browser sees what there is; the page runs nothing."""
    status, text, headers = await ask(behind, "/")
    assert 200 == status
    assert "text/html; charset=utf-8" == headers["Content-Type"]
    assert "default-src 'none'; frame-ancestors 'none'" == headers["Content-Security-Policy"]
    assert VERSION in text
    for link in ("/metrics", "/-/healthy", "/-/ready"):
        assert f'href="{link}"' in text


async def test_metrics_are_served_in_the_format_that_is_asked_for(behind: House) -> None:
    """Prometheus gets OpenMetrics, everybody else the text format, each with its media type."""
    status, text, headers = await ask(behind, "/metrics", Accept=PROMETHEUS_3)
    assert (200, "# EOF\n") == (status, text)
    assert "application/openmetrics-text; version=1.0.0" == headers["Content-Type"]
    status, text, headers = await ask(behind, "/metrics?anything=1")
    assert (200, "up 1\n") == (status, text)
    assert "text/plain; version=0.0.4" == headers["Content-Type"]


async def test_head_gives_the_headers_alone(behind: House) -> None:
    """HEAD answers as GET does, without the body."""
    for path in ("/", "/metrics", "/-/healthy", "/-/ready"):
        status, _, headers = await ask(behind, path)
        head_status, text, head_headers = await ask(behind, path, "HEAD")
        assert (status, "") == (head_status, text)
        for name in ("Content-Type", "Content-Length"):
            assert headers[name] == head_headers[name]


@pytest.mark.parametrize(("accept", "openmetrics"), ACCEPTS.items(), ids=range(len(ACCEPTS)))
async def test_no_accept_header_is_answered_with_an_error(behind: House, accept: str, openmetrics: bool) -> None:  # noqa: FBT001 - a table
    """Whatever stands in Accept, a page is served; OpenMetrics only where it was asked for and is at least as welcome."""
    assert openmetrics is wants_openmetrics(accept)
    raw = await behind.says(
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: %b\r\n\r\n" % accept.encode()
    )
    status = int(raw.split()[1])
    if "\x00" in accept:  # RFC 9110, section 5.5: such a header is invalid as a whole
        assert 400 == status
    else:
        assert 200 == status
        assert openmetrics is raw.endswith(b"# EOF\n")


async def test_several_accept_headers_are_one(behind: House) -> None:
    """A header that stands twice is a list in two lines."""
    raw = await behind.says(
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: text/plain;q=0.1\r\n"
        b"Accept: application/openmetrics-text\r\n\r\n"
    )
    assert raw.endswith(b"# EOF\n")


async def test_healthy_is_whoever_answers(behind: House) -> None:
    """The process is healthy as long as it serves, ready or not."""
    behind.lacking.append("starting")
    assert (200, "ok\n") == (await ask(behind, "/-/healthy"))[:2]


async def test_ready_says_what_is_lacking(behind: House) -> None:
    """Not ready is 503 with one reason in a line."""
    assert (200, "ready\n") == (await ask(behind, "/-/ready"))[:2]
    behind.lacking += ["starting", "the database does not answer"]
    assert (503, "starting\nthe database does not answer\n") == (await ask(behind, "/-/ready"))[:2]


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_reload_says_what_is_wrong(behind: House, method: str) -> None:
    """A reload that was taken is 200; one that was not is 400 with every error in a line, whatever stands in it."""
    assert (200, "reloaded\n") == (await ask(behind, "/-/reload", method))[:2]
    behind.problems += ["mailcanary.yaml:3: apps.0: missing", "mailcanary.yaml:9: \ud800 is no name"]
    expected = "mailcanary.yaml:3: apps.0: missing\nmailcanary.yaml:9: ? is no name\n"
    assert (400, expected) == (await ask(behind, "/-/reload", method))[:2]
    assert 2 == behind.reloads


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1"])
async def test_a_page_of_another_server_reloads_nothing(behind: House, origin: str) -> None:
    """A browser that follows a stranger's page names its origin: 403, and nothing was asked of the daemon."""
    status, body, *_ = await ask(behind, "/-/reload", "POST", Origin=origin)
    assert (403, 0) == (status, behind.reloads)
    assert "another server" in body


async def test_our_own_page_may_reload(behind: House) -> None:
    """The same origin is no stranger."""
    own = f"http://{behind.host}:{behind.port}"
    assert 200 == (await ask(behind, "/-/reload", "POST", Origin=own))[0]


async def test_one_reload_runs_at_a_time(behind: House) -> None:
    """Reloads that are asked for at once run one after the other, and each gets its own answer."""
    behind.gate.clear()
    asked = [asyncio.create_task(ask(behind, "/-/reload", "POST")) for _ in range(5)]
    await behind.begun.wait()
    behind.gate.set()
    assert [200] * 5 == [status for status, *_ in await asyncio.gather(*asked)]
    assert (5, 1) == (behind.reloads, behind.most_at_once)


async def test_a_reload_outlives_its_client(behind: House) -> None:
    """A client that goes in the middle does not leave half a reload."""
    behind.gate.clear()
    _, writer = await behind.connect()
    writer.write(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    await behind.begun.wait()
    writer.transport.abort()
    assert 200 == (await ask(behind, "/-/healthy"))[0]
    assert 1 == behind.at_once
    behind.gate.set()
    async with asyncio.timeout(5):
        await behind.ended.wait()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/-/reload", "POST, PUT"),
        ("HEAD", "/-/reload", "POST, PUT"),
        ("DELETE", "/-/reload", "POST, PUT"),
        ("POST", "/metrics", "GET, HEAD"),
        ("PUT", "/", "GET, HEAD"),
        ("OPTIONS", "/-/ready", "GET, HEAD"),
        ("PATCH", "/-/healthy", "GET, HEAD"),
        ("TRACE", "/", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(behind: House, method: str, path: str, allowed: str) -> None:
    """A method that a page does not take is 405 and changes nothing."""
    status, _, headers = await ask(behind, path, method)
    assert (405, allowed) == (status, headers["Allow"])
    assert 0 == behind.reloads


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/metrics/", "//metrics", "/Metrics", "/-/", "/-/../x", "/%2e%2e/etc/passwd", "/%00", "/%ff", "/<b>"],
)
async def test_an_unknown_path_is_not_repeated(behind: House, path: str) -> None:
    """What is not there is 404 in plain text that holds nothing of the request."""
    raw = await behind.says(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert raw.startswith(b"HTTP/1.1 404 ")
    assert raw.endswith(b"\r\n\r\nthere is no such page\n")
    assert b"Content-Type: text/plain; charset=utf-8\r\n" in raw


# Requests that are refused before they reach a page, with the status.
MALFORMED = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400),
    "a long path": (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "an endless path": (b"GET /" + b"a" * 400_000, 400),
    "a long header": (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 9000 + b"\r\n\r\n", 400),
    "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: 1\r\n" * 100 + b"\r\n", 400),
    "two lengths": (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
    "a header without a name": (b"GET / HTTP/1.1\r\nHost: x\r\n: x\r\n\r\n", 400),
    "a markup": (b"GET /<script>alert(1)</script> HTTP/9\r\n\r\n", 400),
}


@pytest.mark.parametrize(("request_bytes", "status"), MALFORMED.values(), ids=MALFORMED)
async def test_what_is_no_request_is_refused(behind: House, request_bytes: bytes, status: int) -> None:
    """Nonsense gets a short answer that repeats nothing of it, and the connection is closed."""
    raw = await behind.says(request_bytes)
    assert raw.startswith(b"HTTP/1.")
    assert status == int(raw.split()[1])
    assert raw.endswith(b"\r\n\r\nthis request can not be understood\n")
    assert 200 == (await ask(behind, "/-/healthy"))[0]


async def test_no_answer_tells_the_library(behind: House) -> None:
    """Every answer, also one to nonsense, is not to be stored or guessed at and names no version of a library."""
    answers = [
        await behind.says(f"{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        for line in ("GET /", "HEAD /metrics", "GET /x", "POST /", "POST /-/reload", "GET /\x01")
    ]
    for raw in answers:
        head = raw.partition(b"\r\n\r\n")[0]
        assert b"\r\nServer: mailcanary\r\n" in head
        assert b"\r\nCache-Control: no-store\r\n" in head
        assert b"\r\nX-Content-Type-Options: nosniff" in head
        assert b"aiohttp" not in head
        assert b"Python" not in head


async def test_a_defect_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """A page that fails is 500 without a word of why, and the log has the traceback."""

    class Broken(Page):
        def render(self, openmetrics: bool) -> bytes:  # noqa: ARG002, FBT001
            raise LookupError("planted")

    async with house(Broken()) as behind:
        status, text, _ = await ask(behind, "/metrics", Accept="text/html")
    assert (500, "this request failed by a defect: the log of mailcanary says more\n") == (status, text)
    assert "LookupError: planted" in caplog.text


async def test_answering_writes_no_log(behind: House, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a scrape nor nonsense of a client fills the log."""
    await ask(behind, "/metrics")
    await behind.says(b"nonsense\r\n\r\n")
    assert not [record for record in caplog.records if record.name.startswith(("aiohttp", "monitor"))]


async def test_a_body_that_never_ends_is_not_read(behind: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is answered before its body comes, and the connection is not kept for the rest."""
    monkeypatch.setattr(server, "_CONNECTION", {**server._CONNECTION, "lingering_time": 0.01})
    raw = await behind.says(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nx")
    assert raw.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_request_that_takes_too_long_is_dropped(
    behind: House, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    """A client has a limited time for the headers, however it spends it."""
    monkeypatch.setattr(server, "_CONNECTION", {**server._CONNECTION, "keepalive_timeout": 0.05})
    assert b"" == await behind.says(sent)


async def test_a_client_that_takes_no_answer_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that nobody reads is not kept for ever: the only place is free again, and the rest is lost."""
    monkeypatch.setattr(server, "WRITE_SECONDS", 0.05)
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    async with house(Long()) as behind:
        with socket.create_connection((behind.host, behind.port)) as client:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
            client.setblocking(False)  # noqa: FBT003 - the standard library's
            assert b"HTTP/1.1 200 " == await asyncio.get_running_loop().sock_recv(client, 13)
            await _room(behind)
            client.settimeout(5)
            assert sum(iter(lambda: len(client.recv(2**20)), 0)) < len(Long().render(openmetrics=False))


async def test_connections_are_counted(behind: House) -> None:
    """Beyond the limit a connection is dropped at once; when others go there is room again."""
    others = [await behind.connect() for _ in range(MAX_CONNECTIONS)]
    assert b"" == await _rest(behind)
    for _, writer in others:
        writer.close()
    await _room(behind)


async def _room(behind: House) -> None:
    async with asyncio.timeout(5):
        while not await _rest(behind):
            pass


async def _rest(behind: House) -> bytes:
    try:
        return await behind.says(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    except ConnectionError:
        return b""


async def idle(behind: House) -> None:
    """A client that says nothing."""
    await behind.connect()


async def half(behind: House) -> None:
    """A client in the middle of its request."""
    _, writer = await behind.connect()
    writer.write(b"GET /metrics HTT")


async def body(behind: House) -> None:
    """A client in the middle of a body."""
    reader, writer = await behind.connect()
    writer.write(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhalf")
    behind.gate.set()
    await reader.readexactly(10)


async def waiting(behind: House) -> None:
    """A client whose reload hangs."""
    _, writer = await behind.connect()
    writer.write(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    await behind.begun.wait()


async def gone(behind: House) -> None:
    """A client that has gone while its reload hangs."""
    _, writer = await behind.connect()
    writer.write(b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    await behind.begun.wait()
    writer.transport.abort()
    await ask(behind, "/-/healthy")


async def deaf(behind: House) -> None:
    """A client that does not read what it asked for."""
    reader, writer = await behind.connect()
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readexactly(10)
    writer.transport.pause_reading()


@pytest.mark.parametrize("client", [idle, half, body, waiting, gone, deaf])
async def test_no_client_holds_up_the_shutdown(client: Callable[[House], Awaitable[None]]) -> None:
    """Whatever a client is in the middle of, the server is gone within two seconds, and so is its reload."""
    loop = asyncio.get_running_loop()
    async with house(Long()) as behind:
        behind.gate.clear()
        await client(behind)
        start = loop.time()
    assert loop.time() - start < 2
    assert 0 == behind.at_once
    with pytest.raises(OSError, match="onnect"):
        await behind.connect()


async def test_a_request_under_way_is_answered_at_shutdown() -> None:
    """A short request is let finish."""
    async with house() as behind:
        behind.gate.clear()
        asked = asyncio.create_task(ask(behind, "/-/reload", "POST"))
        await behind.begun.wait()
        asyncio.get_running_loop().call_later(0.05, behind.gate.set)
    assert 200 == (await asked)[0]


async def test_a_port_in_use_names_the_address_and_the_next_step(behind: House) -> None:
    """Two daemons on one port: the second says where and what to do, as the error that it is."""
    expected = f"cannot listen on 127.0.0.1:{behind.port}: something else listens there: stop it, or set web.listen to another port"
    with pytest.raises(WebError) as caught:
        async with serve((behind.host, behind.port), metrics=Page(), readiness=list, reload=behind.reload):
            pass
    assert expected == str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert errno.EADDRINUSE == caught.value.__cause__.errno


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        (("192.0.2.1", 0), r"cannot listen on 192\.0\.2\.1:0: this machine has no such address: set web\.listen"),
        (("127.0.0.1", 99999), r"cannot listen on 127\.0\.0\.1:99999: no port is above 65535: set web\.listen"),
        (("2001:db8::1", 0), r"cannot listen on \[2001:db8::1\]:0: .+ set web\.listen to"),
    ],
)
async def test_an_address_that_can_not_be_had_is_named(behind: House, listen: tuple[str, int], said: str) -> None:
    """Every reason not to listen names the address and the setting."""
    with pytest.raises(WebError, match=said):
        async with serve(listen, metrics=Page(), readiness=list, reload=behind.reload):
            pass
