"""The runner: what is due runs, and never in a way that harms what is watched."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from checks.core.check import Check
from checks.core.clock import SystemClock
from checks.core.cloud import Endpoint
from checks.core.model import Outcome, Phase, Protocol
from checks.core.settings import Settings
from checks.wire.kit import open_kit
from monitor import runner as module
from monitor.model import SkipReason
from monitor.runner import Runner
from tests.unit.world import CLOUD, CREDENTIAL, mailbox, watch

if TYPE_CHECKING:
    from checks.core.kit import Kit
    from checks.core.model import Result
    from checks.core.target import Target
    from checks.core.trace import Trace
    from monitor.model import Skipped
    from monitor.plan import Watch


@dataclass
class Stage:
    """A runner whose checks wait at a gate, and what came of them."""

    runner: Runner
    gate: asyncio.Event
    begun: list[str] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    backed_off: dict[str, datetime] = field(default_factory=dict)

    async def begin(self, count: int) -> list[str]:
        """The targets at which runs have begun, once there are so many; nothing more begins by itself after that."""
        async with asyncio.timeout(5):
            while len(self.begun) < count:
                await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        return self.begun

    async def end(self) -> list[Result]:
        """Open the gate and wait until nothing is busy."""
        self.gate.set()
        async with asyncio.timeout(5):
            while self.runner.busy:
                await asyncio.sleep(0)
        return self.results


def check(name: str, run: Callable[..., object], speaks: Protocol = Protocol.SMTP) -> Check:
    """A check that does what it is told."""
    return Check(
        name=name,
        target="mailbox",
        phases=(Phase.AUTH,),
        settings=Settings,
        interval=300.0,
        timeout=30.0,
        always=True,
        speaks=speaks,
        run=run,  # type: ignore[arg-type]
    )


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    """A runner with a check that waits, one that reads by IMAP and waits, and one that is defective."""
    async with open_kit(clock=SystemClock(), seed=1) as kit:
        gate = asyncio.Event()

        async def waits(target: Target, _: Settings, __: Trace, ___: Kit) -> None:
            here.begun.append(target.id)
            await gate.wait()

        async def breaks(*_: object) -> None:
            raise LookupError("planted")

        checks = {
            "smtp_auth": check("smtp_auth", waits),
            "canary": check("canary", waits),
            "token": check("token", waits),
            "imap_auth": check("imap_auth", waits, Protocol.IMAP),
            "broken": check("broken", breaks),
        }
        results: list[Result] = []

        async def accept(result: Result) -> None:
            results.append(result)

        skipped: list[Skipped] = []
        backed_off: dict[str, datetime] = {}
        runner = Runner(kit, checks, accept=accept, skipped=skipped.append, backed_off_until=backed_off.get)
        here = Stage(runner, gate, results=results, skipped=skipped, backed_off=backed_off)
        yield here
        await runner.stop()


def boxes(count: int, check_name: str = "smtp_auth") -> list[Watch]:
    """Watches on so many mailboxes."""
    return [watch(check_name, mailbox(f"box{number}")) for number in range(count)]


async def test_two_runs_never_meet_in_one_mailbox() -> None:
    """The second check of a mailbox waits for the first one; other mailboxes do not."""
    async with stage() as here:
        one, other = mailbox("one"), mailbox("other")
        for due in (watch("smtp_auth", one), watch("canary", one), watch("smtp_auth", other)):
            here.runner.offer(due)
        assert Counter(one=1, other=1) == Counter(await here.begin(2))
        assert 3 == len(await here.end())
        assert Counter(one=2, other=1) == Counter(here.begun)


async def test_a_watch_that_still_runs_is_skipped() -> None:
    """A slow run is not joined by a second one: that is counted, and said why."""
    async with stage() as here:
        (due,) = boxes(1)
        here.runner.offer(due)
        here.runner.offer(due)
        await here.begin(1)
        assert [(due.id, SkipReason.STILL_RUNNING)] == [(one.watch, one.reason) for one in here.skipped]
        assert 1 == len(await here.end())


async def test_a_watch_that_is_backed_off_is_skipped_until_its_time() -> None:
    """What would hurt the mailbox if it were provoked again is left alone, and goes on afterwards."""
    async with stage() as here:
        (due,) = boxes(1)
        here.backed_off[due.id] = SystemClock().now() + timedelta(hours=1)
        here.runner.offer(due)
        assert [SkipReason.BACKED_OFF] == [one.reason for one in here.skipped]
        here.backed_off[due.id] = SystemClock().now() - timedelta(seconds=1)
        here.runner.offer(due)
        assert 1 == len(await here.end())


async def test_one_endpoint_sees_no_more_of_us_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest waits without a connection; another endpoint is not held up."""
    monkeypatch.setattr(module, "MAX_RUNS_PER_ENDPOINT", 3)
    async with stage() as here:
        elsewhere = replace(mailbox("elsewhere"), endpoint=Endpoint(host="other.example", port=587))
        for due in (*boxes(10), watch("smtp_auth", elsewhere)):
            here.runner.offer(due)
        assert {"box0", "box1", "box2", "elsewhere"} == set(await here.begin(4))
        assert 11 == here.runner.busy
        assert 11 == len(await here.end())


async def test_a_server_that_hangs_holds_up_no_other_of_the_same_mailboxes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound of an IMAP server is its own: when it is full, mail is still sent by SMTP."""
    monkeypatch.setattr(module, "MAX_RUNS_PER_ENDPOINT", 2)
    cloud = replace(CLOUD, imap=Endpoint(host="imap.contoso.example", port=993))
    tenant = replace(CREDENTIAL.app.tenant, cloud=cloud)
    credential = replace(CREDENTIAL, app=replace(CREDENTIAL.app, tenant=tenant))
    async with stage() as here:
        for number in range(5):
            here.runner.offer(watch("imap_auth", mailbox(f"reader{number}", credential)))
        here.runner.offer(watch("smtp_auth", mailbox("sender", credential)))
        assert {"reader0", "reader1", "sender"} == set(await here.begin(3))
        await here.end()


async def test_all_runs_together_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many endpoints there are."""
    monkeypatch.setattr(module, "MAX_RUNS", 4)
    async with stage() as here:
        for number, due in enumerate(boxes(10)):
            own = replace(due.target, endpoint=Endpoint(host=f"host{number}.example", port=587))  # type: ignore[type-var]
            here.runner.offer(replace(due, target=own))
        assert 4 == len(await here.begin(4))
        assert 10 == len(await here.end())


async def test_a_stop_leaves_no_half_result() -> None:
    """What runs is cancelled and makes no result; what is offered afterwards is skipped."""
    async with stage() as here:
        due, late = boxes(2)
        here.runner.offer(due)
        await here.begin(1)
        await here.runner.stop()
        here.runner.offer(late)
        assert ([], 0) == (here.results, here.runner.busy)
        assert [SkipReason.STOPPING] == [one.reason for one in here.skipped]


async def test_a_result_that_is_there_is_handed_on_by_a_stop() -> None:
    """A run that has ended and waits for its result to be taken is not cancelled: what was seen is kept."""
    taken, asked = asyncio.Event(), asyncio.Event()
    results: list[Result] = []

    async def accept(result: Result) -> None:
        asked.set()
        await taken.wait()
        results.append(result)

    async def ends(*_: object) -> None:
        pass

    async with open_kit(clock=SystemClock(), seed=1) as kit:
        runner = Runner(
            kit,
            {"smtp_auth": check("smtp_auth", ends)},
            accept=accept,
            skipped=lambda _: None,
            backed_off_until=lambda _: None,
        )
        runner.offer(boxes(1)[0])
        await asked.wait()
        stopping = asyncio.create_task(runner.stop())
        await asyncio.sleep(0)
        taken.set()
        async with asyncio.timeout(5):
            await stopping
    assert [Outcome.PASS] == [result.outcome for result in results]


async def test_a_defect_of_a_check_is_a_result_like_any_other() -> None:
    """It frees its slot and its mailbox, and the next run goes on."""
    async with stage() as here:
        here.gate.set()
        target = mailbox("one")
        here.runner.offer(watch("broken", target))
        here.runner.offer(watch("smtp_auth", target))
        results = await here.end()
        assert [("broken", Outcome.UNKNOWN), ("smtp_auth", Outcome.PASS)] == [
            (result.check, result.outcome) for result in results
        ]
