"""The first migration: every table of the fhir chapter §5 and of the operations chapter §4."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def _number() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}


TABLES = (
    "meta",
    "sequence",
    "owner",
    "owner_member",
    "resource",
    "version",
    "token",
    "alias",
    "edge",
    "txn",
    "outbox",
    "job",
    "message_state",
    "message_patient",
    "transition",
    "attempt",
    "lane",
    "message_mark",
    "seen",
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE SEQUENCE number INCREMENT BY 64")
    _store()
    _index()
    _work()
    _messages()


def downgrade() -> None:
    for name in reversed(TABLES):
        op.drop_table(name)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP SEQUENCE number")


def _store() -> None:
    op.create_table(
        "meta",
        sa.Column("key", sa.Text(), primary_key=True),
        sa.Column("value", sa.Text(), nullable=False),
    )
    op.create_table(
        "sequence",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("next", _number(), nullable=False),
    )
    op.create_table(
        "owner",
        sa.Column("owner", _number(), primary_key=True, autoincrement=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("gen", sa.Integer(), nullable=False),
        sa.Column("epoch", _number(), nullable=False),
        sa.Column("into", _number()),
        sa.Column("at", _number(), nullable=False),
        sa.Column("erased_at", _number()),
    )
    op.create_index("owner_into", "owner", ["into"], **_where('"into" IS NOT NULL'))
    op.create_table(
        "owner_member",
        sa.Column("owner", _number(), primary_key=True, autoincrement=False),
        sa.Column("patient", _number(), primary_key=True, autoincrement=False),
        sa.Column("org", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("owner_member_patient", "owner_member", ["patient"])
    op.create_table(
        "resource",
        sa.Column("rid", _number(), primary_key=True, autoincrement=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("fid", sa.LargeBinary(), nullable=False),
        sa.Column("owner", _number(), nullable=False),
        sa.Column("ver", sa.Integer(), nullable=False),
        sa.Column("txn", _number(), nullable=False),
        sa.Column("updated", _number(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.Column("clock", sa.LargeBinary()),
    )
    op.create_index("resource_fid", "resource", ["fid", "type"], unique=True)
    op.create_index("resource_owner", "resource", ["owner", "type", "rid"])
    op.create_table(
        "version",
        sa.Column("rid", _number(), primary_key=True, autoincrement=False),
        sa.Column("ver", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("owner", _number(), nullable=False),
        sa.Column("gen", sa.Integer(), nullable=False),
        sa.Column("txn", _number(), nullable=False),
        sa.Column("at", _number(), nullable=False),
        sa.Column("op", sa.Text(), nullable=False),
        sa.Column("schema", sa.Text(), nullable=False),
        sa.Column("same", sa.LargeBinary()),
        sa.Column("body", sa.LargeBinary()),
    )


def _index() -> None:
    op.create_table(
        "token",
        sa.Column("owner", _number(), primary_key=True, autoincrement=False),
        sa.Column("tok", _number(), primary_key=True, autoincrement=False),
        sa.Column("rid", _number(), primary_key=True, autoincrement=False),
        sa.Column("org", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "alias",
        sa.Column("fid", sa.LargeBinary(), primary_key=True),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("rid", _number(), nullable=False),
        sa.Column("said", _number(), nullable=False),
        sa.Column("txn", _number(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("alias_rid", "alias", ["rid"])
    op.create_table(
        "edge",
        sa.Column("src", _number(), primary_key=True, autoincrement=False),
        sa.Column("param", sa.Text(), primary_key=True),
        sa.Column("dst", _number(), primary_key=True, autoincrement=False),
        sa.Column("org", sa.Text(), nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("edge_dst", "edge", ["dst", "param", "src"])


def _work() -> None:
    op.create_table(
        "txn",
        sa.Column("txn", _number(), primary_key=True, autoincrement=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("at", _number(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("seq", _number()),
    )
    op.create_table(
        "outbox",
        sa.Column("n", _number(), primary_key=True, autoincrement=False),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("id", sa.LargeBinary(), nullable=False),
        sa.Column("owner", _number(), nullable=False),
        sa.Column("txn", _number(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("rid", _number()),
        sa.Column("ver", sa.Integer()),
        sa.Column("epoch", _number()),
        sa.Column("payload", sa.LargeBinary()),
        sa.Column("ref", sa.Text()),
    )
    op.create_index("outbox_id", "outbox", ["id"], unique=True)
    op.create_index("outbox_pending", "outbox", ["n"], **_where("ref IS NULL"))
    op.create_index("outbox_pending_owner", "outbox", ["owner", "n"], **_where("ref IS NULL"))
    op.create_index("outbox_txn", "outbox", ["txn"])
    op.create_index("outbox_version", "outbox", ["rid", "ver"], **_where("rid IS NOT NULL"))
    op.create_table(
        "job",
        sa.Column("id", sa.LargeBinary(), primary_key=True),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("owner", _number()),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stamp", sa.Integer(), nullable=False),
        sa.Column("at", _number(), nullable=False),
        sa.Column("payload", sa.LargeBinary()),
    )
    op.create_index("job_state", "job", ["state", "kind"])
    op.create_table(
        "seen",
        sa.Column("shard", sa.Text(), primary_key=True),
        sa.Column("org", sa.Text(), primary_key=True),
        sa.Column("size", _number(), nullable=False),
        sa.Column("leaf", sa.LargeBinary(), nullable=False),
    )


def _messages() -> None:
    op.create_table(
        "message_state",
        sa.Column("org", sa.Text(), primary_key=True),
        sa.Column("seq", _number(), primary_key=True, autoincrement=False),
        sa.Column("feed", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("stamp", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("txn", _number()),
        sa.Column("fingerprint", sa.Text()),
        sa.Column("code", sa.Text()),
        sa.Column("at", _number(), nullable=False),
    )
    op.create_index("message_state_fingerprint", "message_state", ["fingerprint"], **_where("fingerprint IS NOT NULL"))
    op.create_index("message_state_state", "message_state", ["org", "state", "seq"])
    op.create_table(
        "message_patient",
        sa.Column("fid", sa.LargeBinary(), primary_key=True),
        sa.Column("seq", _number(), primary_key=True, autoincrement=False),
        sa.Column("org", sa.Text(), primary_key=True),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "transition",
        sa.Column("n", _number(), primary_key=True),
        sa.Column("org", sa.Text(), nullable=False),
        sa.Column("seq", _number(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("from_state", sa.Text(), nullable=False),
        sa.Column("to_state", sa.Text(), nullable=False),
        sa.Column("at", _number(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("took_us", sa.Integer()),
    )
    op.create_index("transition_seq", "transition", ["org", "seq", "n"])
    op.create_table(
        "attempt",
        sa.Column("org", sa.Text(), primary_key=True),
        sa.Column("seq", _number(), primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at", _number(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("rows", sa.Text()),
    )
    op.create_table(
        "lane",
        sa.Column("org", sa.Text(), primary_key=True),
        sa.Column("scheme", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("lane", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("worker", sa.Text()),
        sa.Column("token", _number(), nullable=False),
        sa.Column("until", _number(), nullable=False),
    )
    op.create_table(
        "message_mark",
        sa.Column("org", sa.Text(), primary_key=True),
        sa.Column("seq", _number(), nullable=False),
    )
