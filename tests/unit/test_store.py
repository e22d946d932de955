"""The store keeps what it was told, whole or not at all, and in a file that only its owner reads."""

import asyncio
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from checks.core.clock import SystemClock
from checks.core.model import (
    ClaimsSeen,
    EndpointSeen,
    Evidence,
    Finding,
    Kind,
    Level,
    Outcome,
    Phase,
    PhaseTime,
    Protocol,
    Result,
    Scope,
    Sent,
    Subject,
)
from monitor.model import Incident, IncidentState, Notice, Reason, Severity, Status, WatchState
from monitor.store import Batch, LastRun, Loaded, Store, StoreError
from monitor.store.records import RESULT, STATE

T0 = datetime(2026, 11, 24, 3, 4, 5, 678901, tzinfo=UTC)
FINDING = Finding(
    cause="auth_rejected",
    level=Level.FAIL,
    subject=Subject(Scope.MAILBOX, "billing"),
    evidence=Evidence(protocol=Protocol.SMTP, phase=Phase.AUTH, kind=Kind.REPLY, code="535", text="5.7.3 no"),
)
STATE_OK = WatchState(watch="smtp_auth/billing", status=Status.OK, since=T0)
INCIDENT = Incident(
    id="i1",
    cause="auth_rejected",
    subject=FINDING.subject,
    severity=Severity.CRITICAL,
    opened_at=T0,
    watches=frozenset({"smtp_auth/billing", "canary/billing"}),
    finding=FINDING,
)
CLOSED = replace(INCIDENT, state=IncidentState.CLOSED, closed_at=T0 + timedelta(hours=1), watches=frozenset())
NOTICE = Notice(id="n1", incident=INCIDENT, reason=Reason.FIRST, channel="chat", due_at=T0)
PASSED = Result(run_id="r1", watch="smtp_auth/billing", check="smtp_auth", started_at=T0, seconds=0.5, phases=())
FAILED = replace(PASSED, run_id="r0", findings=(FINDING,))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A database file that does not exist yet, in a directory that does not exist yet."""
    return f"sqlite:///{tmp_path}/state/store.db"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    """A new store."""
    async with Store.open(url, SystemClock()) as opened:
        yield opened


async def reopened(url: str) -> Loaded:
    """What a program that starts now would know."""
    async with Store.open(url, SystemClock()) as store:
        return await store.load()


async def test_a_new_store_is_empty(store: Store) -> None:
    """A new store knows no watch and no incident."""
    assert Loaded(states={}, incidents=()) == await store.load()


async def test_states_and_open_incidents_come_back(url: str) -> None:
    """What was committed is there after the store was closed and opened again."""
    state = replace(STATE_OK, status=Status.FIRING, finding=FINDING, outcome=Outcome.FAIL, backed_off_until=T0)
    async with Store.open(url, SystemClock()) as store:
        await store.commit(Batch(states=[STATE_OK, state], incidents=[INCIDENT]))
    assert Loaded(states={state.watch: state}, incidents=(INCIDENT,)) == await reopened(url)


async def test_a_closed_incident_is_not_loaded(store: Store) -> None:
    """Only open incidents are loaded."""
    await store.commit(Batch(incidents=[INCIDENT]))
    await store.commit(Batch(incidents=[CLOSED]))
    assert () == (await store.load()).incidents


async def test_an_incident_may_open_where_another_one_closes(store: Store) -> None:
    """One batch may close an incident and open the next one of the same cause and subject, in any order."""
    await store.commit(Batch(incidents=[INCIDENT]))
    following = replace(INCIDENT, id="i2")
    await store.commit(Batch(incidents=[following, CLOSED]))
    assert (following,) == (await store.load()).incidents


async def test_two_open_incidents_of_one_cause_are_refused_with_their_whole_batch(store: Store) -> None:
    """A batch that breaks a rule of the database leaves no trace, and its records do not show in the error."""
    with pytest.raises(StoreError, match="UNIQUE constraint failed") as caught:
        await store.commit(Batch(states=[STATE_OK], incidents=[INCIDENT, replace(INCIDENT, id="i2")], notices=[NOTICE]))
    assert "5.7.3" not in str(caught.value)
    assert Loaded(states={}, incidents=()) == await store.load()
    assert 0 == await store.waiting()


async def test_the_newest_run_and_the_newest_failed_one_are_kept(store: Store) -> None:
    """A run that passes replaces the newest one and leaves the newest failed one."""
    await store.commit(Batch(results=[FAILED, PASSED]))
    kept = LastRun(watch=PASSED.watch, started_at=T0, outcome=Outcome.PASS, seconds=0.5, result=PASSED, failed=FAILED)
    assert kept == await store.last_run(PASSED.watch)


async def test_a_watch_that_never_ran_has_no_last_run(store: Store) -> None:
    """There is no last run of an unknown watch."""
    assert None is await store.last_run("token/nobody")


async def test_a_forgotten_watch_is_gone(store: Store) -> None:
    """State and runs of a forgotten watch are dropped, those of others stay."""
    other = replace(STATE_OK, watch="token/billing")
    await store.commit(Batch(states=[STATE_OK, other], results=[PASSED]))
    await store.forget([STATE_OK.watch, "token/unknown"])
    assert {other.watch: other} == (await store.load()).states
    assert None is await store.last_run(STATE_OK.watch)


async def test_pruning_drops_old_closed_incidents_and_keeps_open_ones(url: str) -> None:
    """An incident that closed before the moment is dropped, an open one never."""
    still_open = replace(INCIDENT, id="i2", cause="other")
    async with Store.open(url, SystemClock()) as store:
        await store.commit(Batch(incidents=[CLOSED, still_open]))
        await store.prune(T0 + timedelta(hours=2))
        assert (still_open,) == (await store.load()).incidents
    assert [("i2",)] == rows(url, "SELECT id FROM incident")


async def test_an_empty_batch_is_fine(store: Store) -> None:
    """A turn that decided nothing can be committed."""
    await store.commit(Batch())
    assert 0 == await store.waiting()


async def test_calls_take_place_in_their_order(store: Store) -> None:
    """Of many commits under way at once the last one called is the one that stays."""
    states = [replace(STATE_OK, streak=number) for number in range(50)]
    await asyncio.gather(*(store.commit(Batch(states=[state])) for state in states))
    assert {STATE_OK.watch: states[-1]} == (await store.load()).states


async def test_closing_waits_for_what_was_asked_before(url: str) -> None:
    """A commit that nobody waited for is stored before the store closes."""
    async with Store.open(url, SystemClock()) as store:
        pending = asyncio.create_task(store.commit(Batch(states=[STATE_OK])))
        await asyncio.sleep(0)
        await store.close()
        await pending
    assert {STATE_OK.watch: STATE_OK} == (await reopened(url)).states


moments = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis adds the zone
texts = st.text(max_size=20)
findings = st.builds(
    Finding,
    cause=texts,
    level=st.sampled_from(Level),
    subject=st.builds(Subject, st.sampled_from(Scope), texts),
    evidence=st.builds(
        Evidence,
        protocol=st.sampled_from(Protocol),
        phase=st.sampled_from(Phase),
        kind=st.sampled_from(Kind),
        aadsts=st.none() | st.integers(0, 10**7),
        text=texts,
    ),
)
facts = st.one_of(
    st.builds(Sent, canary_id=texts, mailbox=texts, recipients=st.integers(0, 9), reply=texts),
    st.builds(
        EndpointSeen, endpoint=texts, ip=texts, tls_version=texts, cipher=texts, auth_mechanisms=st.tuples(texts)
    ),
    st.builds(ClaimsSeen, readable=st.booleans(), lifetime=st.floats(0, 1e6), roles=st.tuples(texts)),
)
finite = st.floats(allow_nan=False, allow_infinity=False)
results = st.builds(
    Result,
    run_id=texts,
    watch=texts,
    check=texts,
    started_at=moments,
    seconds=finite,
    phases=st.lists(st.builds(PhaseTime, st.sampled_from(Phase), finite, st.booleans())).map(tuple),
    measures=st.dictionaries(texts, finite),
    facts=st.lists(facts, max_size=3).map(tuple),
    findings=st.lists(findings, max_size=2).map(tuple),
    transcript=st.lists(texts, max_size=3).map(tuple),
)
states = st.builds(
    WatchState,
    watch=texts,
    status=st.sampled_from(Status),
    since=moments,
    streak=st.integers(0, 1000),
    finding=st.none() | findings,
    outcome=st.none() | st.sampled_from(Outcome),
    last_seen_at=st.none() | moments,
)


@given(result=results, state=states)
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_records_survive_as_json(result: Result, state: WatchState) -> None:
    """Every result and every state is the same after it was JSON."""
    assert result == RESULT.validate_json(RESULT.dump_json(result))
    assert state == STATE.validate_json(STATE.dump_json(state))


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """What another program reads in the database."""
    connection = sqlite3.connect(url.removeprefix("sqlite:///"))
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


KILLED = """
import asyncio, os, signal, sys
from datetime import timedelta
sys.path[:0] = [{tests!r}]
from test_store import INCIDENT, NOTICE, STATE_OK, T0, Batch, Store, SystemClock

async def main():
    async with Store.open({url!r}, SystemClock()) as store:
        await store.commit(Batch(states=[STATE_OK], incidents=[INCIDENT], notices=[NOTICE]))
        assert await store.claim(T0, 10)
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_nothing_is_lost_when_the_process_is_killed(url: str) -> None:
    """After kill -9 states, incidents and notices are there, and a notice that was claimed comes out again."""
    script = KILLED.format(tests=str(Path(__file__).parent), url=url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=Path(__file__).parents[2], stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert (-9, b"") == (process.returncode, said)

    async with Store.open(url, SystemClock()) as store:
        assert Loaded(states={STATE_OK.watch: STATE_OK}, incidents=(INCIDENT,)) == await store.load()
        assert () == await store.claim(T0 + timedelta(seconds=119), 10)
        assert (replace(NOTICE, attempts=2),) == await store.claim(T0 + timedelta(seconds=120), 10)
