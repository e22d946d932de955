"""What is wrong with a value, in words for the one who wrote the file. Never the value: it may be a secret."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from monitor.config.places import Path as KeyPath
from monitor.config.shape import model_at

NAME_EXPECTED = "expected a name of lower-case letters, digits, dots, dashes and underscores, at most 63, beginning with a letter or digit"
_ADDRESS = "expected an address such as billing@contoso.com"
# What the model says by a pattern, by the key that it stands behind.
EXPECTED = {
    "address": _ADDRESS,
    "authority": "expected https://HOST without a path",
    "client_id": "expected the application (client) ID: a GUID of 36 characters",
    "graph": "expected https://HOST without a path",
    "host": "expected the name or IP address of a host, without a scheme and without a port",
    "listen": 'expected "HOST:PORT", such as "127.0.0.1:9925" or "[::1]:9925"',
    "reach": 'expected "HOST:PORT", such as "1.1.1.1:53"',
    "send_as": _ADDRESS,
    "store": "expected sqlite:PATH (beside this file) or sqlite:///ABSOLUTE/PATH",
    "tenant_id": "expected the tenant's GUID or one of its domains, in quotes if it has digits only",
}
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


MOST_NAMES = 20  # that a message lists; of ten thousand mailboxes nobody reads more


def listed(names: Iterable[str]) -> str:
    """The names that there are, as a message lists them: the first of many, or `none`."""
    known = list(names)
    more = f" and {len(known) - MOST_NAMES} more" if len(known) > MOST_NAMES else ""
    return f"{', '.join(known[:MOST_NAMES]) or 'none'}{more}"


def explained(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[KeyPath, str]]:
    """Every mistake that pydantic found, each with the path to it."""
    for one in error.errors(include_url=False):
        steps = [str(step) for step in one["loc"]]
        if any(step.startswith("literal[") for step in steps):
            continue  # said once, of the other half of the union
        where = tuple(step for step in one["loc"] if step != "[key]" and not str(step).startswith("dict["))
        if one["type"] == "extra_forbidden":
            yield where, f"unknown key{did_you_mean(str(where[-1]), _keys_at(model, where[:-1]))}"
        elif steps[-1:] == ["[key]"] and one["type"] != "enum":
            yield where, NAME_EXPECTED
        else:
            yield where, _worded(one, where, _keys_at(model, where))


def _worded(one: Any, where: KeyPath, keys: Sequence[str]) -> str:
    names = [str(step) for step in where if isinstance(step, str)]
    kind, context = one["type"], one.get("ctx", {})
    said: str = one["msg"].removeprefix("Value error, ")
    if kind == "missing":
        return "is missing"
    if kind in {"dict_type", "model_type"}:
        return _mapping_expected(kind, names, keys, empty=one["input"] is None)
    if kind in {"string_pattern_mismatch", "string_type", "string_too_short", "string_too_long"}:
        return EXPECTED.get(names[-1], "expected text; numbers and words such as yes or on need quotes to be text")
    if kind in {"greater_than", "greater_than_equal", "less_than_equal"}:
        name, limit = next(iter(context.items()))
        said_as = duration(limit) if str(one["input"])[-1:] in _UNITS else str(limit)
        return f"expected {'more than ' if name == 'gt' else ''}{said_as}{_AFTER[name]}"
    if kind in {"enum", "literal_error"}:
        return f"expected {context['expected']}".replace("'", "")
    return _BY_TYPE.get(kind, said)


_AFTER = {"gt": "", "ge": " or more", "le": " at the most"}
_A_DATE = "expected a date such as 2027-03-01"
_A_LIST = "expected a list such as [first, second]"
_A_NUMBER = "expected a whole number"
_BY_TYPE = {
    "date_from_datetime_inexact": _A_DATE,
    "date_from_datetime_parsing": _A_DATE,
    "date_parsing": _A_DATE,
    "date_type": _A_DATE,
    "int_from_float": _A_NUMBER,
    "int_parsing": _A_NUMBER,
    "int_type": _A_NUMBER,
    "list_type": _A_LIST,
    "tuple_type": _A_LIST,
}


def _mapping_expected(kind: str, names: Sequence[str], keys: Sequence[str], *, empty: bool) -> str:
    """Of a part, its keys; of a mapping by name, that there are names first."""
    problem = "is empty: " if empty else ""
    if names[-2:-1] == ["checks"]:
        off = "" if names[0] == "defaults" else ", {} for the defaults, or false to switch it off"
        return f"{problem}expected keys such as {{interval: 5m, timeout: 30s}}{off}"
    if kind == "model_type" and keys:
        return f"{problem}expected keys: {', '.join(keys)}"
    behind = f", each with keys of its own: {', '.join(keys)}" if keys else ", each with a value: {name: value}"
    return f"{problem}expected names{behind}"


def duration(seconds: float) -> str:
    """As one is written, in the largest unit that divides it."""
    fits = ((unit, size) for unit, size in _UNITS.items() if seconds >= size and seconds % size == 0)
    unit, size = next(fits, ("s", 1))
    return f"{seconds / size:g}{unit}"


def did_you_mean(key: str, known: Sequence[str]) -> str:
    """What ends a message on a name that is not known: the one that is close, else those that there are."""
    close = difflib.get_close_matches(key, known, 1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known here: {', '.join(known)}" if known else ""


def _keys_at(model: type[BaseModel], where: KeyPath) -> list[str]:
    part = model_at(model, where)
    return list(part.model_fields) if part else []
