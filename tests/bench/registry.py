"""The rows there are: one line each, in the order in which they are measured and told."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from tests.bench.rows import accuracy, daemon, lateness, load, probe, scrape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.bench.measured import Row

ROWS: Mapping[str, Row] = MappingProxyType(
    {
        row.name: row
        for row in (
            probe.ROW,
            daemon.ROW,
            accuracy.ROW,
            lateness.ROW,
            scrape.ROW,
            load.ROW,
        )
    }
)
