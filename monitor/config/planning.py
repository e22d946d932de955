"""What is said of checks: a mailbox's own word, else its group's, its importance's, the defaults', the check's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from checks.core.check import Check
from checks.core.target import Inbox
from monitor.config import model
from monitor.config.configuration import CheckPlan
from monitor.config.context import Context
from monitor.config.places import Path as KeyPath
from monitor.config.wording import explained, listed
from monitor.model import Importance

_Part = TypeVar("_Part", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of checks in one place. `switches`: naming a check there switches it on, and false switches it off.

    `bad` are the checks of which something wrong is said here, which has been told.
    """

    where: KeyPath
    checks: Mapping[str, Mapping[str, Any] | bool]
    switches: bool = True
    bad: set[str] = field(default_factory=set)


class Planning:
    """Makes the plans of the checks for one target after another; those that are alike share them."""

    def __init__(
        self, file: model.File, checks: Mapping[str, Check], inboxes: Mapping[str, Inbox], context: Context
    ) -> None:
        self._checks = checks
        self._inboxes = inboxes
        self._context = context
        self._shared: dict[object, Mapping[str, CheckPlan]] = {}
        self._defaults = Said(("defaults", "checks"), file.defaults.checks, switches=False)
        self._of_importance = {
            importance: Said(("defaults", "importance", importance.value, "checks"), usual.checks, switches=False)
            for importance, usual in file.defaults.importance.items()
        }
        self._of_group = {name: Said(("groups", name, "checks"), group.checks) for name, group in file.groups.items()}
        self._judge()

    def _judge(self) -> None:
        """What many targets follow is judged by itself first, so that a mistake is told once and in its place."""
        for said in (self._defaults, *self._of_importance.values(), *self._of_group.values()):
            kind = None if said is self._defaults else "mailbox"
            for check in self._named(said, kind):
                layers = (said,) if said is self._defaults else (self._defaults, said)
                if said.checks[check.name] is not False and not _bad(check, layers) and not self._one(check, layers):
                    said.bad.add(check.name)

    def of(self, kind: str) -> Mapping[str, CheckPlan]:
        """The plans of all checks that run for a target of a kind that has no word of its own."""
        return self._plans(kind, (self._defaults,), kind)

    def usual(self, kind: str) -> Mapping[str, CheckPlan]:
        """The plans of all checks of a kind of target as the defaults have them, whether they run or not."""
        checks = [check for check in self._checks.values() if check.target == kind]
        return {check.name: plan for check in checks if (plan := self._one(check, (self._defaults,))) is not None}

    def of_mailbox(self, said: model.Mailbox, where: KeyPath, importance: Importance) -> Mapping[str, CheckPlan]:
        """The plans of all checks that run for a mailbox of which this is said; of its checks, at `where`."""
        group = said.group
        between = (self._of_importance.get(importance), self._of_group.get(group))
        layers = (self._defaults, *(layer for layer in between if layer is not None))
        if not said.checks:
            return self._plans("mailbox", layers, (group, importance))
        own = Said(where, said.checks)
        self._named(own, "mailbox")
        return self._plans("mailbox", (*layers, own), (group, importance, repr(said.checks)))

    def _plans(self, kind: str, layers: Sequence[Said], alike: object) -> Mapping[str, CheckPlan]:
        """Made once for all targets that are `alike`, unless something is wrong, which is told of each."""
        if alike not in self._shared:
            before = len(self._context.problems)
            plans = {
                check.name: plan
                for check in self._checks.values()
                if check.target == kind and _runs(check, layers) and not _bad(check, layers)
                if (plan := self._one(check, layers)) is not None
            }
            if len(self._context.problems) > before:
                return plans
            self._shared[alike] = plans
        return self._shared[alike]

    def _named(self, said: Said, kind: str | None) -> list[Check]:
        """The checks that are named somewhere and aimed at targets of a kind; what else is named there is told."""
        checks = []
        for name in said.checks:
            check = self._context.named(self._checks, name, (*said.where, name), "check")
            if check is not None and kind not in {None, check.target}:
                message = f"this check is aimed at a {check.target}, not at a {kind}: it is set in defaults.checks"
                self._context.say((*said.where, name), message)
            elif check is not None:
                checks.append(check)
        return checks

    def _one(self, check: Check, layers: Sequence[Said]) -> CheckPlan | None:
        """The plan of a check; what is wrong is told of the nearest that has a word on it."""
        merged: dict[str, Any] = {}
        where = (*layers[0].where, check.name)
        for layer in layers:
            if isinstance(own := layer.checks.get(check.name), Mapping):
                merged.update(own)
                where = (*layer.where, check.name)
        rest = {key: value for key, value in merged.items() if key not in model.CheckTimes.model_fields}
        if isinstance(rest.get("to"), list):
            rest["to"] = tuple(inbox for name in rest["to"] if (inbox := self._inbox(name, where)) is not None)
        times = self._read(model.CheckTimes, merged, check, where)
        settings = self._read(check.settings, rest, check, where)
        if times is None or settings is None:
            return None
        interval = times.interval or check.interval
        timeout = times.timeout or min(check.timeout, interval)
        if timeout > interval:
            message = f"{timeout:g} s is longer than the interval of {interval:g} s"
            self._context.say((*where, "timeout"), message)
            return None
        return CheckPlan(interval=interval, timeout=timeout, settings=settings)

    def _read(self, part: type[_Part], said: Mapping[str, Any], check: Check, where: KeyPath) -> _Part | None:
        """What is said of a check, as one of the two models that it has to fit."""
        try:
            return part.model_validate(said)
        except ValidationError as error:
            known = ", ".join([*model.CheckTimes.model_fields, *check.settings.model_fields])
            for there, message in explained(error, check.settings):
                unknown = message.startswith("unknown key")
                self._context.say((*where, *there), f"unknown key; known here: {known}" if unknown else message)
            return None

    def _inbox(self, name: object, where: KeyPath) -> Inbox | None:
        known = self._context.names.get("inboxes", ())
        if "@" in str(name):
            message = f"expected the name of an inbox, not an address; known: {listed(known)}"
            self._context.say((*where, "to"), message)
            return None
        return self._context.named(self._inboxes, str(name), (*where, "to"), "inbox", known)


def _runs(check: Check, layers: Sequence[Said]) -> bool:
    """Whether a check runs: the nearest place that may switch it has the word."""
    words = [layer.checks[check.name] for layer in layers if layer.switches and check.name in layer.checks]
    return words[-1] is not False if words else check.always


def _bad(check: Check, layers: Sequence[Said]) -> bool:
    return any(check.name in layer.bad for layer in layers)
