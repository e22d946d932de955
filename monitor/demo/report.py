"""What the demo says to the one who watches it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

import click

from monitor.demo.verdict import Row, Verdict
from monitor.sim import Happening


def welcome(file: Path, address: tuple[str, int] | None, control_url: str, length: float) -> str:
    """What runs where."""
    host, port = address or ("", 0)
    return "\n".join(
        [
            f"mailcanary watches an embedded Microsoft 365, which is broken and repaired for {length:.0f} s.",
            f"  configuration  {file}",
            f"  metrics        http://{host}:{port}/metrics",
            f"  Microsoft 365  {control_url}/faults",
            "",
        ]
    )


def happening(what: Happening, now: datetime) -> str:
    """What was broken or repaired just now."""
    fault = what.fault
    verb, colour = ("we break ", "magenta") if what.what == "injected" else ("we repair", "cyan")
    line = click.style(f"{verb}  {fault.kind.name} on {fault.subject}", fg=colour, bold=True)
    return f"{now:%H:%M:%SZ}  {line}  {fault.kind.summary if what.what == 'injected' else ''}".rstrip()


def alert(body: object) -> str:
    """The first alert, as it arrived where people read it."""
    if not isinstance(body, Mapping):
        return str(body)
    lines = [str(body.get("title", "")), "", *str(body.get("message", "")).splitlines()]
    return "\n".join(["", "  The alert, as it arrived in the chat:", *(f"  │ {line}" for line in lines), ""])


def encore(control_url: str) -> str:
    """What to do next."""
    return "\n".join(
        [
            "It goes on until Ctrl-C. Break something yourself:",
            f'  curl {control_url}/faults -d \'{{"fault": "send_as_denied", "subject": "billing@contoso.example"}}\'',
        ]
    )


_COLUMNS = ("what was done", "what was found", "after", "recovery after", "")


def verdict(of: Verdict, *, finished: bool) -> str:
    """What was done beside what was found of it, and whether both agree."""
    rows = [_COLUMNS, *(_cells(row) for row in of.rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(["", click.style(lines[0], bold=True), *lines[1:], *_alarms(of), _sum(of, finished=finished)])


def _cells(row: Row) -> tuple[str, ...]:
    done, found = row.done, row.found
    what = f"{done.fault} on {done.subject}"
    if found is None:
        return what, "", "", "", "✗ " + ", ".join(row.lacks)
    incident = found.incident
    recovery = ""
    if incident.closed_at and done.repaired_at:
        recovery = f"{(incident.closed_at - done.repaired_at).total_seconds():.1f} s"
    after = f"{(incident.opened_at - done.injected_at).total_seconds():.1f} s"
    good = "✓ both told" if not row.lacks else "✗ " + ", ".join(row.lacks)
    return what, f"{incident.cause}, {incident.subject}", after, recovery, good


def _alarms(of: Verdict) -> Iterator[str]:
    for found in of.false_alarms:
        yield f"false alarm: {found.incident.cause}, {found.incident.subject}"


def _sum(of: Verdict, *, finished: bool) -> str:
    good = sum(not row.lacks for row in of.rows)
    counted = f"{good} of {len(of.rows)} faults found, told and seen to recover; {len(of.false_alarms)} false alarms."
    if not finished:
        return click.style(f"Stopped before the script's end. {counted}", fg="yellow")
    return click.style(counted, fg="green" if of.agrees else "red", bold=True)
