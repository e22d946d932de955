"""What a person sees of one run: its phases as a waterfall, the verdict, the cause, whose move, the next step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import click

from checks.core.causes import Cause, table
from checks.core.model import Evidence, Finding, Outcome, Result

_WIDTH = 32  # columns of the bars: name, bar and time fit into 60 columns
_COLOURS = {
    Outcome.PASS: "green",
    Outcome.INFO: "green",
    Outcome.WARN: "yellow",
    Outcome.THROTTLED: "yellow",
    Outcome.UNKNOWN: "magenta",
    Outcome.FAIL: "red",
}


def lines(name: str, result: Result, words: Callable[[Evidence], Mapping[str, str]]) -> Iterator[str]:
    """The run in lines for a terminal; click takes the colours out where there is none. `words` fill the steps."""
    verdict = click.style(result.outcome.value.upper(), fg=_COLOURS[result.outcome], bold=True)
    yield f"{click.style(name, bold=True)}  {result.check}  {verdict}  {result.seconds * 1000:.0f} ms"
    yield from _phases(result)
    for finding in result.findings:
        yield from _finding(finding, table()[finding.cause], words(finding.evidence))


def _phases(result: Result) -> Iterator[str]:
    whole = sum(time.seconds for time in result.phases) or 1.0
    before = 0.0
    for time in result.phases:
        start = int(before / whole * _WIDTH)
        length = max(1, round(time.seconds / whole * _WIDTH))
        bar = (" " * min(start, _WIDTH - 1) + "█" * length)[:_WIDTH].ljust(_WIDTH)
        colour, mark = ("cyan", "") if time.finished else ("red", "  ✗")
        yield f"  {time.phase:<9}{click.style(bar, fg=colour)} {time.seconds * 1000:8.1f} ms{mark}"
        before += time.seconds


def _finding(finding: Finding, cause: Cause, words: Mapping[str, str]) -> Iterator[str]:
    evidence = finding.evidence
    said = " ".join(part for part in (evidence.spoken_code, evidence.text) if part)
    yield f"  {click.style(cause.title, bold=True)}  ({cause.id})"
    yield f"    where      {finding.subject}, phase {evidence.phase}"
    yield f"    evidence   {said or evidence.kind}"
    yield f"    meaning    {cause.meaning}"
    yield f"    whose move {cause.blame.person}"
    for number, step in enumerate(cause.steps_for(words), 1):
        yield f"    {'next step ' if number == 1 else '          '} {number}. {step}"
