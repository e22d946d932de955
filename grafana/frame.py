"""What stands around the panels of every dashboard: its variables, the annotations over all its panels, its habits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from grafana_foundation_sdk.builders.dashboard import Dashboard, DatasourceVariable, QueryVariable, Row
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as model

from grafana.panels import SOURCE, Query
from grafana.promql import CHOSEN, gauge, values

# What tells the values of a label: `build_info` is there as soon as the daemon is, `watch_firing` for each watch.
_TOLD_BY = {"job": "build_info", "instance": "build_info", "tenant": "watch_firing", "app": "watch_firing"}

Rows = Mapping[str, Iterable[Builder[model.Panel]]]


def framed(name: str, title: str, about: str, rows: Rows) -> model.Dashboard:
    """A dashboard with rows of panels. Its identity is made of its name, so that an import replaces the older one."""
    made = Dashboard(f"mailcanary / {title}").uid(f"mailcanary-{name}").description(about).tags(["mailcanary"])
    made.readonly().refresh("1m").time("now-6h", "now").timezone("browser").tooltip(model.DashboardCursorSync.CROSSHAIR)
    made.with_variable(DatasourceVariable("datasource").label("Data source").type("prometheus"))
    for label in CHOSEN:
        made.with_variable(_choice(label))
    for heading, panels in rows.items():
        made.with_row(Row(heading))
        for panel in panels:
            made.with_panel(panel)
    finished = made.annotations([_incidents(), _reloads()]).build()
    for number, one in enumerate(finished.panels or [], start=1):
        one.id_val = number
    return finished


def _choice(label: str) -> QueryVariable:
    """Any number of the values that a label has, all of them at first, and with them what has no such label: an endpoint."""
    query = values(label, _TOLD_BY[label])
    made = QueryVariable(label).label(label.capitalize()).datasource(SOURCE).sort(model.VariableSort.NATURAL_ASC)
    made.query({"query": query, "refId": label}).refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    made.multi(multi=True).include_all(include_all=True).all_value(".*")
    return made.current(model.VariableOption(text=["All"], value=["$__all"]))


def _incidents() -> _Annotation:
    """A region for the time in which incidents of a severity were open."""
    opened = gauge("incidents_open").sum("severity").above(0)
    return _Annotation("Incidents", "red", Query(opened, "{{severity}} incident open"))


def _reloads() -> _Annotation:
    """A line at each moment in which a configuration was taken."""
    taken = gauge("config_last_reload_success_timestamp_seconds").max("instance").times(1000)
    return _Annotation("Configurations taken", "blue", Query(taken, "{{instance}} took it"), value_is_time=True)


class _Annotation(model.AnnotationQuery, Builder[model.AnnotationQuery]):
    """An annotation wherever a query has a value, or at the milliseconds since 1970 that its value is.

    It has the fields of Grafana's data source for Prometheus, which the library does not know.
    """

    def __init__(self, name: str, color: str, query: Query, *, value_is_time: bool = False) -> None:
        super().__init__(name=name, datasource=SOURCE, icon_color=color, expr=query.expression.text)
        self._more = {"titleFormat": query.legend, "useValueForTime": value_is_time}

    def build(self) -> model.AnnotationQuery:
        """Itself: there is nothing more to build."""
        return self

    def to_json(self) -> dict[str, object]:
        """What Grafana reads."""
        return {**super().to_json(), **self._more}
