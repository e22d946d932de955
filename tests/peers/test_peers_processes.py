"""What the peers stand on: processes that end, packages that are pinned, and honest skips."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peers import npm
from tests.peers.available import PeerMissingError, program
from tests.peers.conftest import give_up
from tests.peers.process import StartError, accepts, free_port, group_lives, running, temporary_home, wait_until

# A server that has a child, both deaf to SIGTERM.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"])
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""

# Tests that run a server and are killed themselves.
KILLED = """
import pathlib, sys, time
from tests.peers.process import running
home = pathlib.Path(sys.argv[1])
server = [sys.executable, "-c", sys.argv[2], home / "child"]
with running(server, log=home / "log", ready=lambda: (home / "child").exists() and (home / "child").read_text()):
    (home / "started").touch()
    time.sleep(60)
"""


def test_a_stubborn_server_ends_with_its_children() -> None:
    """What ignores SIGTERM ends with the block, children too, also when the test fails."""
    with temporary_home("stubborn") as home:
        child = home / "child"
        with (
            contextlib.suppress(AssertionError),
            running(
                [sys.executable, "-c", STUBBORN, child],
                log=home / "log",
                ready=lambda: child.exists() and child.read_text() != "",
            ),
        ):
            group = os.getpgid(int(child.read_text()))
            assert not group_lives(group), "a failing test"
        assert not group_lives(group)


def test_a_server_dies_with_the_tests(request: pytest.FixtureRequest) -> None:
    """When the tests are killed, so is the server, children included."""
    with temporary_home("killed") as home:
        tests = subprocess.Popen([sys.executable, "-c", KILLED, home, STUBBORN], cwd=request.config.rootpath)
        try:
            assert wait_until((home / "started").exists)
            group = os.getpgid(int((home / "child").read_text()))
            assert group_lives(group)
        finally:
            os.kill(tests.pid, signal.SIGKILL)
            tests.wait()
        assert wait_until(lambda: not group_lives(group), seconds=5)


def test_a_server_that_does_not_start_shows_its_log() -> None:
    """A start that fails says what the server said."""
    with (
        temporary_home("broken") as home,
        pytest.raises(StartError, match=r"exit code 3\):\nno such key"),
        running(["/bin/sh", "-c", "echo no such key; exit 3"], log=home / "log", ready=lambda: False),
    ):
        pytest.fail("it started")


def test_a_free_port_has_no_listener() -> None:
    """Nobody listens on a free port."""
    assert not accepts(free_port())


def test_a_missing_server_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing program skips the test with a line that names the Debian package."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(PeerMissingError) as missing:
        program("no-such-program", "its-package")
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed: apt-get install its-package"):
        give_up(missing.value)


def test_a_missing_server_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """With CI=true the same is a failure."""
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="x is missing"):
        give_up(PeerMissingError("x is missing"))


def test_the_lock_pins_every_package_and_names_no_host() -> None:
    """Every package of the lock has an integrity hash; there is no address in it."""
    text = npm.LOCK.read_text()
    packages = json.loads(text)["packages"]
    assert [] == [name for name, package in packages.items() if name and "integrity" not in package]
    assert (False, False) == ("resolved" in text, "://" in text)


def test_packages_are_installed_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The installer runs npm for a new lock, and not again for the same one."""
    lock, modules, runs = tmp_path / "package-lock.json", tmp_path / "node_modules", []
    lock.write_text("{}")
    monkeypatch.setattr(npm, "LOCK", lock)
    monkeypatch.setattr(npm, "_DONE", modules / ".installed-from")

    def npm_ci(*command: str) -> None:
        runs.append(command)
        modules.mkdir(exist_ok=True)

    monkeypatch.setattr(npm, "_npm", npm_ci)
    npm.install()
    npm.install()
    lock.write_text('{"changed": true}')
    npm.install()
    assert [("ci",), ("ci",)] == runs
