"""What every part of the building shares: where the file lies, which names it has, what was wrong so far."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from checks.core.secret import Redactor, Secret
from monitor.config.changes import Stamp
from monitor.config.places import Path as KeyPath
from monitor.config.problems import Problem
from monitor.config.references import resolve
from monitor.config.wording import listed

T = TypeVar("T")
Found = list[tuple[KeyPath, str]]
_redact = Redactor()


@dataclass(slots=True, kw_only=True)
class Context:
    """`names` are those that each section of the file has, those of wrong parts among them.

    `problems` are those of the file itself, each with its path; `elsewhere` those of the files that it names, and
    `warnings` what of theirs was left out and is no reason to refuse the rest. `files` are those files before each was
    read.
    """

    base: Path
    names: Mapping[str, Collection[str]]
    resolve_secrets: bool
    problems: Found = field(default_factory=list)
    elsewhere: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    files: list[Stamp] = field(default_factory=list)

    def say(self, where: KeyPath, message: str) -> None:
        """Keep a problem."""
        self.problems.append((where, message))

    @contextmanager
    def aside(self) -> Iterator[Found]:
        """What is said in here is not the file's: it is given to the caller instead."""
        kept, self.problems = self.problems, []
        try:
            yield self.problems
        finally:
            self.problems = kept

    def named(
        self, things: Mapping[str, T], name: str, where: KeyPath, what: str, known: Collection[str] = ()
    ) -> T | None:
        """The thing of that name; silent when it is known but could not be made, which has been said elsewhere."""
        if name not in things and name not in known:
            names = dict.fromkeys([*things, *known])
            # An address in the place of a name would reach the event log with the rest of the message.
            self.say(where, f"there is no {what} {_redact(name)!r}; known: {listed(names)}")
        return things.get(name)

    def existing(self, name: str | None, where: KeyPath) -> str | None:
        """The path of a file that must be there."""
        if name is None:
            return None
        path = self.base / name
        if not path.is_file():
            self.say(where, f"there is no file {path}")
        return str(path)

    def secret(self, reference: str | None, where: KeyPath) -> Secret | None:
        """The value behind a reference; None where there is none, or none could be had."""
        if reference is None:
            return None
        if not self.resolve_secrets:
            return Secret("not resolved")
        try:
            return resolve(reference, self.base)
        except ValueError as error:
            self.say(where, str(error))
            return None
