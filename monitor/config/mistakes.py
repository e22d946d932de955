"""All mistakes of one reading: what is wrong is told once and mended, so that the rest can be read on and judged."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from monitor.config.places import Path, Place
from monitor.config.shape import field_at

# The keys of these parts mean something only together: what is left of one would be judged wrongly.
_WHOLE = {"certificate"}


class Mistakes:
    """What was found wrong, each with its path, and with line and column where the path alone would not find them."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._model = model
        self._found: dict[tuple[Path, str], Place | None] = {}
        self._touched: set[Path] = set()
        self._spoilt: set[Path] = set()
        self._mended: set[Path] = set()

    def __bool__(self) -> bool:
        return bool(self._found)

    def __iter__(self) -> Iterator[tuple[Path, str, Place | None]]:
        return ((where, message, place) for (where, message), place in self._found.items())

    def add(self, where: Path, message: str, place: Place | None = None, *, spoilt: bool = True) -> None:
        """Keeps a mistake, unless it may only follow from what was mended above or below it before.

        `spoilt`: what stands there cannot be judged any further.
        """
        if where not in self._touched and not any(where[:end] in self._mended for end in range(len(where))):
            self._found[where, message] = place
            if spoilt:
                self._spoilt.add(where)

    def mend(self, content: dict[str, Any]) -> None:
        """Leaves of the content what is not known to be wrong, so that it can be read on; it is not to be used."""
        self._mended = set(self._spoilt)
        for where in self._mended:
            self._touched.update(where[:end] for end in range(len(where) + 1))
            self._mend(content, tuple(_steps(where)))

    def _mend(self, content: dict[str, Any], steps: tuple[str, ...]) -> None:
        """Takes out what stands there; an example stands in for what may not be missing."""
        part: Any = content
        for step in steps[:-1]:
            part = part.get(step)
            if not isinstance(part, dict):
                return  # went with another mistake
        field = field_at(self._model, steps)
        if field is not None and field.is_required():
            part[steps[-1]] = copy.deepcopy(field.examples[0]) if field.examples else None
        else:
            part.pop(steps[-1], None)


def _steps(where: Path) -> Iterator[str]:
    """The way to what goes: a list goes with its items, which have only numbers."""
    for step in where:
        if isinstance(step, int):
            return
        yield step
        if step in _WHOLE:
            return
