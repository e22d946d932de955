"""Small files that others write while we run: read whole and bounded, replaced whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

_STALE_SECONDS = 60.0  # a write takes milliseconds: what is older was left by a process that was killed
_NEW = ".new"


class UnusableFileError(Exception):
    """A file that does not hold what it should. `problem` shows nothing of what is in it."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def read_text(path: Path, limit: int) -> str:
    """The text in a regular file of at most `limit` bytes, without surrounding white space, never empty.

    Raises UnusableFileError. A pipe or a device is refused at once, so that nobody waits for it.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            content = file.read(limit + 1) if regular else b""
    except OSError as error:
        raise UnusableFileError(path, f"cannot be read: {error.strerror}") from error
    if not regular:
        raise UnusableFileError(path, "is not a regular file")
    if len(content) > limit:
        raise UnusableFileError(path, f"is larger than {limit} bytes")
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise UnusableFileError(path, "is not UTF-8 text") from None  # the error holds what is in the file
    if not text:
        raise UnusableFileError(path, "is empty")
    return text


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def replace_text(path: Path, text: str) -> None:
    """Put a text into a file that only its owner may read. Raises OSError.

    It is written beside the file, to the disk, and takes its place in one step (rename, POSIX): whatever kills us, the file
    holds the old text or the new one. A symbolic link stays one. An owner that is not us is kept where we may.
    """
    place = Path(os.path.realpath(path))
    descriptor, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=_NEW, dir=place.parent)  # mode 0600
    try:
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
            _sweep(place, os.fstat(descriptor).st_mtime)
            with suppress(OSError):
                before = place.stat()
                os.fchown(descriptor, before.st_uid, before.st_gid)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(place)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
    with suppress(OSError):  # the name is on the disk as well; a file system that cannot say so has it in its journal
        folder = os.open(place.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def ensure_replaceable(path: Path) -> None:
    """Raises OSError when a file could not be replaced."""
    place = Path(os.path.realpath(path))
    descriptor, name = tempfile.mkstemp(prefix=f".{place.name}.", suffix=_NEW, dir=place.parent)
    os.close(descriptor)
    Path(name).unlink()


def _sweep(place: Path, now: float) -> None:
    """Remove what a process left that was killed while it wrote: there is a secret in it. `now` is the file system's."""
    for left in place.parent.glob(f".{place.name}.*{_NEW}"):
        with suppress(OSError):
            if left.stat().st_mtime < now - _STALE_SECONDS:
                left.unlink()
