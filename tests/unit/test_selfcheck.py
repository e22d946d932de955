"""Our own network is judged before others are blamed: what is excused, when, and what is told of ourselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from checks.core.causes import table
from checks.core.model import Blame, Evidence, Finding, Kind, Level, Outcome, Phase, Protocol, Result, Scope, Subject
from monitor.model import Policy, Status, WatchState
from monitor.selfcheck import AFTERMATH, CAUSE, FLAPPING, FRESH, OURSELVES, ROUNDS, Round, Rounds, excuse, verdict
from monitor.state.judge import judge

T0 = datetime(2026, 11, 25, 3, 0, 0, tzinfo=UTC)
ENDPOINT = Subject(Scope.ENDPOINT, "smtp.contoso.example:587")


def at(seconds: float) -> datetime:
    """A moment after the beginning."""
    return T0 + timedelta(seconds=seconds)


def finding(kind: Kind, *, code: str | None = None, phase: Phase = Phase.CONNECT) -> Finding:
    """A failure as the table sees it."""
    evidence = Evidence(protocol=Protocol.SMTP, phase=phase, kind=kind, code=code, text="said")
    cause = table().classify(evidence)
    return Finding(cause=cause.id, level=cause.level, subject=ENDPOINT, evidence=evidence)


def result(*findings: Finding) -> Result:
    """A run that took a second."""
    return Result(
        run_id="r", watch="smtp_auth/billing", check="smtp_auth", started_at=T0, seconds=1.0, phases=(),
        findings=findings,
    )  # fmt: skip


def look(seconds: float, *, up: bool) -> Round:
    """A round over two hosts, of which one answers when the network is up."""
    return Round(began=at(seconds), asked=2, unreached={"a:53": "no"} if up else {"a:53": "no", "b:443": "no"})


def rounds(*seen: tuple[float, bool]) -> Rounds:
    """Rounds at these moments, up or down."""
    made = Rounds()
    for seconds, up in seen:
        made.add(look(seconds, up=up))
    return made


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.RESOLVE, None),
        (Kind.REFUSED, None),
        (Kind.UNREACHABLE, None),
        (Kind.TIMEOUT, None),
        (Kind.CLOSED, "UNEXPECTED_EOF_WHILE_READING"),
        (Kind.RESET, None),
    ],
)
def test_network_failures_are_excused_while_our_network_is_down(kind: Kind, code: str | None) -> None:
    """A failure that a dead network explains becomes unknown, ours, and keeps its evidence; without an outage it stays."""
    failed = result(finding(kind, code=code))
    excused = excuse(failed, reachable=False)
    assert Outcome.UNKNOWN is excused.outcome
    assert (CAUSE, Level.UNKNOWN, OURSELVES) == (excused.worst.cause, excused.worst.level, excused.worst.subject)
    assert failed.worst.evidence == excused.worst.evidence
    assert failed == excuse(failed, reachable=True)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.REPLY, "535"),
        (Kind.TLS, "10"),
        (Kind.NONSENSE, None),
        (Kind.INTERNAL, "source_address"),
        (Kind.OBSERVED, "clock_skew"),
        (Kind.RESOLVE, "no_ipv6"),
    ],
)
def test_what_somebody_said_is_not_excused(kind: Kind, code: str | None) -> None:
    """What the other side said, or what we know better, holds whatever our network does."""
    failed = result(finding(kind, code=code))
    assert failed == excuse(failed, reachable=False)


def test_only_what_looks_like_the_network_is_excused() -> None:
    """Of two findings of one run, the one that was said keeps its cause and the run its outcome."""
    said, silent = finding(Kind.REPLY, code="535", phase=Phase.AUTH), finding(Kind.TIMEOUT, phase=Phase.QUIT)
    excused = excuse(result(said, silent), reachable=False)
    assert (said, CAUSE) == (excused.findings[0], excused.findings[1].cause)
    assert Outcome.FAIL is excused.outcome


def test_an_excused_result_breaks_no_watch() -> None:
    """However many excused results come, a watch does not fire; one that fired for its own reason stays there."""
    excused = excuse(result(finding(Kind.TIMEOUT)), reachable=False)
    fresh = WatchState(watch="smtp_auth/billing", since=T0)
    firing = replace(fresh, status=Status.FIRING, finding=finding(Kind.REPLY, code="535", phase=Phase.AUTH))
    for _ in range(5):
        fresh = judge(fresh, excused, Policy(), T0, harm=False, interval=300.0).after
        firing = judge(firing, excused, Policy(), T0, harm=False, interval=300.0).after
    assert (Status.UNKNOWN, False) == (fresh.status, fresh.broken)
    assert (Status.FIRING, "535") == (firing.status, firing.finding.evidence.code)


def test_one_host_is_enough() -> None:
    """The network is down when none of the hosts can be reached, and up when one can."""
    assert look(0, up=True).reachable
    assert not look(0, up=False).reachable


def test_nothing_known_is_believed_to_be_up() -> None:
    """Before the first round nobody is excused."""
    assert Rounds().reachable(at(0), at(1))
    assert not Rounds().fresh(at(0))


def test_a_first_round_without_success_puts_everything_before_it_in_doubt() -> None:
    """A monitor that starts without a network blames nobody for it."""
    assert not rounds((10, False)).reachable(at(0), at(1))


AFTER = 30 + AFTERMATH.total_seconds()


@pytest.mark.parametrize(
    ("start", "end", "up"),
    [
        (-5, 0, True),  # ended with the last success before the outage
        (-5, 0.1, False),  # from then on nobody knows when the network went
        (5, 6, False),
        (16, 17, False),
        (29, 29.5, False),
        (-60, 90, False),  # began before and ended after it
        (31, 32, False),  # what is repeated from memory after the network came back
        (AFTER - 1, AFTER, False),
        (AFTER, AFTER + 1, True),
    ],
)
def test_an_outage_excuses_all_runs_that_it_may_have_touched(start: float, end: float, *, up: bool) -> None:
    """In doubt is the time from the last success before to the first one after, and its aftermath."""
    seen = rounds((-15, True), (0, True), (15, False), (30, True), (45, True), (200, True))
    assert up is seen.reachable(at(start), at(end))


def test_an_outage_that_lasts_has_no_end() -> None:
    """While no host was reached again, every later run is excused."""
    assert not rounds((0, True), (15, False), (30, False)).reachable(at(5000), at(5001))


def test_a_round_is_believed_for_a_short_time() -> None:
    """A failure that is much newer than the last round makes us look anew."""
    seen = rounds((0, True))
    assert seen.fresh(at(FRESH.total_seconds() - 0.1))
    assert not seen.fresh(at(FRESH.total_seconds()))


def test_rounds_are_forgotten() -> None:
    """What is remembered is bounded, however long we live."""
    seen = rounds(*((15.0 * number, True) for number in range(3 * ROUNDS)))
    assert ROUNDS == len(seen._rounds)


def test_what_is_told_of_ourselves() -> None:
    """A round without success fails our own watch, under a cause of whoever runs the monitor, and names the hosts."""
    told = verdict(look(0, up=False), 1)
    assert ("network/self", Outcome.FAIL) == (told.watch, told.outcome)
    assert (CAUSE, OURSELVES) == (told.worst.cause, told.worst.subject)
    assert "a:53: no; b:443: no" == told.worst.evidence.text
    assert (CAUSE, Blame.MONITOR) == (table().classify(told.worst.evidence).id, table()[CAUSE].blame)
    assert Outcome.PASS is verdict(look(0, up=True), 1).outcome


def statuses(ups: str) -> list[Status]:
    """Where our own watch stands after each of these rounds (`+` up, `-` down), one every 15 seconds."""
    state, seen, found = WatchState(watch="network/self", since=T0), Rounds(), []
    for number, up in enumerate(ups):
        now = look(15.0 * number, up=up == "+")
        seen.add(now)
        told = verdict(now, seen.outages(now.began - FLAPPING))
        state = judge(state, told, Policy(), now.began, harm=False, interval=15.0).after
        found.append(state.status)
    return found


def test_a_blip_is_told_to_nobody_and_an_outage_is() -> None:
    """One bad round fires nothing; the second one in a row does, and two good ones end it."""
    assert Status.FIRING not in statuses("+-+++")
    assert [Status.OK, Status.SUSPECT, Status.FIRING, Status.RECOVERING, Status.OK] == statuses("+--++")


def test_a_network_that_comes_and_goes_is_told() -> None:
    """What excuses others again and again is not forgiven each time: it fires, and stays until it is quiet."""
    flapping = statuses("+-" * 4 + "+")
    assert [Status.FIRING] * 3 == flapping[-3:]
    assert Status.OK is statuses("+-" * 4 + "+" * 30)[-1]
