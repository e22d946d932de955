"""What a row of the bench is, and what it gives: tables that can be printed, stored as JSON and put into a document."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Value = str | float | int | None


class LeftOutError(Exception):
    """A row that cannot be measured here; the text says why and, where there is one, the next step."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its key in a line (with the unit at its end), its head, and digits behind the point."""

    key: str
    head: str
    digits: int = 0

    def cell(self, value: Value) -> str:
        """A value as it is printed; empty where there is none."""
        if value is None:
            return ""
        return value if isinstance(value, str) else f"{value:,.{self.digits}f}"


@dataclass(frozen=True, slots=True)
class Table:
    """Lines of one shape. A key that a line lacks is an empty cell. `notes` say what the numbers cannot."""

    title: str
    columns: Sequence[Column]
    lines: Sequence[Mapping[str, Value]]
    notes: Sequence[str] = ()

    def cells(self) -> list[list[str]]:
        """The head and every line, as text."""
        body = [[column.cell(line.get(column.key)) for column in self.columns] for line in self.lines]
        return [[column.head for column in self.columns], *body]

    def text(self) -> list[str]:
        """The table for a terminal: the first column to the left, numbers to the right."""
        cells = self.cells()
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join([line[0].ljust(widths[0]), *(map(str.rjust, line[1:], widths[1:]))]).rstrip() for line in cells
        ]
        return [self.title, *lines, *self.notes]


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that is measured. `method` is told in the document: what is measured, how, and what is not.

    `measure(quick)` raises LeftOutError where it cannot be measured. A quick one shows that it works; its numbers are
    worth nothing.
    """

    name: str
    title: str
    method: str
    measure: Callable[[bool], list[Table]]


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that is not below `share` of all of them (nearest rank)."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def spread(name: str, seconds: Sequence[float]) -> dict[str, Value]:
    """Median, 95th percentile and maximum, in milliseconds, as `spread_columns` shows them."""
    if not seconds:
        return {}
    return {
        f"{name}_median_ms": 1000 * quantile(seconds, 0.5),
        f"{name}_p95_ms": 1000 * quantile(seconds, 0.95),
        f"{name}_max_ms": 1000 * max(seconds),
    }


def spread_columns(name: str, head: str, digits: int = 2) -> tuple[Column, ...]:
    """The three columns of `spread`; `head` stands before the first."""
    heads = {"median": f"{head} median", "p95": "p95", "max": "max"}
    return tuple(Column(f"{name}_{what}_ms", text.strip(), digits) for what, text in heads.items())
