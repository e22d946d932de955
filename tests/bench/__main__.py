"""What mailcanary costs and how exact it is: `make bench`, or `python -m tests.bench [ROW ...] [--json FILE]`.

Nothing needs to be installed: the server is the embedded Microsoft 365 in a process of its own. What is compared with
others is measured in one run, in turns. Read ratios, not absolutes. `registry.py` has the rows, `docs/performance.md` a
run of them.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.bench.registry import ROWS
from tests.bench.report import Report, measure


def main() -> int:
    """Measure and print; 1 when a row could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="What mailcanary costs.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"what to measure, of {', '.join(ROWS)}; default: all")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file as well")
    parser.add_argument("--quick", action="store_true", help="only see whether it works: its numbers are worth nothing")
    given = parser.parse_args()
    if unknown := [name for name in given.rows if name not in ROWS]:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    report = Report.begin(quick=given.quick)
    print(*(f"{name}: {fact}" for name, fact in report.machine.items()), sep="\n", flush=True)  # noqa: T201
    for name in given.rows or ROWS:
        outcome = measure(ROWS[name], quick=given.quick)
        report.rows.append(outcome)
        print("", *outcome.text(), sep="\n", flush=True)  # noqa: T201 - a program for the terminal
        if given.json:
            given.json.write_text(report.json(), encoding="utf-8")
    return 1 if any(outcome.left_out for outcome in report.rows) else 0


if __name__ == "__main__":
    sys.exit(main())
