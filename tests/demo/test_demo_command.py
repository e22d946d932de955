"""`mailcanary demo` as a new user runs it."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from tests.daemon.process import PATIENCE, bare_environment, command


async def test_everything_that_is_broken_is_found() -> None:
    """Squeezed into half a minute, every fault of the script is found, told and seen to recover; the status is 0."""
    status, out, err = await command("demo", "--for", "30s")
    assert (0, "") == (status, err)
    assert "8 of 8 faults found, told and seen to recover; 0 false alarms." in out
    assert "The alert, as it arrived in the chat:" in out
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("length", "said"), [("5s", "30s or longer"), ("soon", "expected a duration"), ("-1s", "expected a duration")]
)
async def test_a_length_that_cannot_be_is_refused(length: str, said: str) -> None:
    """Too short a time and what is no time are usage errors, and nothing is started."""
    status, out, err = await command("demo", "--for", length)
    assert (2, "", True) == (status, out, said in err)


async def test_an_early_stop_is_no_success(tmp_path: Path) -> None:
    """Ctrl-C before the script's end ends in order, says so, leaves no folder behind, and is not taken for agreement."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "monitor", "demo"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**bare_environment(), "TMPDIR": str(tmp_path)},
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        while b"Microsoft 365  http" not in (line := await process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert (3, b"") == (process.returncode, err)
    assert b"Stopped before the script's end." in out
    assert [] == list(tmp_path.iterdir())
