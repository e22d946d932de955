"""What is shown every event: metrics, the event log. A sink decides nothing, and none knows of another."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from monitor.model import Event

_log = logging.getLogger(__name__)


class Sink(Protocol):
    """Something that is shown every event, in the order in which things happened. It must not block."""

    @property
    def lost(self) -> int:
        """How many lines it should have written and did not; 0 for one that writes none."""

    def accept(self, event: Event) -> None:
        """Take note of one event."""


class Sinks:
    """Shows every event to every sink. One that fails is logged and counted, and keeps nothing from the others."""

    def __init__(self, sinks: Iterable[Sink]) -> None:
        self._sinks = [*sinks]
        self.defects = 0

    @property
    def lost(self) -> int:
        """How many lines all sinks together did not write."""
        return sum(sink.lost for sink in self._sinks)

    def add(self, sink: Sink) -> None:
        """Show what happens from now on to one more."""
        self._sinks.append(sink)

    def publish(self, events: Sequence[Event]) -> None:
        """Show events to all sinks."""
        for sink in self._sinks:
            for event in events:
                try:
                    sink.accept(event)
                except Exception:  # noqa: BLE001 - one sink's defect must not blind the others
                    self.defects += 1
                    _log.exception("sink %s failed on a %s event", type(sink).__name__, type(event).__name__)
