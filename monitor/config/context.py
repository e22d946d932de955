"""What every part of the building shares: where the file lies, which names it has, what was wrong so far."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from checks.core.secret import Secret
from monitor.config.places import Path as KeyPath
from monitor.config.references import resolve
from monitor.config.wording import listed

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class Context:
    """`names` are those that each section of the file has, those of wrong parts among them."""

    base: Path
    names: Mapping[str, Collection[str]]
    resolve_secrets: bool
    problems: list[tuple[KeyPath, str]] = field(default_factory=list)

    def say(self, where: KeyPath, message: str) -> None:
        """Keep a problem."""
        self.problems.append((where, message))

    def named(
        self, things: Mapping[str, T], name: str, where: KeyPath, what: str, known: Collection[str] = ()
    ) -> T | None:
        """The thing of that name; silent when it is known but could not be made, which has been said elsewhere."""
        names = (*things, *(other for other in known if other not in things))
        if name not in names:
            self.say(where, f"there is no {what} {name!r}; known: {listed(names)}")
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
