"""How bytes become lines and messages, however they are cut on their way."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.sim.wire import HIGH_WATER, Gone, TooLong, Wire

if TYPE_CHECKING:
    from collections.abc import Callable


class Pipe(asyncio.Transport):
    """The least of a transport: it notes whether it is being read."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True

    def pause_reading(self) -> None:
        """Hold."""
        self.reading = False

    def resume_reading(self) -> None:
        """Go on."""
        self.reading = True

    def is_closing(self) -> bool:
        """Never."""
        return False


def connected() -> Wire:
    """A wire that bytes can be put into."""
    wire = Wire()
    wire.connection_made(Pipe())
    return wire


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes in pieces, cut at these places."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


async def feed(wire: Wire, parts: list[bytes]) -> None:
    """Let the parts come in one after another."""
    for part in parts:
        wire.data_received(part)
        await asyncio.sleep(0)


lines = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b".").replace(b"\r", b".")), max_size=8)


@given(lines, st.lists(st.integers(0, 1000), max_size=8))
async def test_a_message_arrives_as_it_was_sent(content: list[bytes], places: list[int]) -> None:
    """Stuffed dots are taken out, whatever the cuts, and what follows the message is left for later."""
    message = b"".join(line + b"\r\n" for line in content)
    stuffed = b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n" for line in content)
    wire = connected()
    reading = asyncio.ensure_future(wire.mail_data(10_000))
    await feed(wire, cut(stuffed + b".\r\nQUIT\r\n", places))
    assert message == await reading
    assert b"QUIT" == await wire.line(100)


@given(st.sampled_from([b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r"]), st.lists(st.integers(0, 1000), max_size=4))
async def test_a_dot_between_bare_line_feeds_ends_nothing(end: bytes, places: list[int]) -> None:
    """Only CRLF dot CRLF ends a message, so that no second one can be smuggled in."""
    wire = connected()
    sent = b"first" + end + b"second\r\n"
    reading = asyncio.ensure_future(wire.mail_data(10_000))
    await feed(wire, cut(sent + b".\r\n", places))
    assert sent == await reading


@given(st.integers(1, 5000), st.lists(st.integers(0, 10_000), max_size=8))
async def test_a_message_beyond_the_limit_is_dropped_and_its_end_found(beyond: int, places: list[int]) -> None:
    """A message that is too long is not kept, and the dialogue stays in step."""
    wire = connected()
    reading = asyncio.ensure_future(wire.mail_data(100))
    await feed(wire, cut(b"x" * (100 + beyond) + b"\r\n.\r\nNOOP\r\n", places))
    assert await reading is None
    assert b"NOOP" == await wire.line(100)


@given(lines, st.lists(st.integers(0, 1000), max_size=8))
async def test_lines_arrive_in_order(content: list[bytes], places: list[int]) -> None:
    """Lines come one by one, however they were cut, ended by CRLF or by a bare LF."""
    wire = connected()
    data = b"".join(line + (b"\r\n" if number % 2 else b"\n") for number, line in enumerate(content))

    async def read_all() -> list[bytes]:
        return [await wire.line(100) for _ in content]

    reading = asyncio.ensure_future(read_all())
    await feed(wire, cut(data, places))
    assert content == await reading


@pytest.mark.parametrize("sent", [b"x" * 101, b"x" * 101 + b"\r\n"])
async def test_a_line_beyond_the_limit_is_an_error(sent: bytes) -> None:
    """Too long is too long, whether its end has come or not."""
    wire = connected()
    wire.data_received(sent)
    with pytest.raises(TooLong):
        await wire.line(100)


READERS: dict[str, Callable[[Wire], object]] = {
    "line": lambda wire: wire.line(100),
    "message": lambda wire: wire.mail_data(100),
    "bytes": lambda wire: wire.exactly(10, 10),
    "nothing": lambda wire: wire.until_gone(),
}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS.keys())
async def test_a_peer_that_leaves_ends_every_read(read: Callable[[Wire], object]) -> None:
    """Nobody waits for a peer that is gone."""
    wire = connected()
    wire.data_received(b"half")
    wire.eof_received()
    with pytest.raises(Gone):
        await read(wire)  # type: ignore[misc]


async def test_a_peer_that_sends_too_fast_is_held() -> None:
    """What nobody reads is not collected without bound; reading it lets the peer go on."""
    wire = Wire()
    pipe = Pipe()
    wire.connection_made(pipe)
    wire.data_received(b"x" * (HIGH_WATER + 1))
    held = pipe.reading
    await wire.exactly(HIGH_WATER, 0)
    assert (False, True) == (held, pipe.reading)


async def test_only_the_first_bytes_are_kept() -> None:
    """Of a chunk that is too large, the rest is read and dropped."""
    wire = connected()
    wire.data_received(b"abcdefgh")
    assert (b"abc", b"gh") == (await wire.exactly(6, 3), await wire.exactly(2, 2))
