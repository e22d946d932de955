"""`mailcanary demo`: arguments, signals and a folder for it; what happens stands in `monitor/demo`."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import tempfile
from pathlib import Path

import click

from checks.core.clock import SystemClock
from monitor.cli import loop
from monitor.demo.show import SHORTEST, show
from monitor.logs import log_to


def run_demo(seconds: float | None) -> None:
    """Show the demo; ends the process with its exit status."""
    if seconds is not None and seconds < SHORTEST:
        raise click.UsageError(
            f"--for must be {SHORTEST:g}s or longer: in less, a fault comes and goes between two runs"
        )
    log_to(logging.StreamHandler(sys.stderr))

    async def live(folder: Path) -> int:
        stop = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
        return await show(folder, sys.stdout, stop, clock=SystemClock(), seconds=seconds)

    with tempfile.TemporaryDirectory(prefix="mailcanary-demo-") as folder:
        status = loop.run(live(Path(folder)))
    loop.end(status)
