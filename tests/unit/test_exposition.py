"""What is rendered line by line is what Prometheus' client library renders, byte by byte."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client import Histogram as LibraryHistogram
from prometheus_client import Metric as LibraryMetric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.openmetrics.parser import text_fd_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_fd_to_metric_families as parse_text

from monitor.sinks.exposition import Family, Histogram, Plain, Spread, number
from monitor.sinks.metric_table import Kind, Metric, Per

GAUGE = Metric(name="bird_age_seconds", kind=Kind.GAUGE, per=Per.CREDENTIAL, help="How old.", unit="seconds")
COUNTER = Metric(name="bird_songs_total", kind=Kind.COUNTER, per=Per.APP, help="Songs.", extra=("cause",))
SPREAD = Metric(name="bird_seen", kind=Kind.GAUGE, per=Per.WATCH, help="Seen.", extra=("phase", "cause"))
HISTOGRAM = Metric(
    name="bird_flight_seconds", kind=Kind.HISTOGRAM, per=Per.TENANT, help="Flights.", unit="seconds", buckets=(0.1, 1, 60)
)  # fmt: skip

label = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8) | st.sampled_from(
    ['a"b', "a\\b", "a\nb", "%b", "a b", "} 1 "]
)
value = st.floats() | st.integers(-(10**20), 10**20) | st.sampled_from([0.0, -0.0, 999999.0, 1e6, 1e21, 123456789.5])


class WithoutCreated:
    """A registry without the moments at which its series were made, which nobody asks for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[LibraryMetric]:
        """Every family of the registry."""
        for family in self._registry.collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


def reference(registry: CollectorRegistry) -> tuple[bytes, bytes]:
    """What the library renders in both formats."""
    return generate_latest(WithoutCreated(registry)), openmetrics_exposition.generate_latest(WithoutCreated(registry))


def rendered(family: Family) -> tuple[bytes, bytes]:
    """What we render in both formats."""
    return b"".join(family.parts(openmetrics=False)), b"".join([*family.parts(openmetrics=True), b"# EOF\n"])


def parsed(families: Iterable[LibraryMetric]) -> list[tuple[str, dict[str, str], str]]:
    """All samples, as the parser understands them; the value as text, because no NaN equals another."""
    return [(sample.name, sample.labels, repr(float(sample.value))) for family in families for sample in family.samples]


@given(st.dictionaries(st.tuples(label, label, label), st.tuples(value, value), max_size=5))
def test_gauges_are_rendered_as_the_library_does(values: dict[tuple[str, ...], tuple[float, float]]) -> None:
    """Whatever the labels and values are, also when a value is replaced, and both parsers read them back."""
    family, registry = Plain(GAUGE), CollectorRegistry()
    gauge = Gauge(GAUGE.name, GAUGE.help, GAUGE.labels, unit=GAUGE.unit, registry=registry)
    for turn in range(2):
        for key, both in values.items():
            family.set(key, both[turn])
            gauge.labels(*key).set(both[turn])
    assert reference(registry) == rendered(family)
    text, openmetrics = (page.decode() for page in rendered(family))
    expected = [
        (GAUGE.name, dict(zip(GAUGE.labels, key, strict=True)), repr(float(both[1]))) for key, both in values.items()
    ]
    assert expected == parsed(parse_text(StringIO(text, newline="\n")))
    assert expected == parsed(parse_openmetrics(StringIO(openmetrics, newline="\n")))


@given(st.lists(st.tuples(st.tuples(label, label, label, label), st.floats(0, 1e9)), max_size=8))
def test_counters_are_rendered_as_the_library_does(counts: list[tuple[tuple[str, ...], float]]) -> None:
    """They add up, and their head differs between the formats."""
    family, registry = Plain(COUNTER), CollectorRegistry()
    counter = Counter(COUNTER.name, COUNTER.help, COUNTER.labels, registry=registry)
    for key, by in counts:
        family.inc(key, by)
        counter.labels(*key).inc(by)
    assert reference(registry) == rendered(family)


@given(
    st.lists(st.tuples(label, label, label, label, label, label, label), max_size=3, unique=True),
    st.dictionaries(st.tuples(label, label), value, min_size=1, max_size=4),
)
def test_spread_lines_are_rendered_as_the_library_does(
    owners: list[tuple[str, ...]], values: dict[tuple[str, ...], float]
) -> None:
    """Each owner shows the lines that it was given last, and no others."""
    family, registry = Spread(SPREAD), CollectorRegistry()
    gauge = Gauge(SPREAD.name, SPREAD.help, SPREAD.labels, registry=registry)
    for owner in owners:
        family.show(owner, [(("earlier", "value"), 1.0)])
        family.show(owner, values.items())
        for extra, shown in values.items():
            gauge.labels(*owner, *extra).set(shown)
    assert reference(registry) == rendered(family)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([("a", "b"), ('"', "\\")]), st.floats(-1, 100) | st.sampled_from([0.1, 1, 60, math.inf])
        ),
        max_size=20,
    )
)
def test_histograms_are_rendered_as_the_library_does(observed: list[tuple[tuple[str, ...], float]]) -> None:
    """A value on a bound belongs below it; what is rendered before the next value is no more in the way."""
    family, registry = Histogram(HISTOGRAM), CollectorRegistry()
    histogram = LibraryHistogram(
        HISTOGRAM.name, HISTOGRAM.help, HISTOGRAM.labels, buckets=HISTOGRAM.buckets, unit="seconds", registry=registry
    )
    for key, seconds in observed:
        family.of(key).observe(seconds)
        rendered(family)
        histogram.labels(*key).observe(seconds)
    assert reference(registry) == rendered(family)


@pytest.mark.parametrize(
    ("given_value", "expected"),
    [
        (5, b"5.0"),
        (True, b"1.0"),
        (999999, b"999999.0"),
        (1_000_000, b"1e+06"),
        (1764000000.5, b"1.7640000005e+09"),
        (-1e6, b"-1000000.0"),
        (0.1, b"0.1"),
        (1e-7, b"1e-07"),
        (-0.0, b"-0.0"),
        (math.nan, b"NaN"),
        (math.inf, b"+Inf"),
        (-math.inf, b"-Inf"),
    ],
)
def test_numbers_are_written_as_go_does(given_value: float, expected: bytes) -> None:
    """Integers become floats, large positive ones get an exponent, and what is no number has its name."""
    assert expected == number(given_value)


def test_an_owner_starts_with_all_its_closed_labels_at_zero() -> None:
    """A label whose values are known beforehand has all of them; a value that is there already stays."""
    closed = Metric(name="bird_eggs_total", kind=Kind.COUNTER, per=Per.CHECK, help="Eggs.", extra=("severity",))
    family = Plain(closed)
    family.inc(("nest", "warning"))
    family.start(("nest",))
    family.start(("nest",))
    text, _ = rendered(family)
    assert [
        b'bird_eggs_total{check="nest",severity="warning"} 1.0',
        b'bird_eggs_total{check="nest",severity="info"} 0.0',
        b'bird_eggs_total{check="nest",severity="critical"} 0.0',
    ] == text.splitlines()[2:]


def test_a_label_without_a_value_is_not_written() -> None:
    """To Prometheus such a label is the same as none, and most watches lack some."""
    family = Plain(COUNTER)
    family.inc(("", "b", "", "cause"))
    assert b'bird_songs_total{cause="cause",tenant="b"} 1.0' == rendered(family)[0].splitlines()[-1]


def test_only_owners_that_are_kept_show_anything() -> None:
    """Every kind of family forgets an owner wholly: one that comes back starts anew."""
    plain, spread, histogram = Plain(COUNTER), Spread(SPREAD), Histogram(HISTOGRAM)
    gone = ("a", "b", "c", "d", "e", "f", "g")
    plain.inc((*gone[:3], "cause"), 7)
    spread.show(gone, [(("phase", "cause"), 1.0)])
    histogram.of(gone[:2]).observe(1.0)
    for family in (plain, spread, histogram):
        head, _ = rendered(type(family)(family.metric))
        family.keep(set())
        assert head == rendered(family)[0]
    plain.inc((*gone[:3], "cause"))
    histogram.start(gone[:2])
    assert b" 1.0\n" == rendered(plain)[0][-5:]
    assert b'bird_flight_seconds_sum{check="a",tenant="b"} 0.0\n' in rendered(histogram)[0]
    spread.hide(gone)
