"""The grammar of IMAP commands: whatever a client sends is understood or refused, and bounded."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.sim.imap_folder import OpenFolder
from monitor.sim.imap_syntax import LINE_LIMIT, Malformed, NumberSet, parse
from monitor.sim.mail import Folder
from tests.sim.reading import command, connect, reading
from tests.sim.sim_peer import Peer, fixed_moment

if TYPE_CHECKING:
    from collections.abc import Sequence

words = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=12)
arguments = st.recursive(words, lambda inner: st.lists(inner, max_size=4), max_leaves=8)


def written(value: object, depth: int = 0) -> bytes:
    """A value as a client writes it: words as quoted strings, lists in parentheses."""
    if isinstance(value, list):
        inner = b" ".join(written(one, depth + 1) for one in value)
        return inner if depth == 0 else b"(" + inner + b")"
    return b'"' + str(value).encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def depth_of(value: object) -> int:
    """How many lists lie in each other."""
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


def encoded(value: object) -> object:
    """The same with its words as bytes."""
    return [encoded(one) for one in value] if isinstance(value, list) else str(value).encode()


@given(st.lists(arguments, max_size=4).filter(lambda value: depth_of(value) <= 5))
def test_arguments_are_read_as_they_were_written(value: list[object]) -> None:
    """Quoted strings with anything in them, in lists up to the bound, come back as they were."""
    assert encoded(value) == parse(written(value))


@given(st.binary(max_size=60))
def test_any_bytes_are_arguments_or_refused(sent: bytes) -> None:
    """There is no third way, however hostile."""
    with contextlib.suppress(Malformed):
        parse(sent)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1), st.sets(st.integers(1, 30)))
def test_a_set_chooses_what_lies_in_its_ranges(ranges: list[tuple[int, int]], present: set[int]) -> None:
    """Ranges may be written in either direction and overlap."""
    text = b",".join(b"%d:%d" % ends for ends in ranges)
    expected = [number for number in sorted(present) if any(min(one) <= number <= max(one) for one in ranges)]
    assert expected == NumberSet(text).chosen(sorted(present))


@pytest.mark.parametrize(
    ("text", "numbers", "expected"),
    [(b"*", [2, 5, 9], [9]), (b"6:*", [2, 5, 9], [9]), (b"20:*", [2, 5, 9], [9]), (b"*", [], []), (b"5", [2, 5], [5])],
)
def test_the_star_is_the_last_number(text: bytes, numbers: Sequence[int], expected: list[int]) -> None:
    """A range up to the star holds the last message even when it begins beyond it (RFC 3501, 9: seq-range)."""
    assert expected == NumberSet(text).chosen(numbers)


@given(st.binary(max_size=40), st.sampled_from(["search", "fetch", "store"]), st.booleans())
def test_an_open_folder_answers_or_refuses_whatever_it_is_told(sent: bytes, what: str, by_uid: bool) -> None:  # noqa: FBT001
    """No argument makes it fail otherwise, and no message is lost by it."""
    folder = Folder("INBOX", 1)
    folder.post(fixed_moment(), b"Subject: one\r\n\r\nBody.\r\n")
    folder.settle(fixed_moment() + timedelta(seconds=1))
    with contextlib.suppress(Malformed):
        getattr(OpenFolder(folder, read_only=False), what)(sent, by_uid=by_uid)
    assert [1] == list(folder.messages)


async def test_a_line_without_end_ends_the_session(peer: Peer) -> None:
    """What is longer than any command is no command."""

    def talk() -> list[bytes]:
        with connect(peer) as session:
            session.send(b"X" * (LINE_LIMIT + 2))
            return [session.readline(), session.readline()]

    assert [b"* BYE Connection closed. 10\r\n", b""] == await asyncio.to_thread(talk)


async def test_many_wildcards_cost_nothing(peer: Peer) -> None:
    """A pattern of wildcards alone matches every folder, at once."""

    def talk() -> int:
        with reading(peer) as session:
            return len(command(session, f'LIST "" "{"*%" * 5000}"')[0])

    assert 5 == await asyncio.to_thread(talk)
