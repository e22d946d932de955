"""Reads a configuration file: the whole of it, or every problem at once, each with file, line, column and path."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from checks.core.check import Check
from checks.core.secret import Redactor
from monitor.config.build import Builder
from monitor.config.configuration import Configuration
from monitor.config.context import Context
from monitor.config.mistakes import Mistakes
from monitor.config.model import File
from monitor.config.places import TWICE, mend_nodes, place_of
from monitor.config.places import Path as KeyPath
from monitor.config.problems import ConfigurationError, Problem
from monitor.config.wording import explained
from monitor.model import Channel

# 10,000 mailboxes have 2 MB and 100,000 nodes; a bomb of aliases has billions.
MAX_BYTES = 64 * 1024 * 1024
MAX_DEPTH = 32  # mailboxes.NAME.checks.NAME.to.0 is as deep as it gets

# What libyaml says, and what the writer of the file can do about it.
_UNCLOSED = "found unexpected end of stream"
_READABLE = {
    "but found another document": "expected one document, but `---` begins another",
    "did not find expected '-' indicator": "expected an item of a list: is this indented like the lines above?",
    "did not find expected key": "expected a key: is this indented like the lines above, and every quote closed?",
    "found character that cannot start any token": "indent with spaces, not tabs; text that begins with @, % or ` needs quotes",
    _UNCLOSED: "a quote or a bracket is not closed",
    "mapping values are not allowed in this context": "a key cannot stand here: check the indentation; text that holds `: ` needs quotes",
}
_redact = Redactor()

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
    text = _read(path)
    root = _compose(path, text)
    if root is None:
        raise ConfigurationError([Problem(str(path), 0, 0, "", "is empty: expected tenants, apps and mailboxes")])
    mistakes = Mistakes(File)
    for where, mark, message in mend_nodes(root):
        mistakes.add(where, message, (mark.line + 1, mark.column + 1), spoilt=message is not TWICE)
    content = _Loader("").construct_document(root)  # not `yaml.load`, which would read the text once more
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
        raise ConfigurationError(
            _at(path, *(place or place_of(root, where)), where, message) for where, message, place in mistakes
        )
    return configuration


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


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigurationError([Problem(str(path), 0, 0, "", f"is larger than {MAX_BYTES} bytes")])
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        hint = "there is no such file: is the path right? `check` and `run` take it from -c or MAILCANARY_CONFIG"
        raise ConfigurationError([Problem(str(path), 0, 0, "", hint)]) from error
    except OSError as error:
        raise ConfigurationError([Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigurationError([Problem(str(path), 0, 0, "", f"is not UTF-8 (byte {error.start})")]) from error


def _compose(path: Path, text: str) -> yaml.Node | None:
    try:
        if unwanted := list(_unwanted(path, text)):
            raise ConfigurationError(unwanted)
        node: yaml.Node | None = yaml.compose(text, _Loader)
    except yaml.MarkedYAMLError as error:
        problem = str(error.problem or error.context)
        mark = error.problem_mark or error.context_mark
        if problem == _UNCLOSED:  # the end of the file helps nobody: where does it begin?
            mark = error.context_mark or mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        message = f"is not YAML: {_READABLE.get(problem, problem)}"
        raise ConfigurationError([Problem(str(path), line, column, "", message)]) from error
    except yaml.reader.ReaderError as error:
        before, _, _ = text.partition(found[0] if (found := yaml.reader.Reader.NON_PRINTABLE.search(text)) else "\n")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = "is not YAML: here stands a control character, which cannot be seen"
        raise ConfigurationError([Problem(str(path), line, column, "", message)]) from error
    return node


def _unwanted(path: Path, text: str) -> Iterator[Problem]:
    """What is YAML, but has no place in a configuration: it hides, explodes or constructs."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        line, column = (event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else (0, 0)
        if isinstance(event, yaml.AliasEvent):
            message = "aliases (*name) are not allowed: write the values out, or use `defaults`"
            yield Problem(str(path), line, column, "", message)
        if getattr(event, "tag", None):
            yield Problem(str(path), line, column, "", "tags (!name) are not allowed: put text in quotes")
        if depth > MAX_DEPTH:
            yield Problem(str(path), line, column, "", f"is nested more than {MAX_DEPTH} deep")
            return
