"""Channels send what they are given to a real collector, apart from each other, and show no URL."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from checks.core.secret import Secret
from monitor.alerts.channels import ChannelError, open_channels
from monitor.alerts.render import Message, Tone
from monitor.model import Channel

MESSAGE = Message(title="CRITICAL: it broke", body="CRITICAL: smtp_auth <x>\n\n1. Mend it", tone=Tone.FAILURE)
Answer = Callable[[], Awaitable[web.Response]]


class Collector:
    """An HTTP server that keeps what it is posted and answers as it is told."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str]]] = []
        self.answer: Answer = self.taken
        self.open = asyncio.Event()
        self.arrived: asyncio.Queue[str] = asyncio.Queue()
        self.port = 0

    async def taken(self) -> web.Response:
        """Say yes."""
        return web.Response()

    async def broken(self) -> web.Response:
        """Say 500."""
        return web.Response(status=500)

    async def hanging(self) -> web.Response:
        """Say nothing until the collector is opened."""
        await self.open.wait()
        return web.Response()

    async def collect(self, request: web.Request) -> web.Response:
        """Keep a post."""
        self.posts.append((request.path, json.loads(await request.text())))
        self.arrived.put_nowait(request.path)
        return await self.answer()

    def channel(self, name: str = "chat", path: str = "alert") -> Channel:
        """A channel that posts to this collector."""
        return Channel(name=name, url=Secret(f"json://127.0.0.1:{self.port}/{path}"))


@asynccontextmanager
async def running() -> AsyncIterator[Collector]:
    """A collector on a free port."""
    collector = Collector()
    application = web.Application()
    application.router.add_post("/{path:.*}", collector.collect)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.port = runner.addresses[0][1]
    try:
        yield collector
    finally:
        collector.open.set()
        await runner.cleanup()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    """A collector on a free port."""
    async with running() as started:
        yield started


async def test_a_message_arrives_as_it_was_written(collector: Collector) -> None:
    """A webhook gets title, body and tone unchanged."""
    channel = open_channels([collector.channel()])["chat"]
    assert "" == await channel.send(MESSAGE)
    [(path, post)] = collector.posts
    assert "/alert" == path
    assert {
        "version": "1.0",
        "title": "CRITICAL: it broke",
        "message": "CRITICAL: smtp_auth <x>\n\n1. Mend it",
        "attachments": [],
        "type": "failure",
    } == post


async def test_a_refusal_is_explained(collector: Collector) -> None:
    """What the service answered is in the error."""
    collector.answer = collector.broken
    channel = open_channels([collector.channel()])["chat"]
    assert "Failed to send JSON POST notification: Internal server error., error=500." == await channel.send(MESSAGE)


async def test_a_service_that_is_silent_is_left_alone(collector: Collector) -> None:
    """A send ends at its time limit; the next one waits for the thread, and works when that is free."""
    collector.answer = collector.hanging
    channel = open_channels([collector.channel()], timeout=0.2)["chat"]
    assert "no answer within 0.2 s" == await channel.send(MESSAGE)
    assert "the message before is still on its way" == await channel.send(MESSAGE)
    assert 1 == len(collector.posts)

    collector.answer = collector.taken
    collector.open.set()
    for thread in threading.enumerate():
        if thread.name == "alert-chat":
            await asyncio.to_thread(thread.join, 10)
    assert "" == await channel.send(MESSAGE)
    assert 2 == len(collector.posts)


async def test_a_channel_that_hangs_delays_no_other(collector: Collector) -> None:
    """While twenty channels hang, another one delivers."""
    async with running() as silent:
        silent.answer = silent.hanging
        hanging = [silent.channel(f"silent-{number}") for number in range(20)]
        channels = open_channels([collector.channel(), *hanging], timeout=30)
        sends = [asyncio.create_task(channels[channel.name].send(MESSAGE)) for channel in hanging]
        async with asyncio.timeout(10):
            for _ in hanging:
                await silent.arrived.get()
        assert "" == await channels["chat"].send(MESSAGE)
        assert not any(send.done() for send in sends)
        silent.open.set()
        assert [""] * 20 == await asyncio.gather(*sends)


async def test_no_part_of_a_url_reaches_a_log_or_an_error(
    collector: Collector, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Path, query and password of a URL show neither at DEBUG nor in an error, whether a send succeeds or fails."""
    secrets = ("hunter2pw", "T0kenInPath", "T0kenInQuery", "T0kenInHeader")
    url = Secret(
        f"json://user:{secrets[0]}@127.0.0.1:{collector.port}/{secrets[1]}?-key={secrets[2]}&+X-Key={secrets[3]}"
    )
    dead = Secret(f"json://user:{secrets[0]}@{secrets[1]}.invalid/{secrets[2]}?cto=1")
    with caplog.at_level(logging.DEBUG):
        channels = open_channels([Channel(name="chat", url=url), Channel(name="dead", url=dead)])
        said = [await channels["chat"].send(MESSAGE)]
        collector.answer = collector.broken
        said += [await channels["chat"].send(MESSAGE), await channels["dead"].send(MESSAGE)]
    assert ["", True, True] == [said[0], bool(said[1]), bool(said[2])]
    everything = "\n".join([*said, caplog.text, *capfd.readouterr()]).casefold()
    assert [] == [secret for secret in secrets if secret.casefold() in everything]


def test_every_url_that_is_not_understood_is_named_without_showing_it(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """All bad channels are reported at once, by name."""
    bad = [Channel(name=name, url=Secret(url)) for name, url in (("a", "nonsense://hunter2"), ("b", "slack://hunter2"))]
    with caplog.at_level(logging.DEBUG), pytest.raises(ChannelError) as caught:
        open_channels(bad)
    reason = "this is no URL that Apprise knows (see the list of services in its documentation)"
    assert {"a": reason, "b": reason} == caught.value.problems
    assert f"channel a: {reason}; channel b: {reason}" == str(caught.value)
    assert "hunter2" not in "".join([caplog.text, *capfd.readouterr()])
