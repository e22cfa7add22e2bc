"""Subscriptions of clients, and the notices that they are owed."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

LIVE = "status IN ('requested', 'active')"


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


def upgrade() -> None:
    op.create_table(
        "subscription",
        sa.Column("rid", _number(), primary_key=True, autoincrement=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("purposes", sa.Text(), nullable=False),
        sa.Column("owner", _number(), nullable=False),
        sa.Column("topic", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("events", _number(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("failing_since", _number()),
        sa.Column("rest_until", _number(), nullable=False),
        sa.Column("held_until", _number(), nullable=False),
    )
    op.create_index("subscription_owner", "subscription", ["owner"], **_where(LIVE))
    op.create_index("subscription_live", "subscription", ["rest_until"], **_where(LIVE))
    op.create_table(
        "notice",
        sa.Column("n", _number(), primary_key=True, autoincrement=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("subscription", _number(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("rid", _number(), nullable=False),
        sa.Column("ver", sa.Integer(), nullable=False),
        sa.Column("op", sa.Text(), nullable=False),
        sa.Column("at", _number(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("dead", sa.Text()),
    )
    op.create_index("notice_waiting", "notice", ["subscription", "n"], **_where("dead IS NULL"))
    op.create_index("notice_id", "notice", ["id"], unique=True)


def downgrade() -> None:
    op.drop_table("notice")
    op.drop_table("subscription")
