"""Metrics as a scraper sees them, and the events that make them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from prometheus_client import Metric as LibraryMetric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from checks.core.cloud import Family
from checks.core.model import Finding, Outcome, Phase, PhaseTime, Protocol, Result, Sent
from checks.core.target import Credential, Route
from monitor.model import (
    Beat,
    Canary,
    CanarySettled,
    Delivery,
    Event,
    Fate,
    IncidentChanged,
    NoticeDelivered,
    Ran,
    Reloaded,
    Restored,
    Skipped,
    SkipReason,
    Status,
    Stored,
    WatchState,
)
from monitor.plan import Plan
from monitor.sinks.metric_table import PREFIX
from monitor.sinks.metrics import Metrics
from tests.unit.world import CLOUD, CREDENTIAL, DISABLED, INCIDENT, NOTICE, T0, judged, mailbox, watch

TEN_PHASES = tuple(Phase)[:10]
ROUTE = Route(protocol=Protocol.SMTP, endpoint=CLOUD.smtp, family=Family.IPV4)
MEASURES = {
    "token": {"expires_in_seconds": 3599.0, "clock_skew_seconds": -1.5, "refresh_token_age_seconds": 86400.0},
    "endpoint": {"certificate_days_left": 80.0, "certificate_not_after_timestamp_seconds": T0.timestamp() + 80 * 86400},
}
ARRIVED = Canary(
    id="c1", mailbox="billing", inbox="inbox", sent_at=T0, fate=Fate.DELIVERED, arrived_at=T0 + timedelta(seconds=7)
)
BEAT = Beat(at=T0, busy=3, queued=2, waiting=1, lag=0.004, defects=5, lost=7)


def plan(*mailboxes: str, credential: Credential = CREDENTIAL, whole: bool = False) -> Plan:
    """A token watch, on each mailbox `smtp_auth` and `canary`; and, of the whole, what becomes of canaries, an endpoint."""
    targets = [mailbox(name, credential) for name in mailboxes]
    checks = ("smtp_auth", "canary", *(("delivery",) if whole else ()))
    endpoints = [watch("endpoint", ROUTE)] if whole else []
    watches = (watch(check, target) for target in targets for check in checks)
    return Plan.of([watch("token", credential), *endpoints, *watches])


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
        measures=MEASURES.get(check, {}),
        facts=(Sent(canary_id="c1", mailbox=target, recipients=1, reply="250 OK", at=T0),) if check == "canary" else (),
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
    return judged(result, before, after)


def scenario() -> list[Event]:
    """Something of everything."""
    return [
        Restored(at=T0, states=(), incidents=()),
        Reloaded(at=T0, watches=3, added=3),
        ran("token/billing-mailer/current"),
        ran("canary/billing"),
        ran("smtp_auth/billing"),
        ran("smtp_auth/billing", DISABLED, status=Status.FIRING),
        Skipped(at=T0, watch="canary/billing", reason=SkipReason.STILL_RUNNING),
        ran("delivery/billing", phases=()),
        ran(f"endpoint/{ROUTE.id}"),
        ran(f"endpoint/{ROUTE.id}", DISABLED, status=Status.FIRING),
        CanarySettled(at=T0, canary=ARRIVED),
        IncidentChanged(at=T0, before=None, after=INCIDENT),
        NoticeDelivered(at=T0, notice=NOTICE, delivery=Delivery.DELIVERED),
        NoticeDelivered(at=T0, notice=NOTICE, delivery=Delivery.FAILED, error="refused"),
        NoticeDelivered(at=T0, notice=NOTICE, delivery=Delivery.GIVEN_UP, error="refused"),
        Stored(at=T0, seconds=0.002),
        Stored(at=T0, seconds=0.002, error="disk full"),
        BEAT,
    ]


def shown_after(events: Iterable[Event], *mailboxes: str, whole: bool = False) -> Metrics:
    """Metrics that were shown these events."""
    metrics = following(*(mailboxes or ("billing",)))
    if whole:
        metrics.follow(plan(*(mailboxes or ("billing",)), whole=True))
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
