"""What Prometheus is shown: the table of metrics, and the page that follows from it."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from monitor.model import Event, Reloaded
from monitor.sinks.metric_document import document, example
from monitor.sinks.metric_table import OWNER_LABELS, PREFIX, TABLE, Metric
from monitor.sinks.metric_table import Kind as MetricKind
from monitor.sinks.metrics import Metrics
from tests.unit.scraped import ROUTE, families, following, plan, ran, scenario, shown_after, values
from tests.unit.world import T0

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
    bounded = {"phase", "cause", "severity", "reason", "fate", "version", "python", "loop"}
    assert bounded | {name for labels in OWNER_LABELS.values() for name in labels} >= set(metric.labels)
    assert len(set(metric.labels)) == len(metric.labels)
    assert re.fullmatch(r"\d+\.\d+\.\d+", metric.since)


def test_the_page_shows_what_the_table_says() -> None:
    """Every row is rendered with its kind, unit, text and labels, and nothing else of ours is."""
    found = {
        name: (
            family.type,
            family.unit,
            family.documentation,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for name, family in families(shown_after(scenario(), whole=True)).items()
    }
    absent = {"inbox"}  # no watch of the scenario is aimed at one
    assert {row.name: (row.kind.value, row.unit, row.help, {*row.labels} - absent) for row in TABLE} == found


def test_the_scenario_has_something_of_everything() -> None:
    """No event is left out, so none can be forgotten by the sink."""
    assert set(get_args(Event)) == {type(event) for event in scenario()}


def test_what_is_due_from_the_start_is_there_at_zero() -> None:
    """Before anything happened there is what does not say when it appears, and every counter and gauge is zero."""
    metrics = following("billing")
    metrics.follow(plan("billing", whole=True))
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
    metrics = shown_after([Reloaded(at=T0, watches=1), ran("token/billing-mailer/current"), *runs], *names)
    lines = metrics.render(openmetrics=False).decode().splitlines()
    assert example(count) == sum(line.startswith(PREFIX) for line in lines)


# The page.


def test_both_formats_show_the_same_samples() -> None:
    """The strict parsers read both, the samples are equal, and OpenMetrics ends once and at the end."""
    metrics = shown_after(scenario(), whole=True)
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
    page = shown_after(scenario(), whole=True).render(openmetrics=True).decode().replace(ROUTE.id, "an endpoint")
    assert 'mailbox="billing"' in page
    assert [] == [word for word in ("@", "contoso.example", "planted-secret", "_created") if word in page]


async def test_the_event_loop_is_named() -> None:
    """Inside of a loop the build says whose it is."""
    assert [1.0] == values(following("billing"), "build_info", loop="asyncio")
