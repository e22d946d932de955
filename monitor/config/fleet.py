"""Mailboxes in files of their own: every bad row told with its place, the others made, as `on_bad_row` says."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from checks.core.secret import Redactor
from monitor.config import model
from monitor.config.changes import Stamp
from monitor.config.configuration import Configured
from monitor.config.context import Context
from monitor.config.places import Path as KeyPath
from monitor.config.problems import ConfigurationError, Problem
from monitor.config.rows import Row, rows_of
from monitor.config.wording import NAME_EXPECTED, explained

_redact = Redactor()

Make = Callable[[str, model.Mailbox, KeyPath], Configured | None]


class Fleets:
    """Reads one fleet after another. `taken` are the ids of the mailboxes in the main file, `make` makes one of a row."""

    def __init__(self, taken: Collection[str], make: Make, context: Context) -> None:
        self._taken = taken
        self._make = make
        self._context = context
        self._rows: dict[str, tuple[Path, Row]] = {}

    def read(self, said: model.Fleet, where: KeyPath) -> list[Configured]:
        """The mailboxes of a file that are good. What is wrong with the others is in the context then."""
        path = self._context.base / said.file
        self._context.files.append(Stamp.of(path))
        if not path.is_file():
            self._context.say((*where, "file"), f"there is no file {path}")
            return []
        try:
            rows = rows_of(path)
        except ConfigurationError as error:
            self._context.elsewhere += error.problems
            return []
        made: list[Configured] = []
        problems: list[Problem] = []
        bad = 0
        for row in rows:
            with self._context.aside() as found:
                one = self._one(path, row, where)
            # What is wrong with something that the row only follows, such as its group, stands in the main file.
            own = [(there[len(where) :], message) for there, message in found if there[: len(where)] == where]
            self._context.problems += [(there, message) for there, message in found if there[: len(where)] != where]
            problems += [_problem(path, row, there, message) for there, message in own]
            bad += bool(own)
            if one is not None and not own:
                made.append(one)
        if said.on_bad_row == "refuse" or bad == len(rows):
            self._context.elsewhere += problems
        else:
            self._context.warnings += [replace(one, message=f"{one.message}; the row is left out") for one in problems]
        return made

    def _one(self, path: Path, row: Row, fleet: KeyPath) -> Configured | None:
        """The mailbox of a row. What is wrong is told as below the id, or as of the key `id` where that is wrong."""
        where, context = (*fleet, row.id), self._context
        if row.found:
            context.problems += [((*where, *there), message) for there, message in row.found]
        elif not model.ID.fullmatch(row.id):
            context.say((*fleet, "id"), NAME_EXPECTED if row.id else "is missing")
        elif row.id in self._taken or row.id in self._rows:
            context.say((*fleet, "id"), f"there is a mailbox of this id already, in {self._place_of(row.id)}")
        else:
            self._rows[row.id] = path, row
            try:
                return self._make(row.id, model.Mailbox.model_validate(row.content), where)
            except ValidationError as error:
                context.problems += [((*where, *there), message) for there, message in explained(error, model.Mailbox)]
        return None

    def _place_of(self, name: str) -> str:
        if name in self._taken:
            return "`mailboxes`"
        path, row = self._rows[name]
        return f"{path.name}, line {row.place(())[0]}"


def _problem(path: Path, row: Row, there: KeyPath, message: str) -> Problem:
    shown = ".".join(_redact(str(step)) for step in there if step)
    return Problem(str(path), *row.place(there[1:]), shown, message)
