"""What a run of the bench found, as JSON: the machine, and for each row its tables or why it was left out."""

from __future__ import annotations

import json
import time
import traceback
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tests.bench import machine
from tests.bench.measured import Column, Row, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Outcome:
    """One row, measured in `seconds` or left out."""

    name: str
    title: str
    method: str
    tables: list[Table]
    seconds: float
    left_out: str = ""

    def text(self) -> list[str]:
        """For a terminal."""
        if self.left_out:
            return [f"{self.title}: left out: {self.left_out}"]
        lines = [line for table in self.tables for line in ("", *table.text())]
        return [f"== {self.title} ({self.seconds:.0f} s)", *lines[1:]]


@dataclass(frozen=True, slots=True)
class Report:
    """One run. `at` is its beginning, ISO 8601 in UTC."""

    at: str
    quick: bool
    machine: Mapping[str, str]
    rows: list[Outcome] = field(default_factory=list)

    @staticmethod
    def begin(*, quick: bool) -> Report:
        """Of a run that begins now, here."""
        return Report(at=datetime.now(UTC).isoformat(timespec="seconds"), quick=quick, machine=machine.facts())

    def json(self) -> str:
        """Keys of lines end in their unit; a value that could not be measured is absent or null."""
        return json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"

    @staticmethod
    def read(text: str) -> Report:
        """What `json` wrote. Raises ValueError for another format."""
        content: dict[str, Any] = json.loads(text)
        if content.pop("format", None) != FORMAT:
            raise ValueError(f"not a report of this bench: its format is not {FORMAT}")
        rows = [Outcome(**{**row, "tables": [_table(table) for table in row["tables"]]}) for row in content["rows"]]
        return Report(**{**content, "rows": rows})


def _table(content: dict[str, Any]) -> Table:
    return Table(**{**content, "columns": [Column(**column) for column in content["columns"]]})


def measure(row: Row, *, quick: bool) -> Outcome:
    """Measure a row; what fails it is told in its place, and the others go on."""
    begin = time.monotonic()
    tables: list[Table] = []
    left_out = ""
    try:
        tables = row.measure(quick)
    except Exception as error:  # noqa: BLE001 - half an hour of others is not thrown away for one
        traceback.print_exc()
        left_out = f"{type(error).__name__}: {error}"
    return Outcome(row.name, row.title, row.method, tables, time.monotonic() - begin, left_out)
