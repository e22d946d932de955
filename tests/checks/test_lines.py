"""The line protocol under IMAP and POP, and what is made of IMAP's answers, without any server."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.clock import SystemClock
from checks.core.cloud import Endpoint
from checks.core.model import Kind, Phase, Protocol
from checks.core.secret import Redactor
from checks.core.trace import Failure, Trace
from checks.wire.imap import Session, quoted
from checks.wire.imap_answers import (
    Answer,
    Data,
    NotImapError,
    header_of,
    items_of,
    literal_at_end,
    moment_of,
    numbers_of,
    status_of,
)
from checks.wire.imap_folder import BATCH, WINDOW
from checks.wire.lines import MAX_ANSWER, MAX_KEPT, MAX_LINE, MAX_LITERAL, Lines

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

ENDPOINT = Endpoint(host="localhost", port=1)


class Pipe(asyncio.Transport):
    """A transport that remembers whether it is read from."""

    def __init__(self) -> None:
        super().__init__()
        self.paused = False
        self.pauses = 0

    def pause_reading(self) -> None:
        """No more for now."""
        self.paused = True
        self.pauses += 1

    def resume_reading(self) -> None:
        """Go on."""
        self.paused = False

    def write(self, data: bytes) -> None:
        """Into nothing."""


class Looked(bytearray):
    """A buffer that counts the bytes in which a line's end is looked for."""

    looked = 0

    def find(self, what: bytes, start: int = 0) -> int:
        """Find as before."""
        found = super().find(what, start)
        self.looked += (found + 1 if found >= 0 else len(self)) - start
        return found


def new_lines() -> tuple[Lines, Pipe]:
    """Lines on a pipe, in the phase open."""
    trace = Trace(SystemClock(), Redactor())
    trace.begin(Phase.OPEN, Protocol.IMAP)
    lines, pipe = Lines(ENDPOINT, trace, Protocol.IMAP), Pipe()
    lines.connection_made(pipe)
    return lines, pipe


def read(segments: Sequence[bytes], ask: Callable[[Lines], Awaitable[object]]) -> object:
    """What is read from these segments, each of which comes as soon as reading goes on; a failure as its kind and text."""

    async def reading() -> object:
        lines, pipe = new_lines()

        async def arrive() -> None:
            for segment in segments:
                while pipe.paused:
                    await asyncio.sleep(0)
                lines.data_received(segment)
                await asyncio.sleep(0)
            lines.eof_received()

        arriving = asyncio.ensure_future(arrive())
        try:
            return await ask(lines)
        except Failure as failure:
            return failure.evidence.kind, failure.evidence.text
        finally:
            arriving.cancel()

    with asyncio.Runner() as runner:
        return runner.run(reading())


async def answer(lines: Lines) -> object:
    """The answer to the command A1."""
    return await Session(lines, ENDPOINT, lines._trace)._until(b"A1")


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    """A text in segments."""
    ends = [0, *sorted(min(place, len(whole)) for place in places), len(whole)]
    return [whole[start:end] for start, end in pairwise(ends)]


LITERAL = st.binary(max_size=60)
QUOTED = st.binary(max_size=20).map(lambda text: bytes(byte & 0x7F for byte in text if byte & 0x7F not in {0, 10, 13}))
ITEM = st.one_of(
    LITERAL.map(lambda text: b"BODY[HEADER.FIELDS (SUBJECT)] {%d}\r\n%b" % (len(text), text)),
    QUOTED.map(lambda text: b"X-THING " + quoted(text)),
    st.just(b"FLAGS (\\Seen $Junk)"),
    st.integers(0, 2**32 - 1).map(lambda uid: b"UID %d" % uid),
)
RESPONSE = st.one_of(
    st.lists(ITEM, max_size=4).map(lambda items: b"* 7 FETCH (" + b" ".join(items) + b")\r\n"),
    st.lists(st.integers(0, 2**32 - 1), max_size=20).map(lambda uids: b"* SEARCH" + b"".join(b" %d" % u for u in uids) + b"\r\n"),
    st.just(b"* OK [UIDVALIDITY 7] fine {3}\r\n"),
    st.just(b"* 3 EXISTS\r\n"),
)  # fmt: skip


@given(st.lists(RESPONSE, max_size=5), st.lists(st.integers(0, 600), max_size=30))
def test_however_an_answer_is_cut_it_reads_the_same(responses: list[bytes], places: list[int]) -> None:
    """A good answer in any segments is what it is in one, and every literal in it is whole."""
    whole = b"".join(responses) + b"A1 OK done\r\n"
    expected = read([whole], answer)
    assert isinstance(expected, Answer), expected
    assert len(responses) == len(expected.data) + len(expected.said)
    assert expected == read(cut(whole, places), answer)
    for data in expected.of(b"FETCH"):
        assert b"7" == data.tokens()[0]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_whatever_comes_is_an_answer_or_a_failure(noise: bytes, places: list[int]) -> None:
    """No bytes at all, in any segments, are a defect; and what they are does not depend on where they are cut."""
    assert read([noise], answer) == read(cut(noise, places), answer)


@given(st.lists(st.binary(max_size=80), min_size=1, max_size=3))
def test_whatever_stands_in_data_is_understood_or_not(pieces: list[bytes]) -> None:
    """Words that are none are said to be none, and nothing else happens."""
    data = Data(tuple(pieces), tuple(b"x" for _ in pieces[1:]))
    for take in (Data.tokens, items_of, numbers_of, lambda data: (data.word, data.number)):
        with contextlib.suppress(NotImapError):
            take(data)
    with contextlib.suppress(NotImapError):
        moment_of(pieces[0])
    header_of(pieces[0])
    literal_at_end(pieces[0])
    status_of(pieces[0])


@given(QUOTED)
def test_what_is_quoted_comes_back(text: bytes) -> None:
    """A quoted string is read as what it was made of."""
    assert [text] == Data((quoted(text),)).tokens()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096])
def test_every_byte_is_looked_at_once(size: int) -> None:
    """The longest line, in the smallest segments, is searched for its end once."""
    whole = b"* SEARCH" + b" 1" * ((MAX_LINE - 10) // 2) + b"\r\n" + b"A1 OK done\r\n"

    async def looking() -> tuple[Answer, int]:
        lines, _ = new_lines()
        lines._buffer = Looked()
        reading = asyncio.ensure_future(answer(lines))
        for at in range(0, len(whole), size):
            lines.data_received(whole[at : at + size])
            await asyncio.sleep(0)
        return await reading, lines._buffer.looked

    with asyncio.Runner() as runner:
        result, looked = runner.run(looking())
    assert "OK" == result.status.word
    assert len(whole) == looked


def test_an_endless_literal_is_bounded_in_memory() -> None:
    """Of the longest literal that is taken, little is kept, and what waits unread never exceeds a few segments."""
    most = 0

    async def literal(lines: Lines) -> tuple[bytes, bytes]:
        nonlocal most

        class Measured(bytearray):
            def __iadd__(self, data: bytes) -> bytearray:
                nonlocal most
                self.extend(data)
                most = max(most, len(self))
                return self

        lines._buffer = Measured()
        return await lines.literal(MAX_LITERAL), await lines.line()

    segments = [b"x" * 50_000] * (MAX_LITERAL // 50_000) + [b"x" * (MAX_LITERAL % 50_000) + b"end\r\n"]
    assert (b"x" * MAX_KEPT, b"end") == read(segments, literal)
    assert most <= 2 * MAX_LINE + 50_000
    assert Kind.NONSENSE is read([b"x"], lambda lines: lines.literal(MAX_LITERAL + 1))[0]


def test_what_nobody_asks_for_waits_outside() -> None:
    """A server that talks without being asked is not read any further once some lines wait."""

    async def flood() -> tuple[int, int, bytes]:
        lines, pipe = new_lines()
        sent = 0
        while not pipe.paused:
            lines.data_received(b"x" * 1000 + b"\r\n")
            sent += 1002
        return sent, pipe.pauses, await lines.line()

    with asyncio.Runner() as runner:
        sent, pauses, line = runner.run(flood())
    assert (1, b"x" * 1000) == (pauses, line)
    assert sent <= 2 * MAX_LINE + 1002


def test_a_line_an_answer_and_an_end() -> None:
    """A line without end and an answer without end are nonsense; what ends in the middle is closed."""

    async def all_lines(lines: Lines) -> None:
        while True:
            await lines.line()

    assert Kind.NONSENSE is read([b"x" * 1000] * 100, Lines.line)[0]
    kind, text = read([b"* x\r\n" * 1000] * 20, all_lines)
    assert Kind.NONSENSE is kind
    assert f"answer of more than {MAX_ANSWER} bytes" in text
    assert Kind.NONSENSE is read([b"x" * (MAX_LINE + 1) + b"\n"], Lines.line)[0]
    assert Kind.CLOSED is read([b"* O"], Lines.line)[0]
    assert b"* OK" == read([b"* OK\n"], Lines.line), "a line that ends as in Unix"


def test_every_answer_has_bounds_of_its_own() -> None:
    """A long dialogue of long answers is no endless answer: what counts begins anew with every command."""

    async def three(lines: Lines) -> list[int]:
        session = Session(lines, ENDPOINT, lines._trace)
        return [len((await session.ask(b"NOOP")).data) for _ in range(3)]

    count = MAX_ANSWER // 2 // 64
    segments = [piece for number in (1, 2, 3) for piece in [b"* x\r\n" * count, b"A%d OK done\r\n" % number]]
    assert [count, count, count] == read(segments, three)


def test_the_bounds_fit_each_other() -> None:
    """The numbers of one window fit into a line, and the header fields of one batch into an answer."""
    assert len("* SEARCH ") + WINDOW * len("4294967295 ") < MAX_LINE
    assert BATCH * (MAX_KEPT + 400) < MAX_ANSWER


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        (b"17-Jul-1996 02:44:25 -0700", datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC)),
        (b" 1-jan-2026 00:30:00 +0100", datetime(2025, 12, 31, 23, 30, tzinfo=UTC)),
        (b"30-Jun-2026 23:59:60 +0000", datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC)),
        (b"31-Feb-2026 00:00:00 +0000", None),
        (b"01-Foo-2026 00:00:00 +0000", None),
        (b"01-Jan-0001 00:00:00 +2300", None),
        (b"01-Jan-2026 00:00:00 +9999", None),
        (b"NIL", None),
    ],
)
def test_a_date_is_a_moment_in_utc(said: bytes, moment: datetime | None) -> None:
    """INTERNALDATE is read with its offset; a leap second is its minute's last; what never was is not understood."""
    if moment is None:
        with pytest.raises(NotImapError):
            moment_of(said)
    else:
        assert moment == moment_of(said)


def test_the_fields_of_a_header() -> None:
    """Fields are unfolded, their names have no case, and the first of several counts."""
    block = b"Subject: one\r\n two\r\nSUBJECT: three\r\nX-Empty:\r\nno field\r\nMessage-ID:\r\n\t<a@b>\r\n\r\n"
    assert {b"subject": b"one two", b"x-empty": b"", b"message-id": b"<a@b>"} == header_of(block)
