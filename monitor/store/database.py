"""Opens the database file: place, permissions, settings of the connection, and the way to the newest schema.

SQLite runs in WAL mode with `synchronous=NORMAL`: what was committed survives the death of the process (kill -9); a
power cut may cost the last commits but never the file ("PRAGMA synchronous", sqlite.org). That is the right price
here: a lost state is seen again by the next run, a lost mark of delivery repeats a notice, and in return a commit
needs no fsync, so that a slow disk does not slow the probes down.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from monitor.store.errors import StoreError, explained
from monitor.store.schema import HEAD, REVISIONS

BUSY_TIMEOUT_S = 5.0  # how long to wait for another process that holds the file, as a backup does
_VERSION_TABLE = "alembic_version"


def connect(url: str) -> Connection:
    """A connection to an existing or new database at the newest schema, for the calling thread only.

    `url` is SQLAlchemy's: three slashes and a path (four for an absolute one), or `sqlite://` for one in memory.
    """
    parsed = _parsed(url)
    place = parsed.database or "the store in memory"
    if parsed.database:
        _make_file(Path(parsed.database))
    engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    with explained(place):
        connection = engine.connect()
        try:
            _migrate(connection, place)
        except BaseException:
            connection.close()
            raise
    return connection


def place_of(url: str) -> str:
    """The file that a URL names, for messages."""
    return _parsed(url).database or "the store in memory"


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StoreError("store", "this is no database URL", "write it as sqlite:////path/to/state.db") from error
    if parsed.get_backend_name() != "sqlite":
        wrong = f"databases of the kind {parsed.get_backend_name()!r} are not supported"
        raise StoreError("store", wrong, "write it as sqlite:////path/to/state.db")
    return parsed


def _make_file(path: Path) -> None:
    """Create directory (0700) and file (0600) where they are missing; SQLite gives the file's mode to its -wal and -shm."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        step = "check that the directory exists and that this user may write in it"
        raise StoreError(str(path), f"it can not be opened for writing ({error.strerror})", step) from error


def _prepare(driver: Any, _record: Any) -> None:
    driver.isolation_level = None  # transactions begin where we say so, not where sqlite3 guesses
    for setting in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=NORMAL", "trusted_schema=OFF"):
        driver.execute(f"PRAGMA {setting}").close()


def _begin(connection: Connection) -> None:
    # The write lock is taken at once: a lock that is taken halfway through can not wait for another writer.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _migrate(connection: Connection, place: str) -> None:
    with connection.begin():
        version = _version(connection, place)
        if version == HEAD:
            return
        if version is not None and version not in REVISIONS:
            wrong = f"it was written by a newer version (schema {version}; this one knows {HEAD})"
            raise StoreError(place, wrong, "install that version again, or move the file away")
        _upgrade(connection)


def _version(connection: Connection, place: str) -> str | None:
    tables = inspect(connection).get_table_names()
    if _VERSION_TABLE in tables:
        return connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()  # noqa: S608 - a constant
    if tables:
        step = "correct 'store' in the configuration"
        raise StoreError(place, f"it belongs to another program (its tables: {', '.join(tables[:3])})", step)
    return None


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
