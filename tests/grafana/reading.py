"""What Grafana reads of a dashboard, and what it asks of a Prometheus for it."""

from __future__ import annotations

import json
import math
import re
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from grafana.registry import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.peers.prometheus import Prometheus

ALL = ".*"  # what the variables' "All" stands for
RANGE_SECONDS = 60
_BROWSER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_LABEL_VALUES = re.compile(r"label_values\((?P<series>.+), (?P<label>\w+)\)")

Json = dict[str, Any]


def committed(name: str) -> Json:
    """A dashboard as it is in the tree."""
    read: Json = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    return read


def panels(dashboard: Json) -> list[Json]:
    """Its panels, without the rows' headings."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def variables(dashboard: Json) -> list[Json]:
    """Its variables, without the data source."""
    return [variable for variable in dashboard["templating"]["list"] if variable["type"] == "query"]


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that a dashboard asks for: where it stands, the expression, and whether it is asked over time."""

    where: str
    expression: str
    over_time: bool = False
    label: str = ""

    def ask(self, server: Prometheus, **chosen: str) -> list[float]:
        """The numbers of the answer, or the count of a label's values; HTTPError when Prometheus refuses."""
        asked = filled(self.expression, chosen)
        if self.label:
            return [float(len(_get(server, f"label/{self.label}/values", {"match[]": asked})))]
        if not self.over_time:
            return [sample.value for sample in server.query(asked)]
        now = time.time()
        span = {"query": asked, "start": str(now - RANGE_SECONDS), "end": str(now), "step": "1"}
        series = _get(server, "query_range", span)["result"]
        return [float(value) for one in series for _, value in one["values"]]


def numbers(answer: list[float]) -> list[float]:
    """Those that can be drawn: a quantile of nothing is not one."""
    return [number for number in answer if not math.isnan(number)]


def questions(dashboard: Json) -> Iterator[Question]:
    """All that a dashboard asks: its variables, its annotations, its panels."""
    for variable in variables(dashboard):
        found = _LABEL_VALUES.fullmatch(variable["query"]["query"])
        assert found, variable["query"]
        yield Question(f"variable {variable['name']}", found["series"], label=found["label"])
    for annotation in dashboard["annotations"]["list"]:
        yield Question(f"annotation {annotation['name']}", annotation["expr"], over_time=True)
    for panel in panels(dashboard):
        for target in panel["targets"]:
            yield Question(f"{panel['title']}, {target['refId']}", target["expr"], over_time=target["range"])


def question(dashboard: Json, title: str, ref: str = "A") -> Question:
    """What one panel asks."""
    (found,) = [one for one in questions(dashboard) if one.where == f"{title}, {ref}"]
    return found


def filled(expression: str, chosen: Mapping[str, str]) -> str:
    """An expression with what Grafana puts in the place of variables: all of everything that was not chosen."""
    given = {"__rate_interval": "10s", "__range": f"{RANGE_SECONDS}s", **chosen}
    return re.sub(r"\$(\w+)", lambda name: given.get(name[1], ALL), expression)


def _get(server: Prometheus, path: str, query: Mapping[str, str]) -> Any:
    address = f"{server.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
    with _BROWSER.open(address, timeout=10) as answer:
        return json.load(answer)["data"]
