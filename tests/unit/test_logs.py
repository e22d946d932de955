"""The program's own log shows nothing private, whoever writes to it."""

import io
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO

import pytest

from monitor.logs import LineHandler, log_to


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """A log that goes into memory; afterwards logging is as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    written = io.StringIO()
    log_to(logging.StreamHandler(written))
    yield written
    root.handlers[:], root.level = handlers, level


def test_tokens_and_addresses_are_masked(stream: io.StringIO) -> None:
    """What a library says of a token, an address or long base64 is masked on its way out."""
    token = "eyJhbGciOiJSUzI1NiJ9.eyJvaWQiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"
    logging.getLogger("somelibrary").warning("%s for billing@contoso.example: %s", token, "QUJD" * 20)
    assert "somelibrary: [token] for [address]: [base64]" in stream.getvalue()


def test_a_traceback_keeps_its_lines_and_no_address(stream: io.StringIO) -> None:
    """A defect can be found by its traceback, which holds no address either."""
    try:
        int("billing@contoso.example")
    except ValueError:
        logging.getLogger("ours").exception("failed")
    lines = stream.getvalue().splitlines()
    assert (
        "Traceback (most recent call last):",
        "ValueError: invalid literal for int() with base 10: [address]'",
    ) == (lines[1], lines[-1])


def test_a_line_break_in_a_message_forges_no_line(stream: io.StringIO) -> None:
    """A message is one line, and terminal escapes of a hostile server do not reach the terminal."""
    logging.getLogger("ours").warning("said %s", "\x1b[2J\x9b\n2026-11-25 ERROR all is lost")
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("said  [2J 2026-11-25 ERROR all is lost")


def test_a_log_that_nobody_reads_holds_up_nobody() -> None:
    """A pipe that is full and never read takes no record, and whoever logs goes on at once."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while os.write(writing, bytes(65536)):
            pass
    os.set_blocking(writing, True)
    handler = LineHandler(FileIO(writing, "w", closefd=False))
    for number in range(1000):
        handler.emit(logging.makeLogRecord({"msg": f"said {number}"}))
    threading.Thread(target=lambda: os.read(reading, 1 << 20), daemon=True).start()
    handler.close()
    os.close(writing)
    with FileIO(reading, "r") as rest:
        lines = rest.readall().strip(bytes(1)).splitlines()
    assert (b"said 0", b"said 999", 1000) == (lines[0], lines[-1], len(lines))
