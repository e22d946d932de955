"""An open folder as one IMAP session sees it: the commands on its messages, as the lines that answer them.

The session's view holds the UIDs of the messages by sequence number; it changes only where a response tells the client
so (RFC 3501, 7.4.1: no EXPUNGE while commands with sequence numbers are answered).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from monitor.sim.imap_items import SYSTEM_FLAGS, fetched, items_of, reads, search
from monitor.sim.imap_syntax import Malformed, NumberSet, parse, words

if TYPE_CHECKING:
    from monitor.sim.mail import Folder, Message

_STORE = re.compile(r"([+-]?)FLAGS(\.SILENT)?")


class OpenFolder:
    """What SELECT or EXAMINE opened."""

    def __init__(self, folder: Folder, *, read_only: bool) -> None:
        self._folder = folder
        self._read_only = read_only
        self._view = list(folder.messages)

    def opening(self) -> list[bytes]:
        """What is told of a folder when it is opened."""
        folder = self._folder
        flags = " ".join(SYSTEM_FLAGS)
        unseen = next((place for place, one in enumerate(folder.messages.values(), 1) if "\\Seen" not in one.flags), 0)
        lines = [
            f"* {len(self._view)} EXISTS",
            "* 0 RECENT",
            f"* FLAGS ({flags})",
            f"* OK [PERMANENTFLAGS ({'' if self._read_only else flags})] Permanent flags",
            f"* OK [UNSEEN {unseen}] Is the first unseen message" if unseen else "",
            f"* OK [UIDVALIDITY {folder.uidvalidity}] UIDVALIDITY value",
            f"* OK [UIDNEXT {folder.uidnext}] The next unique identifier value",
        ]
        return [line.encode() for line in lines if line]

    def news(self) -> list[bytes]:
        """What has gone and what has come since the client was told last."""
        gone = [place for place, uid in enumerate(self._view, 1) if uid not in self._folder.messages]
        last = self._view[-1] if self._view else 0
        come = [uid for uid in self._folder.messages if uid > last]
        self._view = [uid for uid in self._view if uid in self._folder.messages] + come
        lines = [b"* %d EXPUNGE" % place for place in reversed(gone)]
        return [*lines, b"* %d EXISTS" % len(self._view)] if come else lines

    def search(self, arguments: bytes, *, by_uid: bool) -> list[bytes]:
        """The numbers of the messages that meet the keys."""
        present = self._present()
        found = set(search(parse(arguments), self._view, [message for _, message in present]))
        numbers = [message.uid if by_uid else place for place, message in present if message.uid in found]
        return [b" ".join((b"* SEARCH", *(b"%d" % number for number in numbers)))]

    def fetch(self, arguments: bytes, *, by_uid: bool) -> list[bytes]:
        """The data items of the chosen messages; reading a body marks it as seen."""
        chosen, rest = arguments.partition(b" ")[::2]
        items = items_of(parse(rest))
        if by_uid and b"UID" not in {item.upper() for item in items}:
            items.insert(0, b"UID")
        lines = []
        for place, message in self._chosen(chosen, by_uid=by_uid):
            if reads(items) and not self._read_only:
                message.flags.add("\\Seen")
            lines.append(b"* %d FETCH (%s)" % (place, fetched(message, items)))
        return lines

    def store(self, arguments: bytes, *, by_uid: bool) -> list[bytes]:
        """Change the flags of the chosen messages."""
        given = parse(arguments)
        if len(given) < 3 or not isinstance(given[0], bytes):  # noqa: PLR2004  a set, what to do, the flags
            raise Malformed
        how = _STORE.fullmatch(words(given[1:2])[0].upper())
        flags = given[2] if isinstance(given[2], list) else given[2:]
        known = {flag.lower(): flag for flag in SYSTEM_FLAGS}
        wanted = {known[flag.lower()] for flag in words(flags) if flag.lower() in known}
        if how is None:
            raise Malformed
        lines = []
        for place, message in self._chosen(given[0], by_uid=by_uid):
            old = message.flags
            message.flags = old | wanted if how[1] == "+" else old - wanted if how[1] == "-" else wanted
            if how[2] is None:
                items = [b"UID", b"FLAGS"] if by_uid else [b"FLAGS"]
                lines.append(b"* %d FETCH (%s)" % (place, fetched(message, items)))
        return lines

    def expunge(self, chosen: bytes | None = None) -> list[bytes]:
        """Remove what is marked as deleted, of some UIDs or of all."""
        among = self._view if chosen is None else NumberSet(chosen).chosen(self._view)
        for uid in among:
            message = self._folder.messages.get(uid)
            if message is not None and "\\Deleted" in message.flags:
                del self._folder.messages[uid]
        return self.news()

    @property
    def read_only(self) -> bool:
        """Whether nothing may be changed."""
        return self._read_only

    def _present(self) -> list[tuple[int, Message]]:
        messages = self._folder.messages
        return [(place, messages[uid]) for place, uid in enumerate(self._view, 1) if uid in messages]

    def _chosen(self, numbers: bytes, *, by_uid: bool) -> list[tuple[int, Message]]:
        known = self._view if by_uid else range(1, len(self._view) + 1)
        chosen = set(NumberSet(numbers).chosen(known))
        return [(place, message) for place, message in self._present() if (message.uid if by_uid else place) in chosen]
