"""What can go wrong with the database, told to an operator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError


class StoreError(Exception):
    """The database can not be used: its message names the place, what is wrong and the next step."""

    def __init__(self, place: str, wrong: str, step: str) -> None:
        super().__init__(f"{place}: {wrong}; {step}")
        self.place = place


# Words of SQLite's error messages (sqlite3ErrStr in src/main.c) and what to do about each. The first that fits is taken.
_STEPS = (
    ("is locked", "it is locked by another process", "stop the other program that has it open, then start again"),
    (
        "not a database",
        "it is no SQLite database",
        "move the file away (a new one is made) or correct 'store' in the configuration",
    ),
    ("malformed", "it is damaged", "move the file and its -wal away (a new one is made), or restore a copy"),
    ("unable to open", "it can not be opened", "check that the directory exists and that this user may write in it"),
    ("readonly", "it can not be written", "check the owner and mode of the file, its directory and the file system"),
    ("disk is full", "the disk is full", "make room; nothing of what was stored before is lost"),
    ("disk I/O error", "the disk gave an error", "check the file system and the kernel's log"),
)


@contextmanager
def explained(place: str) -> Iterator[None]:
    """Turn the driver's errors into a `StoreError` about `place`. Statements and their values are not repeated."""
    try:
        yield
    except DBAPIError as error:
        said = str(error.orig)
        for words, wrong, step in _STEPS:
            if words in said:
                raise StoreError(place, wrong, step) from error
        raise StoreError(place, f"the database refused: {said}", "this is a defect, please report it") from error
