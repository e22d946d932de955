"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create every table."""
    op.create_table(
        "watch_state",
        sa.Column("watch", sa.Text(), primary_key=True),
        sa.Column("state", sa.Text(), nullable=False),
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("scope_key", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.Double(), nullable=False),
        sa.Column("closed_at", sa.Double()),
        sa.Column("record", sa.Text(), nullable=False),
    )
    is_open = sa.text("state = 'open'")
    op.create_index(
        "incident_open",
        "incident",
        ["cause", "scope", "scope_key"],
        unique=True,
        sqlite_where=is_open,
        postgresql_where=is_open,
    )
    op.create_table(
        "notice",
        sa.Column("position", sa.Integer(), primary_key=True, autoincrement=True),
        sa.Column("id", sa.Text(), nullable=False, unique=True),
        sa.Column("incident", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("due_at", sa.Double(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("claimed_at", sa.Double()),
        sa.Column("next_attempt_at", sa.Double(), nullable=False),
        sa.Column("settled_at", sa.Double()),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    unsettled = sa.text("state IN ('pending', 'claimed')")
    op.create_index(
        "notice_unsettled",
        "notice",
        ["channel", "incident", "position"],
        sqlite_where=unsettled,
        postgresql_where=unsettled,
    )
    op.create_table(
        "last_run",
        sa.Column("watch", sa.Text(), primary_key=True),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("failed", sa.Text()),
    )


def downgrade() -> None:
    """Drop every table."""
    for table in ("last_run", "notice", "incident", "watch_state"):
        op.drop_table(table)
