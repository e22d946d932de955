"""The rows of a fleet's file, CSV or YAML: each one mailbox, not yet judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from monitor.config.cells import Columns
from monitor.config.document import compose, constructed, read_text
from monitor.config.places import Path as KeyPath
from monitor.config.places import Place, mend_nodes, place_of
from monitor.config.problems import ConfigurationError, Problem
from monitor.config.table import Table

_YAML = {".yaml", ".yml"}


@dataclass(frozen=True, slots=True)
class Row:
    """`content` is as the model of a mailbox wants it, `place` knows where in the file a key of it stands.

    `found` is what is already known to be wrong with it; an empty path means the row itself.
    """

    id: str
    content: object
    place: Callable[[KeyPath], Place]
    found: tuple[tuple[KeyPath, str], ...] = ()


def rows_of(path: Path) -> list[Row]:
    """All rows of a file. Raises ConfigurationError when it has none, or cannot be parted into rows."""
    text = read_text(path)
    rows = list(_of_yaml(path, text) if path.suffix.lower() in _YAML else _of_csv(path, text))
    if not rows:
        raise ConfigurationError([Problem(str(path), 0, 0, "", "names no mailbox")])
    return rows


def _of_yaml(path: Path, text: str) -> Iterator[Row]:
    root = compose(path, text)
    if root is None:
        return
    if not isinstance(root, yaml.MappingNode):
        message = "expected mailboxes by their ids, as `mailboxes` has them"
        raise ConfigurationError([Problem(str(path), *place_of(root, ()), "", message)])
    for pair in root.value:
        alone = yaml.MappingNode(root.tag, [pair], root.start_mark)  # one by one, so that an id twice is two rows
        found = tuple((where[1:], message) for where, _, message in mend_nodes(alone))
        [(key, value)] = alone.value
        yield Row(key.value, constructed(value), partial(_place_in_yaml, key, value), found)


def _place_in_yaml(key: yaml.Node, value: yaml.Node, where: KeyPath) -> Place:
    return place_of(value if where else key, where)


def _of_csv(path: Path, text: str) -> Iterator[Row]:
    table = Table(path, text)
    rows = table.rows()
    line, header = next(rows, (1, []))
    columns = Columns(header)
    if columns.wrong:
        raise ConfigurationError(
            Problem(str(path), *table.place(line, number), "", message) for number, message in columns.wrong
        )
    for line, cells in rows:
        name, content, found = columns.read(cells)
        yield Row(name, content, partial(_place_in_csv, table, line, columns), tuple(found))


def _place_in_csv(table: Table, line: int, columns: Columns, where: KeyPath) -> Place:
    return table.place(line, columns.number(where))
