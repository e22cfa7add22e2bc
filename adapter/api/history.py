"""history of an instance: `GET /fhir/Type/id/_history`, newest first. http://hl7.org/fhir/R4/http.html#history

Each version passes the gate on its own. `_since` and `_count` narrow the page; a cursor leads to the older ones.
"""

from sqlalchemy import Connection

from adapter.access.disclose import Arrange, Arranged, Disclosed, Found
from adapter.api import bundle
from adapter.api.call import Answer, Call
from adapter.api.paging import End, Page, links, page_of
from adapter.api.parameters import check_read_parameters, instant, one, resource_id, resource_type
from adapter.seal.keyring import OrganisationKeys
from adapter.store import resources

KNOWN = frozenset({"_since", "_count", "_cursor"})
EVERY = 2**31


async def history(call: Call) -> Answer:
    """Answer with one page of the versions of one resource."""
    kind, logical_id = resource_type(call), resource_id(call)
    check_read_parameters(call.pairs, KNOWN)
    page = page_of(call, call.pairs)
    text = one(page.query, "_since")
    since = instant(text) if text else 0
    services, org = call.services, call.services.keyring.organisation()
    released = await services.gate.disclose(
        call.ask("access.read", "history-instance", kind, "r", f"{kind}/{logical_id}"),
        lambda conn: _find(conn, org, kind, logical_id, page),
        arrange=_since(since, page),
    )
    relations = links(call, page, End(released.items[-1].version) if released.more else None)
    return Answer(200, bundle.history(released, services.base, relations), released=released)


def _find(conn: Connection, org: OrganisationKeys, kind: str, logical_id: str, page: Page) -> Found:
    """One version more than the page holds; all of them where the gate may show some and hide others."""
    limit = EVERY if resources.has_moved(conn, org, kind, logical_id) else page.count + 1
    return Found(resources.history(conn, org, kind, logical_id, before_ver=page.after, limit=limit))


def _since(since: int, page: Page) -> Arrange:
    """Newest first; what the gate shows beyond the page says whether another follows."""

    def arrange(shown: list[Disclosed]) -> Arranged:
        newer = [item for item in shown if item.at >= since]
        more = len(newer) > page.count > 0
        return Arranged(newer[: page.count], None if newer[: page.count] else len(newer), more)

    return arrange
