"""Tables: whatever a cell holds, it is read as it was written, and its place is where it stands."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks.registry import CHECKS
from monitor.config import ConfigurationError, load
from monitor.config.table import Table

CELLS = st.lists(st.text('ab ,;\t"\n=#', max_size=6), min_size=2, max_size=4)
MAIN = """\
tenants: {contoso: {tenant_id: contoso.example}}
apps:
  mailer: {tenant: contoso, client_id: 3fd2b7a9-0000-4000-8000-000000000001, credential: {secret: env:NOT_READ}}
"""


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(CELLS, min_size=1, max_size=5), delimiter=st.sampled_from(",;\t"), end=st.sampled_from(["\n", "\r\n"])
)
def test_every_cell_is_found_where_it_stands(rows: list[list[str]], delimiter: str, end: str) -> None:
    """What a writer of CSV writes is read back, without rows that say nothing, and each cell begins at its place."""
    written = io.StringIO()
    writer = csv.writer(written, delimiter=delimiter, lineterminator=end)
    header = ["id", "address", "app"]
    writer.writerows([header, *rows])
    table = Table(Path("fleet.csv"), written.getvalue())
    lines = list(io.StringIO(written.getvalue(), newline=""))
    found = list(table.rows())
    assert [header, *(row for row in rows if any(cell.strip() for cell in row))] == [cells for _, cells in found]
    for line, cells in found:
        for number, cell in enumerate(cells):
            there, column = table.place(line, number)
            rest = lines[there - 1][column - 1 :] + "".join(lines[there:])
            assert rest.startswith((cell, f'"{cell.replace(chr(34), chr(34) * 2)}"'))


@pytest.mark.parametrize("name", ["fleet.csv", "fleet.yaml"])
def test_no_file_is_too_strange(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    """Any bytes are a fleet or are explained, each problem with the name of a file; nothing else is raised."""
    folder = tmp_path_factory.mktemp("fleet")
    main, fleet = folder / "c.yaml", folder / name
    main.write_text(f"{MAIN}mailboxes_from: [{{file: {name}}}]\n")
    pieces = ["id,address,app,checks\n", "a,a@b.example,mailer,", "canary.to=x", "a: {address: a@b.example, app: mailer}\n", '"', "\n", ": ", "{", "[", "- ", "? ", "\x00", "\ufeff", "&a ", "*a", "2", "é", "\x85"]  # fmt: skip

    @settings(max_examples=300, deadline=None)
    @given(
        st.one_of(
            st.binary(max_size=60),
            st.lists(st.sampled_from(pieces), max_size=8).map(lambda chosen: "".join(chosen).encode()),
        )
    )
    def tried(content: bytes) -> None:
        fleet.write_bytes(content)
        try:
            problems = load(main, CHECKS, secrets=False).warnings
        except ConfigurationError as error:
            problems = error.problems
            assert problems
        assert {problem.file for problem in problems} <= {str(main), str(fleet)}

    tried()
