"""What a check is: a function that does real protocol work, and what is known about it beforehand."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from checks.core.kit import Kit
from checks.core.model import Phase, Protocol
from checks.core.settings import Settings
from checks.core.trace import Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the registry.

    `interval` and `timeout` are defaults in seconds. `always`: it runs for every target unless switched off; the others
    run only where they are named. `patient`: it uses something up, so a restart does not run it early. `speaks`: to which of
    a mailbox's servers a run connects.
    `run(target, settings, trace, kit)` catches nothing; what it raises, `run_check` turns into a result.
    """

    name: str
    target: Literal["credential", "mailbox", "route", "inbox"]
    phases: tuple[Phase, ...]
    settings: type[Settings]
    interval: float
    timeout: float
    always: bool
    patient: bool = False
    speaks: Protocol = Protocol.SMTP
    run: Callable[[Any, Any, Trace, Kit], Awaitable[None]]
