"""What an IMAP server says, taken apart (RFC 3501, section 7). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from itertools import zip_longest

# The response code in front of a text: `[AUTHENTICATIONFAILED]`, `[UIDVALIDITY 17]`. IANA's longest has 20 characters.
_CODE = re.compile(rb"\[([A-Za-z0-9/-]{1,32})(?: ([^\]]*))?\] ?")
_STATUS = {b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"}
_LITERAL = re.compile(rb"\{([0-9]{1,10})\}\Z")
# An atom may hold one pair of brackets, with blanks inside: BODY[HEADER.FIELDS (SUBJECT)]<0>.
_TOKEN = re.compile(rb'([()])|"([^"\\]*(?:\\.[^"\\]*)*)"|((?:[^\s()"\[\]]|\[[^\]]*\])+)')
_BLANKS = (b" ", b"\t")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_NUMBER_DIGITS = 10  # of a 32-bit number
_INTERNALDATE = re.compile(rb" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d{2}):(\d{2}):(\d{2}) ([+-])(\d{2})(\d{2})")
MONTHS = (b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec")

Token = bytes | list["Token"]


class NotImapError(Exception):
    """The other side's words are no IMAP."""


@dataclass(frozen=True, slots=True)
class Status:
    """OK, NO, BAD, BYE or PREAUTH, tagged or not: its response code with what stands behind that, and its whole text."""

    word: str
    text: bytes
    code: str | None = None
    argument: bytes = b""


@dataclass(frozen=True, slots=True)
class Data:
    """An untagged answer with data: its line, in pieces wherever a literal stood, and those literals."""

    pieces: tuple[bytes, ...]
    literals: tuple[bytes, ...] = ()

    @property
    def word(self) -> bytes:
        """What sort of data: `SEARCH`, `LIST`, and for `* 12 FETCH …` the second word."""
        first, _, rest = self.pieces[0].partition(b" ")
        return (rest.split(b" ", 1)[0] if first.isdigit() else first).upper()

    @property
    def number(self) -> int:
        """The number in front of the word; 0 where there is none."""
        first = self.pieces[0].partition(b" ")[0]
        return int(first) if first.isdigit() and len(first) <= _NUMBER_DIGITS else 0

    def tokens(self) -> list[Token]:
        """Its words, strings, literals and lists. Raises NotImapError."""
        return _tokens(self.pieces, self.literals)


@dataclass(frozen=True, slots=True)
class Answer:
    """The tagged status that ends an answer, and what came before it."""

    status: Status
    said: tuple[Status, ...] = ()
    data: tuple[Data, ...] = field(default=())

    def of(self, word: bytes) -> Iterator[Data]:
        """The data of one sort."""
        return (data for data in self.data if data.word == word)


def status_of(rest: bytes) -> Status | None:
    """What stands behind a tag or an asterisk, if it is a status."""
    word, _, text = rest.partition(b" ")
    if word.upper() not in _STATUS:
        return None
    found = _CODE.match(text)
    if found is None:
        return Status(word.upper().decode(), text)
    return Status(word.upper().decode(), text, found[1].decode().upper(), found[2] or b"")


def literal_at_end(line: bytes) -> int | None:
    """The size of the literal that a line of data announces."""
    found = _LITERAL.search(line, max(0, len(line) - 12))
    return int(found[1]) if found else None


def _tokens(pieces: Sequence[bytes], literals: Sequence[bytes]) -> list[Token]:
    top: list[Token] = []
    lists = [top]
    for bracket, value in _words(pieces, literals):
        if bracket == b"(":
            inner: list[Token] = []
            lists[-1].append(inner)
            lists.append(inner)
        elif bracket == b")":
            lists.pop()
            if not lists:
                raise NotImapError("a list that never began")
        else:
            lists[-1].append(value)
    if len(lists) > 1:
        raise NotImapError("a list without end")
    return top


def _words(pieces: Sequence[bytes], literals: Sequence[bytes]) -> Iterator[tuple[bytes | None, bytes]]:
    """Bracket after bracket, value after value."""
    for piece, literal in zip_longest(pieces, literals):
        text = piece if literal is None else _LITERAL.sub(b"", piece)  # its announcement is no word
        at = _end_of_blanks(text, 0)
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise NotImapError("a word that is none")
            bracket, quoted, atom = found.groups()
            yield bracket, atom if quoted is None else _ESCAPED.sub(rb"\1", quoted)
            at = _end_of_blanks(text, found.end())
        if literal is not None:
            yield None, literal


def _end_of_blanks(text: bytes, at: int) -> int:
    while text[at : at + 1] in _BLANKS:
        at += 1
    return at


def items_of(fetched: Data) -> dict[bytes, Token]:
    """The items of a FETCH by name. `BODY[HEADER.FIELDS …]` is called `BODY`. Raises NotImapError."""
    tokens = fetched.tokens()
    listed = tokens[2] if len(tokens) > 2 else None  # noqa: PLR2004 - number, FETCH, list
    if not isinstance(listed, list) or len(listed) % 2:
        raise NotImapError("a FETCH without its list")
    items: dict[bytes, Token] = {}
    for name, value in zip(listed[::2], listed[1::2], strict=True):
        if not isinstance(name, bytes):
            raise NotImapError("a list where an item's name should be")
        items[name.upper().partition(b"[")[0]] = value
    return items


def numbers_of(found: Data) -> list[int]:
    """The numbers of a SEARCH. Raises NotImapError for anything else."""
    words = found.pieces[0].split()[1:]
    if not all(word.isdigit() and len(word) <= _NUMBER_DIGITS for word in words):
        raise NotImapError("a SEARCH that found no numbers")
    return [int(word) for word in words]


def moment_of(internaldate: Token) -> datetime:
    """An INTERNALDATE as aware UTC; its whole seconds are all there is. Raises NotImapError."""
    found = _INTERNALDATE.fullmatch(internaldate) if isinstance(internaldate, bytes) else None
    if found is None:
        raise NotImapError("a date that is none")
    day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
    east = timedelta(hours=int(hours), minutes=int(minutes)) * (-1 if sign == b"-" else 1)
    try:
        number = MONTHS.index(month.lower()) + 1
        there = datetime(
            int(year), number, int(day), int(hour), int(minute), min(int(second), 59), tzinfo=timezone(east)
        )
        return there.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NotImapError("a date that never was") from error


def header_of(block: bytes) -> dict[bytes, bytes]:
    """The fields of a header by lower-case name, unfolded (RFC 5322, section 2.2.3); the first of several counts."""
    fields: dict[bytes, bytes] = {}
    for line in re.sub(rb"\r?\n(?=[ \t])", b"", block).splitlines():
        name, colon, value = line.partition(b":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    return fields
