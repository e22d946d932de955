"""Folders of a mailbox by IMAP: which there are, what of ours is in them, and how it is taken out again.

Nothing here is a phase: the check that reads knows which one it is in. Every function raises Failure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from checks.wire.imap import Session, quotable, quoted
from checks.wire.imap_answers import MONTHS, Data, NotImapError, header_of, items_of, moment_of, numbers_of
from checks.wire.message import ID_HEADER

INBOX = b"INBOX"
# Messages that one folder gives in one run: what is more waits for the next one.
MAX_FOUND = 1000
# Numbers in one command: RFC 2683, section 3.2.1.5, has 1,000 octets for it, and their header fields fit into one answer.
BATCH = 50
# Messages that one SEARCH looks at: the numbers of all of them fit into one line.
WINDOW = 5000
# All our canaries have the subject, unless somebody on the way wrote another one. A server may know no header but its own,
# and say so or find nothing; hence both.
_EITHER = b'OR HEADER %b "" SUBJECT "mailcanary"' % ID_HEADER.encode()
_BY_SUBJECT = b'SUBJECT "mailcanary"'
_FIELDS = (ID_HEADER.encode(), b"Subject", b"Message-ID", b"X-Microsoft-Original-Message-ID")
_NOT_THERE = {b"\\NOSELECT", b"\\NONEXISTENT"}


@dataclass(frozen=True, slots=True)
class Use:
    """What a folder is for: its attribute (RFC 6154), and the names by which it goes where there are no attributes."""

    attribute: bytes
    names: tuple[bytes, ...]


JUNK = Use(b"\\JUNK", (b"junk email", b"junk"))
SENT = Use(b"\\SENT", (b"sent items", b"sent"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that is open. Numbers of messages mean something only together with its `validity`."""

    name: bytes
    exists: int
    validity: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message that may be ours: its number, when it came, and a few fields of its header by lower-case name."""

    uid: int
    arrived_at: datetime
    header: Mapping[bytes, bytes]


async def named(session: Session, uses: Iterable[Use]) -> dict[Use, bytes]:
    """The names of the folders that serve these uses, as far as there are any."""
    wants = b" RETURN (SPECIAL-USE)" if {"SPECIAL-USE", "LIST-EXTENDED"} <= session.capabilities else b""
    answer = await session.command(b'LIST "" "*"' + wants)
    try:
        listed = [entry for data in answer.of(b"LIST") if (entry := _listed(data)) is not None]
    except NotImapError as error:
        raise session.nonsense(error) from error
    found: dict[Use, bytes] = {}
    for use in uses:
        marked = (name for attributes, _, name in listed if use.attribute in attributes)
        called = (name for wanted in use.names for _, plain, name in listed if plain == wanted)
        name = next(marked, None) or next(called, None)
        if name is not None:
            found[use] = name
    return found


def _listed(data: Data) -> tuple[frozenset[bytes], bytes, bytes] | None:
    """Attributes, name without what stands above it, and name, of a folder that can be opened."""
    tokens = data.tokens()
    if len(tokens) != 4:  # noqa: PLR2004 - LIST, attributes, delimiter, name
        raise NotImapError("a LIST without name")
    _, attributes, delimiter, name = tokens
    if not isinstance(attributes, list) or not isinstance(delimiter, bytes) or not isinstance(name, bytes):
        raise NotImapError("a LIST without name")
    marks = frozenset(mark.upper() for mark in attributes if isinstance(mark, bytes))
    if marks & _NOT_THERE or not quotable(name):  # a name with a line end in it would be a command
        return None
    plain = name if delimiter == b"NIL" or not delimiter else name.rpartition(delimiter)[2]
    return marks, plain.lower(), name


async def opened(session: Session, name: bytes) -> Folder:
    """Open a folder to read and to delete. The one that was open before is left as it is: nothing is expunged."""
    answer = await session.command(b"SELECT " + quoted(name))
    exists = [data.number for data in answer.of(b"EXISTS")]
    validity = [said.argument for said in answer.said if said.code == "UIDVALIDITY"]
    return Folder(name=name, exists=exists[-1] if exists else 0, validity=validity[-1] if validity else b"")


async def search(session: Session, folder: Folder, *, since: date | None = None) -> tuple[list[int], bool]:
    """The numbers of what may be ours, oldest first, and whether these are all: at most `MAX_FOUND`, the newest.

    Where messages can not be expunged by number, those that are marked as deleted are done with.
    """
    also = b"" if "UIDPLUS" in session.capabilities else b"UNDELETED "
    if since is not None:
        also += b"SINCE %d-%b-%d " % (since.day, MONTHS[since.month - 1].title(), since.year)
    what, first, last, found, complete = _EITHER, 1, folder.exists, set[int](), True
    while first <= last:
        until = min(first + WINDOW - 1, last)
        answer = await session.ask(b"UID SEARCH %d:%d %b%b" % (first, until, also, what))
        if answer.status.word != "OK" and what is _EITHER:
            what = _BY_SUBJECT
            continue
        session.must_be_ok(answer)
        try:
            found.update(number for data in answer.of(b"SEARCH") for number in numbers_of(data))
        except NotImapError as error:
            raise session.nonsense(error) from error
        if len(found) > MAX_FOUND:
            found, complete = set(sorted(found)[-MAX_FOUND:]), False
        # Somebody else may expunge meanwhile: then all that comes behind moves up.
        gone = sum(1 for _ in answer.of(b"EXPUNGE"))
        first, last = max(1, until + 1 - gone), last - gone
    return sorted(found), complete


async def fetch(session: Session, uids: Sequence[int]) -> list[Message]:
    """These messages, as far as they are still there."""
    fields = b" ".join(_FIELDS)
    messages: dict[int, Message] = {}
    for batch in _batches(uids):
        answer = await session.command(
            b"UID FETCH %b (UID INTERNALDATE BODY.PEEK[HEADER.FIELDS (%b)])" % (_set(batch), fields)
        )
        try:
            for message in (_message(data) for data in answer.of(b"FETCH")):
                if message is not None:
                    messages[message.uid] = message
        except NotImapError as error:
            raise session.nonsense(error) from error
    return [messages[uid] for uid in uids if uid in messages]


def _message(data: Data) -> Message | None:
    """A message; None for a FETCH that nobody asked for, such as that of a flag."""
    items = items_of(data)
    uid, block = items.get(b"UID"), items.get(b"BODY")
    if not isinstance(uid, bytes) or not uid.isdigit() or not isinstance(block, bytes):
        return None
    return Message(uid=int(uid[:10]), arrived_at=moment_of(items.get(b"INTERNALDATE", b"")), header=header_of(block))


async def remove(session: Session, folder: Folder, uids: Sequence[int]) -> int:
    """Delete these messages of this folder and no others; how many.

    They are marked, then expunged by number (RFC 4315, UIDPLUS). A server without that only knows how to expunge all that
    is marked, by whomever: there they stay, marked, until the mailbox's owner or his client expunges.
    """
    if not uids:
        return 0
    if (await opened(session, folder.name)).validity != folder.validity:
        return 0  # the numbers mean other messages now; the next run finds ours anew
    for batch in _batches(uids):
        await session.command(b"UID STORE %b +FLAGS.SILENT (\\Deleted)" % _set(batch))
        if "UIDPLUS" in session.capabilities:
            await session.command(b"UID EXPUNGE " + _set(batch))
    return len(uids)


def _batches(uids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (uids[at : at + BATCH] for at in range(0, len(uids), BATCH))


def _set(uids: Sequence[int]) -> bytes:
    """One by one: a range would hold what lies between."""
    return b",".join(b"%d" % uid for uid in uids)
