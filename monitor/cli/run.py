"""`mailcanary run`: the daemon in the foreground, until SIGTERM or SIGINT; SIGHUP reads the configuration again."""

from __future__ import annotations

import asyncio
import signal
import sys
from io import FileIO
from pathlib import Path

import click

from monitor.app import Daemon
from monitor.cli import loop
from monitor.cli.loading import prepare_or_exit
from monitor.logs import LineHandler, log_to
from monitor.sinks.eventlog import EventLog
from monitor.sinks.screen import Screen
from monitor.store import StoreError
from monitor.web.server import WebError

CANNOT_START = 2


def run_daemon(file: Path, *, events: str) -> None:
    """Run until told to stop; ends the process."""
    log_to(LineHandler(FileIO(sys.stderr.fileno(), "w", closefd=False)))
    prepared = prepare_or_exit(file)
    tty = sys.stdout.isatty()

    async def live() -> None:
        daemon = Daemon(file)
        as_text = events == "text" or (events == "auto" and tty)
        shown: Screen | EventLog
        if as_text:
            shown = Screen(sys.stdout, tty=tty, words=daemon.words)
        else:
            shown = EventLog(FileIO(sys.stdout.fileno(), "w", closefd=False), daemon.names)
        daemon.show(shown)
        running = asyncio.get_running_loop()
        for name in (signal.SIGTERM, signal.SIGINT):
            running.add_signal_handler(name, daemon.stop)
        running.add_signal_handler(signal.SIGHUP, daemon.want_reload)
        try:
            await daemon.run(prepared)
        finally:
            shown.close()

    try:
        loop.run(live())
    except (StoreError, WebError) as error:
        click.echo(str(error), err=True)
        loop.end(CANNOT_START)
    loop.end(0)
