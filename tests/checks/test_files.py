"""Small files that others write: what is none costs nothing, however often it is tried."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from checks.wire.files import UnusableFileError, read_text


def test_a_directory_is_refused_and_nothing_stays_open(tmp_path: Path) -> None:
    """Whoever names the directory of a projected token and not the token in it is told so, and no descriptor is lost."""

    def tried() -> int:
        with pytest.raises(UnusableFileError, match="cannot be read: Is a directory"):
            read_text(tmp_path, 100)
        return len(list(Path("/dev/fd").iterdir()))

    before = tried()
    assert [before] * 3 == [tried() for _ in range(3)]


def test_a_pipe_is_refused_without_waiting(tmp_path: Path) -> None:
    """A pipe that nobody writes to holds up nobody."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UnusableFileError, match="is not a regular file"):
        read_text(tmp_path / "pipe", 100)
