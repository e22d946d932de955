"""Reads a configuration file: the whole of it, or every problem at once, each with file, line, column and path."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from checks.core.check import Check
from monitor.config.build import Builder
from monitor.config.configuration import Configuration
from monitor.config.model import File
from monitor.config.places import Path as KeyPath
from monitor.config.places import duplicate_keys, place_of
from monitor.config.problems import ConfigurationError, Problem

# 10,000 mailboxes have 2 MB and 100,000 nodes; a bomb of aliases has billions.
MAX_BYTES = 64 * 1024 * 1024

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path: Path, checks: Mapping[str, Check], *, secrets: bool = True) -> Configuration:
    """The configuration in a file. Raises ConfigurationError. With `secrets=False` references are not resolved."""
    text = _read(path)
    root = _compose(path, text)

    def problem(where: KeyPath, message: str) -> Problem:
        line, column = place_of(root, where)
        return Problem(str(path), line, column, ".".join(str(step) for step in where), message)

    if root is None:
        raise ConfigurationError([Problem(str(path), 0, 0, "", "is empty: expected tenants, apps and mailboxes")])
    doubled = [
        Problem(str(path), mark.line + 1, mark.column + 1, ".".join(map(str, where)), "this key stands here twice")
        for where, mark in duplicate_keys(root)
    ]
    if doubled:
        raise ConfigurationError(doubled)
    content = yaml.load(text, _Loader)  # noqa: S506 - both are safe loaders
    if not isinstance(content, dict):
        raise ConfigurationError([problem((), "expected keys such as tenants, apps and mailboxes")])
    try:
        file = File.model_validate(content)
    except ValidationError as error:
        raise ConfigurationError(problem(where, message) for where, message in explained(error, File)) from error
    builder = Builder(file, path.parent.resolve(), checks, resolve_secrets=secrets)
    configuration = builder.build()
    if builder.problems or configuration is None:
        raise ConfigurationError(problem(where, message) for where, message in builder.problems)
    return configuration


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError([Problem(str(path), 0, 0, "", f"is larger than {MAX_BYTES} bytes")])
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        hint = "there is no such file; name one with --config or MAILCANARY_CONFIG"
        raise ConfigurationError([Problem(str(path), 0, 0, "", hint)]) from error
    except OSError as error:
        raise ConfigurationError([Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([Problem(str(path), 0, 0, "", f"is not UTF-8 (byte {error.start})")]) from error


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        for event in yaml.parse(text, _Loader):
            if isinstance(event, yaml.AliasEvent):
                line, column = (event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else (0, 0)
                message = "aliases (*name) are not allowed: write the values out, or use `defaults`"
                raise ConfigurationError([Problem(str(path), line, column, "", message)])
        node: yaml.Node | None = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise ConfigurationError([Problem(str(path), line, column, "", f"is not YAML: {error.problem}")]) from error
    except yaml.YAMLError as error:
        raise ConfigurationError([Problem(str(path), 0, 0, "", f"is not YAML: {error}")]) from error
    return node


def explained(error: ValidationError, model: type[BaseModel]) -> Iterator[tuple[KeyPath, str]]:
    """What pydantic found, in words for the one who wrote the file. Never the value: it may be a secret."""
    for one in error.errors(include_url=False, include_input=False):
        where = tuple(step for step in one["loc"] if step != "[key]" and not str(step).startswith("literal["))
        where = tuple(step for step in where if not str(step).startswith("dict["))
        if one["type"] == "extra_forbidden":
            yield where, f"unknown key{_suggestion(str(where[-1]), model, where[:-1])}"
        elif one["type"] == "missing":
            yield where, "is missing"
        else:
            yield where, one["msg"].removeprefix("Value error, ")


def _suggestion(key: str, model: type[BaseModel], where: KeyPath) -> str:
    known = _keys_at(model, where)
    close = difflib.get_close_matches(key, known, 1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; known here: {', '.join(known)}" if known else ""


def _keys_at(model: type[BaseModel], where: KeyPath) -> list[str]:
    """The keys that the model knows at a place; names chosen by the user (of an app, a mailbox) are stepped over."""
    here: type[BaseModel] | None = model
    for step in where:
        if here is None:
            return []
        field = here.model_fields.get(str(step))
        if field is None:
            continue
        here = _model_in(field.annotation)
    return list(here.model_fields) if here else []


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _model_in(argument)
        if found is not None:
            return found
    return None
