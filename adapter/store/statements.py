"""Raw statements on a connection of the data store: one contract, a class for each database.

`Hot(conn)` is the same connection without SQLAlchemy's compiler, for statements that run many times a message:
SQLAlchemy costs 20 µs a statement, a message writes two hundred rows. Statements are SQL that SQLite and PostgreSQL
both read, with `?` for parameters; which class runs them is the connection's matter (`sqlite.py`, `postgres.py`).

A database with one writer needs no locks of a unit's own; one with several takes them through `lock` and `hold`, and
tells a unit that lost a race by raising `Again`, on which the engine runs the whole unit once more; it says that the
database is away by `Failed`.
Source: fhir chapter §5, §8; architecture §4 (store).
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

from sqlalchemy import Connection

Row = tuple[Any, ...]


class Again(Exception):
    """Another writer was quicker: this unit is rolled back and runs again. Nobody but an engine catches it."""


class Unsettled(Exception):
    """A snapshot cannot tell what was under way when it was taken: the engine looks first, and runs the unit again."""


class Further(Exception):
    """A unit that looks once looks again, and needs a snapshot for both: the engine takes one, and runs it again."""


class Failed(Exception):
    """The database could not: the unit is rolled back, and its caller gets `instead`. Of no kind that a unit catches
    for one message of many: a message is not to blame."""

    def __init__(self, instead: Exception) -> None:
        super().__init__(str(instead))
        self.instead = instead


class Hot:
    """Raw statements on a connection's driver, `?` for parameters.

    `Hot(conn)` is of the class that runs them on this connection's database, which is found by its dialect; what raises
    NotImplementedError here is what each such class has to bring.
    """

    __slots__ = ()
    _kinds: ClassVar[dict[str, "type[Hot]"]] = {}
    several: ClassVar[bool] = False  # whether others write at the same time

    def __init_subclass__(cls, *, dialect: str) -> None:
        Hot._kinds[dialect] = cls

    def __new__(cls, conn: Connection) -> "Hot":
        return object.__new__(Hot._kinds[conn.dialect.name])

    def __init__(self, conn: Connection) -> None:
        raise NotImplementedError

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[Row]:
        raise NotImplementedError

    def one(self, sql: str, params: Sequence[Any] = ()) -> Row | None:
        raise NotImplementedError

    def run(self, sql: str, params: Sequence[Any] = ()) -> int:
        """The number of rows changed."""
        raise NotImplementedError

    def many(self, sql: str, rows: Collection[Sequence[Any]]) -> None:
        raise NotImplementedError

    def insert(self, into: str, rows: Sequence[Row], conflict: str = "") -> None:
        """Many rows `INTO table(columns)`, no two of one key; `conflict` is the clause for what is there already."""
        raise NotImplementedError

    def each_in(self, sql: str, values: Sequence[Any], params: Sequence[Any] = ()) -> Iterator[Row]:
        """Rows of `sql`, whose `IN (…)` stands last, for any number of values: a few statements, each prepared once."""
        raise NotImplementedError

    def draw(self) -> int:
        """The first of `tables.NUMBERS` numbers that nobody else gets, each greater than all drawn before it."""
        raise NotImplementedError

    def settled(self) -> int:
        """A transaction up to which all have ended, and are seen here: what is read as of it reads the same for good.

        The newest one where there is one writer; with several, no unit that is still under way has a number as low.
        """
        raise NotImplementedError

    def now_ms(self, ours: int) -> int:
        """The time that all writers share; `ours` where there is only one clock."""
        return ours

    def lock(self, org: str, tokens: Iterable[bytes]) -> None:
        """Until this transaction ends, no other locks one of these names of the organisation."""

    def hold(self, sql: str, order: str, values: Sequence[Any], params: Sequence[Any] = ()) -> list[Row]:
        """`each_in` on one table, whose rows nobody changes until this transaction ends; taken in this order."""
        return list(self.each_in(sql, values, params))

    def notify(self, channel: str) -> None:
        """Tell who listens, in any process, once this transaction is durable."""


@contextmanager
def savepoint(hot: Hot, name: str = "unit") -> Iterator[None]:
    """What is done inside is undone, alone, when it raises."""
    hot.run(f"SAVEPOINT {name}")
    try:
        yield
    except BaseException:
        hot.run(f"ROLLBACK TO {name}")
        hot.run(f"RELEASE {name}")
        raise
    hot.run(f"RELEASE {name}")
