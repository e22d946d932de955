"""Families of samples that are kept as they are shown, so that a scrape is one join.

Prometheus' client library keeps values and formats all of them at each scrape: 0.8 s for 100,000 samples, while the event
loop stands still. Here a line is formatted when its value changes, which costs a microsecond, and a scrape only joins
lines. The bytes are the same but for labels without a value; the tests compare them with those of
the library, which stays the reference.

The formats: text 0.0.4 ("Exposition formats" of Prometheus) and OpenMetrics 1.0.0. Their samples are equal; in
OpenMetrics the head of a counter lacks `_total`, units are told, and `# EOF` ends the document (not written here).

All of it belongs to one thread. A key is the values of a family's labels, in the order of its row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache
from itertools import accumulate

from prometheus_client.utils import floatToGoString

from monitor.sinks.metric_table import OWNER_LABELS, Kind, Metric

Key = tuple[str, ...]

_go: Callable[[float], str] = floatToGoString


def number(value: float) -> bytes:
    """A value as it stands in a sample: always a float, in Go's way of writing, so 5 is `5.0` and 1e6 is `1e+06`."""
    return _go(value).encode()


# The phases, causes and apps of a plan are far fewer, so the hot path finds its values here.
@lru_cache(maxsize=4096)
def escape(value: str) -> bytes:
    """The value of a label as it stands between quotation marks."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"').encode()


def _head(name: str, labels: Iterable[tuple[str, bytes]]) -> bytes:
    """What stands before a sample's value. Labels are sorted by name, as the library does it.

    A label without a value is not written: to Prometheus it is the same ("Data model"), and most owners lack some.
    """
    pairs = b",".join(label.encode() + b'="' + value + b'"' for label, value in sorted(labels) if value)
    return name.encode() + (b"{" + pairs + b"} " if pairs else b" ")


class Family(ABC):
    """A metric and what it shows: a head, then lines."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self._owned = len(OWNER_LABELS[metric.per])
        name = metric.name
        self._text = f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n".encode()
        if metric.kind is Kind.COUNTER:
            name = name.removesuffix("_total")
        unit = f"# UNIT {name} {metric.unit}\n" if metric.unit else ""
        self._open = f"# HELP {name} {metric.help}\n# TYPE {name} {metric.kind}\n{unit}".encode()

    @abstractmethod
    def start(self, owner: Key) -> None:
        """Show what an owner has from the start, at zero. What it shows already stays."""

    @abstractmethod
    def keep(self, owners: Collection[Key]) -> None:
        """Forget everything of other owners."""

    @abstractmethod
    def _lines(self) -> Iterable[bytes]:
        """Every line, or several of them in one piece."""

    def parts(self, *, openmetrics: bool) -> list[bytes]:
        """What makes the family's part of an exposition, to be joined."""
        return [self._open if openmetrics else self._text, *self._lines()]


class Plain(Family):
    """A metric whose every key has one line: what `set` or `inc` left there."""

    def __init__(self, metric: Metric) -> None:
        super().__init__(metric)
        self._shown: dict[Key, bytes] = {}
        self._counts: dict[Key, float] = {}

    def start(self, owner: Key) -> None:
        """Show what an owner has from the start, at zero. What it shows already stays."""
        for extra in self.metric.at_start:
            if (key := owner + extra) not in self._shown:
                self.set(key, 0.0)

    def keep(self, owners: Collection[Key]) -> None:
        """Forget everything of other owners."""
        for key in [key for key in self._shown if key[: self._owned] not in owners]:
            del self._shown[key]
            self._counts.pop(key, None)

    def set(self, key: Key, value: float) -> None:
        """Show another value."""
        line = self._shown.get(key)
        if line is None:
            head = _head(self.metric.name, zip(self.metric.labels, map(escape, key), strict=True))
        else:
            head = line[: line.rindex(b" ") + 1]  # no blank is in a value, whatever is in a label
        self._shown[key] = head + number(value) + b"\n"

    def inc(self, key: Key, by: float = 1.0) -> None:
        """Count."""
        count = self._counts[key] = self._counts.get(key, 0.0) + by
        self.set(key, count)

    def _lines(self) -> Iterable[bytes]:
        return self._shown.values()


class Spread(Family):
    """A metric of which an owner shows several lines at once: they differ in the extra labels and are replaced together."""

    def __init__(self, metric: Metric) -> None:
        super().__init__(metric)
        self._shown: dict[Key, bytes] = {}
        self._templates: dict[Key, bytes] = {}
        self._order = [metric.extra.index(label) for label in sorted(metric.extra)]

    def start(self, owner: Key) -> None:
        """Nothing: what an owner will show is not known."""

    def keep(self, owners: Collection[Key]) -> None:
        """Forget everything of other owners."""
        for owner in [owner for owner in self._templates if owner not in owners]:
            del self._templates[owner]
            self._shown.pop(owner, None)

    def show(self, owner: Key, values: Iterable[tuple[Key, float]]) -> None:
        """Show these lines of an owner and no others: each the values of the extra labels, and the sample's value."""
        template = self._templates.get(owner)
        if template is None:
            template = self._templates[owner] = self._template(owner)
        order = self._order
        self._shown[owner] = b"".join(
            [template % (*[escape(extra[place]) for place in order], number(value)) for extra, value in values]
        )

    def hide(self, owner: Key) -> None:
        """Show nothing of this owner."""
        self._shown.pop(owner, None)

    def _template(self, owner: Key) -> bytes:
        """A line with a hole for each extra label, in sorted order, and for the value."""
        values = [*(escape(value).replace(b"%", b"%%") for value in owner), *[b"%b"] * len(self.metric.extra)]
        return _head(self.metric.name, zip(self.metric.labels, values, strict=True)) + b"%b\n"

    def _lines(self) -> Iterable[bytes]:
        return self._shown.values()


class Distribution:
    """What a histogram has observed for one key."""

    __slots__ = ("_bounds", "_counts", "_heads", "_lines", "_sum")

    def __init__(self, metric: Metric, key: Key) -> None:
        self._bounds = metric.buckets
        labels = [*zip(metric.labels, map(escape, key), strict=True)]
        bounds = [*map(number, self._bounds), b"+Inf"]
        self._heads = [
            *(_head(f"{metric.name}_bucket", [*labels, ("le", bound)]) for bound in bounds),
            _head(f"{metric.name}_count", labels),
            _head(f"{metric.name}_sum", labels),
        ]
        self._counts = [0] * len(bounds)
        self._sum = 0.0
        self._lines: bytes | None = None

    def observe(self, value: float) -> None:
        """Count a value, which must be a number."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value
        self._lines = None

    @property
    def lines(self) -> bytes:
        """All samples, formatted at the first scrape after a change."""
        if self._lines is None:
            buckets = [*accumulate(self._counts)]
            values = zip(self._heads, [*buckets, buckets[-1], self._sum], strict=True)
            self._lines = b"".join([head + number(value) + b"\n" for head, value in values])
        return self._lines


class Histogram(Family):
    """A metric of kind histogram."""

    def __init__(self, metric: Metric) -> None:
        super().__init__(metric)
        self._of: dict[Key, Distribution] = {}

    def start(self, owner: Key) -> None:
        """Show what an owner has from the start, with nothing observed. What it has already stays."""
        for extra in self.metric.at_start:
            self.of(owner + extra)

    def keep(self, owners: Collection[Key]) -> None:
        """Forget everything of other owners."""
        self._of = {key: found for key, found in self._of.items() if key[: self._owned] in owners}

    def of(self, key: Key) -> Distribution:
        """What was observed for a key: may be held as long as its owner is kept."""
        found = self._of.get(key)
        if found is None:
            found = self._of[key] = Distribution(self.metric, key)
        return found

    def _lines(self) -> Iterable[bytes]:
        return [found.lines for found in self._of.values()]
