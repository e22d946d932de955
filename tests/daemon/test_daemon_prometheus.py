"""A real Prometheus scrapes the running daemon, and its linter finds nothing to say about the page."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.daemon.process import daemon, request
from tests.daemon.test_daemon import free_port, listen_on

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from monitor.sim import Microsoft365
    from tests.peers.prometheus import Prometheus, Promtool


async def test_prometheus_sees_a_mailbox_break(
    office: Microsoft365, file: Path, prometheus: Callable[[str], Prometheus], promtool: Promtool
) -> None:
    """A broken mailbox is one series with its cause; the linter accepts the page; no sample was refused."""
    address = listen_on(file, free_port())
    async with daemon(file) as running:
        await running.named("config.loaded")
        server = await asyncio.to_thread(prometheus, f"{address}/metrics")
        await office.inject("smtp_auth_disabled_mailbox", "payslips@contoso.example")
        failing = 'mailcanary_watch_failing{cause="exchange.smtp_auth_disabled_mailbox",mailbox="payslips"}'
        found = await asyncio.to_thread(server.wait_for, failing)
        assert [("auth", 1.0)] == [(sample.labels["phase"], sample.value) for sample in found]
        await asyncio.to_thread(server.wait_for, "mailcanary_watch_firing == 1")
        assert [1.0] == [sample.value for sample in await asyncio.to_thread(server.query, "up")]
        _, page = await request("GET", f"{address}/metrics")
        assert [] == await asyncio.to_thread(promtool.check_metrics, page)
