"""Canaries on their way, and what became of them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table of canaries."""
    op.create_table(
        "canary",
        sa.Column("id", sa.Text(), primary_key=True),
        sa.Column("inbox", sa.Text(), primary_key=True),
        sa.Column("sent_at", sa.Double(), nullable=False),
        sa.Column("fate", sa.Text(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
    )
    is_open = sa.text("fate IN ('pending', 'late')")
    op.create_index("canary_open", "canary", ["sent_at"], sqlite_where=is_open, postgresql_where=is_open)
    op.create_index("canary_sent", "canary", ["sent_at"])


def downgrade() -> None:
    """Drop the table of canaries."""
    op.drop_table("canary")
