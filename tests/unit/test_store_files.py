"""A database that can not be used is refused with its path, what is wrong and the next step."""

import ast
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from checks.core.clock import SystemClock
from monitor.store import Store, StoreError, database
from monitor.store.schema import HEAD, REVISIONS, metadata


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a database may be made."""
    return tmp_path / "state" / "store.db"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a lock."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_S", 0.0)


def opened(file: Path | str) -> None:
    """Open and close a database there."""
    database.connect(f"sqlite:///{file}").close()


def refusal(file: Path | str) -> str:
    """What is said when a database is opened there."""
    with pytest.raises(StoreError) as caught:
        opened(file)
    return str(caught.value)


def modes(file: Path) -> set[str]:
    """The permissions of everything in a file's directory."""
    return {oct(path.stat().st_mode & 0o777) for path in file.parent.iterdir()}


async def test_only_the_owner_reads_the_store(file: Path) -> None:
    """Directory 0700 and files 0600, the write-ahead log included, whatever the umask lets through."""
    before = os.umask(0o000)
    try:
        async with Store.open(f"sqlite:///{file}", SystemClock()):
            assert 0o700 == file.parent.stat().st_mode & 0o777
            assert {"store.db", "store.db-wal", "store.db-shm"} == {path.name for path in file.parent.iterdir()}
            assert {"0o600"} == modes(file)
    finally:
        os.umask(before)


def test_the_connection_is_set_up_for_a_daemon(file: Path) -> None:
    """The store runs with a write-ahead log, without an fsync per commit, and with foreign keys."""
    connection = database.connect(f"sqlite:///{file}")
    try:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]
    finally:
        connection.close()
    assert ["wal", 1, 1, 5000] == found


def test_a_file_that_is_no_database_is_refused(file: Path) -> None:
    """A text file is not taken for a database, and is left as it is."""
    file.parent.mkdir()
    file.write_text("this is no database, but it is longer than the header of one " * 20)
    said = refusal(file)
    assert said == (
        f"{file}: it is no SQLite database; "
        "move the file away (a new one is made) or correct 'store' in the configuration"
    )
    assert file.read_text().startswith("this is no database")


def test_a_damaged_database_is_refused(file: Path) -> None:
    """A database whose pages are overwritten is named as damaged."""
    opened(file)
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    content[100:4096] = b"\x5a" * (4096 - 100)
    file.write_bytes(content)
    assert refusal(file) == (
        f"{file}: it is damaged; move the file and its -wal away (a new one is made), or restore a copy"
    )


@pytest.mark.usefixtures("impatient")
def test_a_locked_database_is_refused(file: Path) -> None:
    """A database that another process holds is named as locked."""
    opened(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert refusal(file) == (
            f"{file}: it is locked by another process; stop the other program that has it open, then start again"
        )


def test_a_directory_is_refused(tmp_path: Path) -> None:
    """A directory is no place for a database."""
    assert refusal(tmp_path) == (
        f"{tmp_path}: it can not be opened for writing (Is a directory); "
        "check that the directory exists and that this user may write in it"
    )


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    """A path that leads through a file can not be made."""
    (tmp_path / "file").touch()
    assert "it can not be opened for writing" in refusal(tmp_path / "file" / "store.db")


def test_a_database_of_another_program_is_refused(file: Path) -> None:
    """Tables that are not ours are not mixed with ours."""
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE photos (id)")
    assert refusal(file) == (
        f"{file}: it belongs to another program (its tables: photos); correct 'store' in the configuration"
    )


def test_a_database_of_a_newer_version_is_refused(file: Path) -> None:
    """A schema that this program does not know is left alone."""
    opened(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    assert refusal(file) == (
        f"{file}: it was written by a newer version (schema 9999; this one knows {HEAD}); "
        "install that version again, or move the file away"
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense", "store: this is no database URL; write it as sqlite:////path/to/state.db"),
        (
            "mysql://user:hunter2@db/x",
            "store: databases of the kind 'mysql' are not supported; write it as sqlite:////path/to/state.db",
        ),
    ],
)
async def test_only_sqlite_is_taken(url: str, said: str) -> None:
    """Another kind of database is refused without showing its password."""
    with pytest.raises(StoreError) as caught:
        async with Store.open(url, SystemClock()):
            pass
    assert said == str(caught.value)


async def test_a_store_in_memory_needs_no_file() -> None:
    """The URL without a path gives a store that is gone when it is closed."""
    async with Store.open("sqlite://", SystemClock()) as store:
        assert {} == (await store.load()).states


def test_the_migrations_lead_to_the_tables_of_the_program(file: Path) -> None:
    """A database that went through every migration has the tables, columns and indices of the schema."""
    connection = database.connect(f"sqlite:///{file}")
    try:
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    finally:
        connection.close()
    assert [] == found


def test_every_revision_is_known() -> None:
    """The list of revisions in the program is the list of migrations, in their order."""
    config = Config()
    config.set_main_option("script_location", str(Path(database.__file__).with_name("migrations")))
    walked = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert list(REVISIONS) == walked[::-1]


def test_a_database_at_head_is_opened_without_alembic(file: Path) -> None:
    """The second start does not pay for the migration tool."""
    opened(file)
    script = (
        "import sys; from monitor.store.database import connect; "
        f"connect('sqlite:///{file}').close(); print([n for n in sys.modules if n.startswith('alembic')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert [] == ast.literal_eval(done.stdout)


def test_a_path_with_percent_signs_is_fine(tmp_path: Path) -> None:
    """A per cent sign in the path means itself."""
    file = tmp_path / "50%done" / "store.db"
    opened(file)
    assert file.exists()
    assert re.fullmatch(r"\d{4}", HEAD)
