"""No client can hold up the web server, nor its stop: nonsense, slow and deaf ones, and too many."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

import pytest

from monitor.web import server
from monitor.web.server import MAX_CONNECTIONS
from tests.unit.house import House, Long, ask, house


@pytest.fixture
async def behind() -> AsyncIterator[House]:
    """A server that serves."""
    async with house() as serving:
        yield serving


# Requests that are refused before they reach a page, with the status.
MALFORMED = {
    "no HTTP": (b"hello\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), 400),
    "a long path": (b"GET /" + b"a" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 400),
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


async def test_a_path_that_never_ends_is_not_read(behind: House) -> None:
    """The connection is cut while the client still writes; what was answered may be lost with it (RFC 9112, 9.6)."""
    with suppress(ConnectionError):
        assert (await behind.says(b"GET /" + b"a" * 4_000_000)).startswith(b"HTTP/1.0 400 ")
    assert 200 == (await ask(behind, "/-/healthy"))[0]


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
