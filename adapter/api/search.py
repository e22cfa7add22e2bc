"""search: `GET /fhir/Type?…`, `POST /fhir/Type/_search`, and the same inside a Patient's compartment.
http://hl7.org/fhir/R4/http.html#search

1. Read the parameters against the schema; what is not supported is refused (400), never left out in silence.
2. The planner finds candidates from an anchor: a patient, an identifier, an id. None: 400 `too-costly`.
3. The gate opens, matches and decides each candidate; what is left is sorted, counted and paged here.
4. Put the page together from stored bytes.

Every page is cut at the transaction of page one and passes the gate of its own moment; `total` stands on page one. It
goes on behind the last resource that was shown, by its place in the order, whether that one may still be shown or not.
What a search includes or follows to is `includes.py`'s. A search of several types asks each by its own plan, and
needs a scope of each; its parameters must be known to all of them.
Source: fhir chapter §4, §6, §10.
"""

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo
from operator import itemgetter
from typing import Any

from sqlalchemy import Connection

from adapter.access.disclose import Arranged, Ask, Disclosed, Found, Include, Matches, Released, Sight
from adapter.api import bundle, includes
from adapter.api.call import MAX_FORM_BYTES, Answer, Call, Pairs, parse_pairs
from adapter.api.explain import ROLE, Explanation
from adapter.api.outcome import outcome
from adapter.api.paging import End, Page, cut_of, links, page_of
from adapter.api.parameters import resource_id, resource_type
from adapter.api.shape import shaped
from adapter.errors import BadRequest, IssueItem, UnsupportedMedia
from adapter.services import Services
from adapter.store import planner
from adapter.store.follow import Follower
from adapter.store.planner import Asking, Plan
from adapter.store.resources import Sealed
from mappings.fhir.codec import Json
from mappings.fhir.schema import schema
from mappings.fhir.search import Criterion, Query, Results, matcher, parse, place, sort_key, spelled

FORM = "application/x-www-form-urlencoded"
SERVED = frozenset({"_count", "_elements", "_explain", "_include", "_revinclude", "_sort", "_summary", "_total"})
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


async def search_type(call: Call) -> Answer:
    """All resources of one type that the parameters find."""
    return await _search(call, (resource_type(call),), "search-type", None)


async def search_compartment(call: Call) -> Answer:
    """The resources of one type that belong to the patient in the path."""
    return await _search(call, (resource_type(call),), "search-type", resource_id(call))


async def search_system(call: Call) -> Answer:
    """Resources of several types: those of `_type`; without it, of all that a scope searches."""
    return await _search(call, (), "search-system", None)


async def _search(call: Call, kinds: tuple[str, ...], interaction: str, patient: str | None) -> Answer:
    services = call.services
    page = page_of(call, await _pairs(call))
    queries = _queries(call, kinds, page)  # 1
    query = queries[0]
    if query.results.summary == "count":
        page = replace(page, count=0)
    ask = _ask(call, interaction, tuple(one.type for one in queries), page)
    explanation = Explanation() if query.results.explain else None
    if explanation is not None and ROLE not in call.actor.roles:
        await services.gate.refuse_scope(ask)
    for one in queries:
        if not call.actor.scopes.judge(one.type, "s").permitted:
            await services.gate.refuse_scope(ask)
    searching = _Searching(services, queries, Asking(call.now, services.zone), page, patient, explanation)
    order = _Order(query.results, services.zone, page)
    released = await services.gate.disclose(ask, searching.find, arrange=order.arrange)  # 3
    end = order.end(released) if released.more else None
    shown = replace(page, query=_applied(queries))
    relations, results = links(call, shown, end), query.results
    outcomes = _outcomes(query, released, explanation)
    body = bundle.searchset(  # 4
        released, services.base, relations, outcomes, lambda item: shaped(item, results, query.type)
    )
    return Answer(200, body, released=released)


def _ask(call: Call, interaction: str, kinds: tuple[str, ...], page: Page) -> Ask:
    thing = f"{','.join(kinds)}?{_digest(call.path, page.query)}"
    return call.ask("access.search", interaction, kinds[0], "s", thing)


async def _pairs(call: Call) -> Pairs:
    """The parameters of the URL, and of the form where there is one."""
    if call.method != "POST":
        return call.pairs
    if (call.header(b"content-type") or "").partition(";")[0].strip().lower() != FORM:
        raise UnsupportedMedia(f"a search is posted as {FORM}", code="body-type")
    form = parse_pairs((await call.body(MAX_FORM_BYTES)).decode("latin-1"))
    call.ask_presentation(form)
    return call.pairs + form


def _queries(call: Call, kinds: tuple[str, ...], page: Page) -> list[Query]:
    """Step 1, one query for each type. Raises SearchError or BadRequest."""
    pairs = page.query
    if not kinds:
        asked = [name for key, value in pairs if key == "_type" for name in value.split(",")]
        pairs = tuple(pair for pair in pairs if pair[0] != "_type")
        every = [kind for kind in sorted(schema().resource_types) if call.actor.scopes.judge(kind, "s").permitted]
        kinds = tuple(dict.fromkeys(asked)) or tuple(every) or ("Patient",)
    queries = [_query(call, kind, pairs) for kind in kinds]
    if len({one.dropped for one in queries}) > 1:
        raise BadRequest("a parameter is not known to each of the types", code="search", issue="not-supported")
    for sort in queries[0].results.sort:
        if len({schema().params(kind)[sort.code].type for kind in kinds}) > 1:
            raise BadRequest("the types cannot be sorted together by that", code="search", issue="not-supported")
    return queries


def _query(call: Call, kind: str, pairs: Pairs) -> Query:
    """Raises SearchError or BadRequest."""
    lenient = "handling=lenient" in (call.header(b"prefer") or "").replace(" ", "").lower()
    query = parse(kind, pairs, lenient=lenient, base=call.services.base)
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


@dataclass(frozen=True, slots=True)
class _Searching:
    """Step 2, in one snapshot with the rest: a plan's query names merged patients by all their names."""

    services: Services
    queries: Sequence[Query]
    asking: Asking
    page: Page
    patient: str | None
    explanation: Explanation | None

    def find(self, conn: Connection) -> Found:
        keyring, txn = self.services.keyring, self.page.txn
        plans = [planner.plan(conn, keyring, query, self.asking, self.patient, txn) for query in self.queries]
        found = [one for chosen in plans for one in self._candidates(conn, chosen)]
        follower = Follower(conn, keyring.organisation(), self.services.base, txn)
        found.sort(key=lambda sealed: sealed.rid)
        cut = cut_of(conn, self.page, len(found))
        return Found(found, None, cut, lambda sight: self._follow(follower, sight, plans))

    def _candidates(self, conn: Connection, chosen: Plan) -> list[Sealed]:
        consulted: list[str] = []
        keyring, txn = self.services.keyring, self.page.txn
        found = planner.candidates(conn, keyring, chosen, self.asking, txn=txn, told=consulted.extend)
        if self.explanation is not None:
            self.explanation.planned(chosen.query.type, chosen.anchor, tuple(consulted))
        return found

    def _follow(self, follower: Follower, sight: Sight, plans: Sequence[Plan]) -> tuple[Matches, Include | None]:
        anchored = tuple({owner: None for chosen in plans for owner in chosen.owners})
        following, results = includes.Following(follower, sight, anchored), self.queries[0].results
        plan_of = {chosen.query.type: chosen for chosen in plans}
        by_type = {
            chosen.query.type: matcher(
                chosen.query,
                following.resolve,
                now=self.asking.now,
                zone=self.asking.zone,
                referrers=following.referrers,
            )
            for chosen in plans
        }

        def matches(resource: Json) -> bool:
            kind = resource["resourceType"]
            return plan_of[kind].holds(resource) and by_type[kind](resource)

        if not (results.include or results.revinclude):
            return matches, None
        return matches, lambda items: following.include(results, items)


class _Order:
    """The order of the matches, and where in it a page begins and ends; of equal ones that of their rows' numbers."""

    def __init__(self, results: Results, zone: tzinfo, page: Page) -> None:
        self._sorts, self._zone, self._page = results.sort, zone, page
        self._counts = page.first and (results.total != "none" or page.count == 0)
        self._keys: dict[str, Callable[[Json], tuple[Any, ...]]] = {}

    def arrange(self, shown: list[Disclosed]) -> Arranged:
        page, rest = self._page, [(self._place(item), item) for item in shown]
        if page.after is not None:
            end = (place(page.key, self._sorts), page.after)
            rest = [one for one in rest if one[0] > end]
        rest.sort(key=itemgetter(0))
        total = len(shown) if self._counts else None
        return Arranged([item for _, item in rest[: page.count]], total, len(rest) > page.count > 0)

    def end(self, released: Released) -> End:
        key, rid = self._place(released.items[-1])
        return End(rid, spelled(key), released.txn)

    def _place(self, item: Disclosed) -> tuple[tuple[Any, ...], int]:
        if not self._sorts:
            return (), item.rid
        if item.type not in self._keys:
            self._keys[item.type] = sort_key(item.type, self._sorts, self._zone)
        return self._keys[item.type](item.resource or {}), item.rid


def _applied(queries: Sequence[Query]) -> Pairs:
    """The query as it was read, for the links."""
    if len(queries) == 1:
        return queries[0].applied
    return (("_type", ",".join(one.type for one in queries)), *queries[0].applied)


def _outcomes(query: Query, released: Released, explanation: Explanation | None) -> bytes:
    """What the searcher has to know of the page: what lenient handling left out, and whether all is included."""
    items = [] if explanation is None else explanation.items(released.looked)
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
