"""Processes to be measured, and what the system says of them. Linux only."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.peers.process import running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

# Writes its number and becomes the program, so that `running`, which cleans up whatever happens, can start it.
_WITH_NUMBER = 'echo $$ > "$0"; exec "$@"'


@contextmanager
def started(argv: Sequence[str | Path], *, log: Path, ready: Callable[[int], bool]) -> Iterator[int]:
    """Run a program until the block ends; its pid. `log` takes its output, and its pid in a file beside it."""
    number = log.with_suffix(".pid")
    with running(
        ["/bin/sh", "-c", _WITH_NUMBER, number, *argv],
        log=log,
        ready=lambda: number.exists() and number.read_text().endswith("\n") and ready(int(number.read_text())),
    ):
        yield int(number.read_text())


def cpu_seconds(pid: int) -> float:
    """User and system time that a process has used, all its threads together, in nanoseconds' resolution.

    The clock id is made as by clock_getcpuclockid(3): the process's complement, and 2 for its scheduler clock.
    """
    return time.clock_gettime(~pid << 3 | 2)


def memory_mib(pid: int, field: str) -> float:
    """`VmRSS` or `VmHWM` of a process (proc(5), status), in MiB."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None, field
    return int(found[1]) / 1024
