"""What a snapshot has told already, kept while its units run: asked for once, and for many of them together.

A unit of work asks for what it needs when it needs it, and on a server each asking is a round trip. Reads that run one
after the other in one snapshot are therefore looked ahead for (`resources.look_ahead`): one statement for all of them.
What is not kept here is asked for as ever; nothing here outlives its snapshot.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from adapter.store.statements import Row

if TYPE_CHECKING:
    from adapter.store.owners import OwnerFacts

_KEY = "chartbridge ahead"  # in a connection's `info`


@dataclass(frozen=True, slots=True)
class Ahead:
    """Current versions by keyed id, and who stands behind an owner."""

    rows: dict[bytes, Row] = field(default_factory=dict)
    facts: "dict[int, tuple[OwnerFacts, ...]]" = field(default_factory=dict)


@contextmanager
def keeping(conn: Connection) -> Iterator[Ahead]:
    """Keep what is told while the context is open, which is for reads in one snapshot alone. Inside another it is that
    one's."""
    if (known := of(conn)) is not None:
        yield known
        return
    ahead = Ahead()
    conn.info[_KEY] = ahead
    try:
        yield ahead
    finally:
        conn.info.pop(_KEY, None)


def of(conn: Connection) -> Ahead | None:
    found: Ahead | None = conn.info.get(_KEY)
    return found
