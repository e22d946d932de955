"""What goes into the store and comes out of it, and how records become JSON and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from checks.core.model import Outcome, Result
from monitor.model import Canary, Fate, Incident, Notice, WatchState

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
            canaries=_canaries(self.canaries, later.canaries),
            results=[*{result.watch: result for result in (*self.results, *later.results)}.values()],
        )


def _canaries(before: Sequence[Canary], later: Sequence[Canary]) -> list[Canary]:
    """The last of each; without those that were sent and settled while nothing could be stored: the store knows none of it."""
    unknown = {(one.id, one.inbox) for one in before if one.fate is Fate.PENDING}
    last = {(one.id, one.inbox): one for one in (*before, *later)}
    return [one for key, one in last.items() if one.fate.open or key not in unknown]


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
