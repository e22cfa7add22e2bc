"""The tables of the data store, the same on SQLite and PostgreSQL. Every row carries its organisation.

Nothing here is in clear that a body holds: ids are keyed, values are blind tokens, bodies and event payloads sealed.
What a thief of the disk learns is tier T0 of the fhir chapter §5: who has how many of what type, when written, and the
shape of the graph.

Times are integers, milliseconds since 1970 UTC. Numbers (`rid`, `txn`) are drawn before a unit writes, and none is used
twice, whatever is erased: from `sequence`, or, where several write at once and none may wait for another's commit, from
PostgreSQL's own sequence `number`, in steps of NUMBERS.

Migrations (`migrations/versions/`) are the truth for a database; a test compares them with this page.
Source: fhir chapter §5; operations chapter §4 (messages); ledger chapter §15 (`seen`).
"""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, Table, Text, text
from sqlalchemy.types import TypeEngine

REVISION = "0005"  # the migration that this code needs

LOCATOR_OWNER = -1  # reserved owner of T1 tokens: found by the organisation, not within one patient
TURNED_ON_OWNER = -2  # of T4 tokens: search parameters that a site turned on

NUMBERS = 64  # drawn at a time

metadata = MetaData()


def number() -> TypeEngine[int]:
    """64 bit; on SQLite the word INTEGER, which alone makes a column the row's own number."""
    return BigInteger().with_variant(Integer, "sqlite")


meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

sequence = Table("sequence", metadata, Column("name", Text, primary_key=True), Column("next", number(), nullable=False))

owner = Table(
    "owner",
    metadata,
    Column("owner", number(), primary_key=True, autoincrement=False),  # `subject.row` of the vault; 0 is no row here
    Column("org", Text, nullable=False),
    Column("kind", Text, nullable=False),  # patient, shared, composite
    Column("gen", Integer, nullable=False),  # generation that new bodies take
    Column("epoch", number(), nullable=False),  # rises whenever who may see this patient can have changed
    Column("into", number()),  # the survivor; chains are flattened, so this never points to a retired one
    Column("at", number(), nullable=False),
    Column("erased_at", number()),
    Index("owner_into", "into", sqlite_where=text('"into" IS NOT NULL'), postgresql_where=text('"into" IS NOT NULL')),
)

owner_member = Table(
    "owner_member",
    metadata,
    Column("owner", number(), primary_key=True, autoincrement=False),
    Column("patient", number(), primary_key=True, autoincrement=False),
    Column("org", Text, nullable=False),
    Index("owner_member_patient", "patient"),
    sqlite_with_rowid=False,
)

resource = Table(
    "resource",
    metadata,
    Column("rid", number(), primary_key=True, autoincrement=False),
    Column("org", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("fid", LargeBinary, nullable=False),
    Column("owner", number(), nullable=False),
    Column("ver", Integer, nullable=False),  # 0: referred to, not yet seen
    Column("txn", number(), nullable=False),
    Column("updated", number(), nullable=False),
    Column("deleted", Boolean, nullable=False),
    Column("clock", LargeBinary),  # sealed: the event times of the statements this content rests on (`hl7v2.md` §8)
    Index("resource_fid", "fid", "type", unique=True),
    Index("resource_owner", "owner", "type", "rid"),
)

version = Table(
    "version",
    metadata,
    Column("rid", number(), primary_key=True, autoincrement=False),
    Column("ver", Integer, primary_key=True, autoincrement=False),
    Column("org", Text, nullable=False),
    Column("owner", number(), nullable=False),  # whose key sealed it: a resource may move, its past does not
    Column("gen", Integer, nullable=False),
    Column("txn", number(), nullable=False),
    Column("at", number(), nullable=False),
    Column("op", Text, nullable=False),  # c, u, d
    Column("schema", Text, nullable=False),  # version of the definitions, and the layers that ran
    Column("same", LargeBinary),
    Column("body", LargeBinary),
    Index("version_txn", "txn", "rid", "ver"),  # histories of types, newest first
    Index("version_deleted", "txn", "owner", "rid", sqlite_where=text("op = 'd'"), postgresql_where=text("op = 'd'")),
)

token = Table(
    "token",
    metadata,
    Column("owner", number(), primary_key=True, autoincrement=False),
    Column("tok", number(), primary_key=True, autoincrement=False),
    Column("rid", number(), primary_key=True, autoincrement=False),
    Column("org", Text, nullable=False),
    sqlite_with_rowid=False,
)

alias = Table(
    "alias",
    metadata,
    Column("fid", LargeBinary, primary_key=True),
    Column("org", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("rid", number(), nullable=False),
    Column("said", number(), nullable=False),  # event time of the merge, which decides a reversal; 0: recognised
    Column("txn", number(), nullable=False),
    Index("alias_rid", "rid"),
    sqlite_with_rowid=False,
)

edge = Table(
    "edge",
    metadata,
    Column("src", number(), primary_key=True, autoincrement=False),
    Column("param", Text, primary_key=True),
    Column("dst", number(), primary_key=True, autoincrement=False),
    Column("org", Text, nullable=False),
    Index("edge_dst", "dst", "param", "src"),
    sqlite_with_rowid=False,
)

txn = Table(
    "txn",
    metadata,
    Column("txn", number(), primary_key=True, autoincrement=False),
    Column("org", Text, nullable=False),
    Column("at", number(), nullable=False),
    Column("kind", Text, nullable=False),  # type of the event it makes
    Column("who", Text, nullable=False),  # feed or client
    Column("seq", number()),  # of the journal, when a message made it
    Index("txn_at", "at", "txn"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("n", number(), primary_key=True, autoincrement=False),
    Column("org", Text, nullable=False),
    Column("id", LargeBinary, nullable=False),  # the event's id, fixed here: a retry is the same event
    Column("owner", number(), nullable=False),
    Column("txn", number(), nullable=False),
    Column("kind", Text, nullable=False),  # of the event
    Column("rid", number()),  # the version it is about, where it is about one
    Column("ver", Integer),
    Column("epoch", number()),
    Column("payload", LargeBinary),  # sealed under the owner's body key; dropped once the event is durable
    Column("ref", Text),  # where it stands in the log
    Index("outbox_id", "id", unique=True),
    Index("outbox_pending", "n", sqlite_where=text("ref IS NULL"), postgresql_where=text("ref IS NULL")),
    Index("outbox_pending_owner", "owner", "n", sqlite_where=text("ref IS NULL"), postgresql_where=text("ref IS NULL")),
    Index("outbox_txn", "txn"),
    Index(
        "outbox_version", "rid", "ver", sqlite_where=text("rid IS NOT NULL"), postgresql_where=text("rid IS NOT NULL")
    ),
)

job = Table(
    "job",
    metadata,
    Column("id", LargeBinary, primary_key=True),
    Column("org", Text, nullable=False),
    Column("owner", number()),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stamp", Integer, nullable=False),
    Column("at", number(), nullable=False),
    Column("payload", LargeBinary),
    Index("job_state", "state", "kind"),
)

message_state = Table(
    "message_state",
    metadata,
    Column("org", Text, primary_key=True),
    Column("seq", number(), primary_key=True, autoincrement=False),  # of the journal
    Column("feed", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stamp", Integer, nullable=False),  # rises with each transition: two operators, one wins
    Column("attempt", Integer, nullable=False),
    Column("txn", number()),
    Column("fingerprint", Text),
    Column("code", Text),
    Column("at", number(), nullable=False),
    Index("message_state_state", "org", "state", "seq"),
    Index(
        "message_state_fingerprint",
        "fingerprint",
        sqlite_where=text("fingerprint IS NOT NULL"),
        postgresql_where=text("fingerprint IS NOT NULL"),
    ),
)

message_patient = Table(
    "message_patient",
    metadata,
    Column("fid", LargeBinary, primary_key=True),  # Patient of a message that is quarantined or held
    Column("seq", number(), primary_key=True, autoincrement=False),
    Column("org", Text, primary_key=True),
    sqlite_with_rowid=False,
)

transition = Table(
    "transition",
    metadata,
    Column("n", number(), primary_key=True),
    Column("org", Text, nullable=False),
    Column("seq", number(), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("from_state", Text, nullable=False),
    Column("to_state", Text, nullable=False),
    Column("at", number(), nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("took_us", Integer),
    Index("transition_seq", "org", "seq", "n"),
)

attempt = Table(
    "attempt",
    metadata,
    Column("org", Text, primary_key=True),
    Column("seq", number(), primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("at", number(), nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("rows", Text),  # mapping revision it was made with
)

lane = Table(
    "lane",
    metadata,
    Column("org", Text, primary_key=True),
    Column("scheme", Integer, primary_key=True, autoincrement=False),  # version of the lane function
    Column("lane", Integer, primary_key=True, autoincrement=False),
    Column("worker", Text),
    Column("token", number(), nullable=False),  # fencing: rises with each new holder
    Column("until", number(), nullable=False),
)

message_mark = Table(
    "message_mark",
    metadata,
    Column("org", Text, primary_key=True),
    Column("seq", number(), nullable=False),  # up to here every journal row has a state
)

reply = Table(
    "reply",
    metadata,
    Column("org", Text, primary_key=True),
    Column("seq", number(), primary_key=True, autoincrement=False),
    Column("feed", Text, nullable=False),
    Column("due", Text, nullable=False),  # AL, ER, SU: which outcomes its sender wants to hear of
    Column("became", Text, nullable=False),  # what became of the message
    Column("issue", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("at", number(), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("ended", Text),  # how it ended: told, unwanted, unheard, refused, given-up
    Index(
        "reply_pending",
        "org",
        "tries",
        "seq",
        sqlite_where=text("ended IS NULL"),
        postgresql_where=text("ended IS NULL"),
    ),
)

feed_run = Table(
    "feed_run",
    metadata,
    Column("org", Text, primary_key=True),
    Column("feed", Text, primary_key=True),
    Column("wanted", Text, nullable=False),  # revision that an operator applied last; "" for none
    Column("wanted_at", number(), nullable=False),
    Column("who", Text, nullable=False),
    Column("git", Text, nullable=False),
    Column("ref", Text, nullable=False),  # the act's entry in the log
    Column("runs", Text, nullable=False),  # revision that the node took up last
    Column("state", Text, nullable=False),
    Column("fault", Text, nullable=False),  # why the node could not take up what is wanted
    Column("text", Text, nullable=False),  # the file of what runs
    Column("at", number(), nullable=False),
)

LIVE = "status IN ('requested', 'active')"

subscription = Table(
    "subscription",
    metadata,
    Column("rid", number(), primary_key=True, autoincrement=False),  # of the Subscription
    Column("org", Text, nullable=False),
    Column("client", Text, nullable=False),  # whose it is: nobody else sees it
    Column("scope", Text, nullable=False),  # what its token was good for: notices are judged by no more
    Column("purposes", Text, nullable=False),
    Column("owner", number(), nullable=False),  # of the patient that its criteria name
    Column("topic", Text, nullable=False),
    Column("status", Text, nullable=False),  # requested, active, error, off
    Column("events", number(), nullable=False),  # that it was told of; the number of the newest
    Column("tries", Integer, nullable=False),  # in a row that did not arrive
    Column("failing_since", number()),
    Column("rest_until", number(), nullable=False),
    Column("held_until", number(), nullable=False),  # a worker sends for it
    Index("subscription_owner", "owner", sqlite_where=text(LIVE), postgresql_where=text(LIVE)),
    Index("subscription_live", "rest_until", sqlite_where=text(LIVE), postgresql_where=text(LIVE)),
)

notice = Table(
    "notice",
    metadata,
    Column("n", number(), primary_key=True, autoincrement=False),
    Column("org", Text, nullable=False),
    Column("id", LargeBinary, nullable=False),  # of the event, fixed here: a retry is the same event
    Column("subscription", number(), nullable=False),
    Column("kind", Text, nullable=False),  # handshake, event
    Column("type", Text, nullable=False),
    Column("rid", number(), nullable=False),
    Column("ver", Integer, nullable=False),
    Column("op", Text, nullable=False),
    Column("at", number(), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("dead", Text),  # why it was given up
    Index(
        "notice_waiting", "subscription", "n", sqlite_where=text("dead IS NULL"), postgresql_where=text("dead IS NULL")
    ),
    Index("notice_id", "id", unique=True),
)

seen = Table(
    "seen",
    metadata,
    Column("shard", Text, primary_key=True),
    Column("org", Text, primary_key=True),
    Column("size", number(), nullable=False),
    Column("leaf", LargeBinary, nullable=False),
)
