"""A table in a CSV file, as people export it: commas, semicolons or tabs, quotes, empty lines."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from monitor.config.problems import ConfigurationError, Problem

# What stands above the header: Export-Csv of Windows PowerShell names a type, Excel is told which character parts cells.
_PREAMBLE = re.compile(r"#TYPE |sep=.$")
_DELIMITERS = ",;\t"


class Table:
    """The rows of a CSV text, and where their cells stand."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._lines = list(io.StringIO(text, newline=""))
        self._above = 1 if self._lines and _PREAMBLE.match(self._lines[0].rstrip("\r\n")) else 0
        header = next(iter(self._lines[self._above :]), "")
        self._delimiter = max(_DELIMITERS, key=header.count)

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """The line that each row begins in, from 1, and its cells; rows that say nothing are left out.

        Raises ConfigurationError where the text cannot be parted into rows.
        """
        reader = csv.reader(self._lines[self._above :], delimiter=self._delimiter, strict=True)
        line = self._above + 1
        try:
            for cells in reader:
                if any(cell and not cell.isspace() for cell in cells):
                    yield line, cells
                line = self._above + reader.line_num + 1
        except csv.Error as error:
            message = "the row that begins here is not CSV: a quote is not closed, or is closed before its cell ends"
            raise ConfigurationError([Problem(str(self._path), line, 1, "", message)]) from error

    def place(self, line: int, number: int) -> tuple[int, int]:
        """Line and column, from 1, of a cell, counted from 0, of the row that begins in a line.

        It is looked for anew each time, since only few are wanted.
        """
        column, begins, in_quotes, inside = 1, True, False, False
        for text in self._lines[line - 1 :]:
            for character in text:
                if number == 0 or (character in "\r\n" and not inside):
                    return line, column
                if begins:
                    in_quotes = character == '"'
                inside ^= in_quotes and character == '"'
                begins = character == self._delimiter and not inside
                number -= begins
                column += 1
            line, column = line + 1, 1
        return line, column
