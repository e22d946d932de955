"""Lines are written in their order by a thread; nobody waits for it, and what is lost is told."""

from __future__ import annotations

import errno
import io
import os
import re
import time
from contextlib import contextmanager, suppress
from threading import Event
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.sinks.linewriter import LineWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATIENCE = 30.0  # seconds to wait for what must come: far more than it takes, so that only a defect ends the wait


def told(number: int) -> bytes:
    """The line in the place of those that were lost."""
    return b"<%d lost>\n" % number


def numbered(numbers: Iterable[int]) -> list[bytes]:
    """Lines that can be told apart."""
    return [b"<line %d>\n" % number for number in numbers]


class Stalling(io.BytesIO):
    """A reader that reads nothing until it is let; `reached` says that a write waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = Event()
        self.let = Event()

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        """Wait, then take all of it."""
        self.reached.set()
        assert self.let.wait(PATIENCE)
        return super().write(data)


class Disk(io.BytesIO):
    """A disk that has room for so many bytes of each write; 0: it is full."""

    def __init__(self, room: Iterable[int]) -> None:
        super().__init__()
        self._room = iter(room)

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        """Take what fits; behind the last of the numbers it has room for ever."""
        room = next(self._room, len(data))
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(data[:room])


def write_one_by_one(disk: Disk, lines: Iterable[bytes]) -> LineWriter:
    """Write each line in a turn of its own: by hand, since how many go in one turn is the thread's affair."""
    writer = LineWriter(disk, told)
    for line in lines:
        writer._write([line], 0)
    assert writer.close(PATIENCE)
    return writer


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """The reading and the writing end of a pipe."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            with suppress(OSError):
                os.close(end)


def test_lines_are_written_in_their_order() -> None:
    """What was put is what a reader reads, in the same order, whatever number of lines goes at a time."""
    lines = numbered(range(20_000))
    with pipe() as (reading, writing), os.fdopen(reading, "rb", closefd=False) as reader:
        writer = LineWriter(io.FileIO(writing, "w", closefd=False), told, max_lines=len(lines))
        for line in lines:
            writer.put(line)
        assert lines == [reader.readline() for _ in lines]
        assert (True, 0) == (writer.close(PATIENCE), writer.lost)


@pytest.mark.parametrize(("max_lines", "max_bytes"), [(4, 1000), (1000, 4 * len(b"<line 1>\n"))])
def test_a_reader_that_stalls_loses_what_is_beyond_the_bound(max_lines: int, max_bytes: int) -> None:
    """Four lines wait behind the one under way, six are dropped at once; one line in their place says how many."""
    output = Stalling()
    writer = LineWriter(output, told, max_lines=max_lines, max_bytes=max_bytes)
    writer.put(b"first\n")
    assert output.reached.wait(PATIENCE)
    for line in numbered(range(10)):
        writer.put(line)
    assert 6 == writer.lost
    output.let.set()
    assert writer.close(PATIENCE)
    assert [b"first\n", *numbered(range(4)), told(6)] == output.getvalue().splitlines(keepends=True)


def test_nothing_overtakes_what_was_dropped() -> None:
    """Once a line was dropped a shorter one that would fit is dropped too: the gap has one place."""
    output = Stalling()
    writer = LineWriter(output, told, max_bytes=20)
    writer.put(b"first\n")
    assert output.reached.wait(PATIENCE)
    for line in (b"short\n", b"long" * 10 + b"\n", b"s\n"):
        writer.put(line)
    output.let.set()
    assert writer.close(PATIENCE)
    assert [b"first\n", b"short\n", told(2)] == output.getvalue().splitlines(keepends=True)


def test_a_line_beyond_every_bound_is_written_where_nothing_waits() -> None:
    """A line that is longer than all that may wait is no reason to lose it."""
    output = io.BytesIO()
    writer = LineWriter(output, told, max_lines=1, max_bytes=1)
    writer.put(b"long\n")
    assert (True, b"long\n", 0) == (writer.close(PATIENCE), output.getvalue(), writer.lost)


def test_a_loss_is_told_once_and_the_lines_go_on() -> None:
    """When the reader is back, what comes then is written as if nothing had been."""
    with pipe() as (reading, writing), os.fdopen(reading, "rb", closefd=False) as reader:
        writer = LineWriter(io.FileIO(writing, "w", closefd=False), told, max_lines=2)
        writer.put(b"x" * 1_000_000 + b"\n")
        assert b"x" == os.read(reading, 1)  # it is under way, and does not fit into the pipe
        for line in numbered(range(5)):
            writer.put(line)
        reader.readline()
        assert [*numbered(range(2)), told(3)] == [reader.readline() for _ in range(3)]
        for line in numbered(range(5, 7)):
            writer.put(line)
        assert numbered(range(5, 7)) == [reader.readline() for _ in range(2)]
        assert (True, 3) == (writer.close(PATIENCE), writer.lost)


def test_the_end_does_not_wait_for_a_reader_that_stalls() -> None:
    """At the end of its time a close leaves the thread behind, and what comes later is dropped."""
    output = Stalling()
    writer = LineWriter(output, told)
    writer.put(b"first\n")
    assert output.reached.wait(PATIENCE)
    begun = time.monotonic()
    assert not writer.close(0.05)
    assert time.monotonic() - begun < PATIENCE / 2
    writer.put(b"late\n")
    assert 1 == writer.lost
    output.let.set()


def test_a_reader_that_has_gone_loses_lines_and_nothing_else() -> None:
    """A broken pipe is no exception for anybody: what can not be written is counted."""
    with pipe() as (reading, writing):
        writer = LineWriter(io.FileIO(writing, "w", closefd=False), told)
        os.close(reading)
        for line in numbered(range(100)):
            writer.put(line)
        assert (True, 100) == (writer.close(PATIENCE), writer.lost)


def test_a_file_that_somebody_closed_loses_lines_and_nothing_else() -> None:
    """A closed file is like one that can not be written."""
    output = io.BytesIO()
    output.close()
    writer = LineWriter(output, told)
    writer.put(b"line\n")
    assert (True, 1) == (writer.close(PATIENCE), writer.lost)


def test_a_pipe_that_does_not_wait_is_waited_for() -> None:
    """A descriptor that somebody else made non-blocking loses no line."""
    lines = numbered(range(20_000))
    with pipe() as (reading, writing), os.fdopen(reading, "rb", closefd=False) as reader:
        os.set_blocking(writing, False)
        writer = LineWriter(io.FileIO(writing, "w", closefd=False), told, max_lines=len(lines))
        for line in lines:
            writer.put(line)
        assert lines == [reader.readline() for _ in lines]
        assert (True, 0) == (writer.close(PATIENCE), writer.lost)


def test_a_full_disk_loses_lines_and_tells_it() -> None:
    """Half a line may stay; the next one stands by itself, behind the number of those that are lost."""
    disk = Disk([9, 3, 0, 0])
    writer = write_one_by_one(disk, numbered(range(4)))
    assert b"<line 0>\n<li\n<2 lost>\n<line 3>\n" == disk.getvalue()
    assert 2 == writer.lost


@given(st.lists(st.integers(0, 12), max_size=20), st.integers(1, 20))
def test_every_line_is_written_or_told(room: list[int], count: int) -> None:
    """However a disk comes and goes, the lines that are there and those that are told to be lost are all there were."""
    disk = Disk(room)
    writer = write_one_by_one(disk, numbered(range(count + len(room))))
    expected, lost = 0, 0
    for line in disk.getvalue().splitlines():
        if loss := re.fullmatch(rb"<(\d+) lost>", line):
            lost += int(loss[1])
            expected += int(loss[1])
        elif line.endswith(b">"):
            assert b"<line %d>" % expected == line
            expected += 1
    assert (count + len(room), lost) == (expected, writer.lost)
