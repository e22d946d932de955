"""The sink that keeps what Prometheus scrapes: every event in, one page out.

The table (`metric_table.py`) says which metrics there are, the plan says whose: `follow` makes both meet. Nothing is
looked up when a scrape comes; what an event changes is formatted at once. Only the metrics of the process come from the
client library. Histograms do not: formatting those of one tenant costs the library 3 ms at every scrape.

A mailbox stands in a label by its id. Its address is a type that no code here opens.
"""

from __future__ import annotations

import asyncio
import platform
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics_exposition

from checks.core.model import Level, Outcome, Phase, Result, Sent
from monitor.model import (
    Beat,
    Canary,
    CanarySettled,
    Delivery,
    Event,
    IncidentChanged,
    IncidentState,
    NoticeDelivered,
    Ran,
    Reloaded,
    Restored,
    Severity,
    Skipped,
    Stored,
    WatchState,
)
from monitor.plan import DELIVERY, Plan, Watch, watch_id
from monitor.sinks.exposition import Distribution, Family, Histogram, Key, Plain, Spread
from monitor.sinks.metric_table import CLOSED, PREFIX, TABLE, Kind, Metric, Per
from monitor.version import VERSION

_GOOD = frozenset({Outcome.PASS, Outcome.INFO})
_BAD = frozenset({Level.WARN, Level.FAIL})
_CANARY = "canary"
# Measures of a run, and the metrics that show them.
_SHOWN_MEASURES = {
    "expires_in_seconds": "token_expires_in_seconds",
    "clock_skew_seconds": "clock_skew_seconds",
    "refresh_token_age_seconds": "refresh_token_age_seconds",
    "certificate_not_after_timestamp_seconds": "certificate_not_after_timestamp_seconds",
}


@dataclass(slots=True, kw_only=True)
class _Owners:
    """The keys that a watch shows itself under, and the histograms it adds to."""

    watch: Key
    app: Key
    tenant: Key
    credential: Key | None
    endpoint: Key | None
    mailbox: Key
    run: Distribution
    phases: dict[Phase, Distribution] = field(default_factory=dict)


class Metrics:
    """Takes events and renders the exposition. `follow` before the first event; all calls from one thread."""

    lost = 0  # it writes no lines

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self._plain: dict[str, Plain] = {}
        self._spread: dict[str, Spread] = {}
        self._histograms: dict[str, Histogram] = {}
        for metric in TABLE:
            self._add(metric)
        self._watches: dict[str, _Owners] = {}
        self._open: dict[str, Severity] = {}
        self._lag = self._histograms["loop_lag_seconds"].of(())
        self._commit = self._histograms["store_commit_duration_seconds"].of(())
        self._process = CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._own(Per.DAEMON, {()})

    def _add(self, metric: Metric) -> None:
        name = metric.name.removeprefix(PREFIX)
        family: Family
        if metric.kind is Kind.HISTOGRAM:
            family = self._histograms[name] = Histogram(metric)
        elif metric.kind is Kind.GAUGE and not CLOSED.keys() >= set(metric.extra):
            family = self._spread[name] = Spread(metric)
        else:
            family = self._plain[name] = Plain(metric)
        self._families[name] = family

    def _own(self, per: Per, owners: Iterable[Key]) -> None:
        """Make these the owners there are: new ones start, those that stay keep what they show, the others vanish."""
        ordered = dict.fromkeys(owners)
        for family in self._families.values():
            if family.metric.per is per:
                family.keep(ordered.keys())
                for owner in ordered:
                    family.start(owner)

    def follow(self, plan: Plan) -> None:
        """Show the watches of this plan, at the start and after a reload."""
        watches = plan.watches.values()
        self._spread["build_info"].show((), [((VERSION, platform.python_version(), _loop()), 1.0)])
        self._own(Per.TENANT, [(watch.check, watch.target.names.get("tenant", "")) for watch in watches])
        self._watches = {watch.id: self._owners(watch) for watch in watches}
        owners = self._watches.values()
        self._own(Per.WATCH, [owner.watch for owner in owners])
        self._own(Per.APP, [owner.app for owner in owners])
        self._own(Per.CREDENTIAL, [owner.credential for owner in owners if owner.credential is not None])
        self._own(Per.ENDPOINT, [owner.endpoint for owner in owners if owner.endpoint is not None])
        self._own(Per.DELIVERY, [owner.mailbox[:2] for owner in owners if owner.watch[0] == DELIVERY])
        self._own(Per.CANARY, [owner.mailbox for owner in owners if owner.watch[0] == _CANARY])
        checks = Counter((watch.check,) for watch in watches)
        self._own(Per.CHECK, checks)
        for check, count in checks.items():
            self._plain["watches"].set(check, count)

    def _owners(self, watch: Watch) -> _Owners:
        named = watch.target.names
        tenant, app, mailbox = (named.get(kind, "") for kind in ("tenant", "app", "mailbox"))
        credential = watch.target.credential
        place = credential.name if credential else ""
        return _Owners(
            watch=(watch.check, tenant, app, place, mailbox, named.get("inbox", ""), named.get("endpoint", "")),
            app=(watch.check, tenant, app),
            tenant=(watch.check, tenant),
            credential=(tenant, app, place) if credential else None,
            endpoint=(named["endpoint"],) if "endpoint" in named else None,
            mailbox=(tenant, app, mailbox),
            run=self._histograms["run_duration_seconds"].of((watch.check, tenant)),
        )

    def channels(self, names: Iterable[str]) -> None:
        """Show these channels, at the start and after a reload."""
        self._own(Per.CHANNEL, [(name,) for name in names])

    def _restored(self, event: Restored) -> None:
        """Show what an earlier life left: the incidents that are open, and where the watches of the plan stand."""
        for known in tuple(self._open):
            self._move_incident(known, None)
        for incident in event.incidents:
            self._move_incident(incident.id, incident.severity)
        for state in event.states:
            if (owners := self._watches.get(state.watch)) is not None and state.last_seen_at is not None:
                self._show_state(owners.watch, state, state.last_seen_at.timestamp())

    def accept(self, event: Event) -> None:
        """Take note of one event."""
        match event:
            case Ran():
                self._ran(event)
            case Skipped():
                self._plain["runs_skipped_total"].inc((event.reason.value,))
            case IncidentChanged():
                self._incident_changed(event)
            case CanarySettled():
                self._canary_settled(event.canary)
            case NoticeDelivered():
                self._notice_delivered(event)
            case Reloaded():
                self._reloaded(event)
            case Restored():
                self._restored(event)
            case Stored():
                self._stored(event)
            case Beat():
                self._beat(event)
            case _:
                assert_never(event)

    def _ran(self, event: Ran) -> None:
        result, plain = event.result, self._plain
        owners = self._watches.get(result.watch)
        if owners is None:
            return
        watch = owners.watch
        plain["runs_total"].inc(watch)
        if event.change.after.outcome is Outcome.FAIL:
            plain["run_failures_total"].inc(watch)
        self._show_state(watch, event.change.after, event.at.timestamp())
        self._show_times(owners, result)
        if result.findings:
            findings = plain["findings_total"]
            for finding in result.findings:
                findings.inc((*owners.app, finding.evidence.phase.value, finding.cause))
        self._show_measures(owners, result.measures)
        for fact in result.facts:
            if isinstance(fact, Sent):
                plain["canaries_sent_total"].inc(owners.mailbox)

    def _show_state(self, watch: Key, state: WatchState, at: float) -> None:
        plain, finding = self._plain, state.finding
        plain["last_run_success"].set(watch, 1.0 if state.outcome in _GOOD else 0.0)
        plain["last_run_timestamp_seconds"].set(watch, at)
        if state.last_pass_at is not None:
            plain["last_success_timestamp_seconds"].set(watch, state.last_pass_at.timestamp())
        plain["watch_firing"].set(watch, 1.0 if state.broken else 0.0)
        if finding is not None and finding.level in _BAD:
            self._spread["watch_failing"].show(watch, [((finding.evidence.phase.value, finding.cause), 1.0)])
        else:
            self._spread["watch_failing"].hide(watch)

    def _show_times(self, owners: _Owners, result: Result) -> None:
        if not result.phases:  # derived: nothing ran
            return
        self._plain["last_run_duration_seconds"].set(owners.watch, result.seconds)
        owners.run.observe(result.seconds)
        # A phase may have several turns in one run: a name is resolved for the authority and for the mail server.
        times: dict[Phase, float] = {}
        for turn in result.phases:
            times[turn.phase] = times.get(turn.phase, 0.0) + turn.seconds
        for phase, seconds in times.items():
            known = owners.phases.get(phase)
            if known is None:
                known = self._histograms["phase_duration_seconds"].of((*owners.tenant, phase.value))
                owners.phases[phase] = known
            known.observe(seconds)
        spread = self._spread["last_run_phase_duration_seconds"]
        spread.show(owners.watch, [((phase,), seconds) for phase, seconds in times.items()])

    def _show_measures(self, owners: _Owners, measures: Mapping[str, float]) -> None:
        for measure, value in measures.items():
            shown = _SHOWN_MEASURES.get(measure)
            if shown is not None:
                key = owners.credential if self._plain[shown].metric.per is Per.CREDENTIAL else owners.endpoint
                if key is not None:
                    self._plain[shown].set(key, value)

    def _canary_settled(self, canary: Canary) -> None:
        owners = self._watches.get(watch_id(DELIVERY, canary.mailbox))
        if owners is None:
            return
        self._plain["canaries_settled_total"].inc((*owners.mailbox, canary.fate.value))
        if canary.delay is not None:
            self._histograms["canary_delay_seconds"].of(owners.mailbox[:2]).observe(canary.delay)

    def _incident_changed(self, event: IncidentChanged) -> None:
        incident = event.after
        if event.before is None:
            self._plain["incidents_opened_total"].inc((incident.severity.value,))
        self._move_incident(incident.id, None if incident.state is IncidentState.CLOSED else incident.severity)

    def _move_incident(self, incident: str, severity: Severity | None) -> None:
        """Count an incident where it belongs now and no more where it belonged; None: nowhere, it is closed."""
        gauge = self._plain["incidents_open"]
        before = self._open.pop(incident, None)
        if before is not None:
            gauge.inc((before.value,), -1.0)
        if severity is not None:
            self._open[incident] = severity
            gauge.inc((severity.value,))

    def _notice_delivered(self, event: NoticeDelivered) -> None:
        channel = (event.notice.channel,)
        if event.delivery is Delivery.DELIVERED:
            self._plain["notices_delivered_total"].inc(channel)
            return
        self._plain["notice_failures_total"].inc(channel)
        if event.delivery is Delivery.GIVEN_UP:
            self._plain["notices_given_up_total"].inc(channel)

    def _stored(self, event: Stored) -> None:
        self._commit.observe(event.seconds)
        if event.error:
            self._plain["store_commit_failures_total"].inc(())

    def _reloaded(self, event: Reloaded) -> None:
        self._plain["config_last_reload_successful"].set((), 0.0 if event.errors else 1.0)
        if not event.errors:
            self._plain["config_last_reload_success_timestamp_seconds"].set((), event.at.timestamp())
            self._plain["config_rows_left_out"].set((), len(event.warnings))

    def _beat(self, event: Beat) -> None:
        plain = self._plain
        plain["runs_busy"].set((), event.busy)
        plain["results_queued"].set((), event.queued)
        plain["notices_waiting"].set((), event.waiting)
        plain["defects_total"].set((), event.defects)
        plain["log_lines_lost_total"].set((), event.lost)
        self._lag.observe(event.lag)

    def render(self, openmetrics: bool) -> bytes:  # noqa: FBT001 - one of two formats, as the scraper asked
        """The whole page. The library's part comes last, because it writes OpenMetrics' `# EOF`."""
        parts: list[bytes] = []
        for family in self._families.values():
            parts += family.parts(openmetrics=openmetrics)
        library = openmetrics_exposition.generate_latest if openmetrics else generate_latest
        parts.append(library(self._process))
        return b"".join(parts)

    @staticmethod
    def content_type(openmetrics: bool) -> str:  # noqa: FBT001 - as `render`
        """The media type of what `render` gives."""
        return openmetrics_exposition.CONTENT_TYPE_LATEST if openmetrics else CONTENT_TYPE_PLAIN_0_0_4


def _loop() -> str:
    """The library whose event loop runs this: asyncio or uvloop; empty outside of one."""
    try:
        return type(asyncio.get_running_loop()).__module__.partition(".")[0]
    except RuntimeError:
        return ""
