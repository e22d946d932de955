"""PromQL made of the table of metrics: a metric, a label or a function that does not fit is an error where it is written.

Every selector is narrowed by the variables of a dashboard whose labels the metric has.
"""

from __future__ import annotations

from dataclasses import dataclass

from monitor.sinks.metric_table import PREFIX, TABLE, Kind, Metric

SCRAPED = ("job", "instance")  # what Prometheus adds to everything that it scrapes
CHOSEN = (*SCRAPED, "tenant", "app")  # the labels that a dashboard has variables for, the widest first
RATE = "$__rate_interval"
RANGE = "$__range"

_METRICS = {metric.name.removeprefix(PREFIX): metric for metric in TABLE}


class MisfitError(ValueError):
    """The table of metrics does not have what an expression needs."""


@dataclass(frozen=True, slots=True)
class Expression:
    """An instant vector in PromQL, and the labels of its series."""

    text: str
    labels: tuple[str, ...] = ()

    def sum(self, *by: str) -> Expression:
        """The sum over all labels but these."""
        return self._over("sum", by)

    def max(self, *by: str) -> Expression:
        """The largest over all labels but these."""
        return self._over("max", by)

    def min(self, *by: str) -> Expression:
        """The smallest over all labels but these."""
        return self._over("min", by)

    def mean(self, *by: str) -> Expression:
        """The mean over all labels but these."""
        return self._over("avg", by)

    def times(self, factor: float) -> Expression:
        """Every value, multiplied."""
        return Expression(f"{self.text} * {factor:g}", self.labels)

    def above(self, bound: float) -> Expression:
        """Those series whose value is larger."""
        return Expression(f"{self.text} > {bound:g}", self.labels)

    def with_value_of(self, other: Expression) -> Expression:
        """Series that are always 1, with the value that `other` has for the labels which both have; others vanish."""
        shared = ", ".join(label for label in self.labels if label in other.labels)
        return Expression(f"{self.text} * on ({shared}) group_left () {other.text}", self.labels)

    def otherwise(self, other: Expression) -> Expression:
        """These series, and those of `other` that are not among them."""
        return Expression(f"{self.text} or {other.text}", self.labels)

    def _over(self, function: str, by: tuple[str, ...]) -> Expression:
        if unknown := set(by) - set(self.labels):
            raise MisfitError(f"{self.text} has no label {', '.join(sorted(unknown))}")
        return Expression(f"{function} by ({', '.join(by)}) ({self.text})" if by else f"{function}({self.text})", by)


ZERO = Expression("vector(0)")


def gauge(name: str, **only: str) -> Expression:
    """The series of a gauge."""
    return _selected(_metric(name, Kind.GAUGE), "", only)


def age(name: str) -> Expression:
    """The seconds since the moments that a gauge tells."""
    metric = _metric(name, Kind.GAUGE)
    if not metric.name.endswith("_timestamp_seconds"):
        raise MisfitError(f"{metric.name} does not tell a moment")
    moments = _selected(metric, "", {})
    return Expression(f"time() - {moments.text}", moments.labels)


def once_above(bound: float, name: str) -> Expression:
    """The series of a gauge that were larger at some time in the range on the screen, over the whole of it."""
    series = gauge(name)
    return Expression(f"{series.text} and max_over_time({series.text}[{RANGE}] @ end()) > {bound:g}", series.labels)


def per_minute(name: str) -> Expression:
    """How often a counter's event happens in a minute."""
    series = _selected(_metric(name, Kind.COUNTER), "", {})
    return Expression(f"60 * rate({series.text}[{RATE}])", series.labels)


def in_range(name: str) -> Expression:
    """How often a counter's event happened in the range on the screen."""
    series = _selected(_metric(name, Kind.COUNTER), "", {})
    return Expression(f"increase({series.text}[{RANGE}])", series.labels)


def quantile(share: float, name: str, *by: str, **only: str) -> Expression:
    """The value that a share of a histogram's observations did not exceed."""
    series = _selected(_metric(name, Kind.HISTOGRAM), "_bucket", only)
    rates = Expression(f"rate({series.text}[{RATE}])", (*series.labels, "le")).sum("le", *by)
    return Expression(f"histogram_quantile({share:g}, {rates.text})", by)


def values(label: str, name: str) -> str:
    """The query of a variable: the values that a label has, where the variables before it allow them."""
    metric = _metric(name, Kind.GAUGE)
    if label not in _labels(metric):
        raise MisfitError(f"{metric.name} has no label {label}")
    before = CHOSEN[: CHOSEN.index(label)]
    return f"label_values({metric.name}{_matchers(metric, before, {})}, {label})"


def _metric(name: str, kind: Kind) -> Metric:
    if name not in _METRICS:
        raise MisfitError(f"there is no metric {PREFIX}{name}")
    if _METRICS[name].kind is not kind:
        raise MisfitError(f"{PREFIX}{name} is a {_METRICS[name].kind}, not a {kind}")
    return _METRICS[name]


def _labels(metric: Metric) -> tuple[str, ...]:
    return SCRAPED + metric.labels


def _selected(metric: Metric, suffix: str, only: dict[str, str]) -> Expression:
    return Expression(f"{metric.name}{suffix}{_matchers(metric, CHOSEN, only)}", _labels(metric))


def _matchers(metric: Metric, chosen: tuple[str, ...], only: dict[str, str]) -> str:
    if unknown := only.keys() - set(metric.labels):
        raise MisfitError(f"{metric.name} has no label {', '.join(sorted(unknown))}")
    matchers = [f'{label}=~"${label}"' for label in chosen if label in _labels(metric)]
    matchers += [f'{label}="{value}"' for label, value in only.items()]
    return f"{{{', '.join(matchers)}}}" if matchers else ""
