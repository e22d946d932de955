"""A channel that has a proxy speaks HTTPS through it, and nobody else in the process does."""

import asyncio
import base64
import ssl
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
import trustme
from aiohttp import web

from checks.core.secret import Secret
from monitor.alerts.channels import AppriseChannel, open_channels
from monitor.alerts.render import Message, Tone
from monitor.model import Channel

MESSAGE = Message(title="CRITICAL: it broke", body="mend it", tone=Tone.FAILURE)
HOST = "hooks.contoso.example"  # a name that only the proxy can resolve
PASSWORD = "pr0xy-pa55word"


@dataclass
class Office:
    """A webhook behind a proxy: what both were asked for."""

    asked: list[str] = field(default_factory=list)
    signed_in_as: list[str] = field(default_factory=list)
    posts: list[str] = field(default_factory=list)
    refuses: bool = False
    proxy_port: int = 0
    plain_port: int = 0

    @property
    def proxy(self) -> Secret:
        """The proxy's URL with its password."""
        return Secret(f"http://watcher:{PASSWORD}@127.0.0.1:{self.proxy_port}")


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def office(tls: ssl.SSLContext) -> AsyncIterator[Office]:
    """A proxy that leads every CONNECT to one webhook over TLS; and the same webhook without TLS, beside it."""
    here = Office()

    async def post(request: web.Request) -> web.Response:
        here.posts.append(request.path)
        return web.Response()

    application = web.Application()
    application.router.add_post("/{path:.*}", post)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    secure_port, here.plain_port = (address[1] for address in runner.addresses)

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        here.asked.append(head.split("\r\n")[0].rpartition(" HTTP/")[0])
        for line in head.split("\r\n"):
            if line.lower().startswith("proxy-authorization: basic "):
                here.signed_in_as.append(base64.b64decode(line.split()[-1]).decode())
        if here.refuses:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            writer.close()
            return
        there, back = await asyncio.open_connection("127.0.0.1", secure_port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with asyncio.TaskGroup() as both:
            both.create_task(_pipe(reader, back))
            both.create_task(_pipe(there, writer))

    try:
        async with await asyncio.start_server(proxy, "127.0.0.1", 0) as listening:
            here.proxy_port = listening.sockets[0].getsockname()[1]
            yield here
    finally:
        await runner.cleanup()


@pytest.fixture
async def behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    """An office whose CA `requests` trusts, in an environment that names no proxy."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    async with office(context) as here:
        yield here


def channel(url: str, proxy: Secret | None) -> AppriseChannel:
    """The channel `chat` with that URL."""
    return open_channels([Channel(name="chat", url=Secret(url), proxy=proxy)])["chat"]


async def test_https_goes_through_the_proxy(behind: Office) -> None:
    """The proxy is asked for the webhook's name and port, with user and password, and the message arrives."""
    assert "" == await channel(f"jsons://{HOST}/alert", behind.proxy).send(MESSAGE)
    assert ["/alert"] == behind.posts
    assert [f"CONNECT {HOST}:443"] == behind.asked
    assert [f"watcher:{PASSWORD}"] == behind.signed_in_as


async def test_http_goes_its_own_way(behind: Office) -> None:
    """A webhook without TLS is asked directly."""
    assert "" == await channel(f"json://127.0.0.1:{behind.plain_port}/alert", behind.proxy).send(MESSAGE)
    assert (["/alert"], []) == (behind.posts, behind.asked)


async def test_a_proxy_is_not_for_others(behind: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a channel with a proxy, another channel, another thread and the environment know nothing of it."""
    monkeypatch.setenv("NO_PROXY", "*")  # the environment's word on its own proxies, not on ours
    mine, other = channel(f"jsons://{HOST}/mine", behind.proxy), channel("jsons://127.0.0.1:1/other", None)
    said = await asyncio.gather(mine.send(MESSAGE), other.send(MESSAGE))
    assert ("", True) == (said[0], bool(said[1]))
    with pytest.raises(requests.ConnectionError):
        await asyncio.to_thread(requests.get, "https://127.0.0.1:1/thread", timeout=10)
    assert ["/mine"] == behind.posts
    assert 1 == len(behind.asked)


async def test_a_proxy_overrules_that_of_the_environment(behind: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The configured proxy is asked although the environment names another one, which is dead."""
    for name in ("https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert "" == await channel(f"jsons://{HOST}/alert", behind.proxy).send(MESSAGE)
    assert 1 == len(behind.asked)


@pytest.mark.parametrize("dead", [False, True], ids=["refuses", "dead"])
async def test_a_proxy_that_fails_keeps_its_password(
    behind: Office, caplog: pytest.LogCaptureFixture, *, dead: bool
) -> None:
    """A proxy that refuses us, or is not there, is an error of the channel that shows no password."""
    behind.refuses = True
    proxy = Secret(behind.proxy.reveal().replace(str(behind.proxy_port), "1")) if dead else behind.proxy
    with caplog.at_level("DEBUG"):
        said = await channel(f"jsons://{HOST}/alert", proxy).send(MESSAGE)
    basic = base64.b64encode(f"watcher:{PASSWORD}".encode()).decode()
    assert said
    assert [] == behind.posts
    assert [] == [hidden for hidden in (PASSWORD, basic) if hidden in said + caplog.text]
    assert dead is not bool(behind.asked)


async def test_requests_is_told_once(behind: Office) -> None:
    """However many channels have a proxy, the method of `requests` is wrapped once."""
    for _ in range(3):
        channel(f"jsons://{HOST}/alert", behind.proxy)
    assert not hasattr(requests.Session.merge_environment_settings.__wrapped__, "__wrapped__")
    assert "alert-chat" not in {thread.name for thread in threading.enumerate()}
