"""The program's own log: what libraries and defects say, on stderr, without anything private.

What the watches do is no log but the event log (`monitor/sinks/eventlog.py`). Redaction sits on the handler, so that it
also holds for what libraries say: a value that looks like a token or an address is masked whatever logger it comes by.
"""

from __future__ import annotations

import logging
from typing import Any, TextIO

from checks.core.secret import Redactor


class _Redacting(logging.Formatter):
    """One line for a message, whatever is in it; a traceback behind it keeps its lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = Redactor()

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return self._redact(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the library's name
        return "\n".join(self._redact(line) for line in super().formatException(ei).splitlines())


def log_to(stream: TextIO, level: int = logging.WARNING) -> None:
    """Send every logger's records of `level` and above to a stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Redacting())
    logging.basicConfig(level=level, handlers=[handler], force=True)
