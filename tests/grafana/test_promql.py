"""Expressions are made of the table of metrics, and what does not fit it cannot be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from grafana.panels import Query
from grafana.promql import ZERO, MisfitError, age, gauge, in_range, once_above, per_minute, quantile, values

if TYPE_CHECKING:
    from collections.abc import Callable

OWN = '{job=~"$job", instance=~"$instance"}'
ALL = '{job=~"$job", instance=~"$instance", tenant=~"$tenant", app=~"$app"}'


def test_a_selector_follows_the_variables_that_fit() -> None:
    """A metric of a watch is narrowed by tenant and app, one of the daemon by job and instance."""
    assert f"mailcanary_watch_firing{ALL}" == gauge("watch_firing").text
    assert f"mailcanary_runs_busy{OWN}" == gauge("runs_busy").text
    assert 'app=~"$app", check="token"}' in gauge("watch_firing", check="token").text


def test_an_aggregation_keeps_the_labels_that_it_names() -> None:
    """What is summed over is gone, and cannot be named afterwards."""
    by_cause = gauge("watch_failing").sum("cause")
    assert f"sum by (cause) (mailcanary_watch_failing{ALL})" == by_cause.text
    assert f"max(sum by (cause) (mailcanary_watch_failing{ALL}))" == by_cause.max().text
    with pytest.raises(MisfitError, match="has no label phase"):
        by_cause.max("phase")


def test_counters_and_histograms_come_as_rates() -> None:
    """Each kind of metric has the functions that make sense for it."""
    assert f"60 * rate(mailcanary_runs_total{ALL}[$__rate_interval])" == per_minute("runs_total").text
    assert f"increase(mailcanary_defects_total{OWN}[$__range])" == in_range("defects_total").text
    assert (
        f"histogram_quantile(0.99, sum by (le, instance) (rate(mailcanary_loop_lag_seconds_bucket{OWN}[$__rate_interval])))"
        == quantile(0.99, "loop_lag_seconds", "instance").text
    )
    assert f"time() - mailcanary_last_run_timestamp_seconds{ALL}" == age("last_run_timestamp_seconds").text


def test_series_are_joined_by_the_labels_that_both_have() -> None:
    """A value is taken from the series of the same watch; where there is none, another expression can stand in."""
    failing = gauge("watch_failing").max("mailbox", "cause")
    firing = gauge("watch_firing").max("mailbox")
    assert f"{failing.text} * on (mailbox) group_left () {firing.text}" == failing.with_value_of(firing).text
    assert f"{failing.text} or vector(0)" == failing.otherwise(ZERO).text


def test_a_variable_asks_within_the_choices_before_it() -> None:
    """The values of app are those of the chosen tenants; job is the widest and asks for all."""
    assert "label_values(mailcanary_build_info, job)" == values("job", "build_info")
    within = 'job=~"$job", instance=~"$instance", tenant=~"$tenant"'
    assert f"label_values(mailcanary_watch_firing{{{within}}}, app)" == values("app", "watch_firing")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: gauge("mail_flows"), "there is no metric mailcanary_mail_flows"),
        (lambda: gauge("runs_total"), "mailcanary_runs_total is a counter, not a gauge"),
        (lambda: per_minute("watches"), "mailcanary_watches is a gauge, not a counter"),
        (lambda: quantile(0.5, "runs_total"), "mailcanary_runs_total is a counter, not a histogram"),
        (lambda: age("watches"), "mailcanary_watches does not tell a moment"),
        (lambda: gauge("watches", mailbox="x"), "mailcanary_watches has no label mailbox"),
        (lambda: once_above(0, "runs_total"), "mailcanary_runs_total is a counter, not a gauge"),
        (lambda: values("tenant", "build_info"), "mailcanary_build_info has no label tenant"),
        (lambda: Query(gauge("watches").sum("check"), "{{app}}"), "has no label app"),
    ],
)
def test_what_does_not_fit_cannot_be_made(make: Callable[[], object], message: str) -> None:
    """A metric, a kind, a label or a legend that the table does not have is an error at once, with its name."""
    with pytest.raises(MisfitError, match=message):
        make()
