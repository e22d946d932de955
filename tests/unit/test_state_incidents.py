"""Judging and correlating: what results make of watches, and what broken watches have in common."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from checks.core.model import Evidence, Finding, Kind, Level, Outcome, Phase, Protocol, Result, Scope, Subject
from monitor.incidents.correlate import Incidents
from monitor.model import Importance, IncidentState, Policy, Severity, Status, WatchState
from monitor.state.judge import MAX_BACK_OFF, ChangeReason, judge

START = datetime(2026, 1, 1, tzinfo=UTC)
LEVELS = {outcome: Level(outcome.value) for outcome in Outcome if outcome is not Outcome.PASS}


def result(outcome: Outcome, cause: str = "a.cause", subject: Subject | None = None, watch: str = "w") -> Result:
    """A result of one watch with that outcome."""
    evidence = Evidence(protocol=Protocol.SMTP, phase=Phase.AUTH, kind=Kind.REPLY)
    finding = Finding(
        cause=cause,
        level=LEVELS.get(outcome, Level.INFO),
        subject=subject or Subject(Scope.MAILBOX, watch),
        evidence=evidence,
    )
    return Result(
        run_id="r", watch=watch, check="c", started_at=START, seconds=1.0, phases=(),
        findings=() if outcome is Outcome.PASS else (finding,),
    )  # fmt: skip


def states(outcomes: list[Outcome], policy: Policy, *, harm: bool = False) -> list[WatchState]:
    """The states that a watch goes through."""
    state, seen = WatchState(watch="w", since=START), []
    for number, outcome in enumerate(outcomes):
        now = START + timedelta(minutes=number)
        state = judge(state, replace(result(outcome), started_at=now), policy, now, harm=harm, interval=60.0).after
        seen.append(state)
    return seen


def test_it_takes_failures_in_a_row_to_fire_and_passes_in_a_row_to_recover() -> None:
    """A watch goes the whole way from new to firing and back, and its last change of status is dated."""
    way = [Outcome.PASS, *[Outcome.FAIL] * 3, *[Outcome.PASS] * 2]
    seen = states(way, Policy(fail_after=2, recover_after=2))
    assert [Status.OK, Status.SUSPECT, Status.FIRING, Status.FIRING, Status.RECOVERING, Status.OK] == [
        state.status for state in seen
    ]
    assert START + timedelta(minutes=2) == seen[3].since
    assert (None, 0) == (seen[-1].finding, seen[-1].failures)


def test_a_relapse_fires_at_once() -> None:
    """A failure while recovering is firing again, without counting anew."""
    before = states([Outcome.FAIL, Outcome.PASS], Policy(fail_after=1, recover_after=3))[-1]
    change = judge(before, result(Outcome.FAIL), Policy(fail_after=9), START, harm=False, interval=60.0)
    assert (Status.FIRING, ChangeReason.RELAPSED) == (change.after.status, change.reason)


def test_a_new_cause_of_a_firing_watch_is_told_apart() -> None:
    """Another cause while firing is a change that resets nothing."""
    before = states([Outcome.FAIL], Policy(fail_after=1))[-1]
    change = judge(before, result(Outcome.FAIL, "b.cause"), Policy(), START, harm=False, interval=60.0)
    assert (ChangeReason.CAUSE_CHANGED, True, 2) == (change.reason, change.moved, change.after.failures)


def test_what_harms_is_backed_off_from_doubling_and_bounded() -> None:
    """A harmful cause is provoked again in the slot that is one, two, four intervals away, at last every four hours."""
    seen = states([Outcome.FAIL] * 12, Policy(), harm=True)
    waits = [(state.backed_off_until - state.last_seen_at).total_seconds() for state in seen]
    assert [60.0 - 30, 120.0 - 30, 240.0 - 30, MAX_BACK_OFF - 30] == [*waits[:3], waits[-1]]
    assert states([Outcome.FAIL, Outcome.PASS], Policy(), harm=True)[-1].backed_off_until is None


@given(st.lists(st.sampled_from(Outcome), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_judging_keeps_its_promises(outcomes: list[Outcome], fail_after: int, recover_after: int) -> None:
    """Whatever comes: throttled moves nothing, firing needs its failures in a row, recovery its passes."""
    policy = Policy(fail_after=fail_after, recover_after=recover_after)
    before = WatchState(watch="w", since=START)
    for outcome, after in zip(outcomes, states(outcomes, policy), strict=True):
        if outcome is Outcome.THROTTLED:
            assert before.status is after.status
        if after.status is Status.FIRING and not before.broken:
            assert after.streak >= fail_after
        if before.broken and not after.broken:
            assert Status.OK is after.status
            assert after.streak >= recover_after
        assert after.broken <= (after.finding is not None)
        before = after


def incidents() -> Incidents:
    """An empty room, with readable ids."""
    return Incidents(lambda cause, subject, now: f"{cause}@{subject.key}@{now:%H%M%S}")


def broken(watch: str, cause: str, subject: Subject) -> WatchState:
    """A firing watch."""
    finding = result(Outcome.FAIL, cause, subject, watch).findings[0]
    return WatchState(watch=watch, status=Status.FIRING, since=START, finding=finding)


def ok(watch: str) -> WatchState:
    """A watch that is well."""
    return WatchState(watch=watch, status=Status.OK, since=START)


def normal(_: str) -> Importance:
    """Nothing is special."""
    return Importance.NORMAL


def test_five_hundred_mailboxes_behind_one_secret_are_one_incident() -> None:
    """One cause at one credential is one critical incident; it closes when the last watch is well."""
    room, secret = incidents(), Subject(Scope.CREDENTIAL, "app/current")
    moved = room.correlate([broken(f"w{n}", "expired", secret) for n in range(500)], normal, START)
    assert [(None, 500, Severity.CRITICAL)] == [(before, len(new.watches), new.severity) for before, new in moved]
    assert 1 == len(room.correlate([ok(f"w{n}") for n in range(499)], normal, START))
    ((_, closed),) = room.correlate([ok("w499")], normal, START)
    assert (IncidentState.CLOSED, frozenset(), ()) == (closed.state, closed.watches, room.open)


def test_a_watch_whose_cause_changes_moves_to_another_incident() -> None:
    """The old incident closes, the new one opens, and one critical mailbox makes it critical."""
    room, box = incidents(), Subject(Scope.MAILBOX, "billing")
    room.correlate([broken("w", "full", box)], normal, START)
    moved = room.correlate([broken("w", "denied", box)], lambda _: Importance.CRITICAL, START)
    assert {("full", IncidentState.CLOSED), ("denied", IncidentState.OPEN)} == {(i.cause, i.state) for _, i in moved}
    assert [Severity.CRITICAL] == [incident.severity for incident in room.open]


def test_a_watch_that_leaves_the_plan_leaves_its_incident() -> None:
    """What is no longer watched keeps no incident open."""
    room = incidents()
    room.correlate([broken("w", "full", Subject(Scope.MAILBOX, "w"))], normal, START)
    assert [IncidentState.CLOSED] == [incident.state for _, incident in room.remove(["w", "stranger"], START)]


STEPS = st.lists(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["", "x", "y"]), st.sampled_from("12")), max_size=6),
    max_size=12,
)


@given(STEPS)
def test_every_broken_watch_is_in_exactly_one_open_incident(steps: list[list[tuple[str, str, str]]]) -> None:
    """After any sequence of batches the open incidents are the broken watches, grouped by cause and subject."""
    room, latest = incidents(), {}
    for batch in steps:
        changed = []
        for watch, cause, key in batch:
            state = broken(watch, cause, Subject(Scope.APP, key)) if cause else ok(watch)
            latest[watch] = state
            changed.append(state)
        for before, after in room.correlate(changed, normal, START):
            assert before != after
            assert (after.state is IncidentState.CLOSED) == (not after.watches)
        expected: dict[tuple[str, str], set[str]] = {}
        for watch, state in latest.items():
            if state.finding is not None:
                expected.setdefault((state.finding.cause, state.finding.subject.key), set()).add(watch)
        assert expected == {(i.cause, i.subject.key): set(i.watches) for i in room.open}
        again = incidents()
        again.restore(room.open)
        assert room.open == again.open
