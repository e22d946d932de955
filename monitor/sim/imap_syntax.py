"""The grammar of IMAP as far as it is needed here: commands with literals, parenthesised lists, sets of numbers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeAlias

from monitor.sim.wire import TooLong

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from monitor.sim.wire import Wire

LINE_LIMIT = 65_536  # tokens and long sets of UIDs make long lines; what is longer is no command
LITERAL_LIMIT = 65_536
DEPTH = 4  # of lists in lists, of search keys in search keys

_LITERAL = re.compile(rb"\{(\d{1,10})(\+?)\}$")
_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ATOM = re.compile(rb'(?:[^\s()"\[\]]|\[[^\]]*\])+')
_RANGE = re.compile(rb"(\d{1,10}|\*)(?::(\d{1,10}|\*))?")

Argument: TypeAlias = "bytes | list[Argument]"


class Malformed(Exception):  # noqa: N818  a name for what the client sent
    """Arguments that are none."""


async def read_command(wire: Wire, go_ahead: Callable[[], Awaitable[None]]) -> bytes:
    """The next command as one line: its literals become quoted strings. `TooLong` beyond the bounds.

    `go_ahead` tells a client that waits with a literal to send it (RFC 7888: one with a plus does not wait).
    """
    command = await wire.line(LINE_LIMIT)
    while found := _LITERAL.search(command):
        size = int(found[1])
        if size + len(command) > LITERAL_LIMIT:
            raise TooLong
        if not found[2]:
            await go_ahead()
        literal = await wire.exactly(size, size)
        command = command[: found.start()] + _quote(literal) + await wire.line(LINE_LIMIT)
    return command


def _quote(text: bytes) -> bytes:
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def parse(text: bytes) -> list[Argument]:
    """The arguments of a command; lists become lists. `Malformed` when they are no arguments."""
    stack: list[list[Argument]] = [[]]
    place = 0
    while place < len(text):
        if text[place : place + 1] == b" ":
            place += 1
        elif text[place : place + 1] == b"(" and len(stack) <= DEPTH:
            stack.append([])
            place += 1
        elif text[place : place + 1] == b")" and len(stack) > 1:
            done = stack.pop()
            stack[-1].append(done)
            place += 1
        elif found := _QUOTED.match(text, place):
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", found[1], flags=re.DOTALL))
            place = found.end()
        elif found := _ATOM.match(text, place):
            stack[-1].append(found[0])
            place = found.end()
        else:
            raise Malformed
    if len(stack) > 1:
        raise Malformed
    return stack[0]


def words(tokens: Sequence[Argument]) -> list[str]:
    """Tokens as text, where none of them is a list; else `Malformed`."""
    found = [token.decode("utf-8", "replace") for token in tokens if isinstance(token, bytes)]
    if len(found) != len(tokens):
        raise Malformed
    return found


class NumberSet:
    """A set such as `2,4:7,*`, where the star is the largest number in use."""

    def __init__(self, text: bytes) -> None:
        self._single: set[int] = set()
        self._ranges: list[tuple[int | None, int | None]] = []
        for part in text.split(b","):
            found = _RANGE.fullmatch(part)
            if found is None:
                raise Malformed
            low, high = (None if end == b"*" else int(end) for end in (found[1], found[2] or found[1]))
            if low is not None and low == high:
                self._single.add(low)
            else:
                self._ranges.append((low, high))

    def chosen(self, numbers: Sequence[int]) -> list[int]:
        """Those of some ascending numbers that are in the set."""
        if not numbers:
            return []
        last = numbers[-1]
        ranges = [sorted(last if end is None else end for end in ends) for ends in self._ranges]
        return [
            number for number in numbers if number in self._single or any(low <= number <= high for low, high in ranges)
        ]
