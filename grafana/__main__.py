"""`python -m grafana` writes every dashboard of the registry."""

from __future__ import annotations

from grafana.registry import DASHBOARDS, FOLDER, written

if __name__ == "__main__":
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(written(name), "utf-8")
