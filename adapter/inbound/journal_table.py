"""The journal's file: one append-only table of messages, and the statements on it.

    message(seq, org, feed, at, state, first, dedupe, issue, patient[], lane[], key_id, ack, body)

`at` is Unix milliseconds; `state` `new`, `duplicate` (`first` says of what) or `rejected`; `issue` our codes, blank
between; `patient` keyed ids in hex and `lane` numbers, both JSON; `ack` what MSA and MSH of the answer said (code, our
control id, time), never the sender's MSH-10. `dedupe` is two keyed tokens in one: 8 bytes of the control id alone, then
32 of control id and content, so that one index finds a message sent twice and a control id used twice.

`part(seq, source, n, total)` is the place of a message that came with others in one frame, request or file. `source` is
random for what came over a wire; for a file it is a keyed digest, so that a file taken up again after a crash finds its
messages in their places.

`pruned` remembers the highest number of a row that is gone, so that no number is given twice; AUTOINCREMENT would do it
at the price of one more page in every commit.

What only writers of the file do takes its connection, and neither knows nor chooses the thread; what readers ask takes
`Statements`, for a journal in a database is asked in the same words (`journal_postgres.py`). The body lies last in the
row: reading what stands before it touches none of its pages. Source: operations chapter §4; hl7v2 chapter §11.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from adapter.crash import crash_point
from adapter.errors import ConfigurationError, IntegrityFault, Unavailable
from ledger.errors import IntegrityError
from ledger.store.file import create_file

KIND = "journal"
REVISION = "0002"  # 0001: without `part`
PARTS = """
CREATE TABLE IF NOT EXISTS part(
  seq INTEGER PRIMARY KEY, source BLOB NOT NULL, n INTEGER NOT NULL, total INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS part_place ON part(source, n);
CREATE TRIGGER IF NOT EXISTS message_part AFTER DELETE ON message BEGIN DELETE FROM part WHERE seq = old.seq; END;
"""
SCHEMA = """
CREATE TABLE message(
  seq INTEGER PRIMARY KEY, org TEXT NOT NULL, feed TEXT NOT NULL, at INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('new', 'duplicate', 'rejected')), first INTEGER, dedupe BLOB,
  issue TEXT NOT NULL, patient TEXT NOT NULL, lane TEXT NOT NULL, key_id BLOB, ack TEXT, body BLOB
) STRICT;
CREATE UNIQUE INDEX message_dedupe ON message(dedupe) WHERE state = 'new' AND dedupe IS NOT NULL;
CREATE TABLE pruned(one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL) STRICT;
CREATE TRIGGER message_pruned AFTER DELETE ON message BEGIN
  INSERT INTO pruned VALUES (1, old.seq) ON CONFLICT(one) DO UPDATE SET seq = max(seq, excluded.seq);
END;
"""
BUSY_MS = 1_000
# Pages of the WAL before it is folded into the file and written from its start again. Small on purpose: an fsync of
# bytes that lie where bytes lay before costs half of one that makes the file longer.
CHECKPOINT_PAGES = 2_000
RESTORE = "restore data, journal, vault and log of one site together; nothing was changed"
CONTROL_BYTES = 8
DEDUPE_MS = 30 * 86_400_000
# A sender may use one control id for ever; this many rows of it are looked at.
REUSED_ROWS = 64
_ABOVE = b"\xff" * 33  # no token of 32 bytes is greater
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_NO_JOURNAL = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

State = Literal["new", "duplicate", "rejected"]
NEW: State = "new"
DUPLICATE: State = "duplicate"
REJECTED: State = "rejected"

_COLUMNS = "seq, org, feed, at, state, first, issue, patient, lane, key_id, ack"
_INTO = "INSERT INTO message(seq, org, feed, at, state, first, dedupe, issue, patient, lane, key_id, ack, body) "
_INSERT = f"{_INTO}VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_INSERT_UNHEARD = (
    f"{_INTO}SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? "  # noqa: S608 - constants
    "WHERE NOT EXISTS (SELECT 1 FROM message WHERE state = 'new' AND dedupe > ? AND dedupe < ?)"
)
_SAME_CONTROL = "SELECT seq, at, ack, dedupe FROM message WHERE state = 'new' AND dedupe > ? AND dedupe < ? LIMIT ?"
_SAME = "SELECT seq, at, ack, dedupe FROM message WHERE state = 'new' AND dedupe = ?"


class Statements(Protocol):
    """Raw statements on a connection, `?` for parameters (`adapter/store/statements.py` has the same)."""

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]: ...

    def each_in(self, sql: str, values: Sequence[Any], params: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Rows of `sql`, whose `IN (…)` stands last."""
        ...


class FileStatements:
    """On the file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def all(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, params).fetchall()

    def each_in(self, sql: str, values: Sequence[Any], params: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        for value in values:
            yield from self._connection.execute(sql.replace("IN (…)", "= ?"), [*params, value])


@dataclass(frozen=True, slots=True)
class Row:
    """One journal row without its body."""

    seq: int
    org: str
    feed: str
    at: datetime
    state: State
    first: int | None
    issues: tuple[str, ...]
    patients: tuple[bytes, ...] = field(repr=False)
    lanes: tuple[int, ...]
    key_id: bytes | None = field(repr=False)
    ack: str | None

    @property
    def due(self) -> str:
        """The application answer that its sender waits for: AL, ER, SU, or "" for none."""
        if self.state != NEW:
            return ""
        words = ["", "", "", "AL"] if self.ack is None else self.ack.split(" ")
        return words[3] if len(words) > 3 else ""

    @property
    def unanswered(self) -> bool:
        """Whether the application's answer is the only one that its sender gets."""
        return self.state == NEW and self.ack is None


@dataclass(frozen=True, slots=True)
class Part:
    """The place of a message among those it came with: number `n` of `total`, counted from 1."""

    source: bytes = field(repr=False)
    n: int
    total: int


@dataclass(frozen=True, slots=True)
class Match:
    """What the journal has of a message: its first reception, or its control id under another content."""

    first: int | None = None
    ack: str = ""
    reused: bool = False


NO_MATCH = Match()


def create(path: Path, pairing: str) -> None:
    """A new journal, once, by `init`. Raises IntegrityFault where there is one."""
    try:
        create_file(path, KIND, SCHEMA + PARTS, {"pairing": pairing})
    except IntegrityError as exc:
        raise IntegrityFault(str(exc), hint="choose another folder") from exc


def connect(path: Path, pairing: str, *, read_only: bool = False) -> sqlite3.Connection:
    """The journal of this site. Raises IntegrityFault for a missing, empty, damaged or another's file, and
    ConfigurationError for one that an earlier version made."""
    connection = _open(path, pairing)
    if (found := _revision(connection)) != REVISION:
        connection.close()
        text = f"the journal is at migration {found}, this version needs {REVISION}"
        raise ConfigurationError(text, hint="chartbridge db upgrade")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def revision(path: Path, pairing: str) -> str:
    """The migration that a journal is at. Raises IntegrityFault."""
    with closing(_open(path, pairing)) as connection:
        return _revision(connection)


def upgrade(path: Path, pairing: str) -> None:
    """Bring a journal to what this code needs: whole, or not at all. The site's lock is the caller's.

    What is added lies beside the messages: the version that made the journal can go on with it. Raises IntegrityFault,
    Unavailable.
    """
    with closing(_open(path, pairing)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _statements(PARTS):
                connection.execute(statement)
                crash_point("journal.statement")
            connection.execute("COMMIT")
        except sqlite3.Error as exc:
            raise trouble(exc) from exc


def _revision(connection: sqlite3.Connection) -> str:
    """0001 too where a version that did it in steps was stopped between them."""
    names = ("part", "part_place", "message_part")
    sql = "SELECT count(*) FROM sqlite_master WHERE name IN (?, ?, ?)"
    return REVISION if connection.execute(sql, names).fetchone()[0] == len(names) else "0001"


def _statements(script: str) -> Iterator[str]:
    """One by one: `executescript` would commit before the first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _open(path: Path, pairing: str) -> sqlite3.Connection:
    """Held against the site, at whatever migration."""
    if not path.is_file() or not path.stat().st_size:
        raise IntegrityFault("the journal is missing or empty", hint=RESTORE)
    # the writer's connection is used by two threads, never by both at once (`journal.py`)
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in (
            f"busy_timeout = {BUSY_MS}", "journal_mode = WAL", "synchronous = FULL", "secure_delete = ON",
            "trusted_schema = OFF", "temp_store = MEMORY", f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        ):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")
        meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
        connection.execute("SELECT seq FROM message LIMIT 1")
    except sqlite3.Error as exc:
        connection.close()
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF in _NO_JOURNAL:
            raise IntegrityFault("the journal is not a journal, or is damaged", hint=RESTORE) from exc
        raise trouble(exc) from exc  # no room, no right, another's lock
    if meta.get("kind") != KIND or meta.get("pairing") != pairing:
        connection.close()
        raise IntegrityFault("the journal belongs to another site: its pairing id differs", hint=RESTORE)
    return connection


def last_seq(connection: sqlite3.Connection) -> int:
    """The highest number ever given, pruned rows included."""
    sql = "SELECT max(coalesce((SELECT max(seq) FROM message), 0), coalesce((SELECT seq FROM pruned), 0))"
    return int(connection.execute(sql).fetchone()[0])


def match(connection: sqlite3.Connection, dedupe: bytes, now_ms: int) -> Match:
    """Was this message, or its control id, accepted in the last 30 days?"""
    control = dedupe[:CONTROL_BYTES]
    found = connection.execute(_SAME_CONTROL, (control, control + _ABOVE, REUSED_ROWS)).fetchall()
    if not found:
        return NO_MATCH
    if len(found) == REUSED_ROWS:
        found += connection.execute(_SAME, (dedupe,)).fetchall()
    recent = [row for row in found if row[1] >= now_ms - DEDUPE_MS]
    for seq, at, ack, token in found:
        if token == dedupe:
            if at >= now_ms - DEDUPE_MS:
                return Match(seq, ack or "")
            connection.execute("UPDATE message SET dedupe = NULL WHERE seq = ?", (seq,))
    return Match(reused=bool(recent))


def insert(connection: sqlite3.Connection, values: tuple[object, ...], unheard: bytes | None = None) -> bool:
    """Append one row; `values` in the order of the columns. With a `dedupe` that nothing was accepted under before, or
    not at all: False, and `match` says more. One statement is both for the many that are new."""
    if unheard is None:
        connection.execute(_INSERT, values)
        return True
    control = unheard[:CONTROL_BYTES]
    return connection.execute(_INSERT_UNHEARD, (*values, control, control + _ABOVE)).rowcount == 1


def insert_part(connection: sqlite3.Connection, seq: int, part: Part) -> None:
    connection.execute(
        "INSERT INTO part(seq, source, n, total) VALUES (?, ?, ?, ?)", (seq, part.source, part.n, part.total)
    )


def part_row(connection: sqlite3.Connection, part: Part) -> Row | None:
    """The message that lies in this place already."""
    found = connection.execute("SELECT seq FROM part WHERE source = ? AND n = ?", (part.source, part.n)).fetchone()
    return None if found is None else row(FileStatements(connection), found[0])


def parts(ask: Statements, seqs: Iterable[int]) -> dict[int, Part]:
    """Places by number, of those that came with others."""
    sql = "SELECT seq, source, n, total FROM part WHERE seq IN (…)"
    return {found[0]: Part(*found[1:]) for found in ask.each_in(sql, list(seqs))}


def pack(values: Iterable[int] | Iterable[str]) -> str:
    """A list as the columns `patient` and `lane` hold it."""
    return msgspec.json.encode(list(values)).decode()


def rows_after(ask: Statements, after: int, limit: int, state: State = NEW) -> list[Row]:
    """Rows behind `after`, oldest first."""
    sql = f"SELECT {_COLUMNS} FROM message WHERE seq > ? AND state = ? ORDER BY seq LIMIT ?"  # noqa: S608 - constants
    return [_row(*found) for found in ask.all(sql, (after, state, limit))]


def rows_before(ask: Statements, before: int | None, limit: int, feed: str | None) -> list[Row]:
    """Rows of every state, newest first, of one feed or of all."""
    sql = (
        f"SELECT {_COLUMNS} FROM message WHERE (CAST(?1 AS BIGINT) IS NULL OR seq < ?1) "  # noqa: S608 - constants
        "AND (CAST(?2 AS TEXT) IS NULL OR feed = ?2) ORDER BY seq DESC LIMIT ?3"
    )
    return [_row(*found) for found in ask.all(sql, (before, feed, limit))]


def arrivals(ask: Statements, after: int, limit: int) -> list[Row]:
    """Rows of every state behind `after`, oldest first."""
    sql = f"SELECT {_COLUMNS} FROM message WHERE seq > ? ORDER BY seq LIMIT ?"  # noqa: S608 - constants
    return [_row(*found) for found in ask.all(sql, (after, limit))]


def row(ask: Statements, seq: int) -> Row | None:
    return next(iter(rows(ask, (seq,))), None)


def rows(ask: Statements, seqs: Iterable[int]) -> list[Row]:
    """These, as far as they are there."""
    sql = f"SELECT {_COLUMNS} FROM message WHERE seq IN (…)"  # noqa: S608 - constants
    return [_row(*found) for found in ask.each_in(sql, list(seqs))]


def bodies(ask: Statements, seqs: Iterable[int]) -> dict[int, bytes]:
    """Sealed bodies by number; duplicates and pruned rows have none."""
    sql = "SELECT seq, body FROM message WHERE seq IN (…)"
    return {seq: body for seq, body in ask.each_in(sql, list(seqs)) if body is not None}


def newest_keys(ask: Statements, rows: int) -> dict[bytes, int]:
    """Key id → when received, of what still has a body among so many newest rows."""
    sql = """
        SELECT key_id, at FROM (SELECT key_id, at, body IS NULL AS gone FROM message ORDER BY seq DESC LIMIT ?) AS last
        WHERE key_id IS NOT NULL AND NOT gone
    """
    return {bytes(key_id): at for key_id, at in ask.all(sql, (rows,))}


def counts(ask: Statements) -> dict[tuple[str, State], int]:
    """Rows by feed and state."""
    sql = "SELECT feed, state, count(*) FROM message GROUP BY feed, state"
    return {(feed, state): count for feed, state, count in ask.all(sql)}


def trouble(error: sqlite3.Error) -> Unavailable | IntegrityFault:
    """SQLite's error in our words: its own name tables and paths."""
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
        return IntegrityFault("the journal is damaged", hint=RESTORE)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    return Unavailable(f"the journal cannot be used now ({name})", hint="chartbridge doctor")


def is_lost(error: sqlite3.Error) -> bool:
    """Whether the disk failed an fsync: what it holds now is unknown, and asking again would hide it."""
    return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)


def _row(
    seq: int, org: str, feed: str, at: int, state: State, first: int | None, issue: str, patient: str, lane: str,
    key_id: bytes | None, ack: str | None,
) -> Row:  # fmt: skip
    patients = tuple(bytes.fromhex(fid) for fid in msgspec.json.decode(patient, type=list[str]))
    lanes = tuple(msgspec.json.decode(lane, type=list[int]))
    received = datetime.fromtimestamp(at / 1000, UTC)
    return Row(seq, org, feed, received, state, first, tuple(issue.split()), patients, lanes, key_id, ack)
