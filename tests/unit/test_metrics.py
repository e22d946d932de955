"""What events and reloads make of the metrics that Prometheus is shown."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from checks.core.model import Level, Phase
from monitor.model import (
    Delivery,
    IncidentChanged,
    IncidentState,
    NoticeDelivered,
    Reloaded,
    Restored,
    Severity,
    Skipped,
    SkipReason,
    Status,
    Stored,
    WatchState,
)
from monitor.plan import Plan
from monitor.sinks.metric_table import OWNER_LABELS, PREFIX, Per
from tests.unit.scraped import BEAT, families, following, plan, ran, scenario, shown_after, values
from tests.unit.world import CREDENTIAL, DISABLED, INCIDENT, NOTICE, T0

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
    """It has no such label; what it measures belongs to the credential."""
    metrics = shown_after([ran("token/billing-mailer/current")])
    assert [1.0] == values(metrics, "runs_total", check="token", credential="current")
    assert [] == values(metrics, "runs_total", check="token", mailbox="billing")
    assert [3599.0] == values(metrics, "token_expires_in_seconds", app="billing-mailer", credential="current")
    assert [-1.5] == values(metrics, "clock_skew_seconds", app="billing-mailer", credential="current")


def test_a_run_that_fails_and_one_that_passes_again() -> None:
    """What fails says where and why, once; when the watch is ok again that is gone, and the counters stay."""
    metrics = shown_after([ran("smtp_auth/billing"), ran("smtp_auth/billing", DISABLED, status=Status.FIRING)])
    assert [1.0] == values(metrics, "watch_failing", phase="auth", cause=DISABLED.cause, mailbox="billing")
    assert [1.0] == values(metrics, "watch_firing", check="smtp_auth")
    assert [0.0] == values(metrics, "last_run_success", check="smtp_auth")
    assert [T0.timestamp()] == values(metrics, "last_success_timestamp_seconds")
    metrics.accept(ran("smtp_auth/billing", at=T0 + timedelta(minutes=5)))
    assert [] == values(metrics, "watch_failing")
    assert [0.0] == values(metrics, "watch_firing", check="smtp_auth")
    assert [1.0] == values(metrics, "run_failures_total", check="smtp_auth")
    assert [1.0] == values(metrics, "findings_total", app="billing-mailer", phase="auth", cause=DISABLED.cause)
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
    metrics = shown_after([ran("smtp_auth/billing", replace(DISABLED, level=level))])
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
    assert [2.0, 0.0] == values(metrics, "canaries_sent_total", app="billing-mailer")
    assert [0.0] == values(metrics, "canaries_sent_total", mailbox="orders")
    watches = plan("billing").watches
    metrics.follow(Plan.of(watches[name] for name in ("token/billing-mailer/current", "smtp_auth/billing")))
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
    failing = ran("canary/billing", DISABLED, status=Status.FIRING).change.after
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
    """A beat sets the gauges and what is counted elsewhere; commits and the loop's lag are distributions."""
    metrics = shown_after([BEAT, BEAT, Stored(at=T0, seconds=0.002, error="disk full"), Stored(at=T0, seconds=0.1)])
    names = ("runs_busy", "results_queued", "notices_waiting", "defects_total", "log_lines_lost_total")
    assert [[3.0], [2.0], [1.0], [5.0], [7.0]] == [values(metrics, name) for name in names]
    assert [1.0] == values(metrics, "store_commit_failures_total")
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
    runs = [ran(f"{check}/{name}", DISABLED) for name in ("billing", "orders") for check in ("smtp_auth", "canary")]
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
    metrics = shown_after([ran("smtp_auth/billing"), ran("canary/billing"), ran("token/billing-mailer/current")])
    metrics.follow(plan("billing", credential=replace(CREDENTIAL, name="next")))
    assert [] == values(metrics, "runs_total", credential="current")
    assert [0.0] == values(metrics, "runs_total", credential="next", check="smtp_auth")
    assert [] == values(metrics, "token_expires_in_seconds")
    assert [1.0] == values(metrics, "canaries_sent_total", mailbox="billing")


def test_a_tenant_that_is_gone_takes_all_its_series_along() -> None:
    """Distributions and findings too; what happens after it came back is counted from zero."""
    events = [ran("smtp_auth/billing", DISABLED)]
    metrics = shown_after(events)
    metrics.follow(Plan())
    page = metrics.render(openmetrics=False).decode()
    assert "contoso" not in page
    metrics.follow(plan("billing"))
    metrics.accept(ran("smtp_auth/billing", DISABLED))
    assert shown_after(events).render(openmetrics=False).split(b"process_")[0].splitlines() == (
        metrics.render(openmetrics=False).split(b"process_")[0].splitlines()
    )


def test_following_the_same_plan_changes_nothing() -> None:
    """A reload that brings nothing new is not seen on the page."""
    metrics = shown_after(scenario(), whole=True)
    pages = []
    for _ in range(2):
        pages.append(metrics.render(openmetrics=True).split(b"# HELP process_")[0])
        metrics.follow(plan("billing", whole=True))
    assert pages[0] == pages[1]


def test_owners_are_labelled_alike_everywhere() -> None:
    """What two metrics have in common is labelled by the same words, so that they can be joined."""
    assert set(Per) == OWNER_LABELS.keys()
    others = {*OWNER_LABELS[Per.CANARY], *OWNER_LABELS[Per.CREDENTIAL], *OWNER_LABELS[Per.APP]}
    assert others | {"inbox", "endpoint"} == {*OWNER_LABELS[Per.WATCH]}
