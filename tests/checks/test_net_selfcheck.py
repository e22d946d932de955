"""The monitor's own reachability over real sockets: rounds, what they cost, and what becomes of results."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from checks.core.kit import Network
from checks.core.model import Evidence, Finding, Kind, Level, Outcome, Phase, Protocol, Result, Scope, Subject
from checks.wire.kit import open_kit
from monitor import selfcheck
from monitor.selfcheck import CAUSE, FRESH, REACH_INTERVAL, SelfCheck

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from checks.core.kit import Kit

T0 = datetime(2026, 11, 25, 3, 0, 0, tzinfo=UTC)


class HandClock:
    """A clock that moves when it is told to; who sleeps waits to be woken."""

    def __init__(self) -> None:
        self.at = T0
        self.sleeps: asyncio.Queue[float] = asyncio.Queue()
        self.woken: asyncio.Queue[None] = asyncio.Queue()

    def now(self) -> datetime:
        """The moment the clock shows."""
        return self.at

    def monotonic(self) -> float:
        """Seconds since the clock began."""
        return (self.at - T0).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Sleep until the hand has moved on."""
        self.sleeps.put_nowait(seconds)
        await self.woken.get()
        self.at += timedelta(seconds=seconds)


@dataclass
class Host:
    """A host that is reached, or not: its port, and how often it was connected to."""

    port: int = 0
    reached: int = 0
    server: asyncio.Server | None = field(default=None, repr=False)

    def hang_up(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count and hang up."""
        self.reached += 1
        writer.close()

    @property
    def place(self) -> str:
        """As the configuration writes it."""
        return f"[::1]:{self.port}"


@asynccontextmanager
async def host() -> AsyncIterator[Host]:
    """A host on IPv6 loopback."""
    made = Host()
    async with await asyncio.start_server(made.hang_up, "::1", 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


@asynccontextmanager
async def kit_of(clock: HandClock, network: Network | None = None) -> AsyncIterator[Kit]:
    """A kit on that clock."""
    async with open_kit(clock=clock, network=network, seed=1) as kit:
        yield kit


# TCP to a multicast address has no route (ENETUNREACH), whatever the routes are.
NOWHERE = "224.0.0.1:53"


def failed(seconds: float, watch: str = "smtp_auth/billing") -> Result:
    """A run that met no answer, and ended at that moment."""
    evidence = Evidence(protocol=Protocol.SMTP, phase=Phase.CONNECT, kind=Kind.TIMEOUT, text="no answer")
    subject = Subject(Scope.ENDPOINT, "smtp.contoso.example:587")
    finding = Finding(cause="network.timeout", level=Level.FAIL, subject=subject, evidence=evidence)
    return Result(
        run_id="r", watch=watch, check="smtp_auth", started_at=T0 + timedelta(seconds=seconds - 1), seconds=1.0,
        phases=(), findings=(finding,),
    )  # fmt: skip


class Taken(list[Result]):
    """What was handed in."""

    async def accept(self, result: Result) -> None:
        """Take a result."""
        self.append(result)


async def test_without_reach_nothing_changes() -> None:
    """With nothing to reach there is no task, no connection and no excuse."""
    clock, taken = HandClock(), Taken()
    async with kit_of(clock) as kit:
        ours = SelfCheck((), kit)
        await ours.run(taken.accept)
        results = [failed(0)]
        assert results is await ours.fair(results)
    assert [] == taken


async def test_every_15_seconds_a_round() -> None:
    """A round connects once to each host and hands in what it says of ourselves."""
    clock, taken = HandClock(), Taken()
    async with host() as first, host() as second, kit_of(clock) as kit:
        task = asyncio.create_task(SelfCheck((first.place, second.place), kit).run(taken.accept))
        async with asyncio.timeout(10):
            for _ in range(3):
                assert REACH_INTERVAL == await clock.sleeps.get()
                clock.woken.put_nowait(None)
            assert REACH_INTERVAL == await clock.sleeps.get()
            while (first.reached, second.reached) != (4, 4):
                await asyncio.sleep(0)
        task.cancel()
    assert [("network/self", Outcome.PASS)] * 4 == [(result.watch, result.outcome) for result in taken]


async def test_with_no_host_reached_our_network_is_what_failed() -> None:
    """A failed run is excused and our own watch fails, phase connect, with every host and its reason."""
    clock, taken = HandClock(), Taken()
    async with kit_of(clock) as kit:
        ours = SelfCheck((NOWHERE, "224.0.0.2:443"), kit)
        task = asyncio.create_task(ours.run(taken.accept))
        async with asyncio.timeout(10):
            await clock.sleeps.get()
        task.cancel()
        [judged] = await ours.fair([failed(1)])
    assert (CAUSE, Outcome.UNKNOWN) == (judged.worst.cause, judged.outcome)
    evidence = taken[0].worst.evidence
    assert (CAUSE, Phase.CONNECT, Kind.OBSERVED) == (taken[0].worst.cause, evidence.phase, evidence.kind)
    assert "224.0.0.1:53: " in evidence.text
    assert "224.0.0.2:443: " in evidence.text


@pytest.mark.parametrize("source", [None, "192.0.2.1"], ids=["refused", "source address"])
async def test_a_refusal_is_an_answer(source: str | None) -> None:
    """A host that refuses was reached; and a source address of ours that is wrong says nothing of the network."""
    clock = HandClock()
    async with kit_of(clock, Network(source_address=source)) as kit:
        ours = SelfCheck(("127.0.0.1:1", NOWHERE), kit)
        assert [failed(1)] == await ours.fair([failed(1)])


async def test_new_failures_make_us_look_anew() -> None:
    """Failures newer than the last round are judged by a round of their own; good results and old failures are not."""
    clock = HandClock()
    good = Result(
        run_id="g", watch="smtp_auth/hr", check="smtp_auth", started_at=T0 + timedelta(hours=1), seconds=1.0, phases=()
    )
    async with host() as here, kit_of(clock) as kit:
        ours = SelfCheck((here.place,), kit)
        counts = []
        for seconds in (0.0, FRESH.total_seconds() - 0.5, 60.0):
            clock.at = T0 + timedelta(seconds=seconds)
            results = [failed(seconds), good]
            assert results == await ours.fair(results)
            assert [good] == await ours.fair([good])
            counts.append(len(ours._rounds._rounds))
    assert [1, 1, 2] == counts


async def test_many_failures_at_once_are_one_round() -> None:
    """Two callers with a thousand failures each connect once."""
    clock = HandClock()
    async with host() as here, kit_of(clock) as kit:
        ours = SelfCheck((here.place,), kit)
        await asyncio.gather(*(ours.fair([failed(0)] * 1000) for _ in range(2)))
        assert 1 == len(ours._rounds._rounds)


async def test_our_own_watch_is_not_excused() -> None:
    """What is said of our own network is judged as it is."""
    clock = HandClock()
    async with kit_of(clock) as kit:
        ours = SelfCheck((NOWHERE,), kit)
        own, other = await ours.fair([failed(0, "network/self"), failed(0)])
    assert ("network.timeout", CAUSE) == (own.worst.cause, other.worst.cause)


async def test_a_silent_host_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round ends after its patience although a host never answers."""
    monkeypatch.setattr(selfcheck, "REACH_TIMEOUT", 0.05)
    clock = HandClock()

    async def silence(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(selfcheck, "connect", silence)
    async with kit_of(clock) as kit:
        ours = SelfCheck(("192.0.2.1:443",), kit)
        async with asyncio.timeout(10):
            [judged] = await ours.fair([failed(0)])
    assert CAUSE == judged.worst.cause


async def test_a_stop_waits_for_no_network() -> None:
    """After `stop` nothing is connected to: what is still to be judged is judged by the rounds there were."""
    clock, taken = HandClock(), Taken()
    async with kit_of(clock) as kit:
        ours = SelfCheck((NOWHERE,), kit)
        await ours.fair([failed(0)])
        ours.stop()
        clock.at = T0 + timedelta(seconds=60)
        (judged,) = await ours.fair([failed(60)])
        await ours.run(taken.accept)
        assert (CAUSE, 1, []) == (judged.findings[0].cause, len(ours._rounds._rounds), taken)
