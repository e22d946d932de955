"""What can be asked of messages by IMAP: search keys and data items (RFC 3501, 6.4.4 and 6.4.5).

The keys and items that mail programs use to find a message and to read it; what else there is, is refused as Exchange
refuses what it does not understand.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from monitor.sim.imap_syntax import DEPTH, Malformed, NumberSet, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import date

    from monitor.sim.imap_syntax import Argument
    from monitor.sim.mail import Message

    Test = Callable[[Message], bool]

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SYSTEM_FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Deleted", "\\Draft", "$MDNSent")  # as Exchange lists them

_DATE = re.compile(r"(\d{1,2})-([A-Za-z]{3})-(\d{4})")
_BODY = re.compile(
    rb"BODY(?P<peek>\.PEEK)?\[(?P<section>[^\]]*)\](?:<(?P<from>\d{1,9})\.(?P<count>\d{1,9})>)?", re.IGNORECASE
)
_FIELDS = re.compile(rb"HEADER\.FIELDS(?P<other>\.NOT)? \((?P<names>[^)]*)\)", re.IGNORECASE)
_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*", re.MULTILINE)

_FLAG_KEYS: dict[str, Test] = {
    "ALL": lambda _: True,
    "SEEN": lambda message: "\\Seen" in message.flags,
    "UNSEEN": lambda message: "\\Seen" not in message.flags,
    "DELETED": lambda message: "\\Deleted" in message.flags,
    "UNDELETED": lambda message: "\\Deleted" not in message.flags,
}
_DATE_KEYS: dict[str, Callable[[date, date], bool]] = {
    "SINCE": lambda arrived, day: arrived >= day,
    "BEFORE": lambda arrived, day: arrived < day,
    "ON": lambda arrived, day: arrived == day,
}


def search(tokens: Sequence[Argument], view: Sequence[int], messages: Sequence[Message]) -> list[int]:
    """The UIDs of the messages that meet all keys. `Malformed` for a key that is not known.

    `view` holds the UIDs by sequence number.
    """
    given = words(tokens)
    if given[:1] and given[0].upper() == "CHARSET":
        given = given[2:]
    if not given:
        raise Malformed
    rest = iter(given)
    keys = []
    while (name := next(rest, None)) is not None:
        keys.append(_key(name, rest, view, DEPTH))
    return [message.uid for message in messages if all(met(message) for met in keys)]


def _key(name: str, rest: Iterator[str], view: Sequence[int], depth: int) -> Test:
    """One search key, with the keys that it takes as arguments as far as they may lie in each other."""
    if depth == 0:
        raise Malformed
    match name.upper():
        case "NOT":
            refused = _key(_next(rest), rest, view, depth - 1)
            return lambda message: not refused(message)
        case "OR":
            first, second = (_key(_next(rest), rest, view, depth - 1) for _ in range(2))
            return lambda message: first(message) or second(message)
        case key:
            return _plain_key(key, rest, view)


def _plain_key(key: str, rest: Iterator[str], view: Sequence[int]) -> Test:
    if key in _FLAG_KEYS:
        return _FLAG_KEYS[key]
    if key in _DATE_KEYS:
        return _on_date(_DATE_KEYS[key], _day(_next(rest)))
    match key:
        case "HEADER":
            return _in_header(_next(rest), _next(rest))
        case "SUBJECT" | "FROM" | "TO":
            return _in_header(key, _next(rest))
        case "UID":
            return _with_uid(NumberSet(_next(rest).encode()).chosen(view))
    places = NumberSet(key.encode()).chosen(range(1, len(view) + 1))
    return _with_uid([view[place - 1] for place in places])


def _next(given: Iterator[str]) -> str:
    found = next(given, None)
    if found is None:
        raise Malformed
    return found


def _day(text: str) -> date:
    found = _DATE.fullmatch(text)
    try:
        if found is None:
            raise Malformed
        return datetime(int(found[3]), MONTHS.index(found[2].title()) + 1, int(found[1]), tzinfo=UTC).date()
    except ValueError as error:
        raise Malformed from error


def _on_date(compare: Callable[[date, date], bool], day: date) -> Test:
    return lambda message: compare(message.at.astimezone(UTC).date(), day)


def _in_header(name: str, text: str) -> Test:
    """The field is there and holds the text, in any case; an empty text asks for the field alone."""
    wanted = text.lower()
    return lambda message: any(wanted in str(value).lower() for value in message.headers.get_all(name, ()))


def _with_uid(uids: Sequence[int]) -> Test:
    chosen = set(uids)
    return lambda message: message.uid in chosen


def items_of(tokens: Sequence[Argument]) -> list[bytes]:
    """The data items that a FETCH asks for: one, or a list of them."""
    items = tokens[0] if len(tokens) == 1 and isinstance(tokens[0], list) else tokens
    found = [item for item in items if isinstance(item, bytes)]
    if not found or len(found) != len(items):
        raise Malformed
    return found


def reads(items: Sequence[bytes]) -> bool:
    """Whether fetching these items marks a message as seen."""
    return any(found and not found["peek"] for found in map(_BODY.fullmatch, items))


def fetched(message: Message, items: Sequence[bytes]) -> bytes:
    """The values of data items, as they stand between the parentheses of a FETCH response."""
    return b" ".join(_value(message, item) for item in items)


def _value(message: Message, item: bytes) -> bytes:
    match item.upper():
        case b"UID":
            return b"UID %d" % message.uid
        case b"FLAGS":
            return b"FLAGS (" + " ".join(sorted(message.flags)).encode() + b")"
        case b"RFC822.SIZE":
            return b"RFC822.SIZE %d" % len(message.content)
        case b"INTERNALDATE":
            at = message.at.astimezone(UTC)
            return f'INTERNALDATE "{at.day:02d}-{MONTHS[at.month - 1]}-{at:%Y %H:%M:%S} +0000"'.encode()
    found = _BODY.fullmatch(item)
    if found is None:
        raise Malformed
    content = _section(message.content, found["section"])
    label = b"BODY[" + found["section"] + b"]"
    if found["count"] is not None:
        start = int(found["from"])
        content = content[start : start + int(found["count"])]
        label += b"<%d>" % start
    return label + b" {%d}\r\n" % len(content) + content


def _section(content: bytes, section: bytes) -> bytes:
    head, _, text = content.partition(b"\r\n\r\n")
    head += b"\r\n"
    match section.upper():
        case b"":
            return content
        case b"HEADER":
            return head + b"\r\n"
        case b"TEXT":
            return text
    found = _FIELDS.fullmatch(section)
    if found is None:
        raise Malformed
    names = {name.strip(b'"').lower() for name in found["names"].split()}
    other = found["other"] is not None
    fields = (field[0] for field in _FIELD.finditer(head) if (field[1].lower() in names) is not other)
    return b"".join(fields) + b"\r\n"
