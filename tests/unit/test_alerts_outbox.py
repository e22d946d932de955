"""The outbox brings every stored notice to its channel, at least once, whatever the channel does."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from aiohttp import web

from checks.core.model import Evidence, Finding, Kind, Level, Phase, Protocol, Scope, Subject
from checks.core.secret import Secret
from monitor.alerts.channels import Sender, open_channels
from monitor.alerts.outbox import Outbox
from monitor.alerts.render import Message, Tone
from monitor.model import Channel, Delivery, Event, Incident, Notice, NoticeDelivered, Reason, Severity
from monitor.store import Batch, Store

T0 = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
FINDING = Finding(
    cause="auth_rejected",
    level=Level.FAIL,
    subject=Subject(Scope.MAILBOX, "billing"),
    evidence=Evidence(protocol=Protocol.SMTP, phase=Phase.AUTH, kind=Kind.REPLY),
)
INCIDENT = Incident(
    id="i1", cause=FINDING.cause, subject=FINDING.subject, severity=Severity.WARNING, opened_at=T0, finding=FINDING
)
FIRST = Notice(id="n1", incident=INCIDENT, reason=Reason.FIRST, channel="chat", due_at=T0)
RECOVERED = replace(FIRST, id="n2", reason=Reason.RECOVERED)
PAGED = replace(FIRST, id="n3", channel="pager")


class LeapingClock:
    """A clock whose sleeps take no time and move it on."""

    def __init__(self) -> None:
        self.at = T0

    def now(self) -> datetime:
        """The moment the clock has come to."""
        return self.at

    def monotonic(self) -> float:
        """Seconds since the clock began."""
        return (self.at - T0).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Move on."""
        await asyncio.sleep(0)
        self.at += timedelta(seconds=seconds)


@dataclass
class Scripted:
    """A channel that answers from a list, then always yes; an exception in the list is raised."""

    answers: list[str | Exception] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)

    async def send(self, message: Message) -> str:
        """Keep the title and give the next answer."""
        self.titles.append(message.title)
        answer = self.answers.pop(0) if self.answers else ""
        if isinstance(answer, Exception):
            raise answer
        return answer


class Stuck:
    """A channel that never answers."""

    async def send(self, message: Message) -> str:
        """Wait until cancelled."""
        await asyncio.Event().wait()
        return message.title


def worded(notice: Notice) -> Message:
    """A message that names its notice."""
    return Message(title=f"{notice.id} {notice.reason}", body="What and why.", tone=Tone.WARNING)


class Desk:
    """An outbox with everything around it; `ended` gives the events in their order."""

    def __init__(self, store: Store, channels: Mapping[str, Sender], clock: LeapingClock) -> None:
        self.store = store
        self.clock = clock
        self.events: asyncio.Queue[NoticeDelivered] = asyncio.Queue()
        self.outbox = Outbox(
            store=store,
            channels=channels,
            render=worded,
            publish=self.publish,
            clock=clock,
            rng=Random(7),  # noqa: S311 - delays, the same in every run
        )

    def publish(self, events: Sequence[Event]) -> None:
        """Keep what the sinks would be shown."""
        for event in events:
            assert isinstance(event, NoticeDelivered)
            self.events.put_nowait(event)

    async def ended(self, count: int) -> list[tuple[str, Delivery, str]]:
        """The next attempts: which notice, what became of it, and why."""
        async with asyncio.timeout(20):
            events = [await self.events.get() for _ in range(count)]
        return [(event.notice.id, event.delivery, event.error) for event in events]


@asynccontextmanager
async def working(*notices: Notice, **channels: Sender) -> AsyncIterator[Desk]:
    """A running outbox whose store holds some notices."""
    clock = LeapingClock()
    async with Store.open("sqlite://", clock) as store:
        await store.commit(Batch(notices=notices))
        desk = Desk(store, channels, clock)
        running = asyncio.create_task(desk.outbox.run())
        try:
            yield desk
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def test_a_waiting_notice_is_delivered_at_the_start() -> None:
    """What was stored before the outbox started is delivered, once."""
    chat = Scripted()
    async with working(FIRST, chat=chat) as desk:
        assert [("n1", Delivery.DELIVERED, "")] == await desk.ended(1)
        assert 0 == await desk.store.waiting()
    assert ["n1 first"] == chat.titles


async def test_a_committed_notice_wakes_the_outbox() -> None:
    """A notice that is committed later is delivered when the outbox is told, not at some next look."""
    async with working(chat=Scripted()) as desk:
        await desk.store.commit(Batch(notices=[FIRST]))
        desk.outbox.notify()
        assert [("n1", Delivery.DELIVERED, "")] == await desk.ended(1)
    assert desk.clock.at == T0


async def test_a_failed_notice_is_tried_again_and_those_behind_it_wait() -> None:
    """The failure is told before the recovery, however often the channel refuses."""
    chat = Scripted(["busy", "busy"])
    async with working(FIRST, RECOVERED, chat=chat) as desk:
        assert [
            ("n1", Delivery.FAILED, "busy"),
            ("n1", Delivery.FAILED, "busy"),
            ("n1", Delivery.DELIVERED, ""),
            ("n2", Delivery.DELIVERED, ""),
        ] == await desk.ended(4)
    assert timedelta(seconds=10) <= desk.clock.at - T0 <= timedelta(seconds=30)


async def test_a_notice_is_given_up_after_a_day() -> None:
    """A channel that never works is tried for 24 hours, at most five minutes apart in the end."""
    chat = Scripted(["dead"] * 10_000)
    async with working(FIRST, chat=chat) as desk:
        last = ("", Delivery.FAILED, "")
        while last[1] is Delivery.FAILED:
            [last] = await desk.ended(1)
        assert ("n1", Delivery.GIVEN_UP, "dead") == last
        assert 0 == await desk.store.waiting()
    assert timedelta(hours=23, minutes=55) <= desk.clock.at - T0 <= timedelta(hours=24)
    assert 24 * 12 <= len(chat.titles) <= 24 * 60


async def test_a_channel_that_never_answers_holds_up_no_other() -> None:
    """Each channel has its own lane."""
    async with working(FIRST, PAGED, chat=Stuck(), pager=Scripted()) as desk:
        assert [("n3", Delivery.DELIVERED, "")] == await desk.ended(1)


async def test_a_defect_is_logged_counted_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in a channel ends neither the lane nor the notice: it comes out again when its claim runs out."""
    chat = Scripted([ValueError("a bug")])
    with caplog.at_level(logging.ERROR):
        async with working(FIRST, chat=chat) as desk:
            assert [("n1", Delivery.DELIVERED, "")] == await desk.ended(1)
            assert 1 == desk.outbox.defects
    assert timedelta(minutes=2) <= desk.clock.at - T0
    [record] = caplog.records
    assert "outbox.turn_failed channel=chat" == record.message
    assert record.exc_info is not None


async def test_draining_delivers_what_is_due_and_ends() -> None:
    """At a stop the lanes deliver what is due; what failed waits for the next start."""
    chat = Scripted(["", "busy"])
    other = replace(PAGED, channel="chat", incident=replace(INCIDENT, id="i2"))
    clock = LeapingClock()
    async with Store.open("sqlite://", clock) as store:
        desk = Desk(store, {"chat": chat}, clock)
        async with asyncio.TaskGroup() as group:
            group.create_task(desk.outbox.run())
            await asyncio.sleep(0)
            await store.commit(Batch(notices=[FIRST, other]))
            await desk.outbox.drain(10)
        assert [("n1", Delivery.DELIVERED, ""), ("n3", Delivery.FAILED, "busy")] == await desk.ended(2)
        assert 1 == await store.waiting()


async def test_draining_does_not_wait_for_a_channel_that_hangs() -> None:
    """After its time a drain cuts off what still runs; the notice stays in the store."""
    clock = LeapingClock()
    async with Store.open("sqlite://", clock) as store:
        await store.commit(Batch(notices=[FIRST]))
        desk = Desk(store, {"chat": Stuck()}, clock)
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            group.create_task(desk.outbox.run())
            await asyncio.sleep(0)
            await desk.outbox.drain(0.1)
        assert 1 == await store.waiting()


async def test_an_outbox_without_channels_lasts_until_it_is_drained() -> None:
    """Where nobody can be told there is nothing to do, and yet `run` has the same life as with channels."""
    async with working() as desk:
        (running,) = (task for task in asyncio.all_tasks() if task is not asyncio.current_task())
        _, still = await asyncio.wait([running], timeout=0)
        assert {running} == still
        await desk.outbox.drain(1)
        await running


async def test_a_collector_that_fails_first_gets_the_notice_later() -> None:
    """Over HTTP: a 500 is kept as the error, and the second attempt arrives with the notice's id."""
    posts: list[str] = []

    async def collect(request: web.Request) -> web.Response:
        posts.append((await request.json())["title"])
        return web.Response(status=500 if len(posts) == 1 else 200)

    application = web.Application()
    application.router.add_post("/alert", collect)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = Secret(f"json://127.0.0.1:{runner.addresses[0][1]}/alert")
        async with working(FIRST, **open_channels([Channel(name="chat", url=url)])) as desk:
            assert [
                ("n1", Delivery.FAILED, "Failed to send JSON POST notification: Internal server error., error=500."),
                ("n1", Delivery.DELIVERED, ""),
            ] == await desk.ended(2)
    finally:
        await runner.cleanup()
    assert ["n1 first", "n1 first"] == posts
