"""Versions and transactions in the order of time, for histories of types."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("version_txn", "version", ["txn", "rid", "ver"])
    op.create_index("txn_at", "txn", ["at", "txn"])


def downgrade() -> None:
    op.drop_index("txn_at", "txn")
    op.drop_index("version_txn", "version")
