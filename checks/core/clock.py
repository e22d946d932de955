"""Time, handed in: moments are aware UTC, durations come from a monotonic counter."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where a part of the program takes its time from, so that a test or a simulation can hand in another."""

    def now(self) -> datetime:
        """The present moment, aware and in UTC."""

    def monotonic(self) -> float:
        """Seconds from an unnamed start that never go backwards: for durations only."""

    async def sleep(self, seconds: float) -> None:
        """Wait; ends at once when cancelled."""


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """The present moment, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds from an unnamed start that never go backwards."""
        return time.perf_counter()

    async def sleep(self, seconds: float) -> None:
        """Wait; ends at once when cancelled."""
        await asyncio.sleep(seconds)
