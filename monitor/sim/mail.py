"""Mail that was delivered: messages in the folders of a mailbox, and those that are still on their way.

A message on its way has the moment of its arrival; whoever looks at a folder settles it first, so that nothing needs
to run in the background.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from email.policy import compat32
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from email.message import Message as Headers

KEPT_MESSAGES = 2000  # per folder, the latest: a window, not an archive

INBOX, SENT, JUNK = "INBOX", "Sent Items", "Junk Email"
# The folders that every mailbox of Exchange Online has, with their special use (RFC 6154, 2).
FOLDERS = {INBOX: "", "Drafts": "\\Drafts", SENT: "\\Sent", "Deleted Items": "\\Trash", JUNK: "\\Junk"}


@dataclass(eq=False)
class Message:
    """One message in a folder. `at` is when it got there; what is in `flags` may change."""

    uid: int
    at: datetime
    content: bytes
    flags: set[str] = field(default_factory=set)

    @cached_property
    def headers(self) -> Headers:
        """Its header fields; parsed once, because searches ask every message."""
        return BytesHeaderParser(policy=compat32).parsebytes(self.content)


class Folder:
    """One folder: its messages by UID, in the order of their arrival."""

    def __init__(self, name: str, uidvalidity: int) -> None:
        self.name = name
        self.use = FOLDERS[name]
        self.uidvalidity = uidvalidity
        self.uidnext = 1
        self.messages: dict[int, Message] = {}
        self._coming: list[tuple[datetime, int, bytes, frozenset[str]]] = []
        self._posted = 0

    def post(self, at: datetime, content: bytes, flags: Iterable[str] = ()) -> None:
        """Let a message arrive at a moment."""
        self._posted += 1  # keeps the order of what arrives at one moment
        heapq.heappush(self._coming, (at, self._posted, content, frozenset(flags)))
        if len(self._coming) > KEPT_MESSAGES:  # nobody has looked for long
            heapq.heappop(self._coming)

    def settle(self, now: datetime) -> None:
        """Take in what has arrived by now."""
        while self._coming and self._coming[0][0] <= now:
            at, _, content, flags = heapq.heappop(self._coming)
            self.messages[self.uidnext] = Message(self.uidnext, at, content, set(flags))
            self.uidnext += 1
        while len(self.messages) > KEPT_MESSAGES:
            del self.messages[next(iter(self.messages))]

    def clear(self) -> None:
        """Forget every message, those on their way too; no UID is given twice."""
        self.messages.clear()
        self._coming.clear()


class Store:
    """The folders of one mailbox."""

    def __init__(self) -> None:
        self.folders = {name: Folder(name, uidvalidity) for uidvalidity, name in enumerate(FOLDERS, 1)}

    def folder(self, name: str) -> Folder | None:
        """The folder of that name, in any case, as Exchange finds it."""
        return next((one for one in self.folders.values() if one.name.lower() == name.lower()), None)

    def settle(self, now: datetime) -> None:
        """Take in what has arrived by now, everywhere."""
        for folder in self.folders.values():
            folder.settle(now)

    def clear(self) -> None:
        """Forget everything."""
        for folder in self.folders.values():
            folder.clear()
