"""The log on a PostgreSQL server: several processes append to it, each for itself.

Groups of all processes come one after the other, by the head row. A group of entries alone is decided on what this
process knows, and one statement looks whether that is so, moves the head and writes the entries behind it, wherever it
is then: nothing that it rests on has ended, no id is taken, no later time is there. What ends something is counted in
the head, and the statement writes nothing where that count moved while it waited for the head: what it looked up is
older than that. Where it wrote nothing, and where a group ends something, the head is locked first (`FOR UPDATE`, one
second at most) and the facts are read under the lock. `synchronous_commit` is on in each transaction. Triggers refuse
UPDATE, DELETE and TRUNCATE of entries, ids, ends and checkpoints; a role that does not own the tables has no such right
in the first place (docs/postgres.md). A database holds the shards of one log: an entry's `pos` is its shard's number
and its index; `entry` is cut into parts of a level-2 tile, and a part cannot hold ids unique for all, so they have a
table.

Integrating is one process's at a time: a lease by the server's clock, with a token that each new holder raises. A
checkpoint comes with its token and is refused once another has it.
Source: ledger chapter §6.
"""

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from ledger.errors import ConflictError, IntegrityError
from ledger.merkle import Digest
from ledger.store.base import D, Entry, Facts, Head, Question, Step, StoredCheckpoint, StoreError, Writes, no_step
from ledger.store.server import (
    DURABLY,
    Connection,
    Otherwise,
    Server,
    Work,
    carry_out,
    check_belongs,
    check_form,
    columns,
    create_database,
    failures,
    look,
    transact,
    transaction,
    written,
)
from ledger.tiles import Tile

T = TypeVar("T")

KIND = "log"
SHARD_SHIFT = 40  # entries of one shard, as a power of two
PART_SHIFT = 24  # entries of one part of the table: those under a level-2 tile
FIRST_SHARD = 1
COPY_ROWS = 100
_INDEX = (1 << SHARD_SHIFT) - 1
_KEPT = ("entry", "entry_id", "ended", "checkpoint")  # never changed, never deleted

_TABLES = """
CREATE TABLE head(
  shard int PRIMARY KEY, origin text NOT NULL UNIQUE, size bigint NOT NULL, last_t text NOT NULL,
  ends bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0);
CREATE TABLE entry(pos bigint PRIMARY KEY, id bytea NOT NULL, leaf bytea NOT NULL, body bytea NOT NULL)
  PARTITION BY RANGE (pos);
CREATE TABLE entry_id(id bytea PRIMARY KEY, pos bigint NOT NULL);
CREATE TABLE ended(ref text PRIMARY KEY, pos bigint NOT NULL);
CREATE TABLE subject_epoch(subject bigint PRIMARY KEY, epoch bigint NOT NULL);
CREATE TABLE tile(
  shard int NOT NULL, level int NOT NULL, idx bigint NOT NULL, hashes bytea NOT NULL, PRIMARY KEY (shard, level, idx)
);
CREATE TABLE checkpoint(
  shard int NOT NULL, size bigint NOT NULL, root bytea NOT NULL, note text NOT NULL, PRIMARY KEY (shard, size)
);
CREATE TABLE lease(shard int PRIMARY KEY, holder text NOT NULL, token bigint NOT NULL, until timestamptz NOT NULL);
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN RAISE EXCEPTION 'a row of % is never changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation'; END $$;
"""
# Attached, not created in place: that would wait for everyone who reads the log, a backup too.
_PART = f"""
CREATE FUNCTION entry_part(part bigint) RETURNS void LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE name text := 'entry_' || part;
BEGIN
  IF to_regclass(name) IS NULL THEN
    EXECUTE format('CREATE TABLE %I (LIKE entry INCLUDING ALL)', name);
    EXECUTE format('CREATE TRIGGER stays_whole BEFORE TRUNCATE ON %I EXECUTE FUNCTION refuse()', name);
    EXECUTE format('ALTER TABLE entry ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
      name, part << {PART_SHIFT}, (part + 1) << {PART_SHIFT});
  END IF;
END $$;
REVOKE ALL ON FUNCTION entry_part(bigint) FROM PUBLIC;
"""
_GUARD = """CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER stays_whole BEFORE TRUNCATE ON {table} EXECUTE FUNCTION refuse();
"""
SCHEMA = _TABLES + _PART + "".join(_GUARD.format(table=table) for table in _KEPT)
COLUMNS = (
    *("meta.key text", "meta.value text", "head.shard integer", "head.origin text", "head.size bigint"),
    *("head.last_t text", "head.ends bigint"),
    *("entry.pos bigint", "entry.id bytea", "entry.leaf bytea", "entry.body bytea"),
    *("entry_id.id bytea", "entry_id.pos bigint", "ended.ref text", "ended.pos bigint"),
    *("subject_epoch.subject bigint", "subject_epoch.epoch bigint", "tile.shard integer", "tile.level integer"),
    *("tile.idx bigint", "tile.hashes bytea", "checkpoint.shard integer", "checkpoint.size bigint"),
    *("checkpoint.root bytea", "checkpoint.note text", "lease.shard integer", "lease.holder text"),
    *("lease.token bigint", "lease.until timestamp with time zone"),
)
GUARDS = tuple(f"{table}.{name}" for table in _KEPT for name in ("stays", "stays_whole"))

_ENTRY = "SELECT pos, id, leaf, body FROM entry"
_FIND = "SELECT pos, id, leaf, body FROM entry WHERE pos = (SELECT pos FROM entry_id WHERE id = $1)"
_LOCK = "SELECT FROM head WHERE shard = {} FOR UPDATE"
# One answer for all that is asked, so that it is of one moment; one statement for all that is written.
_FACTS = """SELECT 0, size, ''::bytea, ''::bytea, ''::bytea, last_t FROM head WHERE shard = $4
UNION ALL SELECT 1, e.pos, e.id, e.leaf, e.body, '' FROM entry_id i JOIN entry e USING (pos) WHERE i.id = ANY($1)
UNION ALL SELECT 2, pos, ''::bytea, ''::bytea, ''::bytea, ref FROM ended WHERE ref = ANY($2)
UNION ALL SELECT 3, epoch, ''::bytea, ''::bytea, ''::bytea, subject::text FROM subject_epoch WHERE subject = ANY($3)"""
_INSERT = """, named AS (INSERT INTO entry_id(id, pos) SELECT id, pos FROM added)
, kept AS (INSERT INTO entry(pos, id, leaf, body) SELECT pos, id, leaf, body FROM added)
SELECT start FROM moved"""
_ADDED = """added AS (
    SELECT $4 + start + n - 1 AS pos, id, leaf, body
    FROM moved, unnest($1::bytea[], $2::bytea[], $3::bytea[]) WITH ORDINALITY AS given(id, leaf, body, n)
)"""
# A row of the head that others moved meanwhile is looked at as it is now, all else as it was when the statement began.
_APPEND = f"""WITH moved AS (
    UPDATE head SET size = size + $6, last_t = $7
    WHERE shard = $5 AND last_t COLLATE "C" <= $7 AND size + $6 <= $8
      AND ends = (SELECT ends FROM head WHERE shard = $5)
      AND NOT EXISTS (SELECT FROM ended WHERE ref = ANY($9::text[]))
      AND NOT EXISTS (
        SELECT FROM unnest($10::bigint[], $11::bigint[]) AS rests(subject, epoch)
        JOIN subject_epoch AS reached USING (subject) WHERE reached.epoch > rests.epoch
      ) AND {DURABLY}
    RETURNING size - $6 AS start
), {_ADDED}{_INSERT}"""  # noqa: S608 - our own
_WRITE = f"""WITH moved AS (
    UPDATE head SET size = size + $6, last_t = $7, ends = ends + $8 WHERE shard = $5 RETURNING size - $6 AS start
), {_ADDED}{_INSERT}"""  # noqa: S608 - our own
_END = "INSERT INTO ended(ref, pos) SELECT * FROM unnest($1::text[], $2::bigint[])"
_EPOCH = """INSERT INTO subject_epoch(subject, epoch) SELECT * FROM unnest($1::bigint[], $2::bigint[])
ON CONFLICT (subject) DO UPDATE SET epoch = excluded.epoch"""
_MOVE = "UPDATE head SET size = $2, last_t = $3, ends = ends + $4 WHERE shard = $1"
_TILE = """INSERT INTO tile(shard, level, idx, hashes) VALUES ($1, $2, $3, $4)
ON CONFLICT (shard, level, idx) DO UPDATE SET hashes = excluded.hashes"""
_CHECKPOINT = "SELECT size, root, note FROM checkpoint WHERE shard = $1"
# Whoever holds it keeps it by asking again; once it has run out, the next who asks raises the token.
_LEAD = """INSERT INTO lease AS held (shard, holder, token, until)
VALUES ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (shard) DO UPDATE SET holder = excluded.holder, until = excluded.until,
  token = held.token + CASE WHEN held.holder = excluded.holder AND held.until > clock_timestamp() THEN 0 ELSE 1 END
WHERE held.holder = excluded.holder OR held.until <= clock_timestamp() RETURNING token"""


async def create_log(server: Server, pairing: str, origin: str) -> None:
    """A log with its first, empty shard in an empty database. Raises IntegrityError for one that has tables."""

    async def first(connection: Connection) -> None:
        await connection.execute("INSERT INTO head VALUES ($1, $2, 0, '')", FIRST_SHARD, origin)
        await connection.execute("SELECT entry_part($1)", FIRST_SHARD << SHARD_SHIFT >> PART_SHIFT)

    with failures(KIND, StoreError):
        await create_database(server, KIND, SCHEMA, {"pairing": pairing, "origin": origin}, first)


async def open_log(server: Server, pairing: str, origin: str, step: Step = no_step) -> "PostgresLogStore":
    """The log `origin` of this node. Raises IntegrityError where it is missing, empty, another's or of another version.

    `server` closes with it; where this raises, it is the caller's to close.
    """

    async def ask(connection: Connection) -> int | None:
        row = await connection.fetchrow("SELECT shard, ends FROM head WHERE origin = $1", origin)
        return None if row is None else int(row[0])

    with failures(KIND, StoreError):
        await check_belongs(server, KIND, pairing)
        shard = await look(server, ask)
    if shard is None:
        raise IntegrityError(f"log has no shard with the origin {origin}")
    return PostgresLogStore(server, shard, step)


async def check_log(server: Server, pairing: str) -> None:
    """Raises IntegrityError for a database that is not this node's log, or not as this version makes it."""
    with failures(KIND, StoreError):
        await check_belongs(server, KIND, pairing)
        await check_form(server, KIND, COLUMNS, GUARDS)


class PostgresLogStore:
    """A LogStore over one database, for one of its shards. Made by `open_log`."""

    def __init__(self, server: Server, shard: int, step: Step) -> None:
        self._server = server
        self._shard = shard
        self._base = shard << SHARD_SHIFT
        self._step = step
        self._part = -1  # up to which the parts of `entry` are known to be there
        self._seen: Head | None = None  # the head as it was last seen

    async def head(self) -> Head:
        (row,) = await self._rows("SELECT size, last_t FROM head WHERE shard = $1", self._shard)
        self._seen = Head(*row)
        return self._seen

    async def append(self, question: Question, decide: Callable[[Facts], D]) -> D:
        """`decide` runs again where it was decided on something that is not so, and where a connection is lost: what
        was committed after all is then among its facts."""

        async def work(connection: Connection) -> D:
            self._step("append.head_locked")
            facts = await self._facts(connection, question)
            decided = decide(facts)
            await self._insert(connection, decided.writes)
            self._step("append.entries_written")
            return decided

        locked = transaction(work, _LOCK.format(self._shard))
        with failures(KIND, StoreError):
            decided: D = await carry_out(
                self._server, lambda: _Append(self, question, decide), again=True, otherwise=locked
            )
        self._seen = decided.writes.head
        if decided.writes.entries:
            self._part = max(self._part, self._part_of(decided.writes.head.size - 1))
        self._step("append.entries_committed")
        return decided

    async def entries(self, start: int, end: int) -> list[Entry]:
        rows = await self._rows(_ENTRY + " WHERE pos >= $1 AND pos < $2 ORDER BY pos", *self._between(start, end))
        return [self._entry(row) for row in rows]

    async def leaves(self, start: int, end: int) -> list[Digest]:
        sql = "SELECT leaf FROM entry WHERE pos >= $1 AND pos < $2 ORDER BY pos"
        return [Digest(leaf) for (leaf,) in await self._rows(sql, *self._between(start, end))]

    async def find(self, event_id: bytes) -> Entry | None:
        rows = await self._rows(_FIND, event_id)
        return next((self._entry(row) for row in rows if row[0] >> SHARD_SHIFT == self._shard), None)

    async def ended(self, refs: Sequence[str]) -> dict[str, int]:
        rows = await self._rows("SELECT ref, pos FROM ended WHERE ref = ANY($1)", list(refs))
        return {ref: pos & _INDEX for ref, pos in rows}

    async def tile(self, level: int, index: int) -> bytes | None:
        sql = "SELECT hashes FROM tile WHERE shard = $1 AND level = $2 AND idx = $3"
        rows = await self._rows(sql, self._shard, level, index)
        return rows[0][0] if rows else None

    async def lead(self, holder: str, for_s: float) -> int | None:
        rows = await self._transact(lambda connection: connection.fetch(_LEAD, self._shard, holder, for_s))
        return int(rows[0][0]) if rows else None

    async def integrate(self, tiles: Sequence[Tile], checkpoint: StoredCheckpoint, token: int) -> None:
        async def work(connection: Connection) -> None:
            await self._hold(connection, token)
            await self._sign(connection, checkpoint)
            rows = [(self._shard, tile.level, tile.index, tile.hashes) for tile in tiles]
            if rows:
                await connection.executemany(_TILE, rows)
            self._step("integrate.stored")

        await self._transact(work)
        self._step("integrate.committed")

    async def newest_checkpoint(self) -> StoredCheckpoint | None:
        found = await self._rows(_CHECKPOINT + " ORDER BY size DESC LIMIT 1", self._shard)
        return _checkpoint(found[0]) if found else None

    async def checkpoint(self, size: int) -> StoredCheckpoint | None:
        found = await self._rows(_CHECKPOINT + " AND size = $2", self._shard, size)
        return _checkpoint(found[0]) if found else None

    async def checkpoints(self) -> list[StoredCheckpoint]:
        return [_checkpoint(row) for row in await self._rows(_CHECKPOINT + " ORDER BY size", self._shard)]

    async def close(self) -> None:
        await self._server.close()

    async def _facts(self, connection: Connection, question: Question) -> Facts:
        """One statement: it sees all that was committed before it began, and nothing of what was not."""
        head = Head()
        entries: dict[bytes, Entry] = {}
        ended: dict[str, int] = {}
        epochs: dict[int, int] = {}
        asked = (list(question.ids), list(question.refs), list(question.subjects), self._shard)
        for kind, number, event_id, leaf, body, name in await connection.fetch(_FACTS, *asked):
            if kind == 0:
                head = Head(number, name)
            elif kind == 1:
                entries[event_id] = self._entry((number, event_id, leaf, body))
            elif kind == 2:
                ended[name] = number & _INDEX
            else:
                epochs[int(name)] = number
        return Facts(head, entries, ended, epochs)

    async def _insert(self, connection: Connection, writes: Writes) -> None:
        """Under the lock. Raises IntegrityError where there is no head, or not the one that was decided on."""
        if not writes.entries:
            return
        first, last = (self._part_of(entry.index) for entry in (writes.entries[0], writes.entries[-1]))
        for part in range(max(self._part + 1, first), last + 1):
            await connection.execute("SELECT entry_part($1)", part)
        ends = len(writes.ended) + len(writes.epochs)
        if len(writes.entries) < COPY_ROWS:
            row = await connection.fetchrow(_WRITE, *self._values(writes), ends)
            held = row is not None and row[0] == writes.entries[0].index
        else:
            rows = [(self._base + entry.index, entry.id, entry.leaf, entry.body) for entry in writes.entries]
            ids = [(event_id, pos) for pos, event_id, _, _ in rows]
            await connection.copy_records_to_table("entry", records=rows, columns=("pos", "id", "leaf", "body"))
            await connection.copy_records_to_table("entry_id", records=ids, columns=("id", "pos"))
            said = await connection.execute(_MOVE, self._shard, writes.head.size, writes.head.last_t, ends)
            held = written(said) == 1
        if not held:
            raise IntegrityError("log has no head, or another one than it had under its lock")
        if writes.ended:
            ended = [self._base + index for index in writes.ended.values()]
            await connection.execute(_END, list(writes.ended), ended)
        if writes.epochs:
            await connection.execute(_EPOCH, list(writes.epochs), list(writes.epochs.values()))

    def _values(self, writes: Writes) -> tuple[object, ...]:
        """The first seven parameters of the statements that write entries."""
        entries = columns([(entry.id, entry.leaf, entry.body) for entry in writes.entries])
        return (*entries, self._base, self._shard, len(writes.entries), writes.head.last_t)

    async def _hold(self, connection: Connection, token: int) -> None:
        """Nobody takes the lease over, nor integrates, before this transaction ends."""
        row = await connection.fetchrow("SELECT token FROM lease WHERE shard = $1 FOR UPDATE", self._shard)
        if row is None or row[0] != token:
            raise ConflictError("another process integrates this log")

    async def _sign(self, connection: Connection, checkpoint: StoredCheckpoint) -> None:
        newest = await connection.fetchrow(_CHECKPOINT + " ORDER BY size DESC LIMIT 1", self._shard)
        if newest is not None and newest[0] > checkpoint.size:
            raise ConflictError("log was integrated further meanwhile")
        if newest is not None and newest[0] == checkpoint.size:
            if newest[1] != checkpoint.root:
                raise IntegrityError(f"a second root for size {checkpoint.size}")
            return
        row = (self._shard, checkpoint.size, checkpoint.root, checkpoint.note)
        await connection.execute("INSERT INTO checkpoint(shard, size, root, note) VALUES ($1, $2, $3, $4)", *row)

    def _between(self, start: int, end: int) -> tuple[int, int]:
        return self._base + min(start, _INDEX), self._base + min(end, _INDEX)

    def _part_of(self, index: int) -> int:
        return self._base + index >> PART_SHIFT

    @property
    def _room(self) -> int:
        """Up to which size of the log the table is known to have parts."""
        return ((self._part + 1) << PART_SHIFT) - self._base

    def _entry(self, row: Sequence[Any]) -> Entry:
        """An entry of another shard, whose id is taken all the same, has the index -1."""
        pos, event_id, leaf, body = row
        index = pos & _INDEX if pos >> SHARD_SHIFT == self._shard else -1
        return Entry(index, event_id, Digest(leaf), body)

    async def _rows(self, sql: str, *values: object) -> Sequence[Any]:
        with failures(KIND, StoreError):
            return await look(self._server, lambda connection: connection.fetch(sql, *values))

    async def _transact(self, work: Work[T], first: str = "") -> T:
        with failures(KIND, StoreError):
            return await transact(self._server, work, again=True, first=first)


class _Append(Generic[D]):
    """One try to append by one statement."""

    def __init__(self, store: PostgresLogStore, question: Question, decide: Callable[[Facts], D]) -> None:
        self._store, self._question, self._decide = store, question, decide
        self.committing = False

    async def run(self, connection: Connection) -> D:
        """What was decided. Raises Otherwise where the facts have to be read for it."""
        store, question = self._store, self._question
        if store._seen is None or len(question.ids) >= COPY_ROWS:
            raise Otherwise
        decided = self._decide(Facts(store._seen, {}, {}, {}))
        writes = decided.writes
        if not writes.entries or len(writes.entries) != len(question.ids) or writes.ended or writes.epochs:
            raise Otherwise
        store._step("append.entries_decided")
        self.committing = True
        epochs = [question.epochs.get(subject, 0) for subject in question.subjects]
        rests_on = (list(question.refs), list(question.subjects), epochs)
        row = await connection.fetchrow(_APPEND, *store._values(writes), store._room, *rests_on)
        if row is None:
            raise Otherwise
        return decided.behind(row[0])


def _checkpoint(row: Any) -> StoredCheckpoint:
    size, root, note = row
    return StoredCheckpoint(size, Digest(root), note)
