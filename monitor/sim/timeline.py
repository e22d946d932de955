"""Faults on a time line: read from YAML, checked before anything is played, injected and repaired on a clock.

    - at: 5s
      fault: secret_expired
      subject: billing-mailer
      repair_at: 20s
    - {at: 10s, fault: smtp_reply, subject: smtp, phase: auth, reply: "451 4.7.0 Temporary server error."}

A step without `repair_at` lasts. Times count from the start and are multiplied by a scale, so that one time line fits
an hour and a minute.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Literal, Protocol

import yaml

from monitor.sim.faults import FaultError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from monitor.sim.faults import Fault
    from monitor.sim.world import World

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_KEYS = {"at", "repair_at", "fault", "subject"}


class TimelineError(ValueError):
    """A time line that cannot be played; its text names the step and the key, one mistake a line."""


@dataclass(frozen=True, slots=True)
class Step:
    """One fault on the time line: seconds from the start until it comes and, if it does, goes."""

    at_s: float
    repair_at_s: float | None
    fault: str
    subject: str
    settings: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Happening:
    """What was done just now: `at_s` is the planned moment, scaled."""

    at_s: float
    what: Literal["injected", "repaired"]
    fault: Fault


class Breakable(Protocol):
    """What a time line is played on."""

    async def inject(self, name: object, subject: object, settings: Mapping[str, object] | None = None) -> Fault:
        """Put a fault in force."""
        ...

    async def repair(self, fault_id: str) -> Fault:
        """Take it out of force."""
        ...


def read_timeline(text: str, world: World) -> tuple[Step, ...]:
    """The steps of a YAML time line for this world. `TimelineError` with every mistake in it."""
    try:
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TimelineError(f"not YAML: {error}") from error
    if not isinstance(raw, list):
        raise TimelineError("expected a list of steps")
    steps: list[Step] = []
    mistakes: list[str] = []
    for number, entry in enumerate(raw, 1):
        try:
            steps.append(_read_step(entry, world))
        except (TimelineError, FaultError) as error:
            mistakes.append(f"step {number}: {error}")
    if mistakes:
        raise TimelineError("\n".join(mistakes))
    return tuple(steps)


def _read_step(entry: object, world: World) -> Step:
    if not isinstance(entry, dict):
        raise TimelineError("expected a mapping with at, fault and subject")
    missing = sorted({"at", "fault", "subject"} - entry.keys())
    if missing:
        raise TimelineError(f"{missing[0]}: missing")
    at_s = _seconds("at", entry["at"])
    repair_at_s = None if entry.get("repair_at") is None else _seconds("repair_at", entry["repair_at"])
    if repair_at_s is not None and repair_at_s <= at_s:
        raise TimelineError("repair_at: expected a time after at")
    settings = {str(key): value for key, value in entry.items() if key not in _KEYS}
    kind, subject, _ = world.check(entry["fault"], entry["subject"], settings)
    return Step(at_s, repair_at_s, kind.name, subject, settings)


def _seconds(key: str, value: object) -> float:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise TimelineError(f"{key}: expected a duration such as 500ms, 5s, 2m or 1h, got {value!r}")
    return float(found[1]) * _UNIT_S[found[2]]


async def play(
    steps: tuple[Step, ...],
    office: Breakable,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    tell: Callable[[Happening], None],
    scale: float = 1.0,
) -> None:
    """Inject and repair as planned; returns after the last step.

    `clock` gives monotonic seconds, `sleep` waits; both are the caller's, and so is the task this runs in. Times are
    kept against the clock, so lateness does not add up. When cancelled it repairs nothing: what is in force stays.
    """
    order = count()
    actions = sorted(
        (moment * scale, next(order), what, number)
        for number, step in enumerate(steps)
        for moment, what in ((step.at_s, "injected"), (step.repair_at_s, "repaired"))
        if moment is not None
    )
    started = clock()
    in_force: dict[int, Fault] = {}
    for at_s, _, what, number in actions:
        await sleep(max(0.0, started + at_s - clock()))
        step = steps[number]
        if what == "injected":
            in_force[number] = await office.inject(step.fault, step.subject, step.settings)
            tell(Happening(at_s, "injected", in_force[number]))
        else:
            try:
                repaired = await office.repair(in_force.pop(number).id)
            except KeyError:  # somebody was faster, through the control endpoint: there is nothing to tell
                continue
            tell(Happening(at_s, "repaired", repaired))
