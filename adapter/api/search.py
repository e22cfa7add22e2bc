"""search: `GET /fhir/Type?…`, `POST /fhir/Type/_search`, and the same inside a Patient's compartment.
http://hl7.org/fhir/R4/http.html#search

1. Read the parameters against the schema; what is not supported is refused (400), never left out in silence.
2. The planner finds candidates from an anchor: a patient, an identifier, an id. None: 400 `too-costly`.
3. The gate opens, matches and decides each candidate; what is left is sorted, counted and paged here.
4. Put the page together from stored bytes.

Every page is cut at the transaction of page one and passes the gate of its own moment; `total` stands on page one.
What a search includes or follows to is `includes.py`'s.
Source: fhir chapter §4, §6, §10.
"""

import hashlib
import re
from dataclasses import replace

from sqlalchemy import Connection

from adapter.access.disclose import Arrange, Arranged, Disclosed, Found, Include, Matches, Released, Sight
from adapter.api import bundle, includes
from adapter.api.call import MAX_FORM_BYTES, Answer, Call, Pairs, parse_pairs
from adapter.api.outcome import outcome
from adapter.api.paging import End, Page, links, page_of
from adapter.api.parameters import resource_id, resource_type
from adapter.api.shape import shaped
from adapter.errors import BadRequest, IssueItem, UnsupportedMedia
from adapter.services import Services
from adapter.store import planner
from adapter.store.follow import Follower
from adapter.store.planner import Asking
from mappings.fhir.search import Criterion, Query, matcher, parse, sort_key

FORM = "application/x-www-form-urlencoded"
SERVED = frozenset({"_count", "_elements", "_include", "_revinclude", "_sort", "_summary", "_total"})
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


async def search_type(call: Call) -> Answer:
    """All resources of one type that the parameters find."""
    return await _search(call, resource_type(call), None)


async def search_compartment(call: Call) -> Answer:
    """The resources of one type that belong to the patient in the path."""
    return await _search(call, resource_type(call), resource_id(call))


async def _search(call: Call, kind: str, patient: str | None) -> Answer:
    services = call.services
    page = page_of(call, await _pairs(call))
    query = _query(call, kind, page)  # 1
    if query.results.summary == "count":
        page = replace(page, count=0)
    released = await services.gate.disclose(  # 3
        call.ask("access.search", "search-type", kind, "s", f"{kind}?{_digest(call.path, page.query)}"),
        lambda conn: _find(conn, services, query, Asking(call.now, services.zone), page, patient),
        arrange=_arrange(query, page, services),
    )
    end = End(released.items[-1].rid, len(released.items), released.txn) if released.more else None
    shown = replace(page, query=tuple(query.applied))
    relations, results = links(call, shown, end), query.results
    body = bundle.searchset(  # 4
        released, services.base, relations, _outcomes(query, released), lambda item: shaped(item, results, kind)
    )
    return Answer(200, body, released=released)


async def _pairs(call: Call) -> Pairs:
    """The parameters of the URL, and of the form where there is one."""
    if call.method != "POST":
        return call.pairs
    if (call.header(b"content-type") or "").partition(";")[0].strip().lower() != FORM:
        raise UnsupportedMedia(f"a search is posted as {FORM}", code="body-type")
    form = parse_pairs((await call.body(MAX_FORM_BYTES)).decode("latin-1"))
    call.ask_presentation(form)
    return call.pairs + form


def _query(call: Call, kind: str, page: Page) -> Query:
    """Step 1. Raises SearchError or BadRequest."""
    lenient = "handling=lenient" in (call.header(b"prefer") or "").replace(" ", "").lower()
    query = parse(kind, page.query, lenient=lenient, base=call.services.base)
    if unserved := query.results.asked - SERVED:
        raise BadRequest(f"not served yet: {', '.join(sorted(unserved))}", code="search", issue="not-supported")
    includes.check(query)
    for criterion in query.criteria:
        _check_scope(call, criterion)
    return query


def _check_scope(call: Call, criterion: Criterion) -> None:
    """A chain or `_has` needs a scope that searches what it leads to; targets without one are not there."""
    led = [criterion.has.source] if criterion.has is not None else list(criterion.chain or ())
    if led and not any(call.actor.scopes.judge(kind, "s").permitted for kind in led):
        raise BadRequest("no scope searches what this parameter leads to", code="search", issue="not-supported")


def _find(conn: Connection, services: Services, query: Query, asking: Asking, page: Page, patient: str | None) -> Found:
    """Step 2, in one snapshot with the rest: the plan's query names merged patients by all their names."""
    chosen = planner.plan(conn, services.keyring, query, asking, patient)
    sealed = planner.candidates(conn, services.keyring, chosen, asking, txn=page.txn)
    follower = Follower(conn, services.keyring.organisation(), services.base, page.txn)

    def follow(sight: Sight) -> tuple[Matches, Include | None]:
        following = includes.Following(follower, sight, chosen.owners)
        matches = matcher(
            chosen.query, following.resolve, now=asking.now, zone=asking.zone, referrers=following.referrers
        )
        results = query.results
        if not (results.include or results.revinclude):
            return matches, None
        return matches, lambda items: following.include(results, items)

    return Found(sealed, None, chosen.txn, follow)


def _arrange(query: Query, page: Page, services: Services) -> Arrange:
    sorts = query.results.sort
    key = sort_key(query.type, sorts, services.zone) if sorts else None

    def arrange(shown: list[Disclosed]) -> Arranged:
        ordered = shown if key is None else sorted(shown, key=lambda item: key(item.resource or {}))
        rest = _rest(ordered, page, in_order=key is None)
        counts = page.first and (query.results.total != "none" or page.count == 0)
        return Arranged(rest[: page.count], len(ordered) if counts else None, len(rest) > page.count > 0)

    return arrange


def _rest(ordered: list[Disclosed], page: Page, *, in_order: bool) -> list[Disclosed]:
    """What this page and those after it hold. Rows come in the order of their numbers unless they were sorted."""
    if page.after is None:
        return ordered
    if in_order:
        return [item for item in ordered if item.rid > page.after]
    place = next((n for n, item in enumerate(ordered, 1) if item.rid == page.after), page.seen)
    return ordered[place:]


def _outcomes(query: Query, released: Released) -> bytes:
    """What the searcher has to know of the page: what lenient handling left out, and whether all is included."""
    items = []
    if query.dropped:
        names = sorted({name if _NAME.fullmatch(name) else "a parameter" for name in query.dropped})
        text = f"left out, because not supported: {', '.join(names)}"
        items.append(IssueItem("not-supported", "", text, "warning"))
    if released.included.incomplete:
        text = f"more than {includes.MAX_INCLUDED} resources to include: these are not all"
        items.append(IssueItem("incomplete", "", text, "warning"))
    return outcome(tuple(items), "search") if items else b""


def _digest(path: str, query: Pairs) -> str:
    """A name for this search in the counting of refusals; the search itself stands in the sealed detail."""
    return hashlib.sha256(repr((path, query)).encode()).hexdigest()
