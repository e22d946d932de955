"""Everything that dashboards ask is asked of a real Prometheus that scrapes the running daemon while mail breaks."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from grafana.registry import DASHBOARDS
from tests.daemon.process import PATIENCE, daemon
from tests.daemon.test_daemon import free_port, listen_on
from tests.grafana.reading import Question, committed, numbers, question, questions

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.sim import Microsoft365
    from tests.peers.prometheus import Prometheus

CAUSE = "exchange.smtp_auth_disabled_mailbox"
NEVER_WELL = "box0001@contoso.example"


def answer(server: Prometheus, asked: Question, **chosen: str) -> list[float]:
    """Ask until there is a number: a rate needs two scrapes, and a quantile something that happened in between."""
    deadline = time.monotonic() + PATIENCE
    while not (found := numbers(asked.ask(server, **chosen))):
        assert time.monotonic() < deadline, f"{asked.where}: no number for {asked.expression}"
        time.sleep(0.2)
    return found


async def test_every_expression_has_an_answer(
    office: Microsoft365, file: Path, prometheus: Callable[[str], Prometheus]
) -> None:
    """With mailboxes broken, each variable, annotation and panel of each dashboard has numbers, and the right ones.

    A mailbox that breaks is a broken watch with its cause and its last success; one that was never well is told as such;
    choosing an app hides the other's. When the daemon ends, the dashboard shows that none is there.
    """
    address = listen_on(file, free_port())
    overview = committed("overview")
    await office.inject("smtp_auth_disabled_mailbox", NEVER_WELL)
    async with daemon(file) as running:
        await running.named("config.loaded")
        server = await asyncio.to_thread(prometheus, f"{address}/metrics")

        async def seen(promql: str) -> None:
            await asyncio.to_thread(server.wait_for, promql, PATIENCE)

        async def shown(title: str, ref: str = "A", **chosen: str) -> list[float]:
            return await asyncio.to_thread(answer, server, question(overview, title, ref), **chosen)

        await seen('mailcanary_last_run_success{app="hr-portal", mailbox="payslips"} == 1')
        assert [0.0] == await shown("Watches broken", app="hr-portal")
        broken = question(overview, "What is broken")
        assert [] == await asyncio.to_thread(broken.ask, server, app="hr-portal")

        await office.inject("smtp_auth_disabled_mailbox", "payslips@contoso.example")
        await seen(f'mailcanary_watch_failing{{cause="{CAUSE}", mailbox="payslips"}}')
        await seen("sum(mailcanary_watch_firing) == 2")
        await seen("sum(mailcanary_incidents_open) == 2")

        for one in (one for name in DASHBOARDS for one in questions(committed(name))):
            assert await asyncio.to_thread(answer, server, one)

        assert [2.0] == await shown("Watches broken")
        assert [1.0, 1.0] == await shown("What is broken")
        never, last_success = sorted(await shown("What is broken", "B"))
        assert 0.0 == never
        assert 0 < time.time() - last_success / 1000 < 4 * PATIENCE
        assert [2.0] == (await shown("Watches failing, by phase and cause"))[-1:]
        for app in ("billing-mailer", "hr-portal"):
            assert [1.0] == await shown("Watches broken", app=app)
            assert [1.0] == await shown("What is broken", app=app)
        assert [1.0] == await shown("Daemons seen")

        running.process.kill()
        await seen("up == 0")
        assert [0.0] == await shown("Daemons seen")
