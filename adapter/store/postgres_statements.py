"""Raw statements on PostgreSQL, and what its errors mean to a unit of work.

A unit runs in a greenlet on the engine's loop (`postgres.py`); a statement hands the loop to others until its answer
comes. Texts are those of SQLite: `?` becomes `$1`, an `IN (…)` one array, whatever its length.

No text that leaves this module is the driver's: PostgreSQL puts values into its messages.
Source: PostgreSQL 15, "Frontend/Backend Protocol", appendix A (SQLSTATE); fhir chapter §8 (advisory buckets).
"""

import functools
import re
import zlib
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar, cast

import asyncpg
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

from adapter.errors import IntegrityFault, Unavailable
from adapter.store.place import RESTORE
from adapter.store.statements import Again, Failed, Further, Hot, Row, Unsettled
from adapter.store.tables import NUMBERS

BUCKETS = 1_024  # advisory locks of one organisation
STATEMENTS = 512  # texts that a connection keeps prepared
# keys in a connection's `info`: this try is the last; the unit has one snapshot; what was settled before it was taken
FINAL, SNAPSHOT, SETTLED = "chartbridge final try", "chartbridge snapshot", "chartbridge settled"
ONCE = "chartbridge once"  # the unit is in no transaction: what it has asked so far
NOTHING, ASKED, MORE = "nothing", "one question", "more than one"
UNDER_WAY = 0x7478  # in the upper 16 bits of the advisory locks that say from which block on a unit draws its numbers
XACT = "chartbridge transaction"  # and the server's number of the transaction, once something asked for it

# SQLSTATEs, by PostgreSQL's appendix A
LOST_RACE = frozenset({"40001", "40P01"})
TAKEN = "23505"
DAMAGED = frozenset({"XX001", "XX002"})
REFUSED = ("28", "3D", "42501")  # who are you; no such database; not yours
# connection, standby, stopped in a transaction, resources, lock timeout, operator, system
AWAY = ("08", "25006", "25P03", "53", "55P03", "57", "58")

# how many blocks of numbers have been drawn, read off the sequence
_GONE = f"(CASE WHEN is_called THEN last_value + {NUMBERS - 1} ELSE last_value - 1 END) / {NUMBERS}"

# What the driver raises. The internal one is it where the server's last word came while nobody asked: it is out of
# step then, and its connection of no use.
FAULTS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)

T = TypeVar("T")


class Driver(Protocol):
    """What is used of an asyncpg connection, which says nothing of its types."""

    async def fetch(self, sql: str, *params: Any) -> list[Any]: ...
    async def fetchrow(self, sql: str, *params: Any) -> Any: ...
    async def execute(self, sql: str, *params: Any) -> str: ...
    async def prepare(self, sql: str) -> Any: ...
    async def executemany(self, sql: str, rows: Collection[Sequence[Any]]) -> None: ...
    async def add_listener(self, channel: str, heard: Callable[..., None]) -> None: ...
    def add_termination_listener(self, lost: Callable[..., None]) -> None: ...
    def is_closed(self) -> bool: ...
    def is_in_transaction(self) -> bool: ...
    def terminate(self) -> None: ...
    async def close(self, *, timeout: float) -> None: ...  # noqa: ASYNC109 - the driver's own


class PostgresHot(Hot, dialect="postgresql"):
    """Statements on one connection, inside the greenlet of its unit. Each text is prepared once a connection."""

    __slots__ = ("_info", "_raw")
    several = True

    def __init__(self, conn: Connection) -> None:
        self._raw = driver(conn)
        self._info = conn.info

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        return [tuple(row) for row in self._ask(self._raw.fetch(_numbered(sql), *params))]

    def one(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        row = self._ask(self._raw.fetchrow(_numbered(sql), *params))
        return None if row is None else tuple(row)

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        self._in_a_transaction()
        count = self._ask(self._raw.execute(_numbered(sql), *params)).rpartition(" ")[2]
        return int(count) if count.isdecimal() else 0

    def many(self, sql: str, rows: Collection[Sequence[Any]]) -> None:
        self._in_a_transaction()
        if rows:
            self._ask(self._raw.executemany(_numbered(sql), list(rows)))

    def insert(self, into: str, rows: Sequence[Row], conflict: str = "") -> None:
        """One statement, its columns as arrays: a row of its own costs the server as much as a statement."""
        if rows:
            types = self._types(f"INSERT {into} VALUES ({','.join('?' * len(rows[0]))})")  # noqa: S608 - our own names
            columns = ",".join(f"?::{kind}[]" for kind in types)
            sql = f"INSERT {into} SELECT * FROM unnest({columns}) {conflict}"  # noqa: S608
            self.run(sql, [list(column) for column in zip(*rows, strict=True)])

    def _types(self, sql: str) -> tuple[str, ...]:
        """Of the parameters of a statement, as the server knows them; asked once."""
        if (known := _TYPES.get(sql)) is None:
            statement = self._ask(self._raw.prepare(_numbered(sql)))
            known = _TYPES[sql] = tuple(one.name for one in statement.get_parameters())
        return known

    def each_in(self, sql: str, values: Sequence[Any], params: Sequence[Any] = ()) -> Iterator[Row]:
        if values:
            yield from self.all(sql.replace("IN (…)", f"= ANY(?{len(params) + 1})"), [*params, list(values)])

    def draw(self) -> int:
        row = self.one(_DRAW, (UNDER_WAY << 48,))
        if row is None:
            raise RuntimeError("the sequence gave no number")
        return int(row[0])

    def settled(self) -> int:
        if SNAPSHOT not in self._info:  # each statement sees what was committed before it
            drawn, first = self.one(_DRAWN), self.one(_FIRST_UNDER_WAY, (UNDER_WAY,))
            return settled(drawn, first)
        if SETTLED not in self._info:
            raise Unsettled
        return int(self._info[SETTLED])

    def now_ms(self, ours: int) -> int:
        row = self.one("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        return int(row[0]) if row else ours

    def lock(self, org: str, tokens: Iterable[bytes]) -> None:
        """Buckets in rising order: whoever needs several waits for nobody who waits for him."""
        wanted = sorted({zlib.crc32(token) % BUCKETS for token in tokens})
        if wanted:
            self.one(_LOCK, (zlib.crc32(org.encode()) - (1 << 31), wanted))

    def hold(self, sql: str, order: str, values: Sequence[Any], params: Sequence[Any] = ()) -> list[Row]:
        return list(self.each_in(f"{sql} ORDER BY {order} FOR UPDATE", sorted(values), params))

    def notify(self, channel: str) -> None:
        row = self.one(f"SELECT {_XACT}, pg_notify(?, '')", (channel,))
        self._info[XACT] = row[0] if row else None

    def transaction(self) -> str | None:
        """The server's number of this transaction; None while it has written nothing. Asked for once."""
        if self._info.get(XACT) is None:
            row = self.one(f"SELECT {_XACT}")
            self._info[XACT] = row[0] if row else None
        found: str | None = self._info[XACT]
        return found

    def _in_a_transaction(self) -> None:
        """What is no question belongs into one, which says whether it may write."""
        if ONCE in self._info:
            self._info[ONCE] = MORE
            raise Further

    def _ask(self, answer: Coroutine[Any, Any, T]) -> T:
        if ONCE in self._info:
            if self._info[ONCE] != NOTHING:
                answer.close()
                self._info[ONCE] = MORE
                raise Further
            self._info[ONCE] = ASKED
        try:
            return await_only(answer)
        except FAULTS as exc:
            raise ours(exc, final=FINAL in self._info) from exc


# A unit says first how many blocks of numbers are gone, then draws: whatever it draws is above. Each before the other,
# for a statement computes what it has WITHed before it is asked for the rest.
_DRAW = f"""
    WITH said AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(?::bigint | {_GONE}) FROM number)
    SELECT nextval('number') FROM said
"""  # noqa: S608 - our own
# What is under way is asked after what is drawn: a unit that drew before, and is not under way, has ended.
_DRAWN = f"SELECT {_GONE} FROM number"  # noqa: S608
_FIRST_UNDER_WAY = """
    SELECT min((classid::bigint & 65535) << 32 | objid::bigint) FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = ?
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_XACT = "pg_current_xact_id_if_assigned()::text"
_LOCK = "SELECT count(pg_advisory_xact_lock(?, bucket)) FROM unnest(?::int[]) AS bucket"
_TYPES: dict[str, tuple[str, ...]] = {}
_MARK = re.compile(r"\?(\d*)")


@functools.lru_cache(maxsize=4 * STATEMENTS)
def _numbered(sql: str) -> str:
    """`$1` for each `?`; `?2` stays the second."""
    count = 0

    def mark(found: re.Match[str]) -> str:
        nonlocal count
        count += 1
        return f"${found[1] or count}"

    return _MARK.sub(mark, sql)


def settled(drawn: Row | None, first: Row | None) -> int:
    """The last number of the blocks that nobody under way can have drawn from."""
    if drawn is None or first is None:
        raise RuntimeError("the sequence has no row")
    return NUMBERS * int(drawn[0] if first[0] is None else min(drawn[0], first[0]))


async def settled_now(raw: Driver) -> int:
    """The same outside of a unit, before its snapshot is taken."""
    return settled(await raw.fetchrow(_DRAWN), await raw.fetchrow(_numbered(_FIRST_UNDER_WAY), UNDER_WAY))


def driver(conn: Connection) -> Driver:
    return cast(Driver, conn.connection.driver_connection)


def ours(error: BaseException | None, *, final: bool = False) -> Exception:
    """What the driver says, in our words: RuntimeError is about the values, for the rest no message is to blame."""
    state = getattr(error, "sqlstate", None) or ""
    if state in LOST_RACE or (state == TAKEN and not final):
        return Again()
    if state.startswith("23"):
        return RuntimeError("a unit of work broke a constraint of the data store")
    if state.startswith("22") or isinstance(error, asyncpg.DataError):
        return RuntimeError("a value does not fit the data store")
    return Failed(_instead(error, state))


def _instead(error: BaseException | None, state: str) -> Exception:
    if state in DAMAGED:
        return IntegrityFault("the data store is damaged", hint=RESTORE)
    if state.startswith((*AWAY, *REFUSED)):
        return Unavailable(f"the data store cannot be used now (SQLSTATE {state})")
    if isinstance(error, OSError | TimeoutError | asyncpg.InternalClientError) or (
        isinstance(error, asyncpg.InterfaceError) and lost(error)
    ):
        return Unavailable("the data store cannot be used now (no connection)")
    return RuntimeError("a statement of the data store is wrong")


def lost(error: asyncpg.InterfaceError) -> bool:
    """Whether the driver means the connection, not what it was asked: it has one kind for both."""
    return "clos" in str(error.args[0] if error.args else "")


def of_core(error: DBAPIError) -> BaseException | None:
    """The driver's own error, of a statement that went through SQLAlchemy."""
    return error.orig.__cause__ if error.orig is not None else None
