"""Deletions in the order of time: what went to another patient between two pages of a search."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

DELETED = sa.text("op = 'd'")


def upgrade() -> None:
    op.create_index(
        "version_deleted", "version", ["txn", "owner", "rid"], sqlite_where=DELETED, postgresql_where=DELETED
    )


def downgrade() -> None:
    op.drop_index("version_deleted", "version")
