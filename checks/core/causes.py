"""The table of causes: what evidence means, whose move it is, how far it reaches and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from checks.core.model import Blame, Level, Permanence, Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """One row of the table.

    `harm`: provoking it again can hurt the mailbox, so the runner backs off. `permanent_after`: seconds after which a
    transient cause is no longer believed to be transient; None for the others. `steps` hold placeholders such as
    `{mailbox}`.
    """

    id: str
    level: Level
    permanence: Permanence
    blame: Blame
    scope: Scope
    title: str
    meaning: str
    steps: tuple[str, ...]
    source: str
    harm: bool = False
    permanent_after: float | None = None
