"""The README's configuration is good, its commands exist, and its figures are those of the program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from checks.core.causes import table
from monitor.cli.main import cli
from tests.daemon.process import bare_environment

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def test_its_configuration_can_be_used(tmp_path: Path) -> None:
    """The file for a real tenant is accepted by `mailcanary validate` as it stands, with its secrets set."""
    (configuration,) = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    file = tmp_path / "mailcanary.yaml"
    file.write_text(configuration, "utf-8")
    secrets = {"BILLING_SECRET": "a-secret", "READER_SECRET": "a-secret", "CHAT_URL": "json://127.0.0.1/x"}
    done = subprocess.run(
        [sys.executable, "-m", "monitor", "validate", str(file)],
        check=False,
        capture_output=True,
        text=True,
        env={**bare_environment(), **secrets},
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert "2 apps, 1 mailbox, 10 watches, 1 alert channel" in done.stdout


def test_its_commands_exist() -> None:
    """Every command and every target of make that it names is there."""
    commands = set(re.findall(r"^ {4}mailcanary (\w+)", README, re.MULTILINE))
    targets = set(re.findall(r"make (demo|test|check|bench|prove)\b", README))
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert {"validate", "check", "run"} == commands
    assert commands <= set(cli.commands)
    assert {"demo", "test"} <= {target for target in targets if f"\n{target}:" in makefile}


def test_it_counts_the_causes_rightly() -> None:
    """The number of causes that it names is that of the table."""
    assert [str(len(list(table())))] == re.findall(r"one of (\d+) causes", README)


def test_its_picture_is_there() -> None:
    """The picture that it shows is in the tree and comes from no other host."""
    (picture,) = re.findall(r"!\[.*?\]\((\S+)\)", README)
    drawn = (ROOT / picture).read_text("utf-8")
    hosts = set(re.findall(r"https?://([^/:\s\"<]+)", drawn))
    assert {"www.w3.org", "127.0.0.1"} == hosts
