"""The table of causes: what evidence means, whose move it is, how far it reaches and what to do.

Rules of the table (`causes.toml`). A row has one or more `match` alternatives; an alternative is a set of conditions that
must all hold. Of all alternatives that hold, the most specific one wins: each condition has the weight below, and the
weights are added. Weights are powers of two and each is heavier than all lighter ones together, so specificity is an
order and no sum of weak conditions outvotes a strong one. Equal weights mean equal kinds of conditions; two rows may
have those only if no evidence can meet both, which a test proves for all conditions but `text`. Sentences are tested by
the examples: each must find its own row alone. A tie between sentences that nobody thought of goes to the first row.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from checks.core.model import Blame, Evidence, Kind, Level, Permanence, Phase, Protocol, Scope

UNRECOGNISED = "unrecognised"

# The other side's number for the fault is the strongest sign, then its sentence, then the codes, then where and how.
_WEIGHTS = {
    "aadsts": 1024,
    "text": 512,
    "suberror": 256,
    "enhanced": 128,
    "error": 64,
    "code": 32,  # an exact code; a class such as `4xx` weighs half
    "kind": 8,
    "phase": 4,
    "protocol": 2,
}
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_THREE_DIGITS = re.compile(r"[1-5][0-9]{2}").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One alternative of a row: every condition that is given must hold. An empty one holds always.

    `code` takes exact codes and classes (`4xx`). `enhanced` is exact text: 5.7.60 is no prefix of 5.7.606. `text` holds
    phrases that must all occur, without regard to case and to the sort and number of spaces.
    """

    protocol: frozenset[str] = frozenset()
    phase: frozenset[str] = frozenset()
    kind: frozenset[str] = frozenset()
    code: frozenset[str] = frozenset()
    enhanced: frozenset[str] = frozenset()
    aadsts: frozenset[int] = frozenset()
    error: frozenset[str] = frozenset()
    suberror: frozenset[str] = frozenset()
    text: tuple[str, ...] = ()

    @property
    def weight(self) -> int:
        """How specific this alternative is."""
        weight = sum(weight for name, weight in _WEIGHTS.items() if getattr(self, name))
        classes = any(code.endswith("xx") for code in self.code)
        return weight - _WEIGHTS["code"] // 2 if classes else weight

    def concerns(self, protocol: Protocol, kind: Kind) -> bool:
        """Whether it can hold for evidence of that protocol and kind."""
        return (not self.protocol or protocol in self.protocol) and (not self.kind or kind in self.kind)

    def holds(self, evidence: Evidence, folded: str) -> bool:
        """Whether all conditions hold; `folded` is the evidence's text, folded by `_folded`."""
        return (
            self.concerns(evidence.protocol, evidence.kind)
            and (not self.phase or evidence.phase in self.phase)
            and (not self.code or _code_in(evidence.code, self.code))
            and (not self.enhanced or evidence.enhanced_code in self.enhanced)
            and (not self.aadsts or evidence.aadsts in self.aadsts)
            and (not self.error or evidence.error in self.error)
            and (not self.suberror or evidence.suberror in self.suberror)
            and all(phrase in folded for phrase in self.text)
        )


def _code_in(code: str | None, wanted: frozenset[str]) -> bool:
    """Codes of SMTP and HTTP have three digits and so have a class; OpenSSL's 50 is no server error."""
    return code is not None and (code in wanted or (_THREE_DIGITS(code) is not None and f"{code[0]}xx" in wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One row of the table.

    `harm`: provoking it again can hurt the mailbox, so the runner backs off. `permanent_after`: seconds after which a
    transient cause is no longer believed to be transient; None for the others. `steps` hold placeholders such as
    `{mailbox}`.
    """

    id: str
    level: Level
    permanence: Permanence
    blame: Blame
    scope: Scope
    title: str
    meaning: str
    steps: tuple[str, ...]
    source: str
    match: tuple[Match, ...] = ()
    examples: tuple[Evidence, ...] = ()
    harm: bool = False
    permanent_after: float | None = None

    def steps_for(self, words: Mapping[str, str]) -> tuple[str, ...]:
        """The steps with their placeholders filled; one that has no word stays readable: `<mailbox>`."""

        def fill(found: re.Match[str]) -> str:
            return words.get(found[1]) or f"<{found[1]}>"

        return tuple(_PLACEHOLDER.sub(fill, step) for step in self.steps)


class TableError(Exception):
    """The table itself is wrong; the text names the row."""


class CauseTable:
    """All rows, by id, and the way from evidence to a row."""

    def __init__(self, causes: Iterable[Cause]) -> None:
        self._causes: dict[str, Cause] = {}
        for cause in causes:
            if cause.id in self._causes:
                raise TableError(f"{cause.id}: this id stands twice")
            self._causes[cause.id] = cause
        if UNRECOGNISED not in self._causes:
            raise TableError(f"{UNRECOGNISED}: this row is missing")
        alternatives = [(match.weight, match, cause) for cause in self for match in cause.match]
        alternatives.sort(key=lambda entry: -entry[0])  # stable: rows of equal weight stay in the table's order
        self._alternatives = {
            (protocol, kind): tuple(entry for entry in alternatives if entry[1].concerns(protocol, kind))
            for protocol in Protocol
            for kind in Kind
        }

    def __iter__(self) -> Iterator[Cause]:
        return iter(self._causes.values())

    def __getitem__(self, cause: str) -> Cause:
        """The row of that id; for an id of another version of the table, the row `unrecognised`."""
        return self._causes.get(cause) or self._causes[UNRECOGNISED]

    def classify(self, evidence: Evidence) -> Cause:
        """What evidence means. Never fails: what matches no row is `unrecognised`, with its evidence kept."""
        return next(self._holding(evidence))[1]

    def best(self, evidence: Evidence) -> tuple[Cause, ...]:
        """The rows that match equally well: more than one is a defect of the table."""
        holding = list(self._holding(evidence))
        found = (cause for weight, cause in holding if weight == holding[0][0])
        return tuple({cause.id: cause for cause in found}.values())

    def _holding(self, evidence: Evidence) -> Iterator[tuple[int, Cause]]:
        folded = _folded(evidence.text)
        for weight, match, cause in self._alternatives.get((evidence.protocol, evidence.kind), ()):
            if match.holds(evidence, folded):
                yield weight, cause
        yield -1, self._causes[UNRECOGNISED]


def _folded(text: str) -> str:
    return " ".join(text.split()).casefold()


@cache
def table() -> CauseTable:
    """The table that comes with the program, read once. Raises TableError, which a test makes sure it never does."""
    return read(resources.files("checks.core").joinpath("causes.toml").read_text("utf-8"))


def read(text: str) -> CauseTable:
    """A table from TOML: one `[[cause]]` for each row. Raises TableError, which names the row and what is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TableError(f"no TOML: {error}") from error
    rows = document.pop("cause", [])
    if document:
        raise TableError(f"unknown key {sorted(document)} beside the rows")
    return CauseTable(_cause(row) for row in rows)


# What TOML must give for each key, so that a wrong type is an error and not a condition that never holds.
_ROW = {
    "id": str,
    "level": str,
    "permanence": str,
    "blame": str,
    "scope": str,
    "title": str,
    "meaning": str,
    "steps": list,
    "source": str,
    "match": list,
    "examples": list,
    "harm": bool,
    "permanent_after": float,
}
_CONDITION: dict[str, type] = {field.name: int if field.name == "aadsts" else str for field in fields(Match)}
_EXAMPLE: dict[str, type] = {field.name: int if field.name == "aadsts" else str for field in fields(Evidence)}
_CLOSED: dict[str, type[Kind | Phase | Protocol]] = {"kind": Kind, "phase": Phase, "protocol": Protocol}


def _cause(row: dict[str, Any]) -> Cause:
    try:
        _check("the row", row, _ROW, needed=_ROW.keys() - {"match", "harm", "permanent_after"})
        for step in row["steps"]:
            _check("steps", {"step": step}, {"step": str})
        return Cause(
            **{
                **row,
                "level": Level(row["level"]),
                "permanence": Permanence(row["permanence"]),
                "blame": Blame(row["blame"]),
                "scope": Scope(row["scope"]),
                "steps": tuple(row["steps"]),
                "match": tuple(_match(alternative) for alternative in row.get("match", ())),
                "examples": tuple(_evidence(example) for example in row["examples"]),
            }
        )
    except ValueError as error:
        raise TableError(f"{row.get('id', 'a row without id')}: {error}") from error


def _match(alternative: dict[str, Any]) -> Match:
    values: dict[str, Any] = {}
    for name, value in alternative.items():
        listed = value if isinstance(value, list) else [value]
        if not listed:
            raise ValueError(f"match: {name} is empty and would always hold")
        for word in listed:
            _check("match", {name: word}, _CONDITION)
        if name in _CLOSED:
            listed = [_CLOSED[name](word) for word in listed]
        values[name] = tuple(_folded(word) for word in listed) if name == "text" else frozenset(listed)
    return Match(**values)


def _evidence(example: dict[str, Any]) -> Evidence:
    _check("examples", example, _EXAMPLE, needed=_CLOSED.keys())
    return Evidence(**{**example, **{name: closed(example[name]) for name, closed in _CLOSED.items()}})


def _check(
    where: str, given: Mapping[str, Any], shape: Mapping[str, type], needed: AbstractSet[str] = frozenset()
) -> None:
    if unknown := given.keys() - shape.keys():
        raise ValueError(f"{where}: unknown key {sorted(unknown)}")
    if missing := needed - given.keys():
        raise ValueError(f"{where}: missing key {sorted(missing)}")
    for name, value in given.items():
        if type(value) is not shape[name]:
            raise ValueError(f"{where}: {name} is {value!r}, not of type {shape[name].__name__}")
