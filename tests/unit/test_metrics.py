"""What Prometheus is shown: the table of metrics, and what events make of it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client import Metric as LibraryMetric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from checks.core.model import (
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
from checks.core.secret import Address, Secret
from checks.core.settings import Settings
from checks.core.target import App, ClientSecret, Cloud, Credential, Endpoint, Mailbox, Target, Tenant
from monitor.model import (
    Beat,
    Change,
    Delivery,
    Event,
    Incident,
    IncidentChanged,
    IncidentState,
    Notice,
    NoticeDelivered,
    Ran,
    Reason,
    Reloaded,
    Restored,
    Severity,
    Skipped,
    SkipReason,
    Status,
    Stored,
    WatchState,
)
from monitor.plan import Plan, Watch, watch_id
from monitor.sinks.metric_document import document, example
from monitor.sinks.metric_table import OWNER_LABELS, PREFIX, TABLE, Metric, Per
from monitor.sinks.metric_table import Kind as MetricKind
from monitor.sinks.metrics import Metrics

T0 = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)
CLOUD = Cloud(
    name="global",
    authority="https://login.contoso.example",
    scope="https://outlook.contoso.example/.default",
    smtp=Endpoint(host="smtp.contoso.example", port=587),
)
CREDENTIAL = Credential(
    app=App(
        id="billing-app",
        tenant=Tenant(name="contoso", tenant_id="contoso.example", cloud=CLOUD),
        client_id="00000000-0000-0000-0000-000000000001",
    ),
    material=ClientSecret(Secret("planted-secret")),
)
TEN_PHASES = tuple(Phase)[:10]
FINDING = Finding(
    cause="auth_rejected",
    level=Level.FAIL,
    subject=Subject(Scope.MAILBOX, "billing"),
    evidence=Evidence(protocol=Protocol.SMTP, phase=Phase.AUTH, kind=Kind.REPLY),
)
INCIDENT = Incident(
    id="i1", cause=FINDING.cause, subject=FINDING.subject, severity=Severity.WARNING, opened_at=T0, finding=FINDING
)
NOTICE = Notice(id="n1", incident=INCIDENT, reason=Reason.FIRST, channel="chat", due_at=T0)
BEAT = Beat(at=T0, busy=3, queued=2, waiting=1, lag=0.004, defects=5)


def watch(check: str, target: Target) -> Watch:
    """A watch of one check on one target."""
    return Watch(
        id=watch_id(check, target.id), check=check, target=target, settings=Settings(), interval=300.0, timeout=30.0
    )


def plan(*mailboxes: str, credential: Credential = CREDENTIAL) -> Plan:
    """A token watch, and on each mailbox `smtp_auth` and `canary`."""
    targets = [
        Mailbox(id=name, address=Address(f"{name}@contoso.example"), credential=credential, endpoint=CLOUD.smtp)
        for name in mailboxes
    ]
    return Plan.of(
        [
            watch("token", credential),
            *(watch(check, target) for target in targets for check in ("smtp_auth", "canary")),
        ]
    )


def following(*mailboxes: str) -> Metrics:
    """Metrics that follow a plan of these mailboxes and have a channel."""
    metrics = Metrics()
    metrics.follow(plan(*mailboxes))
    metrics.channels(["chat"])
    return metrics


def ran(
    name: str, *findings: Finding, phases: Iterable[Phase] = TEN_PHASES, status: Status = Status.OK, at: datetime = T0
) -> Ran:
    """A run of a watch, half a second for each phase; it measures and sends what its check would."""
    check, _, target = name.partition("/")
    result = Result(
        run_id="r1",
        watch=name,
        check=check,
        started_at=at,
        seconds=2.0,
        phases=tuple(PhaseTime(phase, 0.5, finished=True) for phase in phases),
        measures={"expires_in_seconds": 3599.0, "clock_skew_seconds": -1.5} if check == "token" else {},
        facts=(Sent(canary_id="c1", mailbox=target, recipients=1, reply="250 OK"),) if check == "canary" else (),
        findings=findings,
    )
    good = result.outcome in {Outcome.PASS, Outcome.INFO}
    before = WatchState(watch=name, since=T0)
    after = WatchState(
        watch=name,
        since=T0,
        status=status,
        finding=findings[0] if findings else None,
        outcome=result.outcome,
        last_seen_at=at,
        last_pass_at=at if good else None,
    )
    return Ran(at=at, result=result, change=Change(before=before, after=after, reason="passed"))


def scenario() -> list[Event]:
    """Something of everything."""
    return [
        Restored(at=T0, states=(), incidents=()),
        Reloaded(at=T0, watches=3, added=3),
        ran("token/billing-app/current"),
        ran("canary/billing"),
        ran("smtp_auth/billing"),
        ran("smtp_auth/billing", FINDING, status=Status.FIRING),
        Skipped(at=T0, watch="canary/billing", reason=SkipReason.STILL_RUNNING),
        IncidentChanged(at=T0, before=None, after=INCIDENT),
        NoticeDelivered(at=T0, notice=NOTICE, delivery=Delivery.DELIVERED),
        NoticeDelivered(at=T0, notice=NOTICE, delivery=Delivery.FAILED, error="refused"),
        NoticeDelivered(at=T0, notice=NOTICE, delivery=Delivery.GIVEN_UP, error="refused"),
        Stored(at=T0, seconds=0.002),
        Stored(at=T0, seconds=0.002, error="disk full"),
        BEAT,
    ]


def shown_after(events: Iterable[Event], *mailboxes: str) -> Metrics:
    """Metrics that were shown these events."""
    metrics = following(*(mailboxes or ("billing",)))
    for event in events:
        metrics.accept(event)
    return metrics


def families(metrics: Metrics) -> dict[str, LibraryMetric]:
    """Our families by their name in the table, as the strict parser of OpenMetrics understands them."""
    found = parse_openmetrics(metrics.render(openmetrics=True).decode())
    named = {family.name + "_total" * (family.type == "counter"): family for family in found}
    return {name: family for name, family in named.items() if name.startswith(PREFIX)}


def values(metrics: Metrics, name: str, **labels: str) -> list[float]:
    """The values of a metric that carries these labels."""
    samples = families(metrics)[PREFIX + name].samples
    return [sample.value for sample in samples if labels.items() <= sample.labels.items()]


# The table.


def test_names_are_unique() -> None:
    """No metric stands in the table twice, whatever its suffix."""
    assert [] == [
        name for name, count in Counter(row.name.removesuffix("_total") for row in TABLE).items() if count > 1
    ]


@pytest.mark.parametrize("metric", TABLE, ids=lambda metric: metric.name)
def test_a_row_keeps_the_conventions(metric: Metric) -> None:
    """Names say kind and unit, a text is one sentence that needs no escaping, labels are known and bounded."""
    assert re.fullmatch(r"mailcanary(_[a-z]+)+", metric.name)
    assert metric.name.endswith("_total") is (metric.kind is MetricKind.COUNTER)
    assert metric.name.endswith(f"_{metric.unit}") if metric.unit else not metric.name.endswith("_seconds")
    assert not metric.name.endswith(("_count", "_sum", "_bucket", "_created"))
    assert ("_timestamp" in metric.name) is metric.name.endswith("_timestamp_seconds")
    assert re.fullmatch(r'[A-Z][^."\\\n]*\.', metric.help)
    assert (metric.kind is MetricKind.HISTOGRAM) is bool(metric.buckets)
    assert sorted(set(metric.buckets)) == [*metric.buckets]
    assert "mailbox" not in metric.labels or metric.kind is not MetricKind.HISTOGRAM
    bounded = {"phase", "cause", "severity", "reason", "version", "python", "loop"}
    assert bounded | {name for labels in OWNER_LABELS.values() for name in labels} >= set(metric.labels)
    assert len(set(metric.labels)) == len(metric.labels)
    assert re.fullmatch(r"\d+\.\d+\.\d+", metric.since)


def test_the_page_shows_what_the_table_says() -> None:
    """Every row is rendered with its kind, unit, text and labels, and nothing else of ours is."""
    found = {
        name: (family.type, family.unit, family.documentation, {*family.samples[0].labels} - {"le"})
        for name, family in families(shown_after(scenario())).items()
    }
    assert {row.name: (row.kind.value, row.unit, row.help, {*row.labels}) for row in TABLE} == found


def test_the_scenario_has_something_of_everything() -> None:
    """No event is left out, so none can be forgotten by the sink."""
    assert set(get_args(Event)) == {type(event) for event in scenario()}


def test_what_is_due_from_the_start_is_there_at_zero() -> None:
    """Before anything happened there is what does not say when it appears, and every counter and gauge is zero."""
    metrics = following("billing")
    there = {name: family for name, family in families(metrics).items() if family.samples}
    assert {row.name for row in TABLE if not row.appears} | {f"{PREFIX}build_info"} == there.keys()
    unequal = {name for name, family in there.items() for sample in family.samples if sample.value}
    assert {f"{PREFIX}build_info", f"{PREFIX}watches"} == unequal


def test_the_document_is_up_to_date() -> None:
    """The page in docs is what the table makes of it."""
    committed = Path(__file__).parents[2].joinpath("docs", "metrics.md").read_text("utf-8")
    assert document() == committed, "write it anew: python -m monitor.sinks.metric_document > docs/metrics.md"


@pytest.mark.parametrize("count", [1, 10, 100])
def test_samples_grow_as_the_document_says(count: int) -> None:
    """The page has as many samples as the formula gives."""
    names = [f"box-{number}" for number in range(count)]
    runs = [ran(f"{check}/{name}") for name in names for check in ("smtp_auth", "canary")]
    metrics = shown_after([Reloaded(at=T0, watches=1), ran("token/billing-app/current"), *runs], *names)
    lines = metrics.render(openmetrics=False).decode().splitlines()
    assert example(count) == sum(line.startswith(PREFIX) for line in lines)


# The page.


def test_both_formats_show_the_same_samples() -> None:
    """The strict parsers read both, the samples are equal, and OpenMetrics ends once and at the end."""
    metrics = shown_after(scenario())
    text, openmetrics = (metrics.render(openmetrics=asked).decode() for asked in (False, True))
    assert ["# EOF"] == [line for line in openmetrics.splitlines() if line.startswith("# EOF")]
    assert openmetrics.endswith("\n# EOF\n")
    assert "# EOF" not in text
    ours = [
        [sample for family in parse(page) for sample in family.samples if sample.name.startswith(PREFIX)]
        for parse, page in ((parse_text, text), (parse_openmetrics, openmetrics))
    ]
    assert ours[0] == ours[1]
    assert len(ours[0]) == len({(sample.name, *sorted(sample.labels.items())) for sample in ours[0]})


def test_the_page_says_which_format_it_is() -> None:
    """The media types are those of the formats."""
    assert "text/plain; version=0.0.4; charset=utf-8" == Metrics.content_type(openmetrics=False)
    assert "application/openmetrics-text; version=1.0.0; charset=utf-8" == Metrics.content_type(openmetrics=True)


def test_no_address_and_no_secret_is_on_the_page() -> None:
    """Mailboxes stand there by their ids, and there is no moment of creation of any series."""
    page = shown_after(scenario()).render(openmetrics=True).decode()
    assert 'mailbox="billing"' in page
    assert [] == [word for word in ("@", "contoso.example", "planted-secret", "_created") if word in page]


async def test_the_event_loop_is_named() -> None:
    """Inside of a loop the build says whose it is."""
    assert [1.0] == values(following("billing"), "build_info", loop="asyncio")


# Events.


def test_a_run_that_passes() -> None:
    """It counts, and shows its outcome, its moment and its times."""
    metrics = shown_after([ran("smtp_auth/billing")])
    mine = {"check": "smtp_auth", "mailbox": "billing", "credential": "current", "tenant": "contoso"}
    expected = {
        "runs_total": [1.0],
        "run_failures_total": [0.0],
        "last_run_success": [1.0],
        "last_run_timestamp_seconds": [T0.timestamp()],
        "last_success_timestamp_seconds": [T0.timestamp()],
        "last_run_duration_seconds": [2.0],
        "last_run_phase_duration_seconds": [0.5] * 10,
        "watch_firing": [0.0],
        "watch_failing": [],
    }
    assert expected == {name: values(metrics, name, **mine) for name in expected}


def test_a_watch_aimed_at_a_credential_has_no_mailbox() -> None:
    """Its label is empty; what it measures belongs to the credential."""
    metrics = shown_after([ran("token/billing-app/current")])
    assert [1.0] == values(metrics, "runs_total", check="token", mailbox="")
    assert [3599.0] == values(metrics, "token_expires_in_seconds", app="billing-app", credential="current")
    assert [-1.5] == values(metrics, "clock_skew_seconds", app="billing-app", credential="current")


def test_a_run_that_fails_and_one_that_passes_again() -> None:
    """What fails says where and why, once; when the watch is ok again that is gone, and the counters stay."""
    metrics = shown_after([ran("smtp_auth/billing"), ran("smtp_auth/billing", FINDING, status=Status.FIRING)])
    assert [1.0] == values(metrics, "watch_failing", phase="auth", cause="auth_rejected", mailbox="billing")
    assert [1.0] == values(metrics, "watch_firing", check="smtp_auth")
    assert [0.0] == values(metrics, "last_run_success", check="smtp_auth")
    assert [T0.timestamp()] == values(metrics, "last_success_timestamp_seconds")
    metrics.accept(ran("smtp_auth/billing", at=T0 + timedelta(minutes=5)))
    assert [] == values(metrics, "watch_failing")
    assert [0.0] == values(metrics, "watch_firing", check="smtp_auth")
    assert [1.0] == values(metrics, "run_failures_total", check="smtp_auth")
    assert [1.0] == values(metrics, "findings_total", app="billing-app", phase="auth", cause="auth_rejected")
    assert [(T0 + timedelta(minutes=5)).timestamp()] == values(metrics, "last_success_timestamp_seconds")


@pytest.mark.parametrize(
    ("level", "success", "failures", "failing"),
    [
        (Level.INFO, 1.0, 0.0, []),
        (Level.WARN, 0.0, 0.0, [1.0]),
        (Level.THROTTLED, 0.0, 0.0, []),
        (Level.UNKNOWN, 0.0, 0.0, []),
        (Level.FAIL, 0.0, 1.0, [1.0]),
    ],
)
def test_what_counts_as_success_and_as_failure(
    level: Level, success: float, failures: float, failing: list[float]
) -> None:
    """Only info is a success, only fail a failure, only warn and fail name a cause; all of them are findings."""
    metrics = shown_after([ran("smtp_auth/billing", replace(FINDING, level=level))])
    assert [success] == values(metrics, "last_run_success", check="smtp_auth")
    assert [failures] == values(metrics, "run_failures_total", check="smtp_auth")
    assert failing == values(metrics, "watch_failing")
    assert [1.0] == values(metrics, "findings_total")


def test_only_the_phases_of_the_last_run_are_shown() -> None:
    """A run that ended early leaves no times of the one before it; two turns of a phase are one sum."""
    early = ran("smtp_auth/billing", phases=[Phase.RESOLVE, Phase.CONNECT, Phase.RESOLVE])
    metrics = shown_after([ran("smtp_auth/billing"), early])
    shown = families(metrics)[f"{PREFIX}last_run_phase_duration_seconds"].samples
    assert {"resolve": 1.0, "connect": 0.5} == {sample.labels["phase"]: sample.value for sample in shown}
    of_resolve = [
        (sample.labels.get("le"), sample.value)
        for sample in families(metrics)[f"{PREFIX}phase_duration_seconds"].samples
        if sample.labels["phase"] == "resolve" and sample.labels.get("le", "0.5") in {"0.5", "1.0"}
    ]
    assert [("0.5", 1.0), ("1.0", 2.0), (None, 2.0), (None, 1.5)] == of_resolve


def test_a_run_of_a_watch_that_is_gone_is_not_shown() -> None:
    """A result that was under way during a reload makes no series."""
    metrics = following("billing")
    before = metrics.render(openmetrics=False).splitlines()
    metrics.accept(ran("smtp_auth/other"))
    assert len(before) == len(metrics.render(openmetrics=False).splitlines())


def test_canaries_are_counted_where_they_are_sent() -> None:
    """A mailbox with a canary watch starts at 0 and counts what the server accepted; no other mailbox is there."""
    metrics = following("billing", "orders")
    metrics.accept(ran("canary/billing"))
    metrics.accept(ran("canary/billing"))
    assert [2.0, 0.0] == values(metrics, "canaries_sent_total", app="billing-app")
    assert [0.0] == values(metrics, "canaries_sent_total", mailbox="orders")
    watches = plan("billing").watches
    metrics.follow(Plan.of(watches[name] for name in ("token/billing-app/current", "smtp_auth/billing")))
    assert [] == values(metrics, "canaries_sent_total")


def test_skipped_runs_are_counted_by_their_reason() -> None:
    """Every reason is there from the start."""
    metrics = shown_after([Skipped(at=T0, watch="canary/billing", reason=SkipReason.BACKED_OFF)])
    shown = families(metrics)[f"{PREFIX}runs_skipped_total"].samples
    assert {"still_running": 0.0, "backed_off": 1.0, "stopping": 0.0} == {
        sample.labels["reason"]: sample.value for sample in shown
    }


def test_open_incidents_are_counted_by_their_severity() -> None:
    """One that opens counts once, one that worsens moves, one that closes is gone."""
    worse = replace(INCIDENT, severity=Severity.CRITICAL)
    closed = replace(worse, state=IncidentState.CLOSED, closed_at=T0)
    metrics = following("billing")
    seen = []
    for before, after in ((None, INCIDENT), (INCIDENT, worse), (worse, closed), (None, replace(closed, id="i2"))):
        metrics.accept(IncidentChanged(at=T0, before=before, after=after))
        seen.append(values(metrics, "incidents_open"))
    assert [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]] == seen
    assert [0.0, 1.0, 1.0] == values(metrics, "incidents_opened_total")


def test_a_restart_knows_what_is_open_and_where_watches_stand() -> None:
    """What the store remembers is shown before anything ran; it opens nothing anew and counts no run."""
    failing = ran("canary/billing", FINDING, status=Status.FIRING).change.after
    failing = replace(failing, last_pass_at=T0 - timedelta(hours=1))
    metrics = following("billing")
    for _ in range(2):
        gone = WatchState(watch="gone/elsewhere", since=T0, last_seen_at=T0)
        metrics.accept(Restored(at=T0, states=(failing, gone), incidents=(INCIDENT,)))
    assert [0.0, 1.0, 0.0] == values(metrics, "incidents_open")
    assert [0.0, 0.0, 0.0] == values(metrics, "incidents_opened_total")
    canary = {"check": "canary", "mailbox": "billing"}
    expected = {
        "watch_firing": [1.0],
        "watch_failing": [1.0],
        "last_run_success": [0.0],
        "last_run_timestamp_seconds": [T0.timestamp()],
        "last_success_timestamp_seconds": [(T0 - timedelta(hours=1)).timestamp()],
        "last_run_duration_seconds": [],
        "runs_total": [0.0],
    }
    assert expected == {name: values(metrics, name, **canary) for name in expected}
    metrics.accept(Restored(at=T0, states=(), incidents=()))
    assert [0.0, 0.0, 0.0] == values(metrics, "incidents_open")


def test_attempts_to_deliver_are_counted_by_channel() -> None:
    """An attempt that is the last one failed too."""
    deliveries = (Delivery.DELIVERED, Delivery.FAILED, Delivery.GIVEN_UP)
    metrics = shown_after(NoticeDelivered(at=T0, notice=NOTICE, delivery=delivery) for delivery in deliveries)
    names = ("notices_delivered_total", "notice_failures_total", "notices_given_up_total")
    assert [[1.0], [2.0], [1.0]] == [values(metrics, name, channel="chat") for name in names]


def test_channels_come_and_go() -> None:
    """A new one starts at 0, one that stays keeps its count, one that is gone is shown no more."""
    metrics = shown_after([NoticeDelivered(at=T0, notice=NOTICE, delivery=Delivery.DELIVERED)])
    metrics.channels(["pager", "chat"])
    assert [1.0, 0.0] == values(metrics, "notices_delivered_total")
    metrics.channels(["pager"])
    assert [0.0] == values(metrics, "notices_delivered_total")


def test_a_configuration_that_is_not_taken_is_seen() -> None:
    """The moment is that of the last one that was taken."""
    metrics = shown_after([Reloaded(at=T0, watches=3)])
    assert [1.0] == values(metrics, "config_last_reload_successful")
    metrics.accept(Reloaded(at=T0 + timedelta(hours=1), watches=3, errors=("mailcanary.yaml:3: no",)))
    assert [0.0] == values(metrics, "config_last_reload_successful")
    assert [T0.timestamp()] == values(metrics, "config_last_reload_success_timestamp_seconds")


def test_the_daemon_shows_how_it_is() -> None:
    """A beat sets the gauges and the count of defects; commits and the loop's lag are distributions."""
    metrics = shown_after([BEAT, BEAT, Stored(at=T0, seconds=0.002, error="disk full"), Stored(at=T0, seconds=0.1)])
    names = ("runs_busy", "results_queued", "notices_waiting", "defects_total", "store_commit_failures_total")
    assert [[3.0], [2.0], [1.0], [5.0], [1.0]] == [values(metrics, name) for name in names]
    samples = [*families(metrics)[f"{PREFIX}loop_lag_seconds"].samples]
    samples += families(metrics)[f"{PREFIX}store_commit_duration_seconds"].samples
    sums = {sample.name.removeprefix(PREFIX): sample.value for sample in samples if "le" not in sample.labels}
    assert {
        "loop_lag_seconds_count": 2.0,
        "loop_lag_seconds_sum": 0.008,
        "store_commit_duration_seconds_count": 2.0,
        "store_commit_duration_seconds_sum": 0.102,
    } == {name: round(value, 9) for name, value in sums.items()}


# Reloads.


def test_a_mailbox_that_is_gone_vanishes_and_the_others_stay() -> None:
    """Not a line is left of it, and what the others show is what they showed."""
    runs = [ran(f"{check}/{name}", FINDING) for name in ("billing", "orders") for check in ("smtp_auth", "canary")]
    metrics = shown_after(runs, "billing", "orders")
    before = metrics.render(openmetrics=False).decode().splitlines()
    metrics.follow(plan("billing"))
    after = metrics.render(openmetrics=False).decode().splitlines()
    assert [] == [line for line in after if "orders" in line]
    mine = [[line for line in lines if 'mailbox="billing"' in line] for lines in (before, after)]
    assert mine[0] == mine[1]
    assert [1.0, 1.0, 1.0] == values(metrics, "watches")
    assert [4.0] == [sum(values(metrics, "findings_total"))]


def test_a_mailbox_that_changes_its_credential_starts_anew() -> None:
    """Its series are others: those with the old credential vanish."""
    metrics = shown_after([ran("smtp_auth/billing"), ran("canary/billing"), ran("token/billing-app/current")])
    metrics.follow(plan("billing", credential=replace(CREDENTIAL, name="next")))
    assert [] == values(metrics, "runs_total", credential="current")
    assert [0.0] == values(metrics, "runs_total", credential="next", check="smtp_auth")
    assert [] == values(metrics, "token_expires_in_seconds")
    assert [1.0] == values(metrics, "canaries_sent_total", mailbox="billing")


def test_a_tenant_that_is_gone_takes_all_its_series_along() -> None:
    """Distributions and findings too; what happens after it came back is counted from zero."""
    events = [ran("smtp_auth/billing", FINDING)]
    metrics = shown_after(events)
    metrics.follow(Plan())
    page = metrics.render(openmetrics=False).decode()
    assert "contoso" not in page
    metrics.follow(plan("billing"))
    metrics.accept(ran("smtp_auth/billing", FINDING))
    assert shown_after(events).render(openmetrics=False).split(b"process_")[0].splitlines() == (
        metrics.render(openmetrics=False).split(b"process_")[0].splitlines()
    )


def test_following_the_same_plan_changes_nothing() -> None:
    """A reload that brings nothing new is not seen on the page."""
    metrics = shown_after(scenario())
    pages = []
    for _ in range(2):
        pages.append(metrics.render(openmetrics=True).split(b"# HELP process_")[0])
        metrics.follow(plan("billing"))
    assert pages[0] == pages[1]


def test_owners_are_labelled_alike_everywhere() -> None:
    """What two metrics have in common is labelled by the same words, so that they can be joined."""
    assert set(Per) == OWNER_LABELS.keys()
    assert {*OWNER_LABELS[Per.CANARY], *OWNER_LABELS[Per.CREDENTIAL], *OWNER_LABELS[Per.APP]} == {
        *OWNER_LABELS[Per.WATCH]
    }
