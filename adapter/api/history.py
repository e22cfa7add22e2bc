"""history of an instance: `GET /fhir/Type/id/_history`, newest first. http://hl7.org/fhir/R4/http.html#history

Each version passes the gate on its own. `_since` and `_count` narrow the page; a cursor leads to the older ones.
"""

from adapter.access.disclose import Arrange, Arranged, Disclosed, Found
from adapter.api import bundle
from adapter.api.call import Answer, Call
from adapter.api.paging import End, Page, links, page_of
from adapter.api.parameters import check_read_parameters, instant, one, resource_id, resource_type
from adapter.store import resources

KNOWN = frozenset({"_since", "_count", "_cursor"})


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
        lambda conn: Found(resources.history(conn, org, kind, logical_id, before_ver=page.after, limit=page.count + 1)),
        arrange=_since(since, page),
    )
    relations = links(call, page, End(released.items[-1].version) if released.more else None)
    return Answer(200, bundle.history(released, services.base, relations), released=released)


def _since(since: int, page: Page) -> Arrange:
    """Newest first; the store gave one version more than the page holds, which says whether another page follows."""

    def arrange(shown: list[Disclosed]) -> Arranged:
        newer = [item for item in shown if item.at >= since]
        more = len(newer) > page.count > 0
        return Arranged(newer[: page.count], None if newer[: page.count] else len(newer), more)

    return arrange
