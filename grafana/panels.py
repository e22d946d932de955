"""The house style of panels. None is made without a title, a description and a unit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, common, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders.dashboard import ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueGraphMode,
    GraphThresholdsStyleMode,
    TableColorTextCellOptions,
    VisibilityMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMapping,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.promql import Expression, MisfitError

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

GOOD, WORSE, BAD, PLAIN = "green", "orange", "red", "text"

AnyPanel = TypeVar("AnyPanel", bargauge.Panel, stat.Panel, statetimeline.Panel, table.Panel, timeseries.Panel)


@dataclass(frozen=True, slots=True)
class Word:
    """A text and its colour, shown in the place of a number."""

    text: str
    color: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What numbers mean: their unit, the colours from a number upward, the words in the place of some, or of none at all."""

    unit: str
    first: str = PLAIN
    steps: Sequence[tuple[float, str]] = ()
    words: dict[str, Word] | None = None
    none: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What every panel has. The grid of Grafana is 24 wide."""

    title: str
    about: str
    width: int
    height: int
    values: Values


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and what its series are called."""

    expression: Expression
    legend: str

    def __post_init__(self) -> None:
        """A legend can name only labels that the series have."""
        if unknown := set(re.findall(r"\{\{(\w+)\}\}", self.legend)) - set(self.expression.labels):
            raise MisfitError(f"{self.expression.text} has no label {', '.join(sorted(unknown))}")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: one number for each row."""

    title: str
    expression: Expression
    values: Values


def number(panel: Panel, *queries: Query) -> stat.Panel:
    """A large number for each series, as it is now."""
    made = _framed(stat.Panel(), panel).graph_mode(BigValueGraphMode.NONE).reduce_options(_now())
    return made.targets([target.instant() for target in _targets(*queries)])


def lines(panel: Panel, *queries: Query, window: str = "") -> timeseries.Panel:
    """Lines over time. `window`: the least time that rates look back on, where events are rarer than scrapes."""
    made = _framed(timeseries.Panel(), panel).min(0).fill_opacity(8).span_nulls(_JOINED_MILLISECONDS)
    made.show_points(VisibilityMode.NEVER).targets([target.range() for target in _targets(*queries)])
    if panel.values.steps:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    return made.interval(window) if window else made


def bars(panel: Panel, query: Query) -> bargauge.Panel:
    """A horizontal bar for each series, as it is now."""
    made = _framed(bargauge.Panel(), panel).min(0).decimals(0).display_mode(BarGaugeDisplayMode.BASIC)
    made.orientation(VizOrientation.HORIZONTAL).reduce_options(_now())
    return made.targets([target.instant() for target in _targets(query)])


def states(panel: Panel, query: Query) -> statetimeline.Panel:
    """A row for each series, coloured over time by the words for its values."""
    made = _framed(statetimeline.Panel(), panel).show_value(VisibilityMode.NEVER)
    return made.targets([target.range() for target in _targets(query)])


def rows(panel: Panel, labels: Sequence[str], *columns: Column) -> table.Panel:
    """A row for each set of labels that the expressions of the columns share, as it is now."""
    made = _framed(table.Panel(), panel)
    targets = _targets(*(Query(column.expression, "") for column in columns))
    made.targets([target.instant().format(PromQueryFormat.TABLE) for target in targets])
    for column in columns:
        made.override_by_name(column.title, _looks(column.values))
    titles = {f"Value #{ref}": column.title for ref, column in zip(_REFS, columns, strict=False)}
    order = {name: place for place, name in enumerate((*titles, *labels))}
    arranged = {"excludeByName": {"Time": True}, "renameByName": titles, "indexByName": order}
    made.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    return made.with_transformation(DataTransformerConfig(id_val="organize", options=arranged))


_REFS = "ABCDEFGH"
_JOINED_MILLISECONDS = 3_600_000  # a line goes on over a gap of an hour: twice the interval of the rarest check


def _framed(made: AnyPanel, panel: Panel) -> AnyPanel:
    values = panel.values
    made.title(panel.title).description(panel.about).span(panel.width).height(panel.height).datasource(SOURCE)
    made.unit(values.unit).thresholds(_thresholds(values)).mappings(_mappings(values))
    return made.no_value(values.none) if values.none else made


def _targets(*queries: Query) -> list[Dataquery]:
    """One target for each query. Grafana tells them apart by their letter."""
    return [
        Dataquery().ref_id(ref).datasource(SOURCE).expr(query.expression.text).legend_format(query.legend)
        for ref, query in zip(_REFS, queries, strict=False)
    ]


def _now() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"])


def _thresholds(values: Values) -> ThresholdsConfig:
    upward = [Threshold(value=value, color=color) for value, color in values.steps]
    return ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(color=values.first), *upward])


def _mappings(values: Values) -> list[ValueMapping]:
    words = enumerate((values.words or {}).items())
    shown = {number: ValueMappingResult(word.text, word.color, index=place) for place, (number, word) in words}
    return [ValueMap(shown)] if shown else []


def _looks(values: Values) -> list[DynamicConfigValue]:
    looks: list[tuple[str, object]] = [("unit", values.unit), ("mappings", _mappings(values))]
    if values.words:
        looks.append(("custom.cellOptions", TableColorTextCellOptions()))
    return [DynamicConfigValue(id_val=name, value=value) for name, value in looks]
