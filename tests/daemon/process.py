"""The daemon as a process of its own, and what it says."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

Line = dict[str, Any]
PATIENCE = 30.0  # seconds to wait for what must come: far more than it takes, so that only a defect ends the wait


@dataclass
class DaemonProcess:
    """A running daemon; `events` holds every line of its event log so far."""

    process: asyncio.subprocess.Process
    events: list[Line] = field(default_factory=list)

    async def until(self, holds: Callable[[Line], bool]) -> Line:
        """The first event from now on, or before, for which something holds. Raises TimeoutError with what came instead."""
        for line in self.events:
            if holds(line):
                return line
        try:
            async with asyncio.timeout(PATIENCE):
                while line := await self._read():
                    if holds(line):
                        return line
        except TimeoutError as error:
            raise TimeoutError(f"the last events: {self.events[-8:]}") from error
        raise EOFError(f"the daemon ended: {self.events[-8:]}")

    async def named(self, event: str, **fields: object) -> Line:
        """The first event of a name with these fields."""
        return await self.until(
            lambda line: line["event"] == event and all(line.get(key) == value for key, value in fields.items())
        )

    async def _read(self) -> Line | None:
        if self.process.stdout is None:
            return None
        text = await self.process.stdout.readline()
        if not text:
            return None
        line: Line = json.loads(text)
        self.events.append(line)
        return line

    def forget(self) -> None:
        """Look only at what comes from now on."""
        self.events.clear()

    async def ended(self) -> int:
        """Wait for the end; its exit status."""
        async with asyncio.timeout(PATIENCE):
            while await self._read():
                pass
            return await self.process.wait()

    def send(self, what: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(what)


@asynccontextmanager
async def daemon(file: Path, *arguments: str, stdout: int = asyncio.subprocess.PIPE) -> AsyncIterator[DaemonProcess]:
    """`python -m monitor run` on a file, killed at the end of the block if it still runs.

    With a `stdout` of the caller's own nobody here reads what it says, and `events` stays empty.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monitor", "run", "-c", str(file), *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
        stderr=asyncio.subprocess.PIPE,
        limit=1024 * 1024,
        env=bare_environment(),
    )
    try:
        yield DaemonProcess(process)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


def bare_environment() -> dict[str, str]:
    """An environment without this machine's proxies and CA bundles."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2])}


async def command(*arguments: str) -> tuple[int, str, str]:
    """Run a command of mailcanary to its end: exit status, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monitor", *arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=bare_environment(),
    )
    async with asyncio.timeout(2 * PATIENCE):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def request(method: str, url: str, **options: Any) -> tuple[int, str]:
    """One HTTP request: status and body."""
    async with aiohttp.ClientSession() as session, session.request(method, url, **options) as answer:
        return answer.status, await answer.text()


def posts_to(office: Any, inbox: str = "alerts") -> Sequence[str]:
    """What arrived in an inbox of the embedded Microsoft 365: titles, oldest first."""
    return [post["body"]["title"] for post in office.inboxes.read(inbox)]
