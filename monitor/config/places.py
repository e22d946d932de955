"""Where things stand in a YAML file: made only when something is wrong, since it costs more than reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

Path = tuple[str | int, ...]


def place_of(root: yaml.Node | None, path: Sequence[str | int]) -> tuple[int, int]:
    """Line and column, from 1, of what a path names, or of the nearest thing above it that exists."""
    node, mark = root, root.start_mark if root else None
    for step in path:
        found = _child(node, step)
        if found is None:
            break
        node, mark = found
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)


def _child(node: yaml.Node | None, step: str | int) -> tuple[yaml.Node, yaml.Mark] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step].start_mark
    return None


def duplicate_keys(node: yaml.Node | None, path: Path = ()) -> Iterator[tuple[Path, yaml.Mark]]:
    """Every key that stands twice in one mapping: YAML would silently take the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield (*path, key.value), key.start_mark
            seen.add(key.value)
            yield from duplicate_keys(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from duplicate_keys(value, (*path, number))
