"""The record of a run under way keeps what was said, and shows it redacted alone."""

from __future__ import annotations

from checks.core.clock import SystemClock
from checks.core.secret import MAX_TEXT, Redactor, Secret
from checks.core.trace import MAX_TRANSCRIPT, Trace

TOKEN = "opaque.Zq8Q~d+k/3wX"


def test_a_transcript_hides_what_was_learned_after_its_lines() -> None:
    """A line that holds a secret is redacted when the transcript is made, by everything that is known then."""
    trace = Trace(SystemClock(), Redactor())
    trace.line("S", f"535 5.7.3 bad token {TOKEN} of mara@fabrikam.example")
    trace.redact.learn(Secret(TOKEN))
    assert ("S: 535 5.7.3 bad token [secret] of [address]",) == trace.transcript()
    assert TOKEN not in repr(trace)


def test_a_transcript_is_bounded() -> None:
    """A dialogue that does not end keeps its first lines."""
    trace = Trace(SystemClock(), Redactor())
    for number in range(2 * MAX_TRANSCRIPT):
        trace.line("S", str(number))
    assert MAX_TRANSCRIPT == len(trace.transcript())
    assert "S: 0" == trace.transcript()[0]


def test_a_line_is_bounded() -> None:
    """Of an endless line as much is kept as is ever looked at, so that thousands of runs can hold their dialogues."""
    trace, said = Trace(SystemClock(), Redactor()), "a word " * 100_000
    trace.line("S", said)
    assert (f"S: {Redactor()(said)}",) == trace.transcript()
    assert 10 * MAX_TEXT > sum(len(text) for _, text in trace._lines)
