"""Refresh tokens in files of ours: read anew for each use, and the new one written back before anything else happens.

Within a process one file is used by one acquisition at a time. Two processes may share a file: each write is whole, and the
last one stays; Entra ID does not revoke a refresh token when it is used ("Refresh tokens in the Microsoft identity
platform"), so the token of the other is as good.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

from checks.core.secret import Secret
from checks.wire.files import UnusableFileError, read_text, replace_text

# A refresh token of Entra ID has about 1.5 KB; what is larger than this is the wrong file.
MAX_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a file holds. `obtained_at` is when this token was given, `signed_in_at` when a person last signed in."""

    token: Secret
    obtained_at: datetime
    signed_in_at: datetime | None = None
    scopes: tuple[str, ...] = ()


def load(path: Path) -> Stored:
    """What is in a file: ours, or a bare token, which then is as old as its file. Raises UnusableFileError."""
    text = read_text(path, MAX_BYTES)
    content: Any = {"refresh_token": text}
    if text.startswith("{"):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            raise UnusableFileError(path, "is not whole: it begins as JSON and is none") from None
    token = content.get("refresh_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token or not token:
        raise UnusableFileError(path, "holds no refresh token")
    scopes = content.get("scopes")
    return Stored(
        token=Secret(token),
        obtained_at=_moment(content.get("obtained_at")) or _written_at(path),
        signed_in_at=_moment(content.get("signed_in_at")),
        scopes=tuple(str(scope) for scope in scopes) if isinstance(scopes, list) else (),
    )


def save(path: Path, stored: Stored) -> None:
    """Put it into its file, whole or not at all. Raises OSError."""
    content = {
        "refresh_token": stored.token.reveal(),
        "obtained_at": stored.obtained_at.isoformat(),
        "signed_in_at": stored.signed_in_at.isoformat() if stored.signed_in_at else None,
        "scopes": list(stored.scopes),
    }
    replace_text(path, json.dumps(content, indent=2) + "\n")


def _moment(said: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(said) if isinstance(said, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


def _written_at(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError as error:
        raise UnusableFileError(path, f"cannot be read: {error.strerror}") from error


@dataclass(slots=True)
class _Slot:
    lock: Lock
    on_disk: Secret | None = None
    unsaved: Stored | None = None


class RefreshTokens:
    """The files in use. What could not be written stays in here until it can be, or until its file is made anew."""

    def __init__(self) -> None:
        self._slots: dict[str, _Slot] = {}

    @contextmanager
    def using(self, file: str) -> Iterator[Use]:
        """In a pool thread: use a file, alone in this process. Raises UnusableFileError."""
        slot = self._slots.setdefault(file, _Slot(Lock()))
        with slot.lock:
            yield Use(Path(file), slot)


class Use:
    """One use of one file."""

    def __init__(self, path: Path, slot: _Slot) -> None:
        self._path = path
        self._slot = slot
        self.stored = self._newest()

    def _newest(self) -> Stored:
        """What the file holds, unless it still holds what we could not replace."""
        slot = self._slot
        try:
            found = load(self._path)
        except UnusableFileError:
            if slot.unsaved is not None:
                return slot.unsaved
            raise
        if slot.unsaved is not None and found.token == slot.on_disk:
            return slot.unsaved
        slot.on_disk, slot.unsaved = found.token, None
        return found

    def keep(self, stored: Stored) -> str:
        """Write back what was given; why it could not be written, else nothing."""
        slot = self._slot
        try:
            save(self._path, stored)
        except OSError as error:
            slot.unsaved = stored
            return f"cannot be written: {error.strerror}"
        slot.on_disk, slot.unsaved = stored.token, None
        return ""
