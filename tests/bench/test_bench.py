"""The bench itself: its rows work, its numbers are what they are called, and its document says what was measured."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from checks.core.clock import SystemClock
from checks.core.model import Outcome, Phase
from checks.core.run import run_check
from checks.core.settings import Settings
from checks.registry import CHECKS
from checks.wire.kit import open_kit
from monitor.plan import Watch
from monitor.sim import Microsoft365, contoso, exchange
from tests.bench import __main__ as command
from tests.bench.document import BEGIN, DOCUMENT, END, put
from tests.bench.late import say_yes_late
from tests.bench.measured import Column, LeftOutError, Row, Table, quantile, spread
from tests.bench.registry import ROWS
from tests.bench.report import Outcome as Measured
from tests.bench.report import Report, measure
from tests.bench.rows import daemon
from tests.bench.rows.lateness import lateness
from tests.bench.simulator import NOWHERE, Office

TABLE = Table(
    "Birds", (Column("bird", "bird"), Column("age_years", "age", 1)), [{"bird": "wren", "age_years": 2.25}], ["Two."]
)
FLEETS: list[dict[str, str | float | int | None]] = [
    {"mailboxes": 1_000, "probes_per_second": 10.0, "cpu_ms": 3.0, "resident_mib": 110.0},
    {"mailboxes": 10_000, "probes_per_second": 100.0, "cpu_ms": 2.0, "resident_mib": 200.0},
]


def report(*rows: Measured, quick: bool = False) -> Report:
    """A run on no machine."""
    return Report("2026-01-02T03:04:05+00:00", quick, {"CPU": "one"}, list(rows))


@pytest.mark.parametrize("name", ["scrape", "load"])
def test_a_row_that_needs_no_server_measures(name: str) -> None:
    """Every column of its tables is filled in every line, but for counts that may be none."""
    outcome = measure(ROWS[name], quick=True)
    assert "" == outcome.left_out
    for table in outcome.tables:
        assert table.lines
        for line in table.lines:
            assert {column.key for column in table.columns} == line.keys(), table.title


def test_every_row_is_found_by_the_name_of_its_module() -> None:
    """So that whoever reads a name on the command line finds the file."""
    modules = {file.stem for file in (Path(command.__file__).parent / "rows").glob("*.py")}
    assert modules == ROWS.keys()


def test_quantiles_are_values_that_were_measured() -> None:
    """Nearest rank: of one value all are that value, of a hundred the 95th is the 95th; of none there is nothing."""
    assert 7.0 == quantile([7.0], 0.5)
    assert 95 == quantile(list(range(100, 0, -1)), 0.95)
    assert {"x_median_ms": 2000.0, "x_p95_ms": 3000.0, "x_max_ms": 3000.0} == spread("x", [3.0, 1.0, 2.0])
    assert {} == spread("x", [])


def test_lateness_counts_from_the_slot() -> None:
    """A quarter of a second behind the slot is that late; what was cut to a millisecond before it is in time."""
    box = NOWHERE.mailbox()
    watch = Watch(id="w", check="nothing", target=box, settings=Settings(), interval=60, timeout=60)
    slot = 1_000_000 * 60 + watch.offset
    assert pytest.approx(0.25, abs=1e-6) == lateness(watch, slot + 0.25)
    assert 0.0 == lateness(watch, slot - 0.0009)
    assert pytest.approx(59.0, abs=1e-6) == lateness(watch, slot - 1.0)


async def test_the_late_server_waits_and_tells_how_long(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The phase auth takes the delay, no other phase does, and the server's own account of it is not longer."""
    monkeypatch.setattr(exchange, "Session", exchange.Session)  # so that it comes back
    told = io.StringIO()
    say_yes_late(0.1, told)
    check = CHECKS["smtp_auth"]
    async with Microsoft365(tmp_path, contoso(more_mailboxes=1)) as sim, open_kit(clock=SystemClock()) as kit:
        office = Office(0, sim.authority_url, sim.smtp_port, str(sim.ca_file), "")
        result = await run_check(check, office.mailbox(), check.settings(), kit, watch="smtp_auth/x", seconds=10)
        async with asyncio.timeout(5):
            while not told.getvalue():  # the client may be told first
                await asyncio.sleep(0)
    assert Outcome.PASS is result.outcome, result.findings
    times = {phase.phase: phase.seconds for phase in result.phases}
    address, seconds = told.getvalue().split()
    assert "box0001@contoso.example" == address
    assert 0.098 <= float(seconds) <= times[Phase.AUTH]
    assert times[Phase.QUIT] < 0.098


def test_a_row_that_fails_is_told_in_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    """The others go on, and the reason is in the report."""

    def fails(_: bool) -> list[Table]:  # noqa: FBT001 - the shape of a row
        raise LeftOutError("no birds here")

    outcome = measure(Row("birds", "Birds", "Counted.", fails), quick=True)
    assert "LeftOutError: no birds here" == outcome.left_out
    assert ["Birds: left out: LeftOutError: no birds here"] == outcome.text()
    assert "no birds here" in capsys.readouterr().err


def test_the_command_measures_what_is_named_and_writes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that is read back as the same report, with the machine's facts; the same numbers on the terminal."""
    row = Row("birds", "Birds", "Counted.", lambda _: [TABLE])
    monkeypatch.setattr(command, "ROWS", {"birds": row, "bees": replace(row, name="bees")})
    monkeypatch.setattr(sys, "argv", ["bench", "birds", "--json", str(tmp_path / "bench.json")])
    assert 0 == command.main()
    written = (tmp_path / "bench.json").read_text(encoding="utf-8")
    found = Report.read(written)
    assert ["birds"] == [outcome.name for outcome in found.rows]
    assert TABLE.cells() == found.rows[0].tables[0].cells()
    assert {"CPU", "Python", "OpenSSL of Python", "event loop"} <= found.machine.keys()
    assert 2.25 == json.loads(written)["rows"][0]["tables"][0]["lines"][0]["age_years"]
    assert "Birds\nbird  age\nwren  2.2\nTwo." in capsys.readouterr().out


def test_the_command_names_the_rows_when_one_is_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is measured, and the message says what there is."""
    monkeypatch.setattr(sys, "argv", ["bench", "accuracy", "speed"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert 2 == ended.value.code
    assert f"unknown: speed; there are {', '.join(ROWS)}" in capsys.readouterr().err


def test_a_run_replaces_the_one_before_it_in_the_document() -> None:
    """What people wrote stays; the same run twice is the same document."""
    measured = Measured("birds", "Birds", "Counted.", [TABLE], 1.0)
    once = put(f"before\n{BEGIN}\nold\n{END}\nafter\n", report(measured))
    assert once.startswith(f"before\n{BEGIN}\nMeasured on 2026-01-02, in one run:\n\n- CPU: one\n\n### Birds\n")
    assert "| bird | age |\n| :-- | --: |\n| wren | 2.2 |\n\nTwo.\n" in once
    assert once.endswith(f"{END}\nafter\n")
    assert "old" not in once
    assert once == put(once, report(measured))


def test_what_a_daemon_carries_follows_from_what_was_measured() -> None:
    """Half a core at 2 ms is 250 runs a second; one server takes 50 of 2 s; memory is that of the fewer mailboxes."""
    lines = Table("The daemon", (), FLEETS)
    text = put(f"{BEGIN}\n{END}", report(Measured("daemon", "The daemon", "", [lines, daemon.memory(FLEETS)], 1.0)))
    assert "| 10.0 | 100.0 |" in put(f"{BEGIN}{END}", report(Measured("x", "", "", [daemon.memory(FLEETS)], 1.0)))
    assert "2.00 ms of CPU for one run of `smtp_auth` (the daemon at 100 probes a second), and 100 MiB" in text
    assert "| 1 | 15,000 | 3,000 | 130 |" in text
    assert "| 5 | 75,000 | 15,000 | 250 |" in text


def test_a_quick_run_does_not_get_into_the_document() -> None:
    """Neither does any run get into a document that has no place for it."""
    with pytest.raises(ValueError, match="its numbers are worth nothing"):
        put(f"{BEGIN}{END}", report(quick=True))
    with pytest.raises(ValueError, match="there is nothing between"):
        put("text", report())


def test_the_document_has_every_row() -> None:
    """The run in the document is of a bench that has the same rows as this one."""
    text = DOCUMENT.read_text(encoding="utf-8")
    section = text.partition(BEGIN)[2].partition(END)[0]
    assert [] == [row.title for row in ROWS.values() if f"\n### {row.title}\n" not in section]
    assert "Left out" not in section
