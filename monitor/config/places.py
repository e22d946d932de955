"""Where things stand in a YAML file: made only when something is wrong, since it costs more than reading."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import yaml

Path = tuple[str | int, ...]
Place = tuple[int, int]  # line and column, from 1

_TEXT = "tag:yaml.org,2002:str"
_DATE = "tag:yaml.org,2002:timestamp"
TWICE = "this key stands here twice"  # the second one counts
_NEVER_FAILS = {_TEXT, "tag:yaml.org,2002:bool", "tag:yaml.org,2002:null"}
_NO_TEXT = {
    "tag:yaml.org,2002:bool": "YAML reads this key as true or false: put it in quotes",
    "tag:yaml.org,2002:int": "YAML reads this key as a number: put it in quotes",
    "tag:yaml.org,2002:merge": "merging (<<) is not allowed: write the values out, or use `defaults`",
    "tag:yaml.org,2002:null": "YAML reads this key as nothing: put it in quotes",
}


def place_of(root: yaml.Node | None, path: Sequence[str | int]) -> Place:
    """The place of what a path names, or of the nearest thing above it that exists."""
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


def mend_nodes(node: yaml.Node | None, path: Path = ()) -> Iterator[tuple[Path, yaml.Mark, str]]:
    """What YAML would take in silence, or fail on without a place: path, mark and message of each.

    It is made text where it stands, so that the rest of the file can be read on.
    """
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for number, (key, value) in enumerate(node.value):
            if not isinstance(key, yaml.ScalarNode):
                node.value[number] = (yaml.ScalarNode(_TEXT, "?", key.start_mark), value)
                yield (*path, "?"), key.start_mark, "a key must be text"
                continue
            here = (*path, key.value)
            if key.tag != _TEXT:
                yield here, key.start_mark, _NO_TEXT.get(key.tag, "this key is not read as text: put it in quotes")
                key.tag = _TEXT
            elif key.value in seen:
                yield here, key.start_mark, TWICE
            seen.add(key.value)
            yield from mend_nodes(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from mend_nodes(value, (*path, number))
    elif node is not None and node.tag not in _NEVER_FAILS:
        try:
            yaml.SafeLoader("").construct_object(node)
        except (ValueError, yaml.YAMLError):
            message = "there is no such date" if node.tag == _DATE else "this is no number: put text in quotes"
            yield path, node.start_mark, message
            node.tag = _TEXT
