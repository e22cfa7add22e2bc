"""Pages: which one is asked for, and the links that lead on. The server keeps nothing between two pages.

A first page states its query in the URL or form; every further one is a sealed cursor (`cursor.py`) that holds the
query, a transaction that had ended by page one and the place where the last page ended. Source: fhir chapter §10;
FHIR R4 §3.1.0.2 (paging).
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from sqlalchemy import Connection

from adapter.api.call import Call, Pairs
from adapter.api.cursor import LIFE_S, Cursor
from adapter.api.parameters import count, one
from adapter.errors import BadRequest
from adapter.store.engine import Hot

STATELESS = frozenset({"_format", "_pretty", "_cursor"})  # parameters of one answer, not of the query


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its query, where it begins, as of which transaction (None: now, this is page one), and its size.

    It begins after the row or version `after`, whose place in the order is `key`.
    """

    query: Pairs
    after: int | None
    key: tuple[str, ...]
    txn: int | None
    count: int

    @property
    def first(self) -> bool:
        return self.after is None


@dataclass(frozen=True, slots=True)
class End:
    """Where a page ended that another follows."""

    last: int
    key: tuple[str, ...] = ()
    txn: int = 0


def page_of(call: Call, pairs: Pairs) -> Page:
    """The page that a request asks for. Raises NotFound or Gone for a cursor that leads nowhere."""
    text = one(pairs, "_cursor")
    if text is None:
        query = tuple(pair for pair in pairs if pair[0] not in STATELESS)
        return Page(query, None, (), None, count(query))
    if any(name not in STATELESS for name, _ in pairs):
        raise BadRequest("a cursor stands alone", code="parameter")
    place = _place(call)
    cursor = call.services.cursors.open(text, call.actor.client_id, place, call.now.timestamp())
    return Page(cursor.query, cursor.after, cursor.key, cursor.txn, count(cursor.query))


def cut_of(conn: Connection, page: Page, candidates: int) -> int:
    """Where the pages after this one are cut: at page one's transaction, or at one that has ended by now.

    Asked before anything is opened: a snapshot that cannot tell is taken again. No page follows one that holds all.
    """
    if page.txn is not None:
        return page.txn
    return Hot(conn).settled() if candidates > page.count > 0 else 0


def links(call: Call, page: Page, end: End | None) -> list[tuple[str, str]]:
    """`self` and `first`, the query as it was read; and `next`, alike, where another page follows."""
    services, place = call.services, _place(call)
    address = services.base + place.removeprefix("/fhir")
    query = urlencode(page.query)
    start = f"{address}?{query}" if query else address
    found = [("self", start), ("first", start)]
    if end is not None:
        expires = int(call.now.timestamp()) + LIFE_S
        txn = end.txn if page.txn is None else page.txn
        cursor = Cursor(place, page.query, txn, end.last, end.key, expires)
        sealed = services.cursors.seal(cursor, call.actor.client_id)
        parameters = call.presentation.parameters
        found.append(("next", f"{address}?_cursor={sealed}" + (f"&{parameters}" if parameters else "")))
    return found


def _place(call: Call) -> str:
    """The address that a page is reached at: a search by form goes on with a link."""
    return call.path.rstrip("/").removesuffix("/_search")
