"""The tables as this program knows them. `migrations/` leads every older database here.

Records are kept as JSON text, beside the few columns that queries need. Moments in columns are seconds since 1970, UTC.
Only what SQLite and PostgreSQL share is used.
"""

from __future__ import annotations

from sqlalchemy import Column, Double, Index, Integer, MetaData, Table, Text

# Every revision in migrations/versions, oldest first. Kept here, so that a database at the newest one is known without
# importing Alembic (about 60 ms and 10 MB).
REVISIONS = ("0001", "0002")
HEAD = REVISIONS[-1]

metadata = MetaData()

watch_state = Table(
    "watch_state",
    metadata,
    Column("watch", Text, primary_key=True),
    Column("state", Text, nullable=False),
)

incident = Table(
    "incident",
    metadata,
    Column("id", Text, primary_key=True),
    Column("cause", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("scope_key", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("opened_at", Double, nullable=False),
    Column("closed_at", Double),
    Column("record", Text, nullable=False),
)
_OPEN = incident.c.state == "open"
Index(
    "incident_open",
    incident.c.cause,
    incident.c.scope,
    incident.c.scope_key,
    unique=True,
    sqlite_where=_OPEN,
    postgresql_where=_OPEN,
)

notice = Table(
    "notice",
    metadata,
    # The order in which notices were decided; numbers are never used again.
    Column("position", Integer, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False, unique=True),
    Column("incident", Text, nullable=False),
    Column("channel", Text, nullable=False),
    Column("due_at", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("state", Text, nullable=False),  # pending, claimed, delivered, given_up
    Column("created_at", Double, nullable=False),
    Column("claimed_at", Double),
    Column("next_attempt_at", Double, nullable=False),
    Column("settled_at", Double),
    Column("error", Text, nullable=False),
    Column("record", Text, nullable=False),
    sqlite_autoincrement=True,
)
_UNSETTLED = notice.c.state.in_(["pending", "claimed"])
Index(
    "notice_unsettled",
    notice.c.channel,
    notice.c.incident,
    notice.c.position,
    sqlite_where=_UNSETTLED,
    postgresql_where=_UNSETTLED,
)

canary = Table(
    "canary",
    metadata,
    Column("id", Text, primary_key=True),
    Column("inbox", Text, primary_key=True),
    Column("sent_at", Double, nullable=False),
    Column("fate", Text, nullable=False),
    Column("record", Text, nullable=False),
)
_ON_ITS_WAY = canary.c.fate.in_(["pending", "late"])
Index("canary_open", canary.c.sent_at, sqlite_where=_ON_ITS_WAY, postgresql_where=_ON_ITS_WAY)
Index("canary_sent", canary.c.sent_at)  # millions are pruned by it

last_run = Table(
    "last_run",
    metadata,
    Column("watch", Text, primary_key=True),
    Column("started_at", Double, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("result", Text, nullable=False),
    Column("failed", Text),
)
