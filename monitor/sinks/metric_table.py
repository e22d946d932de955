"""The table of metrics: what mailcanary shows to Prometheus. Exposition, document and tests follow from it.

Rules of the table. Names follow Prometheus ("Metric and label naming"): counters end in `_total`, base units end the
name, moments are `_timestamp_seconds`. Every label is bounded: by the configuration (`check` to `mailbox`, `channel`), by
a closed list of the code (`phase`, `severity`, `reason`) or by the table of causes. A mailbox stands there by its id,
never by its address. No histogram has a label `mailbox`: sixteen series for each mailbox and phase would be millions.

A metric belongs to owners (`per`): it has its series as long as the owner is in the plan, and they vanish with it. One
without a word on when it appears is there from the start, with zero, so that `rate` sees its first event.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from math import prod
from types import MappingProxyType

from monitor.model import Fate, Severity, SkipReason

PREFIX = "mailcanary_"


class Kind(StrEnum):
    """The types of Prometheus that are used."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Per(StrEnum):
    """What a metric has its series for."""

    DAEMON = "daemon"
    CHANNEL = "channel"
    CHECK = "check"
    TENANT = "tenant and check"
    APP = "app and check"
    CREDENTIAL = "credential"
    ENDPOINT = "way to an endpoint"
    CANARY = "mailbox that sends canaries"
    DELIVERY = "app whose canaries are looked for"
    WATCH = "watch"


OWNER_LABELS: Mapping[Per, tuple[str, ...]] = MappingProxyType(
    {
        Per.DAEMON: (),
        Per.CHANNEL: ("channel",),
        Per.CHECK: ("check",),
        Per.TENANT: ("check", "tenant"),
        Per.APP: ("check", "tenant", "app"),
        Per.CREDENTIAL: ("tenant", "app", "credential"),
        Per.ENDPOINT: ("endpoint",),
        Per.CANARY: ("tenant", "app", "mailbox"),
        Per.DELIVERY: ("tenant", "app"),
        Per.WATCH: ("check", "tenant", "app", "credential", "mailbox", "inbox", "endpoint"),
    }
)

# Labels beside the owner's whose every value is known beforehand.
CLOSED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "severity": tuple(severity.value for severity in Severity),
        "fate": tuple(fate.value for fate in Fate if fate.told),
        "reason": tuple(reason.value for reason in SkipReason),
    }
)

# From the 5 ms of a step inside one network to the longest time limit that a check has by default (canary, 60 s).
RUN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# From a delivery inside one server to the hour after which a canary is lost by default.
DELAY_BUCKETS = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
# From a commit that only reaches memory to a disk, or a loop, that has all but stopped.
OWN_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One row. `extra`: labels beside the owner's. `appears`: when its series come, if not at the start with zero."""

    name: str
    kind: Kind
    per: Per
    help: str
    extra: tuple[str, ...] = ()
    unit: str = ""
    appears: str = ""
    buckets: tuple[float, ...] = ()
    since: str = "0.1.0"

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels, those of the owner first."""
        return OWNER_LABELS[self.per] + self.extra

    @property
    def at_start(self) -> tuple[tuple[str, ...], ...]:
        """The values of `extra` with which an owner starts, each at zero."""
        return () if self.appears else tuple(product(*(CLOSED[label] for label in self.extra)))

    @property
    def countable(self) -> bool:
        """Whether an owner's number of series is known beforehand. What the daemon says of itself is one series."""
        return self.per is Per.DAEMON or CLOSED.keys() >= set(self.extra)

    @property
    def samples(self) -> int:
        """How many lines one series is in the exposition: a histogram has its buckets, +Inf, sum and count."""
        return len(self.buckets) + 3 if self.buckets else 1


def _counter(name: str, per: Per, text: str, *, extra: tuple[str, ...] = (), appears: str = "") -> Metric:
    return Metric(name=PREFIX + name, kind=Kind.COUNTER, per=per, help=text, extra=extra, appears=appears)


def _gauge(name: str, per: Per, text: str, *, extra: tuple[str, ...] = (), appears: str = "") -> Metric:
    unit = "seconds" if name.endswith("_seconds") else ""
    return Metric(name=PREFIX + name, kind=Kind.GAUGE, per=per, help=text, extra=extra, unit=unit, appears=appears)


def _histogram(
    name: str, per: Per, text: str, buckets: tuple[float, ...], *, extra: tuple[str, ...] = (), appears: str = ""
) -> Metric:
    return Metric(
        name=PREFIX + name,
        kind=Kind.HISTOGRAM,
        per=per,
        help=text,
        extra=extra,
        unit="seconds",
        appears=appears,
        buckets=buckets,
    )


_FIRST_RUN = "after the first run"

TABLE: tuple[Metric, ...] = (
    _gauge(
        "last_run_success",
        Per.WATCH,
        "Whether the last run of the watch passed: 1 if its outcome was pass or info, else 0.",
        appears=_FIRST_RUN,
    ),
    _gauge(
        "last_run_timestamp_seconds",
        Per.WATCH,
        "When the last run of the watch was judged, in seconds since 1970.",
        appears=_FIRST_RUN,
    ),
    _gauge(
        "last_success_timestamp_seconds",
        Per.WATCH,
        "When a run of the watch last passed, in seconds since 1970.",
        appears="after the first run that passed",
    ),
    _gauge(
        "last_run_duration_seconds",
        Per.WATCH,
        "How long the last run of the watch took.",
        appears="after the first run since the start",
    ),
    _gauge(
        "last_run_phase_duration_seconds",
        Per.WATCH,
        "How long each phase of the last run took, all its turns together; a phase that was not reached is absent.",
        extra=("phase",),
        appears="after the first run since the start",
    ),
    _gauge(
        "watch_firing",
        Per.WATCH,
        "Whether the watch counts as broken: 1 from enough failures in a row until enough passes in a row, else 0.",
    ),
    _gauge(
        "watch_failing",
        Per.WATCH,
        "Always 1: the phase and the cause of what is wrong with the watch, with level warn or fail.",
        extra=("phase", "cause"),
        appears="from a bad run until the watch is ok",
    ),
    _counter("runs_total", Per.WATCH, "Runs of the watch that ended, however they ended."),
    _counter("run_failures_total", Per.WATCH, "Runs of the watch whose outcome was fail."),
    _counter(
        "findings_total",
        Per.APP,
        "Findings of any level in the runs of one check for one app.",
        extra=("phase", "cause"),
        appears="with the first finding of its kind",
    ),
    _gauge(
        "token_expires_in_seconds",
        Per.CREDENTIAL,
        "How long the token that the credential was given last lived from then on.",
        appears="after the first token",
    ),
    _gauge(
        "clock_skew_seconds",
        Per.CREDENTIAL,
        "By how much our clock was ahead of the authority's when the credential was last used.",
        appears="after the first answer that carried a date",
    ),
    _gauge(
        "refresh_token_age_seconds",
        Per.CREDENTIAL,
        "How old the refresh token was when the credential was last used.",
        appears="after the first use of a refresh token",
    ),
    _gauge(
        "certificate_not_after_timestamp_seconds",
        Per.ENDPOINT,
        "When the first certificate of the endpoint's verified chain ends, in seconds since 1970.",
        appears="after the first chain that was verified",
    ),
    _counter("canaries_sent_total", Per.CANARY, "Canaries that the mail server accepted from the mailbox."),
    _counter("canaries_settled_total", Per.CANARY, "Canaries of the mailbox by what became of them.", extra=("fate",)),
    _histogram(
        "canary_delay_seconds",
        Per.DELIVERY,
        "From the making of a canary to its arrival in an inbox, by the receiving server's clock in whole seconds.",
        DELAY_BUCKETS,
    ),
    _histogram("run_duration_seconds", Per.TENANT, "How long runs of one check took in one tenant.", RUN_BUCKETS),
    _histogram(
        "phase_duration_seconds",
        Per.TENANT,
        "How long one phase took in a run, all its turns together, whether or not it came to its end.",
        RUN_BUCKETS,
        extra=("phase",),
        appears="with the first run that reached the phase",
    ),
    _gauge("watches", Per.CHECK, "Watches in the plan in force."),
    _counter(
        "runs_skipped_total", Per.DAEMON, "Runs that were due and did not happen, by the reason.", extra=("reason",)
    ),
    _gauge("incidents_open", Per.DAEMON, "Incidents that are open now.", extra=("severity",)),
    _counter(
        "incidents_opened_total",
        Per.DAEMON,
        "Incidents that were opened, by the severity they had then.",
        extra=("severity",),
    ),
    _counter("notices_delivered_total", Per.CHANNEL, "Notices that the channel took."),
    _counter("notice_failures_total", Per.CHANNEL, "Attempts to deliver a notice that failed, the last ones included."),
    _counter("notices_given_up_total", Per.CHANNEL, "Notices that were given up after too many attempts."),
    _gauge("notices_waiting", Per.DAEMON, "Notices that are neither delivered nor given up."),
    _gauge(
        "build_info",
        Per.DAEMON,
        "Always 1: the version of mailcanary and Python, and the event loop it runs on.",
        extra=("version", "python", "loop"),
        appears="at the start",
    ),
    _gauge(
        "config_last_reload_successful",
        Per.DAEMON,
        "Whether the configuration was taken when it was last read: 1, or 0 while an older one stays in force.",
        appears="when the configuration was read",
    ),
    _gauge(
        "config_last_reload_success_timestamp_seconds",
        Per.DAEMON,
        "When a configuration was last taken, in seconds since 1970.",
        appears="when a configuration was taken",
    ),
    _gauge("config_rows_left_out", Per.DAEMON, "Bad rows of fleets that the configuration in force leaves out."),
    _gauge("runs_busy", Per.DAEMON, "Runs that are under way or wait for their turn."),
    _gauge("results_queued", Per.DAEMON, "Results that were not judged yet."),
    _histogram(
        "loop_lag_seconds", Per.DAEMON, "By how much the event loop was late, asked once a second.", OWN_BUCKETS
    ),
    _histogram(
        "store_commit_duration_seconds",
        Per.DAEMON,
        "How long the database took for a batch, taken or not.",
        OWN_BUCKETS,
    ),
    _counter(
        "store_commit_failures_total", Per.DAEMON, "Batches that the database did not take and that are tried again."
    ),
    _counter(
        "defects_total", Per.DAEMON, "Turns of the daemon that ended by an unforeseen exception: please report it."
    ),
    _counter(
        "log_lines_lost_total",
        Per.DAEMON,
        "Lines of the event log, or of the text in its place, that could not be written or that nobody read in time.",
    ),
)


def samples_per(per: Per) -> int:
    """How many samples one owner has in the metrics that are `countable`, once each of them has appeared."""
    return sum(
        metric.samples * prod(len(CLOSED.get(label, "1")) for label in metric.extra)
        for metric in TABLE
        if metric.per is per and metric.countable
    )


def samples(owners: Mapping[Per, int], series: Mapping[str, int]) -> int:
    """How many samples there are at the most: `series` says how many series each of the other metrics has."""
    others = sum(metric.samples * series.get(metric.name, 0) for metric in TABLE if not metric.countable)
    return others + sum(samples_per(per) * owners.get(per, 0) for per in Per)
