"""A YAML file as a tree of nodes: read whole, without what hides, explodes or constructs."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from monitor.config.problems import ConfigurationError, Problem

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

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without collection of garbage, which would look in vain at each of a million young objects again and again.

    Measured with 10,000 mailboxes in YAML: 0.8 s of 1.9 s.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def read_text(path: Path) -> str:
    """The text of a file, without the mark that some editors begin it with. Raises ConfigurationError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise _wrong(path, f"is larger than {MAX_BYTES} bytes")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        hint = "there is no such file: is the path right? `check` and `run` take it from -c or MAILCANARY_CONFIG"
        raise _wrong(path, hint) from error
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        hint = ": in Excel, save it as CSV UTF-8" if path.suffix.lower() == ".csv" else ""
        raise _wrong(path, f"is not UTF-8 (byte {error.start}){hint}") from error


def compose(path: Path, text: str) -> yaml.Node | None:
    """The tree of a text; None when it is empty. Raises ConfigurationError."""
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
        raise _wrong(path, f"is not YAML: {_READABLE.get(problem, problem)}", line, column) from error
    except yaml.reader.ReaderError as error:
        before, _, _ = text.partition(found[0] if (found := yaml.reader.Reader.NON_PRINTABLE.search(text)) else "\n")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        message = "is not YAML: here stands a control character, which cannot be seen"
        raise _wrong(path, message, line, column) from error
    return node


def constructed(node: yaml.Node) -> object:
    """What a tree stands for: text, numbers, dates, lists and mappings, nothing else."""
    return _Loader("").construct_document(node)  # not `yaml.load`, which would read the text once more


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


def _wrong(path: Path, message: str, line: int = 0, column: int = 0) -> ConfigurationError:
    return ConfigurationError([Problem(str(path), line, column, "", message)])
