"""The commands there are: their help, as a golden file keeps it, and what they cost before they do anything."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from monitor.cli.main import cli
from tests.daemon.process import bare_environment, command

GOLDEN = Path(__file__).parents[1] / "golden" / "cli" / "help"
HEAVY = (
    "aiohttp",
    "aiosmtplib",
    "alembic",
    "apprise",
    "apscheduler",
    "cryptography",
    "msal",
    "pydantic",
    "sqlalchemy",
    "yaml",
)


@pytest.mark.parametrize("name", ["mailcanary", *cli.commands])
def test_help_reads_as_agreed(name: str) -> None:
    """Each command explains itself in the words of its golden file, to 80 columns."""
    arguments = ["--help"] if name == "mailcanary" else [name, "-h"]
    done = CliRunner().invoke(cli, arguments, prog_name="mailcanary", terminal_width=80)
    assert 0 == done.exit_code
    assert (GOLDEN / f"{name}.txt").read_text() == done.stdout


def test_no_help_is_left_over() -> None:
    """Each golden file of help belongs to a command."""
    assert {"mailcanary", *cli.commands} == {path.stem for path in GOLDEN.iterdir()}


async def test_the_version_is_that_of_the_package() -> None:
    """`--version` says name and version."""
    assert (0, f"mailcanary, version {version('mailcanary')}\n", "") == await command("--version")


async def test_an_unknown_command_is_a_usage_error() -> None:
    """Status 2, and where to look."""
    status, out, err = await command("chekc")
    assert (2, "") == (status, out)
    assert "Error: No such command 'chekc'." in err


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["check", "--help"]])
def test_what_does_nothing_loads_nothing(arguments: list[str]) -> None:
    """Help and version import none of the large libraries, so that they answer at once."""
    program = f"""\
import sys
from monitor.cli.main import cli
try:
    cli({arguments!r})
finally:
    print(sorted(set({HEAVY!r}) & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, env=bare_environment(), timeout=30
    )
    assert "[]" == done.stderr.splitlines()[-1]
