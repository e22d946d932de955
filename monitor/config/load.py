"""Reads a configuration file: the whole of it, or every problem at once, each with file, line, column and path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from checks.core.check import Check
from checks.core.secret import Redactor
from monitor.config.build import Builder
from monitor.config.changes import Stamp
from monitor.config.configuration import Configuration
from monitor.config.context import Context
from monitor.config.document import compose, constructed, read_text, uncollected
from monitor.config.mistakes import Mistakes
from monitor.config.model import File
from monitor.config.places import TWICE, mend_nodes, place_of
from monitor.config.places import Path as KeyPath
from monitor.config.problems import ConfigurationError, Problem
from monitor.config.wording import explained
from monitor.model import Channel

_redact = Redactor()


@uncollected()
def load(
    path: Path,
    checks: Mapping[str, Check],
    *,
    secrets: bool = True,
    channels: Callable[[Sequence[Channel]], Mapping[str, str]] | None = None,
) -> Configuration:
    """The configuration in a file. Raises ConfigurationError with every mistake.

    With `secrets=False` references are not resolved. `channels` is handed those whose URL is there, and says of each that
    can not be used why.
    """
    stamp = Stamp.of(path)
    root = compose(path, read_text(path))
    if root is None:
        raise ConfigurationError([Problem(str(path), 0, 0, "", "is empty: expected tenants, apps and mailboxes")])
    mistakes = Mistakes(File)
    for where, mark, message in mend_nodes(root):
        mistakes.add(where, message, (mark.line + 1, mark.column + 1), spoilt=message is not TWICE)
    content = constructed(root)
    if not isinstance(content, dict):
        raise ConfigurationError([_problem(path, root, (), "expected keys such as tenants, apps and mailboxes")])
    names = {section: tuple(named) for section, named in content.items() if isinstance(named, dict)}
    context = Context(base=path.parent.resolve(), names=names, resolve_secrets=secrets)
    builder = Builder(_file(content, mistakes), checks, context)
    configuration = builder.build()
    for where, message in context.problems:
        mistakes.add(where, message)
    for name, message in (channels(builder.channels) if channels else {}).items():
        mistakes.add(("alerts", "channels", name, "url"), message)
    if mistakes or configuration is None:
        own = (_at(path, *(place or place_of(root, where)), where, message) for where, message, place in mistakes)
        raise ConfigurationError([*own, *context.elsewhere])
    return replace(configuration, files=(stamp, *context.files))


def _file(content: dict[str, Any], mistakes: Mistakes) -> File:
    """The content as the model has it; where it is wrong, mended."""
    try:
        mistakes.mend(content)
        return File.model_validate(content)
    except ValidationError as error:
        for where, message in explained(error, File):
            mistakes.add(where, message)
    mistakes.mend(content)
    return File.model_validate(content)


def _problem(path: Path, root: yaml.Node | None, where: KeyPath, message: str) -> Problem:
    return _at(path, *place_of(root, where), where, message)


def _at(path: Path, line: int, column: int, where: KeyPath, message: str) -> Problem:
    """A reload tells problems to the event log, so that an address or a secret in place of a key must not show either."""
    return Problem(str(path), line, column, ".".join(_redact(str(step)) for step in where), message)
