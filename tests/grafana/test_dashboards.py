"""What holds for every dashboard in the registry, whatever it shows."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import pytest

from grafana.promql import CHOSEN
from grafana.registry import DASHBOARDS, FOLDER, written
from monitor.sinks.metric_table import PREFIX, TABLE, Kind
from tests.grafana.reading import committed, panels, questions, variables

every_dashboard = pytest.mark.parametrize("name", DASHBOARDS)

SOURCE = {"type": "prometheus", "uid": "${datasource}"}
OF_GRAFANA = {"datasource", "__all", "__range", "__rate_interval"}
# Of Grafana's list of units (valueFormats/categories.ts), those that are used here.
UNITS = {"short", "s", "percentunit", "cpm", "dateTimeFromNow"}
NAMED = re.compile(rf"\b{PREFIX}\w+")


@every_dashboard
def test_what_is_committed_is_what_is_written(name: str) -> None:
    """The file is what the code writes: nobody edited it, and nobody forgot to write it anew."""
    assert written(name) == (FOLDER / f"{name}.json").read_text("utf-8"), "write it anew: make dashboards"


def test_there_is_no_file_without_code() -> None:
    """Every file in the folder is a dashboard of the registry."""
    assert sorted(DASHBOARDS) == sorted(file.stem for file in FOLDER.iterdir())


def test_no_two_dashboards_have_one_identity() -> None:
    """An import replaces the same dashboard and no other one: identities and titles differ, and name mailcanary."""
    found = [committed(name) for name in DASHBOARDS]
    for key in ("uid", "title"):
        values = [dashboard[key] for dashboard in found]
        assert len(set(values)) == len(values)
        assert all(value.startswith("mailcanary") for value in values)


@every_dashboard
def test_it_is_not_edited_in_the_browser(name: str) -> None:
    """It is read only, carries the tag by which it is found, and says what it is for."""
    dashboard = committed(name)
    assert dashboard["editable"] is False
    assert ["mailcanary"] == dashboard["tags"]
    assert dashboard["description"].endswith(".")


@every_dashboard
def test_it_works_with_any_data_source(name: str) -> None:
    """The data source is a variable, and all that asks uses it: there is no identity of somebody's Prometheus."""
    text = (FOLDER / f"{name}.json").read_text("utf-8")
    sources = [variable for variable in committed(name)["templating"]["list"] if variable["type"] == "datasource"]
    assert [("datasource", "prometheus")] == [(source["name"], source["query"]) for source in sources]
    assert {f"mailcanary-{name}", SOURCE["uid"]} == set(re.findall(r'"uid": "(.*?)"', text))
    for panel in panels(committed(name)):
        assert SOURCE == panel["datasource"]
        assert all(SOURCE == target["datasource"] for target in panel["targets"])
    for asking in (*variables(committed(name)), *committed(name)["annotations"]["list"]):
        assert SOURCE == asking["datasource"]


@every_dashboard
def test_variables_begin_with_all_and_follow_the_time(name: str) -> None:
    """One can choose several values or all; all is the first choice; another range of time brings its own values."""
    for variable in variables(committed(name)):
        assert (variable["multi"], variable["includeAll"], variable["allValue"]) == (True, True, ".*")
        assert ["$__all"] == variable["current"]["value"]
        assert 2 == variable["refresh"]
    assert list(CHOSEN) == [variable["name"] for variable in variables(committed(name))]


@every_dashboard
def test_every_variable_is_there_and_is_used(name: str) -> None:
    """An expression names no variable that does not exist, and no variable is without effect."""
    used = set(re.findall(r"\$\{?(\w+)", (FOLDER / f"{name}.json").read_text("utf-8")))
    assert {"datasource", *CHOSEN} <= used
    assert used <= OF_GRAFANA | set(CHOSEN)


@every_dashboard
def test_every_panel_says_what_it_shows(name: str) -> None:
    """A title that no other panel has, and a description that is a sentence."""
    titles = [panel["title"] for panel in panels(committed(name))]
    assert len(set(titles)) == len(titles)
    for panel in panels(committed(name)):
        assert panel["title"].strip()
        assert panel["description"].endswith(".")
        assert len(panel["description"].split()) > 5, panel["title"]


@every_dashboard
def test_every_number_has_a_unit_and_a_colour(name: str) -> None:
    """All panels show numbers: each has a unit that Grafana knows, and colours from the lowest number upward."""
    for panel in panels(committed(name)):
        shown = panel["fieldConfig"]["defaults"]
        units = [shown["unit"]]
        for override in panel["fieldConfig"]["overrides"]:
            units += [look["value"] for look in override["properties"] if look["id"] == "unit"]
        assert UNITS >= set(units), panel["title"]
        lowest, *upward = [step["value"] for step in shown["thresholds"]["steps"]]
        assert lowest is None
        assert all(low < high for low, high in pairwise(upward)), panel["title"]


@every_dashboard
def test_panels_fill_the_grid_and_do_not_lie_on_each_other(name: str) -> None:
    """In each line of panels the widths add up to the 24 columns of Grafana; identities are numbers of their own."""
    everything = committed(name)["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in everything)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert set(taken) == {(x, y) for x in range(24) for y in range(max(y for _, y in taken) + 1)}


@every_dashboard
def test_targets_of_a_panel_are_told_apart(name: str) -> None:
    """Each target has a letter of its own: Grafana drops the answers of those which share one."""
    for panel in panels(committed(name)):
        refs = [target["refId"] for target in panel["targets"]]
        assert all(refs)
        assert len(set(refs)) == len(refs)


@every_dashboard
def test_every_metric_exists(name: str) -> None:
    """The table of metrics has each one, with the suffix of a bucket if it is a histogram."""
    there = {metric.name + ("_bucket" if metric.kind is Kind.HISTOGRAM else "") for metric in TABLE}
    for one in questions(committed(name)):
        named = set(NAMED.findall(one.expression))
        assert named, one.where
        assert named <= there, one.where


@every_dashboard
def test_every_selector_follows_the_variables(name: str) -> None:
    """A metric is narrowed by each variable whose label it has, at every place where it stands."""
    labels = {metric.name: ("job", "instance", *metric.labels) for metric in TABLE}
    for one in questions(committed(name)):
        if one.label:
            continue
        found = re.findall(rf"({PREFIX}\w+?)(?:_bucket)?\{{(.*?)\}}", one.expression)
        assert len(NAMED.findall(one.expression)) == len(found), one.where
        for metric, selector in found:
            expected = [f'{label}=~"${label}"' for label in CHOSEN if label in labels[metric]]
            assert expected == selector.split(", ")[: len(expected)], one.where


@every_dashboard
def test_a_counter_is_never_shown_bare(name: str) -> None:
    """A counter or a bucket stands in rate or increase only, over a time that Grafana chooses."""
    counters = "|".join(
        metric.name + ("_bucket" if metric.kind is Kind.HISTOGRAM else "")
        for metric in TABLE
        if metric.kind is not Kind.GAUGE
    )
    for one in questions(committed(name)):
        shown = len(re.findall(rf"\b(?:{counters})\b", one.expression))
        turned = re.findall(
            rf"(?:rate\((?:{counters})\{{[^}}]*\}}\[\$__rate_interval\]|increase\((?:{counters})\{{[^}}]*\}}\[\$__range\])",
            one.expression,
        )
        assert shown == len(turned), one.where


@every_dashboard
def test_the_json_is_for_one_grafana(name: str) -> None:
    """It is in the form of Grafana 11.6, which later ones read."""
    assert 41 == json.loads(written(name))["schemaVersion"]
