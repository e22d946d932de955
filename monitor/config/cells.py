"""What the columns of a fleet's CSV file mean: cells turned into what stands under a mailbox in YAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from checks.core.secret import Redactor
from monitor.config.places import Path as KeyPath
from monitor.config.wording import did_you_mean

REQUIRED = ("id", "address", "app")
COLUMNS = (*REQUIRED, "group", "smtp", "importance", "send_as", "checks")
_LABEL = "label."
_WORD = re.compile(r"(?P<check>\w+)(?:=(?P<off>off)|\.(?P<key>\w+)=(?P<value>\S+))?")
_redact = Redactor()

Checks = dict[str, dict[str, Any] | bool]


class Columns:
    """The columns that a header names. `wrong`: what is wrong with it, each with the number of the cell, from 0."""

    def __init__(self, header: Sequence[str]) -> None:
        self._count = len(header)
        self._numbers: dict[str, int] = {}
        self._known_checks: dict[str, Checks] = {}
        self.wrong: list[tuple[int, str]] = []
        for number, cell in enumerate(header):
            name = cell.strip()
            name = name.lower() if name.lower() in COLUMNS else name  # Export-Csv names them after properties: Id, App
            if name in self._numbers:
                self.wrong.append((number, f"the column {name} stands here twice"))
            elif name in COLUMNS or (name.startswith(_LABEL) and name != _LABEL):
                self._numbers[name] = number
            elif name:  # a spreadsheet may have empty columns to the right
                known = [*COLUMNS, f"{_LABEL}NAME"]
                self.wrong.append((number, f"unknown column {_redact(name)!r}{did_you_mean(name, known)}"))
        if missing := [name for name in REQUIRED if name not in self._numbers]:
            expected = "expected a first line that names the columns"
            self.wrong.append((0, f"{expected}: {', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"))

    def number(self, where: KeyPath) -> int:
        """The number of the cell that a path into a mailbox means, from 0; that of the id where it means the whole."""
        key, *below = where or ("id",)
        return self._numbers.get(f"{_LABEL}{below[0]}" if key == "labels" and below else str(key), self._numbers["id"])

    def read(self, cells: Sequence[str]) -> tuple[str, dict[str, Any], list[tuple[KeyPath, str]]]:
        """The id, what is said of the mailbox, and what is wrong. A cell that is empty says nothing."""
        if len(cells) < self._count or any(cells[self._count :]):
            name = cells[self._numbers["id"]] if self._numbers["id"] < len(cells) else ""
            return name, {}, [((), f"expected {self._count} cells, as the first line has; here are {len(cells)}")]
        said: dict[str, Any] = {}
        labels = {}
        found: list[tuple[KeyPath, str]] = []
        for column, number in self._numbers.items():
            cell = cells[number].strip()
            if not cell:
                continue
            if column == "checks":
                try:
                    said[column] = self._checks(cell)
                except ValueError as error:
                    found.append(((column,), str(error)))
            elif column == "send_as":
                said[column] = cell.split()
            elif column.startswith(_LABEL):
                labels[column.removeprefix(_LABEL)] = cell
            else:
                said[column] = cell
        if labels:
            said["labels"] = labels
        return said.pop("id", ""), said, found

    def _checks(self, cell: str) -> Checks:
        """Read once for all rows that have the same."""
        if cell not in self._known_checks:
            self._known_checks[cell] = checks_of(cell)
        return self._known_checks[cell]


def checks_of(text: str) -> Checks:
    """What words such as `canary smtp_auth=off canary.interval=30m` say of checks. Raises ValueError."""
    checks: Checks = {}
    for word in text.split():
        found = _WORD.fullmatch(word)
        if found is None:
            raise ValueError("expected words parted by spaces, such as canary, smtp_auth=off or canary.interval=30m")
        name, off, key, value = found["check"], found["off"], found["key"], found["value"]
        said = checks.setdefault(name, False if off else {})
        if isinstance(said, bool) != bool(off):
            raise ValueError(f"{name} is switched off and on in the same cell")
        if isinstance(said, dict) and key:
            said[key] = _value(key, value)
    return checks


def _value(key: str, text: str) -> object:
    """`to` is always a list; of the rest YAML would make the same."""
    if key == "to":
        return text.split("+")
    words = {"true": True, "false": False}
    return int(text) if text.isdecimal() else words.get(text, text)
