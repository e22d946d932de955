"""What goes into the store and comes out of it, and how records become JSON and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from checks.core.model import Outcome, Result
from monitor.model import Canary, Incident, Notice, WatchState

STATE = TypeAdapter(WatchState)
INCIDENT = TypeAdapter(Incident)
NOTICE = TypeAdapter(Notice)
CANARY = TypeAdapter(Canary)
RESULT = TypeAdapter(Result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one turn of the pipeline decided; it is stored whole or not at all.

    Of several records with one id the last one is stored. A notice whose id is known already is left as it is, so a
    batch that is committed twice tells nobody twice.
    """

    states: Sequence[WatchState] = ()
    incidents: Sequence[Incident] = ()
    notices: Sequence[Notice] = ()
    canaries: Sequence[Canary] = ()
    results: Sequence[Result] = ()

    @property
    def empty(self) -> bool:
        """Whether there is nothing to store."""
        return not (self.states or self.incidents or self.notices or self.canaries or self.results)

    def then(self, later: Batch) -> Batch:
        """This batch and a later one as one; of records with one id the last one stays, so it does not grow for ever."""
        if self.empty:
            return later
        return Batch(
            states=[*{state.watch: state for state in (*self.states, *later.states)}.values()],
            incidents=[*{incident.id: incident for incident in (*self.incidents, *later.incidents)}.values()],
            notices=[*self.notices, *later.notices],
            canaries=[*{(one.id, one.inbox): one for one in (*self.canaries, *later.canaries)}.values()],
            results=[*{result.watch: result for result in (*self.results, *later.results)}.values()],
        )


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was known when the program stopped: every watch's state, the open incidents, canaries on their way."""

    states: dict[str, WatchState]
    incidents: tuple[Incident, ...]
    canaries: tuple[Canary, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """The newest stored run of a watch, and the newest one that failed. `seconds` is how long the newest took."""

    watch: str
    started_at: datetime
    outcome: Outcome
    seconds: float
    result: Result
    failed: Result | None
