"""What is shipped: the lock files, the reasons for each dependency, the wheel, and the first words of `make`."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")
PACKAGES = ("checks", "monitor")
# By aiohttp (its connector and its URLs), Apprise (its sessions) and pydantic (its schemas), which are useless without
# them: docs/architecture.md says so.
BROUGHT_ALONG = {"aiohappyeyeballs", "yarl", "requests", "pydantic-core"}
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def locked(name: str) -> dict[str, str]:
    """The logical lines of a lock file, by canonical name of what they require."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip()]
    return {canonicalize_name(re.split(r"[=\s;]", line)[0]): line for line in lines}


def named(requirements: Iterable[str]) -> set[str]:
    """The canonical names in a list of requirements."""
    return {canonicalize_name(Requirement(requirement).name) for requirement in requirements}


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    """A line is a name, a version, perhaps a marker, and hashes: nothing that pip could take from elsewhere."""
    for line in locked(name).values():
        requirement, *hashes = re.split(r"\s+(?=--hash)", line.strip())
        assert hashes, line
        assert all(HASH.fullmatch(one) for one in hashes), line
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[\w.!+]+( ; .+)?", requirement), line


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_names_a_host(name: str) -> None:
    """Whoever installs decides where from: no address, no index, no comment that says where the makers took it."""
    text = (ROOT / name).read_text()
    for sign in ("://", "index-url", "find-links", "trusted-host", "@", "#"):
        assert sign not in text


@pytest.mark.parametrize(
    ("lock", "groups"), [("requirements.lock", ("build",)), ("requirements-dev.lock", ("build", "test", "check"))]
)
def test_the_locks_are_of_this_project(lock: str, groups: Sequence[str]) -> None:
    """What pyproject.toml asks for is locked, in a version that it allows: nobody forgot `make locks`."""
    lines = locked(lock)
    wanted = [
        *PROJECT["project"]["dependencies"],
        *(one for group in groups for one in PROJECT["dependency-groups"][group]),
    ]
    for requirement in map(Requirement, wanted):
        line = lines[canonicalize_name(requirement.name)]
        version = Version(re.split(r"==|\s|;", line)[1])
        assert requirement.specifier.contains(version, prereleases=True), line


def test_what_runs_in_the_tests_is_what_is_installed() -> None:
    """Both lock files agree on everything that the product needs."""
    product, everything = (locked(name) for name in LOCKS)
    assert not product.items() - everything.items()


def test_each_dependency_has_a_reason() -> None:
    """docs/architecture.md names every runtime dependency with a reason, and nothing that is none."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    section = text.partition("\n## Dependencies\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"][
        2:
    ]
    assert all(len(row) == 2 and row[1] for row in rows)
    packages = [canonicalize_name(package) for row in rows for package in row[0].split(", ")]
    assert sorted(named(PROJECT["project"]["dependencies"])) == sorted(packages)


def test_what_is_imported_is_declared() -> None:
    """The product imports the standard library, itself and its dependencies; and there is none that it does not import."""
    roots = set()
    for file in (file for package in PACKAGES for file in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                roots |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                roots.add((node.module or "").partition(".")[0])
    foreign = roots - sys.stdlib_module_names - set(PACKAGES)
    homes = packages_distributions()
    imported = {canonicalize_name(homes[module][0]) for module in foreign}
    assert named(PROJECT["project"]["dependencies"]) == imported - BROUGHT_ALONG


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built by the build backend that is installed, with no network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_all_of_both_packages_and_nothing_else(wheel: Path) -> None:
    """No data file is forgotten: the table of causes, the demo's script, the migrations, the marks of being typed."""
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    for name in (
        "checks/core/causes.toml",
        "checks/py.typed",
        "monitor/demo/demo.yaml",
        "monitor/py.typed",
        "monitor/store/migrations/env.py",
        "monitor/store/migrations/versions/r0001_first.py",
    ):
        assert name in inside
    here = {
        str(file.relative_to(ROOT))
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.parent.name != "__pycache__" and not re.search(r"\.db(-\w+)?$", file.name)
    }
    assert here == inside


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    """Its entry point is `mailcanary`; name, version, licence and Python are those of pyproject.toml."""
    content = zipfile.ZipFile(wheel)
    info = f"mailcanary-{PROJECT['project']['version']}.dist-info"
    assert "mailcanary = monitor.cli.main:main" in content.read(f"{info}/entry_points.txt").decode().splitlines()
    metadata = content.read(f"{info}/METADATA").decode().partition("\n\n")[0].splitlines()
    for line in ("Name: mailcanary", "License-Expression: Apache-2.0", "Requires-Python: >=3.11"):
        assert line in metadata
    assert f"{info}/licenses/LICENSE" in content.namelist()


def test_what_is_in_the_wheel_works_by_itself(wheel: Path, tmp_path: Path) -> None:
    """Unpacked elsewhere, the commands and the table of causes work without this tree."""
    place = tmp_path / "unpacked"
    zipfile.ZipFile(wheel).extractall(place)
    program = """\
import checks, monitor
from pathlib import Path
from checks.core.causes import table
from monitor.cli.main import cli
assert {str(Path(one.__file__).parents[1]) for one in (checks, monitor)} == {str(Path.cwd())}
assert table()["entra.secret_expired"].steps
cli(["validate", "none.yaml"])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=place,
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        timeout=60,
    )
    assert (2, "none.yaml: there is no such file") == (done.returncode, done.stderr.partition(": is")[0])


def make_tools(path: str, *arguments: str) -> tuple[int, str]:
    """`make tools` with a PATH: the status, and the first line of stderr."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("there is no make here")
    done = subprocess.run(
        [make, "--no-print-directory", "tools", *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": path},
        timeout=60,
    )
    return done.returncode, done.stderr.partition("\n")[0]


def stub(folder: Path, name: str, script: str) -> Path:
    """An executable shell script."""
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def test_make_names_the_package_when_there_is_no_python(tmp_path: Path) -> None:
    """With no Python, or one that is too old, the first line says what to install, and where."""
    stub(tmp_path / "old", "python3", "exit 1")
    for status, line in (
        make_tools(os.environ["PATH"], "PYTHON="),
        make_tools(str(tmp_path / "nothing")),
        make_tools(str(tmp_path / "old")),
    ):
        assert 2 == status
        assert line.startswith("mailcanary needs Python 3.11 or newer: install the package python3 ")
        assert "apt install python3 python3-venv" in line
        assert "brew install python" in line


def test_make_names_the_package_when_venv_is_missing(tmp_path: Path) -> None:
    """Debian's Python comes without venv: the first line says which package has it."""
    without = stub(tmp_path / "bin", "python3", 'case "$*" in *venv*) exit 1 ;; esac')
    for status, line in (make_tools(os.environ["PATH"], f"PYTHON={without}"), make_tools(str(without.parent))):
        assert 2 == status
        assert line.startswith("mailcanary needs the module venv: install the package python3-venv ")


def test_make_has_nothing_to_say_when_all_is_there() -> None:
    """With a good Python there is no message and no error."""
    assert (0, "") == make_tools(os.environ["PATH"], f"PYTHON={sys.executable}")
