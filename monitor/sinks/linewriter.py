"""Writes lines from a thread of its own, so that a reader that stalls, or a disk that hangs, holds up nobody else.

Lines wait in memory, in their order and up to a bound. Beyond it they are dropped, until the thread has written what it
was at and takes all that waits. What was dropped, or could not be written, is told by one line in its place.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable
from threading import Condition, Lock, Thread
from typing import Protocol

MAX_LINES = 10_000  # a minute and more of a hundred runs a second
MAX_BYTES = 8 * 1024 * 1024


class Output(Protocol):
    """An unbuffered file, such as `io.FileIO`: what it took is out, and what it did not take is not in it."""

    def write(self, data: memoryview, /) -> int | None:
        """Take some of it and say how much. None: nothing now, by a file that does not wait for its reader."""

    def fileno(self) -> int:
        """The descriptor."""


class LineWriter:
    """Writes lines that end in a newline and hold no other.

    `lost` counts those that were dropped or could not be written. `tell` gives the line that says how many were, since
    the one that said so before; it is called in the thread. At most `max_lines` and `max_bytes` wait, and as much again
    may be under way. Nobody waits for the thread at the end of the process.
    """

    def __init__(
        self,
        output: Output,
        tell: Callable[[int], bytes],
        *,
        max_lines: int = MAX_LINES,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._output = output
        self._tell = tell
        self._max_lines = max_lines
        self._max_bytes = max_bytes
        self.lost = 0
        # Of both sides, under the lock. The thread never writes while it holds that.
        self._changed = Condition(Lock())
        self._waiting: list[bytes] = []
        self._bytes = 0
        self._dropped = 0
        self._closed = False
        # Of the thread alone.
        self._untold = 0
        self._torn = False
        self._thread = Thread(target=self._run, name="mailcanary-lines", daemon=True)
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Hand over one line; never waits for its writing."""
        with self._changed:
            if self._dropped or self._closed or not self._fits(line):
                self._dropped += 1
                self.lost += 1
                return
            if not self._waiting:
                self._changed.notify()
            self._waiting.append(line)
            self._bytes += len(line)

    def _fits(self, line: bytes) -> bool:
        """The first one always does, so that whatever is dropped has its place behind another line."""
        waiting = len(self._waiting)
        return not waiting or (waiting < self._max_lines and self._bytes + len(line) <= self._max_bytes)

    def close(self, seconds: float) -> bool:
        """Write what waits, but for no longer than this; whether all of it was dealt with."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closed):
                    self._changed.wait()
                lines, dropped = self._waiting, self._dropped
                self._waiting, self._bytes, self._dropped = [], 0, 0
            if not lines:
                return
            self._write(lines, dropped)

    def _write(self, lines: list[bytes], dropped: int) -> None:
        """Write these lines, behind which so many were dropped."""
        failed = self._send(lines) if self._told() else len(lines)
        with self._changed:
            self.lost += failed
        self._untold += failed + dropped
        if not failed:
            self._told()

    def _told(self) -> bool:
        """Tell what is untold, where there is something; whether nothing is left untold."""
        if self._untold and not self._send([self._tell(self._untold)]):
            self._untold = 0
        return not self._untold

    def _send(self, lines: Iterable[bytes]) -> int:
        """How many of these lines are not out as a whole.

        The next line shall not be glued to one that is torn: it begins with the newline that is missing. So a line of
        which only that is missing is out.
        """
        data = b"\n" * self._torn + b"".join(lines)
        sent = self._sent(data)
        if sent:
            self._torn = not data.endswith(b"\n", 0, sent)
        return data.count(b"\n", sent + 1)

    def _sent(self, data: bytes) -> int:
        sent, view = 0, memoryview(data)
        try:
            while sent < len(data):
                taken = self._output.write(view[sent:])
                if taken is None:
                    select.select([], [self._output], [])
                else:
                    sent += taken
        except (OSError, ValueError):  # nobody reads it any more, the disk is full; ValueError: it is closed
            pass
        return sent
