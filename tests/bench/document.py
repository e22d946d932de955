"""Puts a run of the bench into `docs/performance.md`: `python -m tests.bench.document bench.json`.

Between two marks of that document every word is made here, so that no number in it was copied by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from monitor.runner import MAX_RUNS_PER_ENDPOINT
from tests.bench.measured import Column, Table
from tests.bench.report import Report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.measured import Value
    from tests.bench.report import Outcome

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
INTERVALS = (60, 300, 900)  # seconds
SHARE = 0.5  # of a core: near a whole one, phases are timed late
REAL_PROBE = 2.0  # seconds that a probe takes against the real service, as the runner's bounds assume


def section(report: Report) -> str:
    """What stands between the marks."""
    return "\n".join([*_heading(report), *(line for row in report.rows for line in _row(row)), *_sizing(report)])


def put(text: str, report: Report) -> str:
    """A document with the section exchanged. Raises ValueError for one without marks and for a run that proves nothing."""
    if report.quick:
        raise ValueError("this run was a quick one: its numbers are worth nothing")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"there is nothing between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{section(report)}\n{END}{after}"


def _heading(report: Report) -> Iterator[str]:
    yield f"Measured on {report.at[:10]}, in one run:"
    yield ""
    yield from (f"- {name}: {fact}" for name, fact in report.machine.items())
    yield ""


def _row(row: Outcome) -> Iterator[str]:
    yield from (f"### {row.title}", "", row.method, "")
    if row.left_out:
        yield from (f"Left out: {row.left_out}", "")
    for table in row.tables:
        yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    head, *lines = table.cells()
    yield from (f"**{table.title}**", "", _line(head), _line([":--", *["--:"] * (len(head) - 1)]))
    yield from map(_line, lines)
    yield ""
    for note in table.notes:
        yield from (note, "")


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cell.strip() for cell in cells)} |"


def _sizing(report: Report) -> Iterator[str]:
    """What the rows of the daemon mean for a fleet; nothing where they were left out."""
    tables = next((row.tables for row in report.rows if row.name == "daemon"), [])
    if not tables:
        return
    fleets, memory = tables
    busiest = max(fleets.lines, key=lambda line: _number(line["probes_per_second"]))
    cost, slope, base = (
        _number(busiest["cpu_ms"]),
        _number(memory.lines[0]["per_thousand_mib"]),
        _number(memory.lines[0]["base_mib"]),
    )
    lines: list[dict[str, Value]] = []
    for interval in INTERVALS:
        by_cpu = SHARE * interval * 1000 / cost
        by_endpoint = MAX_RUNS_PER_ENDPOINT / REAL_PROBE * interval
        lines.append(
            {
                "interval_minutes": interval // 60,
                "mailboxes_by_cpu": by_cpu // 100 * 100,
                "mailboxes_by_endpoint": by_endpoint,
                "memory_mib": base + slope * min(by_cpu, by_endpoint) / 1000,
            }
        )
    columns = (
        Column("interval_minutes", "each mailbox every, min"),
        Column("mailboxes_by_cpu", f"mailboxes on {SHARE:.0%} of a core"),
        Column("mailboxes_by_endpoint", "mailboxes at one server, at most"),
        Column("memory_mib", "memory for the fewer of both, MiB"),
    )
    yield from ("### Sizing", "")
    yield (
        f"From the lines above: {cost:.2f} ms of CPU for one run of `smtp_auth` (the daemon at "
        f"{_number(busiest['probes_per_second']):.0f} probes a second), and {base:.0f} MiB and {slope:.1f} MiB for each "
        f"1,000 mailboxes with one check. At one server {MAX_RUNS_PER_ENDPOINT} runs are under way at a time; a run that "
        f"takes {REAL_PROBE:g} s there, as is assumed of the real service, bounds the mailboxes whatever the CPU."
    )
    yield ""
    yield from _table(Table("What one daemon carries", columns, lines))


def _number(value: Value) -> float:
    assert isinstance(value, int | float), value
    return value


def main() -> None:
    """Exchange the section in the document."""
    report = Report.read(Path(sys.argv[1]).read_text(encoding="utf-8"))
    DOCUMENT.write_text(put(DOCUMENT.read_text(encoding="utf-8"), report), encoding="utf-8")


if __name__ == "__main__":
    main()
