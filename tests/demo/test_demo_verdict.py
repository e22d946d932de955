"""The demo's verdict: it agrees only when what was done was found, told and seen to recover, and nothing else was."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from checks.core.model import Evidence, Finding, Kind, Level, Phase, Protocol, Scope, Subject
from monitor.demo import place
from monitor.demo.script import Expectation, read_script
from monitor.demo.show import SCRIPT
from monitor.demo.verdict import Done, Found, Verdict, compare
from monitor.model import Incident, Reason, Severity
from monitor.sim import Microsoft365, TimelineError

T0 = datetime(2026, 11, 25, 4, 0, tzinfo=UTC)
EXPIRED = Expectation("entra.secret_expired", Scope.CREDENTIAL)
BOTH = frozenset({Reason.FIRST, Reason.RECOVERED})


def at(seconds: float) -> datetime:
    """A moment of the demo."""
    return T0 + timedelta(seconds=seconds)


def done(injected: float = 10, repaired: float | None = 20, expected: Expectation = EXPIRED) -> Done:
    """A fault."""
    return Done(
        fault="secret_expired",
        subject="billing-mailer",
        expected=expected,
        injected_at=at(injected),
        repaired_at=None if repaired is None else at(repaired),
    )


def found(
    opened: float = 12,
    closed: float | None = 22,
    told: frozenset[Reason] = BOTH,
    expected: Expectation = EXPIRED,
) -> Found:
    """An incident."""
    subject = Subject(expected.scope, "key")
    evidence = Evidence(protocol=Protocol.OAUTH, phase=Phase.TOKEN, kind=Kind.OAUTH)
    incident = Incident(
        id=f"{expected.cause}-{opened}",
        cause=expected.cause,
        subject=subject,
        severity=Severity.CRITICAL,
        opened_at=at(opened),
        closed_at=None if closed is None else at(closed),
        finding=Finding(cause=expected.cause, level=Level.FAIL, subject=subject, evidence=evidence),
    )
    return Found(incident=incident, told=told)


def lacks(verdict: Verdict) -> list[tuple[str, ...]]:
    """What is missing, fault by fault."""
    return [row.lacks for row in verdict.rows]


def test_what_was_found_told_and_seen_to_recover_agrees() -> None:
    """One fault, one incident after it, closed after the repair, both told."""
    assert compare([done()], [found()]).agrees


@pytest.mark.parametrize(
    ("fault", "incident", "missing"),
    [
        (done(), None, "not detected"),
        (done(), found(opened=9), "not detected"),
        (done(), found(expected=Expectation("entra.secret_expired", Scope.APP)), "not detected"),
        (done(), found(expected=Expectation("network.refused", Scope.CREDENTIAL)), "not detected"),
        (done(), found(told=frozenset({Reason.RECOVERED})), "no alert arrived"),
        (done(), found(told=frozenset({Reason.FIRST})), "no message of the recovery arrived"),
        (done(), found(closed=None), "recovery not detected"),
        (done(), found(closed=19), "said to have recovered before it was repaired"),
        (done(repaired=None), found(), "not repaired"),
    ],
)
def test_whatever_is_missing_is_said(fault: Done, incident: Found | None, missing: str) -> None:
    """Nothing that is missing goes unnoticed, and each has its own words."""
    verdict = compare([fault], [incident] if incident else [])
    assert (False, [(missing,)]) == (verdict.agrees, lacks(verdict))


def test_an_incident_that_no_fault_explains_is_a_false_alarm() -> None:
    """Two incidents of one fault disagree: one of them is false."""
    verdict = compare([done()], [found(), found(opened=13)])
    assert (False, [()], [at(13)]) == (
        verdict.agrees,
        lacks(verdict),
        [alarm.incident.opened_at for alarm in verdict.false_alarms],
    )


def test_the_same_fault_twice_needs_two_incidents() -> None:
    """An incident answers for one fault only."""
    twice = [done(), done(injected=30, repaired=40)]
    assert [(), ("not detected",)] == lacks(compare(twice, [found()]))
    assert compare(twice, [found(), found(opened=31, closed=41)]).agrees


def test_nothing_done_is_no_agreement() -> None:
    """A demo that broke nothing has shown nothing."""
    assert not compare([], []).agrees


async def test_the_script_that_comes_along_can_be_played(tmp_path: Path) -> None:
    """Every fault of demo.yaml is known to the embedded Microsoft 365, and every expected cause to the table."""
    async with Microsoft365(tmp_path, place.declared()) as office:
        script = read_script(SCRIPT, office.world)
    assert len(script.steps) == len(script.expectations) >= 3
    assert {"secret_expired", "smtp_auth_disabled_mailbox", "refused", "delivery_lost", "certificate_ends_soon"} <= {
        step.fault for step in script.steps
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a list of mappings"),
        ("- {length: soon}", "expected a duration"),
        (
            "- {length: 60s}\n- {at: 1s, fault: secret_expired, subject: billing-mailer, repair_at: 9s}",
            "step 1: expect",
        ),
        (
            "- {length: 60s}\n- {at: 1s, fault: refused, subject: smtp, repair_at: 9s, expect: {cause: no.such, scope: app}}",
            "there is no cause 'no.such'",
        ),
        (
            "- {length: 5s}\n- {at: 1s, fault: refused, subject: smtp, repair_at: 9s, expect: {cause: network.refused, scope: endpoint}}",
            "before the length",
        ),
        (
            "- {length: 5s}\n- {at: 1s, fault: hunger, subject: smtp, expect: {cause: unrecognised, scope: app}}",
            "hunger",
        ),
    ],
)
async def test_a_bad_script_is_explained(tmp_path: Path, text: str, message: str) -> None:
    """A script that can not be played is refused before anything is broken, with the step and the reason."""
    file = tmp_path / "script.yaml"
    file.write_text(text)
    async with Microsoft365(tmp_path) as office:
        with pytest.raises(TimelineError, match=message):
            read_script(file, office.world)
