"""The program's own log: what libraries and defects say, on stderr, without anything private.

What the watches do is no log but the event log (`monitor/sinks/eventlog.py`). Redaction sits on the handler, so that it
also holds for what libraries say: a value that looks like a token or an address is masked whatever logger it comes by.
"""

from __future__ import annotations

import logging
from typing import Any

from checks.core.secret import Redactor
from monitor.sinks.linewriter import LineWriter, Output

FLUSH_SECONDS = 0.5


class _Redacting(logging.Formatter):
    """One line for a message, whatever is in it; a traceback behind it keeps its lines."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = Redactor()

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return self._redact(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the library's name
        return "\n".join(self._redact(line) for line in super().formatException(ei).splitlines())


class LineHandler(logging.Handler):
    """Writes records in a thread of its own, so that whoever stops reading stderr holds up nothing but the log."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._writer = LineWriter(output, lambda lost: f"{lost} lines of this log were lost\n".encode())

    def emit(self, record: logging.LogRecord) -> None:
        """Hand over a record, line by line."""
        for line in self.format(record).splitlines():
            self._writer.put(line.encode("utf-8", "backslashreplace") + b"\n")

    def close(self) -> None:
        """Write what waits, but not for ever."""
        self._writer.close(FLUSH_SECONDS)
        super().close()


def log_to(handler: logging.Handler, level: int = logging.WARNING) -> None:
    """Send every logger's records of `level` and above to a handler."""
    handler.setFormatter(_Redacting())
    logging.basicConfig(level=level, handlers=[handler], force=True)
