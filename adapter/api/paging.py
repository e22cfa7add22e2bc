"""Pages: which one is asked for, and the links that lead on. The server keeps nothing between two pages.

A first page states its query in the URL or form; every further one is a sealed cursor (`cursor.py`) that holds the
query, the transaction of page one and the place where the last page ended. Source: fhir chapter §10; FHIR R4 §3.1.0.2
(paging).
"""

from dataclasses import dataclass
from urllib.parse import urlencode

from adapter.api.call import Call, Pairs
from adapter.api.cursor import LIFE_S, Cursor
from adapter.api.parameters import count, one
from adapter.errors import BadRequest

STATELESS = frozenset({"_format", "_pretty", "_cursor"})  # parameters of one answer, not of the query


@dataclass(frozen=True, slots=True)
class Page:
    """A page: its query, where it begins, as of which transaction (None: now, this is page one), and its size."""

    query: Pairs
    after: int | None
    txn: int | None
    count: int

    @property
    def first(self) -> bool:
        return self.after is None


def page_of(call: Call, pairs: Pairs) -> Page:
    """The page that a request asks for. Raises NotFound or Gone for a cursor that leads nowhere."""
    text = one(pairs, "_cursor")
    if text is None:
        query = tuple(pair for pair in pairs if pair[0] not in STATELESS)
        return Page(query, None, None, count(query))
    if any(name not in STATELESS for name, _ in pairs):
        raise BadRequest("a cursor stands alone", code="parameter")
    cursor = call.services.cursors.open(text, call.actor.client_id, call.path, call.now.timestamp())
    return Page(cursor.query, cursor.after, cursor.txn, count(cursor.query))


def links(call: Call, page: Page, last: int | None, txn: int | None = None) -> list[tuple[str, str]]:
    """`self` of this page, and `next` where another follows; `last` is where this page ended."""
    services = call.services
    address = services.base + call.path.removeprefix("/fhir").removesuffix("/_search")
    query = urlencode(page.query)
    found = [("self", f"{address}?{query}" if query else address)]
    if last is not None:
        now = int(call.now.timestamp())
        cursor = Cursor(call.path, page.query, txn or page.txn or 0, last, now + LIFE_S)
        sealed = services.cursors.seal(cursor, call.actor.client_id)
        found.append(("next", f"{address}?_cursor={sealed}"))
    return found
