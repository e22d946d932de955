"""When files are to be read again: once for each state of theirs, and not while they are being written."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from monitor.config.changes import Changes, Stamp, stamps

if TYPE_CHECKING:
    from pathlib import Path

OLD, HALF, NEW = ((Stamp(None, mtime, mtime, 1),) for mtime in (1, 2, 3))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ((OLD, OLD, OLD), (False, False, False)),
        ((OLD, NEW, NEW, NEW), (False, False, True, False)),
        ((OLD, HALF, NEW, NEW), (False, False, False, True)),
        ((NEW, NEW, OLD, OLD), (False, True, False, True)),
        ((NEW, OLD, NEW, OLD), (False, False, False, False)),
    ],
)
def test_a_change_is_due_once_it_holds_still(looks: tuple[tuple[Stamp], ...], expected: tuple[bool, ...]) -> None:
    """Two looks alike and unlike what was read: due, and then no more until the next change."""
    changes = Changes(OLD)
    assert expected == tuple(changes.due(now) for now in looks)


def test_a_stamp_tells_files_apart(tmp_path: Path) -> None:
    """Another time, size or inode is another stamp; the same file is the same; a missing file is one that has none."""
    file, other = tmp_path / "fleet.csv", tmp_path / "new.csv"
    gone = Stamp.of(file)
    file.write_text("one")
    os.utime(file, ns=(1, 1))
    first = Stamp.of(file)
    assert first == Stamp.of(file)
    seen = {gone, first}
    os.utime(file, ns=(2, 2))
    seen.add(Stamp.of(file))
    file.write_text("three")
    os.utime(file, ns=(2, 2))
    seen.add(Stamp.of(file))
    other.write_text("seven")
    os.utime(other, ns=(2, 2))
    other.rename(file)
    seen.add(Stamp.of(file))
    assert 5 == len(seen)
    assert (Stamp.of(file), Stamp.of(other)) == stamps([file, other])


def test_a_link_counts_as_what_it_leads_to(tmp_path: Path) -> None:
    """Kubernetes updates a mounted file by turning a link above it."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "fleet.csv").write_text("same")
        os.utime(tmp_path / name / "fleet.csv", ns=(1, 1))
    data = tmp_path / "data"
    data.symlink_to("one")
    before = Stamp.of(data / "fleet.csv")
    data.unlink()
    data.symlink_to("two")
    assert before != Stamp.of(data / "fleet.csv")
