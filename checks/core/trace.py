"""The record of one run while it is under way: phases with their times, measures, facts, failures, transcript.

A check works inside `trace.phase(...)`. What goes wrong in there arrives as a `Failure`, which carries evidence; the
trace keeps it in the place where it happened, and `run_check` turns it into a finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from checks.core.clock import Clock
from checks.core.model import Evidence, Fact, Kind, Phase, PhaseTime, Protocol
from checks.core.secret import MAX_READ, Redactor

# Lines kept of one dialogue: the longest healthy one (a canary with two recipients) has about forty.
MAX_TRANSCRIPT = 120


class Failure(Exception):  # noqa: N818 - a word of the design: what a check failed with, not a programming error
    """Something went wrong and this is the evidence. Raised by the wrappers in `checks.wire`, by nobody else."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence.text or evidence.kind.value)
        self.evidence = evidence


class Trace:
    """What one run has seen so far. Belongs to one run and one task."""

    __slots__ = ("_clock", "_current", "_lines", "_since", "evidence", "facts", "measures", "phases", "redact")

    def __init__(self, clock: Clock, redact: Redactor) -> None:
        self._clock = clock
        self._current: tuple[Phase, Protocol] | None = None
        self._since = 0.0
        self.redact = redact
        self.phases: list[PhaseTime] = []
        self.measures: dict[str, float] = {}
        self.facts: list[Fact] = []
        self.evidence: list[Evidence] = []
        self._lines: list[tuple[str, str]] = []

    @contextmanager
    def phase(self, phase: Phase, protocol: Protocol) -> Iterator[None]:
        """Time a named step. Phases do not nest; one that is left by an exception counts as not finished."""
        self.begin(phase, protocol)
        try:
            yield
        except BaseException:
            self.end(finished=False)
            raise
        self.end(finished=True)

    def begin(self, phase: Phase, protocol: Protocol) -> None:
        """Begin a phase, for those who end it themselves."""
        self._current = phase, protocol
        self._since = self._clock.monotonic()

    def end(self, *, finished: bool) -> None:
        """End the phase that is under way. One that did not finish stays the place of what is still to be said."""
        if self._current is not None:
            self.phases.append(PhaseTime(self._current[0], self._clock.monotonic() - self._since, finished))
        if finished:
            self._current = None

    def turn(self, phase: Phase) -> None:
        """End the current phase well and go on in another: for steps that a library takes in one call."""
        if self._current is None or self._current[0] is phase:
            return
        protocol = self._current[1]
        self.end(finished=True)
        self.begin(phase, protocol)

    @property
    def where(self) -> tuple[Phase, Protocol]:
        """The phase that is under way, or that was left by a failure; before the first one: resolve."""
        return self._current or (Phase.RESOLVE, Protocol.SMTP)

    @contextmanager
    def part(self) -> Iterator[None]:
        """An independent part of the run: its failure is recorded and the run goes on."""
        try:
            yield
        except Failure as failure:
            self.fail(failure.evidence)

    def fail(self, evidence: Evidence) -> None:
        """Record a failure."""
        self.evidence.append(evidence)

    def observe(self, code: str, text: str, *, phase: Phase, protocol: Protocol) -> None:
        """Record something that is wrong although nobody said no. `code` names the measurement."""
        self.fail(Evidence(protocol=protocol, phase=phase, kind=Kind.OBSERVED, code=code, text=self.redact(text)))

    def measure(self, name: str, value: float) -> None:
        """Record a number; its name ends in its unit."""
        self.measures[name] = value

    def learn(self, fact: Fact) -> None:
        """Record a fact."""
        self.facts.append(fact)

    def line(self, who: str, text: str) -> None:
        """Record a line of the dialogue (`C` client, `S` server). It stays in here as it is until somebody asks."""
        if len(self._lines) < MAX_TRANSCRIPT:
            self._lines.append((who, text[: MAX_READ + 1]))  # one more than is looked at, which tells that it is cut

    def transcript(self) -> tuple[str, ...]:
        """The dialogue, redacted. That costs more than the dialogue did, so only runs that failed are asked for it."""
        return tuple(f"{who}: {self.redact(text)}" for who, text in self._lines)

    def failure(self, kind: Kind, text: str = "", *, code: str | None = None) -> Failure:
        """A failure of the current phase, with its text redacted."""
        phase, protocol = self.where
        return Failure(Evidence(protocol=protocol, phase=phase, kind=kind, code=code, text=self.redact(text)))

    def placed(self, evidence: Evidence) -> Evidence:
        """The same evidence, placed in the current phase."""
        phase, protocol = self.where
        return replace(evidence, phase=phase, protocol=protocol)
