"""What is said of checks: a target's own word, else the defaults', else the check's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from checks.core.check import Check
from checks.core.target import Inbox
from monitor.config import model
from monitor.config.configuration import CheckPlan
from monitor.config.context import Context
from monitor.config.places import Path as KeyPath
from monitor.config.wording import explained, listed

_Part = TypeVar("_Part", bound=BaseModel)
_DEFAULTS: KeyPath = ("defaults", "checks")
Said = Mapping[str, Mapping[str, Any] | bool]


class Planning:
    """Makes the plans of the checks for one target after another."""

    def __init__(
        self,
        defaults: Mapping[str, Mapping[str, Any]],
        checks: Mapping[str, Check],
        inboxes: Mapping[str, Inbox],
        context: Context,
    ) -> None:
        self._defaults = defaults
        self._checks = checks
        self._inboxes = inboxes
        self._context = context
        self._bad_defaults: set[str] = set()
        self._unsaid: dict[str, CheckPlan | None] = {}
        self._read_defaults()

    def _read_defaults(self) -> None:
        """Each by itself first, so that a mistake is told once and in its place, not at every target."""
        for name in self._defaults:
            check = self._context.named(self._checks, name, (*_DEFAULTS, name), "check")
            if check is not None and self._by_default(check) is None:
                self._bad_defaults.add(name)

    def plans(self, kind: str, said: Said, where: KeyPath) -> dict[str, CheckPlan]:
        """The plans of all checks that run for a target of a kind, of which this is said at `where`."""
        for name in said:
            check = self._context.named(self._checks, name, (*where, name), "check")
            if check is not None and check.target != kind:
                message = f"this check is aimed at a {check.target}, not at a {kind}: it is set in defaults.checks"
                self._context.say((*where, name), message)
        plans: dict[str, CheckPlan] = {}
        for check in self._checks.values():
            own = said.get(check.name, {} if check.always else False)
            if check.target == kind and not isinstance(own, bool) and check.name not in self._bad_defaults:
                plan = self._one(check, own, (*where, check.name)) if own else self._by_default(check)
                if plan is not None:
                    plans[check.name] = plan
        return plans

    def _by_default(self, check: Check) -> CheckPlan | None:
        """The plan where a target says nothing: made once, since most of ten thousand say nothing."""
        if check.name not in self._unsaid:
            self._unsaid[check.name] = self._one(check, {}, (*_DEFAULTS, check.name))
        return self._unsaid[check.name]

    def _one(self, check: Check, said: Mapping[str, Any], where: KeyPath) -> CheckPlan | None:
        merged = {**self._defaults.get(check.name, {}), **said}
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
        if "@" in str(name):  # not repeated: it is an address
            message = f"expected the name of an inbox, not an address; known: {listed(known)}"
            self._context.say((*where, "to"), message)
            return None
        return self._context.named(self._inboxes, str(name), (*where, "to"), "inbox", known)
