"""What the edge keeps beside the messages: application answers that are due, and the feeds that run."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "reply",
        sa.Column("org", sa.Text(), primary_key=True),
        sa.Column("seq", _number(), primary_key=True, autoincrement=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("due", sa.Text(), nullable=False),
        sa.Column("became", sa.Text(), nullable=False),
        sa.Column("issue", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("at", _number(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("ended", sa.Text()),
    )
    op.create_index("reply_pending", "reply", ["org", "tries", "seq"], **_where("ended IS NULL"))
    op.create_table(
        "feed_run",
        sa.Column("org", sa.Text(), primary_key=True),
        sa.Column("feed", sa.Text(), primary_key=True),
        sa.Column("wanted", sa.Text(), nullable=False),
        sa.Column("wanted_at", _number(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("git", sa.Text(), nullable=False),
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("runs", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("at", _number(), nullable=False),
    )


def downgrade() -> None:
    op.drop_table("feed_run")
    op.drop_table("reply")
