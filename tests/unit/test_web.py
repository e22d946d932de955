"""The web server: five pages, and plain answers to everybody."""

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest

from monitor.version import VERSION
from monitor.web.server import WebError, serve, wants_openmetrics
from tests.unit.house import House, Page, ask, house

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
