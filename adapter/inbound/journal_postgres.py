"""The journal in the database of the data store: any number of listeners write into it, in any number of processes.

A group is one statement, the call of `journal_keep`, and therefore one round trip and one transaction: nothing is held
while the network or a stopped process keeps the server waiting. The function locks the head row first, so that groups
follow each other whoever sends them. That is what its numbers rest on: a number is drawn under the lock, and the lock
is let go when the commit can be seen. So whoever sees row n sees every row below it, now and ever, and a reader that
has read up to n never has to look back. It is also why each look-up sees all that was accepted before it: each
statement of the function has a snapshot of its own, taken under the lock.

The answer arrives after the commit: PostgreSQL ends the transaction before it says that it is ready for another
statement, and the driver waits for that. A group whose answer did not come may be kept all the same; its senders hear
AE, send again, and meet duplicates.

Others are told by a notice (`CHANNEL`) that is no part of the commit: PostgreSQL lets one transaction with a notice
commit at a time, and no sender is to wait for that. A notice may be lost, so readers look by themselves, too.

The tables are those of the file (`journal_table.py`); `journal_head` holds the highest number ever given.
Source: operations chapter §4 (journal), §10; hl7v2 chapter §11; PostgreSQL 15, "Transaction Isolation" (READ
COMMITTED), "Message Flow" (extended query).
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, inspect

from adapter.crash import crash_point
from adapter.errors import ChartbridgeError, ConfigurationError, IntegrityFault, Unavailable
from adapter.inbound.bodies import Entropy, MessageKeys
from adapter.inbound.journal import CHANNEL, LARGE_BYTES, Accepted, Group, Incoming, Journal
from adapter.inbound.journal_table import CONTROL_BYTES, DEDUPE_MS, RESTORE, REUSED_ROWS, Statements, pack
from adapter.store.engine import DataStore, check_current, check_known
from adapter.store.place import Server
from adapter.store.postgres import SETTINGS, Held, PostgresDatabase
from adapter.store.postgres_statements import FAULTS, ours
from adapter.store.statements import Failed, Hot
from adapter.store.tables import meta

REVISION = "0001"
META = "journal"  # key of the revision in the data store's `meta`

T = TypeVar("T")

SCHEMA = """
CREATE TABLE message(
  seq BIGINT PRIMARY KEY, org TEXT NOT NULL, feed TEXT NOT NULL, at BIGINT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('new', 'duplicate', 'rejected')), first BIGINT, dedupe BYTEA,
  issue TEXT NOT NULL, patient TEXT NOT NULL, lane TEXT NOT NULL, key_id BYTEA, ack TEXT, body BYTEA
);
ALTER TABLE message ALTER COLUMN body SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX message_dedupe ON message(dedupe) WHERE state = 'new' AND dedupe IS NOT NULL;
CREATE TABLE part(
  seq BIGINT PRIMARY KEY REFERENCES message ON DELETE CASCADE,
  source BYTEA NOT NULL, n INTEGER NOT NULL, total INTEGER NOT NULL
);
CREATE UNIQUE INDEX part_place ON part(source, n);
CREATE TABLE journal_head(one INTEGER PRIMARY KEY CHECK (one = 1), seq BIGINT NOT NULL);
INSERT INTO journal_head VALUES (1, 0);
"""
# What `journal_file.py` does step by step; `p_` are a group's columns, `kept_` what became of each.
KEEP = f"""
CREATE OR REPLACE FUNCTION journal_keep(
  p_org TEXT, p_feed TEXT[], p_at BIGINT[], p_state TEXT[], p_code TEXT[], p_rest TEXT[], p_dedupe BYTEA[],
  p_issue TEXT[], p_reused TEXT[], p_patient TEXT[], p_lane TEXT[], p_key BYTEA[], p_body BYTEA[],
  p_source BYTEA[], p_n INTEGER[], p_total INTEGER[]
) RETURNS TABLE(kept_seq BIGINT, kept_state TEXT, kept_first BIGINT, kept_ack TEXT, kept_issue TEXT)
LANGUAGE plpgsql AS $$
DECLARE
  newest BIGINT;
  same RECORD;
  control BYTEA;
BEGIN
  SELECT seq INTO newest FROM journal_head FOR UPDATE;
  FOR i IN 1 .. cardinality(p_feed) LOOP
    IF p_source[i] IS NOT NULL THEN
      SELECT m.seq, m.state, m.first, m.ack, m.issue INTO kept_seq, kept_state, kept_first, kept_ack, kept_issue
        FROM part JOIN message m ON m.seq = part.seq WHERE part.source = p_source[i] AND part.n = p_n[i];
      IF FOUND THEN
        RETURN NEXT;
        CONTINUE;
      END IF;
    END IF;
    newest := newest + 1;
    kept_seq := newest;
    kept_state := p_state[i];
    kept_first := NULL;
    kept_issue := p_issue[i];
    kept_ack := CASE WHEN p_code[i] <> '' THEN p_code[i] || ' CB' || lpad(newest::TEXT, 14, '0') || p_rest[i] END;
    IF p_dedupe[i] IS NOT NULL THEN
      SELECT seq, at, ack INTO same FROM message WHERE state = 'new' AND dedupe = p_dedupe[i];
      IF FOUND AND same.at >= p_at[i] - {DEDUPE_MS} THEN
        kept_state := 'duplicate';
        kept_first := same.seq;
        kept_ack := coalesce(same.ack, kept_ack);
      ELSE
        IF FOUND THEN
          UPDATE message SET dedupe = NULL WHERE seq = same.seq;
        END IF;
        control := substr(p_dedupe[i], 1, {CONTROL_BYTES});
        IF EXISTS (
          SELECT FROM (
            SELECT at FROM message
            WHERE state = 'new' AND dedupe > control AND dedupe < control || decode(repeat('ff', 33), 'hex')
            LIMIT {REUSED_ROWS}
          ) used WHERE used.at >= p_at[i] - {DEDUPE_MS}
        ) THEN
          kept_issue := ltrim(kept_issue || ' ' || p_reused[i]);
        END IF;
      END IF;
    END IF;
    INSERT INTO message VALUES (
      newest, p_org, p_feed[i], p_at[i], kept_state, kept_first, p_dedupe[i], kept_issue, p_patient[i], p_lane[i],
      CASE WHEN kept_first IS NULL THEN p_key[i] END, kept_ack, CASE WHEN kept_first IS NULL THEN p_body[i] END
    );
    IF p_source[i] IS NOT NULL THEN
      INSERT INTO part VALUES (newest, p_source[i], p_n[i], p_total[i]);
    END IF;
    RETURN NEXT;
  END LOOP;
  UPDATE journal_head SET seq = newest;
END
$$;
"""  # noqa: S608 - constants
_CALL = f"SELECT * FROM journal_keep({', '.join(f'${n}' for n in range(1, 17))})"  # noqa: S608 - numbers


def create(server: Server) -> None:
    """A new journal beside a new data store, once, by `init`."""

    def work(conn: Connection) -> None:
        hot = Hot(conn)
        if inspect(conn).has_table("message"):
            raise ConfigurationError("the database holds a journal already", hint="name an empty database")
        hot.run(SCHEMA)
        hot.run(KEEP)
        hot.run(f"INSERT INTO {meta.name}(key, value) VALUES (?, ?)", (META, REVISION))  # noqa: S608 - our own name

    PostgresDatabase(server).change(work)


def revision(server: Server, pairing: str) -> str:
    """The migration that the journal is at. Raises IntegrityFault for none, or another site's."""
    return PostgresDatabase(server).look(lambda conn: _revision(conn, pairing))


def upgrade(server: Server, pairing: str) -> None:
    """There has been one form so far. Raises IntegrityFault, ConfigurationError (of a later version)."""
    check_known("the journal", revision(server, pairing), REVISION)


def newest(server: Server, pairing: str) -> int:
    """The highest number ever given. Raises IntegrityFault."""

    def work(conn: Connection) -> int:
        _revision(conn, pairing)
        return head(conn)

    return PostgresDatabase(server).look(work)


def head(conn: Connection) -> int:
    """The highest number ever given."""
    row = Hot(conn).one("SELECT seq FROM journal_head")
    return int(row[0]) if row else 0


def _revision(conn: Connection, pairing: str) -> str:
    found = dict[str, str]()
    if inspect(conn).has_table(meta.name):
        found = dict(Hot(conn).all(f"SELECT key, value FROM {meta.name}"))  # noqa: S608 - our own name
    if META not in found:
        raise IntegrityFault("the database holds no journal", hint=RESTORE)
    if found.get("pairing") != pairing:
        raise IntegrityFault("the journal belongs to another site: its pairing id differs", hint=RESTORE)
    return str(found[META])


class StoreSource:
    """Rows, through the data store's own connections."""

    def __init__(self, store: DataStore) -> None:
        self._store = store

    async def read(self, work: Callable[[Statements], T]) -> T:
        return await self._store.read(lambda conn: work(Hot(conn)))

    def close(self) -> None:
        """The store is the site's."""


class PostgresJournal(Journal):
    """One process's writer, over a connection of its own. `open` makes one."""

    def __init__(self, server: Server, store: DataStore, keys: MessageKeys, entropy: Entropy = os.urandom) -> None:
        super().__init__(StoreSource(store), keys, entropy)
        self._server, self._store = server, store
        self._held: Held | None = None
        self._last = 0
        self._sending: asyncio.Task[None] | None = None
        self._telling: asyncio.Task[None] | None = None
        self._untold = False

    @classmethod
    async def open(cls, server: Server, pairing: str, store: DataStore, keys: MessageKeys) -> "PostgresJournal":
        """Checked. Raises IntegrityFault, ConfigurationError (migration), Unavailable."""

        def look(conn: Connection) -> int:
            check_current("the journal", _revision(conn, pairing), REVISION)
            return head(conn)

        journal = cls(server, store, keys)
        journal._last = await store.read(look)
        return journal

    @property
    def last(self) -> int:
        return self._last

    async def close(self) -> None:
        """Commit and answer what is queued, take nothing more, close the connection."""
        await super().close()
        if self._telling is not None:
            await self._telling
        if self._held is not None:
            await self._held.drop()

    def _took(self, accepted: Sequence[Accepted]) -> None:
        self._last = max(self._last, *(one.seq for one in accepted))
        self._untold = True
        if self._telling is None or self._telling.done():
            self._telling = self._loop.create_task(self._tell())

    async def _tell(self) -> None:
        """One notice for all that came while the one before it was on its way."""
        while self._untold:
            self._untold = False
            try:
                await self._store.write(lambda conn: Hot(conn).notify(CHANNEL))
            except ChartbridgeError:
                return  # those who wait look by themselves

    def _keep(self, group: Group, size: int) -> None:
        self._sending = self._loop.create_task(self._send([incoming for incoming, _ in group], size, group))

    async def _send(self, messages: list[Incoming], size: int, group: Group) -> None:
        outcome: list[Accepted] | Unavailable | IntegrityFault
        try:
            columns = partial(self._columns, messages)
            values = await asyncio.to_thread(columns) if size > LARGE_BYTES else columns()
            crash_point("journal.sealed")
            outcome = await self._call(values)
            crash_point("journal.committed")
        except (Unavailable, IntegrityFault) as exc:
            outcome = exc
        except Exception as exc:  # a fault of ours: the senders must not wait for ever because of it
            self._faulty(exc)
            outcome = Unavailable("the journal's writer failed")
        self._settle(group, outcome)

    def _columns(self, messages: list[Incoming]) -> tuple[Any, ...]:
        """The arguments of `journal_keep`. Duplicates are sealed too, for nothing: only the server knows them."""
        sealed = [self._seal(one) for one in messages]
        places = [(one.part.source, one.part.n, one.part.total) if one.part else (None,) * 3 for one in messages]
        rows = [
            (
                one.feed, int(one.at.timestamp() * 1000), one.state, one.code,
                "".join(f" {word}" for word in (one.time, one.due) if word), one.dedupe, " ".join(one.issues),
                one.reused, pack(fid.hex() for fid in one.patients), pack(one.lanes), *seal, *place,
            )
            for one, seal, place in zip(messages, sealed, places, strict=True)
        ]  # fmt: skip
        return (self._keys.org, *map(list, zip(*rows, strict=True)))

    async def _call(self, values: tuple[Any, ...]) -> list[Accepted]:
        """Raises Unavailable, IntegrityFault; then the next call opens a connection anew."""
        if self._held is None or not self._held.usable:
            self._held = await self._connect()
        try:
            rows = await self._held.raw.fetch(_CALL, *values)
        except FAULTS as exc:
            held, self._held = self._held, None
            held.raw.terminate()
            await held.drop()
            raise _meant(exc) from exc
        return [Accepted(seq, state, first, ack or "", tuple(issue.split())) for seq, state, first, ack, issue in rows]

    async def _connect(self) -> Held:
        if self._held is not None:
            await self._held.drop()
            self._held = None
        try:
            return await Held.open(self._server, SETTINGS)
        except ConfigurationError as exc:  # it could be used when we started
            raise Unavailable(exc.text) from exc


def _meant(error: Exception) -> Exception:
    meant = ours(error, final=True)
    if isinstance(meant, Failed):
        return meant.instead
    return meant if isinstance(meant, RuntimeError) else Unavailable("the journal cannot be used now (others write)")
