"""The demo's script: the time line of the embedded Microsoft 365, and beside each fault what has to be found.

A YAML list. The first entry says how long the script is, the others are steps of a time line (`monitor.sim.timeline`),
each with `expect`: the cause and scope of the one incident that the fault has to open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from checks.core.causes import table
from checks.core.model import Scope
from monitor.config.model import seconds
from monitor.sim import Step, TimelineError, read_timeline
from monitor.sim.world import World


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a fault has to open: one incident of this cause at this scope."""

    cause: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Script:
    """Steps with what each has to open, in the same order, and the whole length in seconds."""

    length: float
    steps: tuple[Step, ...]
    expectations: tuple[Expectation, ...]


def read_script(path: Path, world: World) -> Script:
    """A script for this world. Raises TimelineError with every mistake in it, or OSError."""
    try:
        entries = yaml.safe_load(path.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise TimelineError(f"{path}: not YAML: {error}") from error
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise TimelineError(f"{path}: expected a list of mappings, the first with `length`")
    head, *rest = entries
    try:
        length = seconds(head.get("length"))
        expectations = tuple(_expectation(number, step) for number, step in enumerate(rest, 1))
        plain = [{key: value for key, value in step.items() if key != "expect"} for step in rest]
        steps = read_timeline(yaml.safe_dump(plain), world)
    except ValueError as error:
        raise TimelineError(f"{path}: {error}") from error
    if any(step.repair_at_s is None or step.repair_at_s >= length for step in steps):
        raise TimelineError(f"{path}: every step needs a repair_at before the length of {length:g} s")
    return Script(length, steps, expectations)


def _expectation(number: int, step: Mapping[str, Any]) -> Expectation:
    said = step.get("expect")
    if not isinstance(said, dict) or said.keys() != {"cause", "scope"}:
        raise TimelineError(f"step {number}: expect: expected a mapping with cause and scope")
    cause = str(said["cause"])
    if table()[cause].id != cause:
        raise TimelineError(f"step {number}: expect: there is no cause {cause!r}")
    return Expectation(cause, Scope(said["scope"]))
