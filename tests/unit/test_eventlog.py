"""The event log has a line for every run and every decision, and nothing private in any of them."""

import errno
import io
import json
import os
import threading
from dataclasses import fields, replace
from datetime import timedelta, timezone
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.core.causes import table
from checks.core.clock import SystemClock
from checks.core.model import (
    CertificateSeen,
    ClaimsSeen,
    EndpointSeen,
    Fact,
    Finding,
    Folder,
    InboxRead,
    Kind,
    Phase,
    PhaseTime,
    Protocol,
    Result,
    Sent,
    Sighting,
)
from checks.core.secret import Address, Redactor, Secret
from checks.core.trace import Failure, Trace
from monitor.model import (
    Beat,
    Delivery,
    Event,
    IncidentChanged,
    IncidentState,
    NoticeDelivered,
    Reloaded,
    Severity,
    Skipped,
    SkipReason,
    Status,
    Stored,
    WatchState,
)
from monitor.sinks.eventlog import MAX_WATCHES, REPEAT_AFTER, EventLog
from tests.unit.world import DISABLED, INCIDENT, NOTICE, T0, judged

AT = "2026-11-25T03:00:00.123Z"
WATCH = "smtp_auth/billing"
LABELS = {"check": "smtp_auth", "tenant": "contoso", "app": "billing-mailer", "mailbox": "billing"}
SHOWN_FINDING = {
    "cause": "exchange.smtp_auth_disabled_mailbox",
    "level": "fail",
    "subject": {"scope": "mailbox", "key": "billing"},
    "evidence": {
        "protocol": "smtp",
        "phase": "auth",
        "kind": "reply",
        "code": "535",
        "enhanced_code": "5.7.139",
        "text": DISABLED.evidence.text,
    },
}
PASSED = Result(
    run_id="0123456789abcdef",
    watch=WATCH,
    check="smtp_auth",
    started_at=T0,
    seconds=0.25,
    phases=(PhaseTime(Phase.CONNECT, 0.1, finished=True), PhaseTime(Phase.AUTH, 0.15, finished=True)),
    measures={"token_seconds": 0.5},
    facts=(ClaimsSeen(readable=True, lifetime=3599.0, roles=("SMTP.SendAsApp",)),),
)
FAILED = replace(PASSED, facts=(), measures={}, findings=(DISABLED,), transcript=("C: AUTH", "S: 535 5.7.139 no"))
OK = WatchState(watch=WATCH, status=Status.OK, since=T0, streak=3)
SUSPECT = replace(OK, status=Status.SUSPECT, streak=1, failures=1, finding=DISABLED, backed_off_until=T0)


def labels(watch: str) -> dict[str, str]:
    """What may be shown of the one watch that is known."""
    return LABELS if watch == WATCH else {}


def logged(*events: Event) -> list[dict[str, Any]]:
    """The lines that these events leave, read back."""
    return [json.loads(line) for line in written(*events).splitlines()]


def written(*events: Event) -> bytes:
    """What these events leave in a file."""
    file = io.BytesIO()
    log = EventLog(file, labels)
    for event in events:
        log.accept(event)
    log.close()
    assert 0 == log.lost
    return file.getvalue()


def test_a_run_that_passed_is_logged() -> None:
    """Every run leaves a line with its phases, numbers and facts: the audit log knows success too."""
    expected = {
        "at": AT,
        "event": "run.finished",
        "watch": WATCH,
        "labels": LABELS,
        "run_id": "0123456789abcdef",
        "check": "smtp_auth",
        "started_at": AT,
        "seconds": 0.25,
        "outcome": "pass",
        "phases": [
            {"phase": "connect", "seconds": 0.1, "finished": True},
            {"phase": "auth", "seconds": 0.15, "finished": True},
        ],
        "measures": {"token_seconds": 0.5},
        "facts": [
            {
                "fact": "claims_seen",
                "readable": True,
                "lifetime": 3599.0,
                "audience": "",
                "tenant_id": "",
                "client_id": "",
                "credential_kind": "",
                "roles": ["SMTP.SendAsApp"],
                "scopes": [],
            }
        ],
    }
    assert [expected] == logged(judged(PASSED, OK, OK))


def test_a_run_that_failed_is_logged_with_its_evidence() -> None:
    """A failing run has its findings and the dialogue; what its watch became follows in a line of its own."""
    finished, changed = logged(judged(FAILED, OK, SUSPECT))
    assert "fail" == finished["outcome"]
    assert [SHOWN_FINDING] == finished["findings"]
    assert ["C: AUTH", "S: 535 5.7.139 no"] == finished["transcript"]
    assert {
        "at": AT,
        "event": "state.changed",
        "watch": WATCH,
        "labels": LABELS,
        "run_id": "0123456789abcdef",
        "reason": "judged",
        "before": {"status": "ok", "since": AT, "streak": 3, "failures": 0},
        "after": {
            "status": "suspect",
            "since": AT,
            "streak": 1,
            "failures": 1,
            "finding": {key: value for key, value in SHOWN_FINDING.items() if key != "evidence"},
            "backed_off_until": AT,
        },
    } == changed


def test_a_state_that_stays_is_not_logged() -> None:
    """A run that moves nothing leaves one line; a watch without labels has none."""
    unknown = replace(FAILED, watch="token/x")
    (line,) = logged(judged(unknown, SUSPECT, replace(SUSPECT, streak=2)))
    assert "run.finished" == line["event"]
    assert "labels" not in line


def test_a_run_that_was_skipped_is_logged() -> None:
    """A run that was due and did not happen is missing in no audit."""
    expected = {"at": AT, "event": "run.skipped", "watch": WATCH, "labels": LABELS, "reason": "backed_off"}
    assert [expected] == logged(Skipped(at=T0, watch=WATCH, reason=SkipReason.BACKED_OFF))


def test_an_incident_is_logged_as_it_opens_changes_and_closes() -> None:
    """The lines of an incident tell which watches joined and left, so that its whole life can be read from them."""
    more = replace(INCIDENT, severity=Severity.CRITICAL, watches=frozenset({"canary/billing"}))
    over = replace(more, state=IncidentState.CLOSED, closed_at=T0, watches=frozenset())
    opened, changed, closed = logged(
        IncidentChanged(at=T0, before=None, after=INCIDENT),
        IncidentChanged(at=T0, before=INCIDENT, after=more),
        IncidentChanged(at=T0, before=more, after=over),
    )
    assert {
        "at": AT,
        "event": "incident.opened",
        "id": "i1",
        "cause": DISABLED.cause,
        "subject": {"scope": "mailbox", "key": "billing"},
        "severity": "warning",
        "state": "open",
        "opened_at": AT,
        "watches_total": 1,
        "joined": [WATCH],
        "joined_total": 1,
        "finding": SHOWN_FINDING,
    } == opened
    assert "incident.changed" == changed["event"]
    assert ("warning", "critical") == (changed["severity_before"], changed["severity"])
    assert (["canary/billing"], [WATCH], 1) == (changed["joined"], changed["left"], changed["watches_total"])
    assert ("incident.closed", "closed", AT) == (closed["event"], closed["state"], closed["closed_at"])
    assert (["canary/billing"], 0) == (closed["left"], closed["watches_total"])


def test_an_incident_of_thousands_leaves_a_short_line() -> None:
    """A line holds the first names and how many there are."""
    many = replace(INCIDENT, watches=frozenset(f"smtp_auth/box{number:05}" for number in range(10_000)))
    (line,) = logged(IncidentChanged(at=T0, before=None, after=many))
    assert [f"smtp_auth/box{number:05}" for number in range(MAX_WATCHES)] == line["joined"]
    assert (10_000, 10_000) == (line["joined_total"], line["watches_total"])


@pytest.mark.parametrize(
    ("delivery", "event"),
    [
        (Delivery.DELIVERED, "notice.delivered"),
        (Delivery.FAILED, "notice.failed"),
        (Delivery.GIVEN_UP, "notice.given_up"),
    ],
)
def test_a_notice_is_logged_by_what_became_of_it(delivery: Delivery, event: str) -> None:
    """Every attempt to deliver is a line that names the notice, its incident and the channel."""
    error = "" if delivery is Delivery.DELIVERED else "no route"
    expected = {
        "at": AT,
        "event": event,
        "id": "n1",
        "incident": "i1",
        "cause": DISABLED.cause,
        "subject": {"scope": "mailbox", "key": "billing"},
        "severity": "warning",
        "reason": "first",
        "channel": "chat",
        "due_at": AT,
        "attempts": 1,
        **({"error": error} if error else {}),
    }
    assert [expected] == logged(NoticeDelivered(at=T0, notice=NOTICE, delivery=delivery, error=error))


def test_a_configuration_is_logged_whether_taken_or_not() -> None:
    """A reload says what it brought, or every error."""
    taken = Reloaded(at=T0, watches=14, added=2, removed=1, changed=3)
    numbers = {"watches": 14, "added": 2, "removed": 1, "changed": 3}
    none = {"watches": 14, "added": 0, "removed": 0, "changed": 0}
    assert [
        {"at": AT, "event": "config.loaded", **numbers},
        {"at": AT, "event": "config.refused", **none, "errors": ["a.yaml:3: x", "a.yaml:9: y"]},
    ] == logged(taken, Reloaded(at=T0, watches=14, errors=("a.yaml:3: x", "a.yaml:9: y")))


def test_a_store_that_fails_is_logged_now_and_then() -> None:
    """A disk that stays full is told at once and each minute, not twenty times a second; success and beats are not."""
    full = Stored(at=T0, seconds=0.5, error="disk full")
    locked = replace(full, error="locked")
    again = replace(full, at=T0 + REPEAT_AFTER)
    well = Stored(at=T0, seconds=0.1)
    beat = Beat(at=T0, busy=0, queued=0, waiting=0, lag=0.0, defects=0, lost=0)
    lines = logged(
        well, full, full, beat, locked, full, well, full, replace(full, at=T0 + timedelta(seconds=59)), again
    )
    assert {"at": AT, "event": "store.failed", "seconds": 0.5, "error": "disk full"} == lines[0]
    assert ["disk full", "locked", "disk full", "disk full", "disk full"] == [line["error"] for line in lines]


def test_moments_are_utc() -> None:
    """A moment of another time zone is logged in UTC."""
    local = T0.astimezone(timezone(timedelta(hours=-8)))
    (line,) = logged(Skipped(at=local, watch=WATCH, reason=SkipReason.STOPPING))
    assert AT == line["at"]


SAID = "550 5.1.1 <mara.vogel@fabrikam.example> and billing.run@contoso.example with Zq8Q~planted\r\n{\x1b[2J\u202e"


def test_no_address_reaches_the_log() -> None:
    """What a server says arrives redacted: no address and no secret, known or not, and no line of its own."""
    trace = Trace(SystemClock(), Redactor([Address("billing.run@contoso.example"), Secret("Zq8Q~planted")]))
    with trace.part(), trace.phase(Phase.AUTH, Protocol.SMTP):
        trace.line("S", SAID)
        failure = trace.failure(Kind.REPLY, SAID, code="550")
        raise Failure(failure.evidence)
    (evidence,) = trace.evidence
    cause = table().classify(evidence)
    finding = Finding(cause=cause.id, level=cause.level, subject=DISABLED.subject, evidence=evidence)
    result = replace(FAILED, findings=(finding,), transcript=trace.transcript(), phases=tuple(trace.phases))
    sent = Sent(canary_id="c", mailbox="billing", recipients=1, reply=trace.redact(SAID), at=T0)
    incident = replace(INCIDENT, finding=finding)
    events = (
        judged(replace(result, facts=(sent,)), OK, replace(SUSPECT, finding=finding)),
        IncidentChanged(at=T0, before=None, after=incident),
        NoticeDelivered(
            at=T0, notice=replace(NOTICE, incident=incident), delivery=Delivery.FAILED, error=trace.redact(SAID)
        ),
    )
    text = written(*events).decode("ascii")
    assert 4 == len(text.splitlines())
    for private in ("mara", "vogel", "fabrikam", "billing.run", "contoso.example", "Zq8Q", "\x1b", "\\u001b", "\u202e"):
        assert private not in text
    assert "550 5.1.1 <[address]> and [address] with [secret]" in text


def test_a_masked_type_is_refused() -> None:
    """A record that held an address would be a defect: nothing of it is printed, not even the mask."""
    file = io.BytesIO()
    leaky = replace(PASSED, measures={"x": Address("billing.run@contoso.example")})  # type: ignore[dict-item]
    log = EventLog(file)
    with pytest.raises(TypeError, match="Address is not to be logged"):
        log.accept(judged(leaky, OK, OK))
    log.close()
    assert b"" == file.getvalue()


@given(st.text(), st.dictionaries(st.text(), st.floats(), max_size=3))
def test_every_text_and_number_is_one_line_of_json(text: str, measures: dict[str, float]) -> None:
    """Whatever a record holds, its line is one line of ASCII that a strict reader takes."""
    finding = replace(DISABLED, evidence=replace(DISABLED.evidence, text=text))
    result = replace(FAILED, findings=(finding,), transcript=(text,), measures=measures)
    (line,) = written(judged(result, OK, OK)).decode("ascii").splitlines()
    read = json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [text] == read["transcript"]


def test_every_type_of_fact_is_logged() -> None:
    """A fact is logged under its name with all its fields, whatever type is added to the list."""
    facts: dict[type[Fact], Fact] = {
        Sent: Sent(canary_id="c", mailbox="billing", recipients=2, reply="250 ok", at=T0),
        Sighting: Sighting(canary_id="c", inbox="i", folder=Folder.JUNK, arrived_at=T0),
        InboxRead: InboxRead(inbox="i", removed=1),
        CertificateSeen: CertificateSeen(
            endpoint="e:587", position=0, subject="e", issuer="ca", not_before=T0, not_after=T0, fingerprint="ab"
        ),
        EndpointSeen: EndpointSeen(endpoint="e:587", ip="::1", tls_version="", cipher="", auth_mechanisms=("XOAUTH2",)),
        ClaimsSeen: ClaimsSeen(readable=False, lifetime=0.0),
    }
    assert set(get_args(Fact)) == set(facts)
    (line,) = logged(judged(replace(PASSED, facts=tuple(facts.values())), OK, OK))
    names = ["sent", "sighting", "inbox_read", "certificate_seen", "endpoint_seen", "claims_seen"]
    assert names == [fact.pop("fact") for fact in line["facts"]]
    expected = [[field.name for field in fields(kind)] for kind in facts]
    assert expected == [list(fact) for fact in line["facts"]]


class FullDisk(io.BytesIO):
    """A disk that has no room the first time; `refused` says that it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.refused = threading.Event()

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        """Refuse, then take all of it."""
        if self.refused.is_set():
            return super().write(data)
        self.refused.set()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_lines_that_are_lost_are_missed() -> None:
    """Where lines could not be written, one that reads like any other says how many, and when it knew."""
    disk = FullDisk()
    log = EventLog(disk)
    log.accept(judged(FAILED, OK, OK))
    assert disk.refused.wait(30)
    log.accept(Reloaded(at=T0, watches=1))
    log.close()
    missed, after = (json.loads(line) for line in disk.getvalue().splitlines())
    assert (1, {"at": AT, "event": "lines.lost", "lines": 1}) == (log.lost, missed)
    assert "config.loaded" == after["event"]
