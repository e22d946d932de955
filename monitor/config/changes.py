"""Whether files have changed, by what the file system knows of them. The looking blocks; the judgement is pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Stamp:
    """A file as it was at one moment; without time, size and inode it was not there or could not be looked at."""

    path: Path
    mtime_ns: int = 0
    size: int = 0
    inode: int = 0

    @classmethod
    def of(cls, path: Path) -> Self:
        """The file as it is now. A link counts as what it leads to: Kubernetes changes files by changing links."""
        try:
            stat = path.stat()
        except OSError:
            return cls(path)
        return cls(path, stat.st_mtime_ns, stat.st_size, stat.st_ino)


Stamps = tuple[Stamp, ...]


def stamps(files: Iterable[Path]) -> Stamps:
    """The files as they are now."""
    return tuple(Stamp.of(path) for path in files)


@dataclass(slots=True)
class Changes:
    """Tells when files that were read should be read again. `read` is how they were when they were read."""

    read: Stamps
    _seen: Stamps = ()

    def due(self, now: Stamps) -> bool:
        """Whether the files differ from what was read and hold still: the same in two looks, so that none is half written.

        It says so once for each state of the files, whether or not reading them succeeds.
        """
        held_still, self._seen = now == self._seen, now
        if now == self.read or not held_still:
            return False
        self.read = now
        return True
