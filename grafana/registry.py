"""The dashboards that there are. A new one is a file beside this one and a line here; the tests go over the registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana import overview

FOLDER = Path(__file__).with_name("dashboards")

DASHBOARDS: Mapping[str, Callable[[], Dashboard]] = MappingProxyType({"overview": overview.dashboard})


def written(name: str) -> str:
    """One dashboard as the JSON that Grafana reads."""
    return json.dumps(DASHBOARDS[name](), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
