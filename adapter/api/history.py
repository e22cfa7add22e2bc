"""history: `GET /fhir/Type/id/_history`, of a type `/fhir/Type/_history`, of everything `/fhir/_history`; newest first.
http://hl7.org/fhir/R4/http.html#history

Each version passes the gate on its own. `_since` and `_count` narrow the page; a cursor leads to the older ones. `_at`
and `_list` are refused.

The history of a type or of everything is asked for with the scope `s` of the `system/` context, and with nothing less;
it holds the types that such scopes cover. A deletion stands there for whoever could have read what it deleted. A page
looks at up to LOOKED versions: where fewer than asked for may be shown, it is shorter, and `next` leads on.
"""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection

from adapter.access.disclose import Arrange, Arranged, Ask, Disclosed, Found, Released
from adapter.api import bundle
from adapter.api.call import Answer, Call
from adapter.api.paging import End, Page, links, page_of
from adapter.api.parameters import check_read_parameters, instant, one, resource_id, resource_type
from adapter.errors import BadRequest
from adapter.seal.keyring import OrganisationKeys
from adapter.store import chronicle, resources
from adapter.store.resources import Sealed
from mappings.fhir.schema import schema

KNOWN = frozenset({"_since", "_count", "_cursor"})
EVERY = 2**31
LOOKED = 2_000


async def history(call: Call) -> Answer:
    """Answer with one page of the versions of one resource."""
    kind, logical_id = resource_type(call), resource_id(call)
    page, since = _page(call)
    services, org = call.services, call.services.keyring.organisation()
    released = await services.gate.disclose(
        call.ask("access.read", "history-instance", kind, "r", f"{kind}/{logical_id}"),
        lambda conn: _find(conn, org, kind, logical_id, page),
        arrange=_since(since, page),
    )
    relations = links(call, page, End(released.items[-1].version) if released.more else None)
    return Answer(200, bundle.history(released, services.base, relations), released=released)


async def history_type(call: Call) -> Answer:
    """Answer with one page of the versions of all resources of one type."""
    kind = resource_type(call)
    return await _of_all(call, "history-type", (kind,))


async def history_system(call: Call) -> Answer:
    """Answer with one page of the versions of all resources, of the types that a scope covers."""
    return await _of_all(call, "history-system", sorted(schema().resource_types))


def _page(call: Call) -> tuple[Page, int]:
    """Which page, of what was written since when, in milliseconds."""
    check_read_parameters(call.pairs, KNOWN)
    page = page_of(call, call.pairs)
    text = one(page.query, "_since")
    return page, instant(text) if text else 0


# --- of one resource --------------------------------------------------------------------------------------------------


def _find(conn: Connection, org: OrganisationKeys, kind: str, logical_id: str, page: Page) -> Found:
    """One version more than the page holds; all of them where the gate may show some and hide others, or they are to be
    counted.
    """
    whole = page.count == 0 or resources.has_moved(conn, org, kind, logical_id)
    limit = EVERY if whole else page.count + 1
    return Found(resources.history(conn, org, kind, logical_id, before_ver=page.after, limit=limit))


def _since(since: int, page: Page) -> Arrange:
    """Newest first; what the gate shows beyond the page says whether another follows."""

    def arrange(shown: list[Disclosed]) -> Arranged:
        newer = [item for item in shown if item.at >= since]
        more = len(newer) > page.count > 0
        return Arranged(newer[: page.count], None if newer[: page.count] else len(newer), more)

    return arrange


# --- of all -----------------------------------------------------------------------------------------------------------


async def _of_all(call: Call, interaction: str, kinds: Sequence[str]) -> Answer:
    page, since = _page(call)
    if page.count == 0:
        text = "the versions of everybody's resources are not counted"
        raise BadRequest(text, code="parameter", issue="too-costly", expression="_count")
    actor = replace(call.actor, scopes=call.actor.scopes.of_system())
    covered = [kind for kind in kinds if actor.scopes.judge(kind, "s").permitted]
    reading = _Reading(call, covered, page, since)
    ask = _ask(call, interaction, (covered or kinds)[0])
    released = await call.services.gate.disclose(replace(ask, actor=actor), reading.find, arrange=reading.arrange)
    relations = links(call, page, reading.end(released))
    return Answer(200, bundle.history(released, call.services.base, relations), released=released)


def _ask(call: Call, interaction: str, kind: str) -> Ask:
    return call.ask("access.search", interaction, kind, "s", call.path.strip("/"))


class _Reading:
    """One page of versions: the gate's finder, and where the next page begins."""

    def __init__(self, call: Call, kinds: Sequence[str], page: Page, since: int) -> None:
        self._org = call.services.keyring.organisation()
        self._kinds = () if len(kinds) == len(schema().resource_types) else kinds
        self._page, self._since = page, since
        self._begin()

    def _begin(self) -> None:
        page = self._page
        self._last = chronicle.NEWEST if page.after is None else (int(page.key[0]), page.after, int(page.key[1]))
        self._txns: dict[tuple[int, int], int] = {}  # of every version that was looked at
        self._ended = False
        self._lowest = 0

    def find(self, conn: Connection) -> Found:
        """Enough for a page where all may be shown, then the rest. Run again from the start where the gate has to."""
        self._begin()
        lowest = self._lowest = chronicle.floor(conn, self._since) if self._page.txn is None else self._page.txn

        def look(limit: int) -> list[Sealed]:
            found = chronicle.versions(conn, self._org, self._kinds, self._since, lowest, self._last, limit)
            self._txns.update(((one.rid, one.ver), one.txn) for one in found)
            self._ended = len(found) < limit
            if found:
                self._last = (found[-1].txn, found[-1].rid, found[-1].ver)
            return found

        def beyond(shown: int) -> list[Sealed]:
            enough = shown > self._page.count or self._ended or len(self._txns) >= LOOKED
            return [] if enough else look(LOOKED - len(self._txns))

        return Found(look(self._page.count + 1), beyond=beyond)

    def arrange(self, shown: list[Disclosed]) -> Arranged:
        return Arranged(shown[: self._page.count], None, len(shown) > self._page.count)

    def end(self, released: Released) -> End | None:
        """Behind what was shown, or what was looked at in vain; None after the oldest."""
        if released.more:
            item = released.items[-1]
            return End(item.rid, (str(self._txns[item.rid, item.version]), str(item.version)), self._lowest)
        if self._ended:
            return None
        txn, rid, version = self._last
        return End(rid, (str(txn), str(version)), self._lowest)
