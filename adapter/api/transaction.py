"""transaction: the entries of a Bundle as one unit of work, all or nothing. http://hl7.org/fhir/R4/http.html#trules

1. Each entry becomes a wish (`writing.py`) with its id assigned; `fullUrl`s and conditional references become names.
2. Resources are rewritten under these names; what still names nothing is refused. Each is checked whole.
3. Scopes and organisation, for each kind of write once; deletions pass the gate as reads of what stands.
4. Write: DELETE, then POST, then PUT, in one commit; the log is owed one event for each patient.
5. GET entries run after the commit, each on its own; one that cannot be recorded is 503 alone.

The first entry that fails gives its status to the whole, and `Bundle.entry[n]…` says where. Bodies stand in the answer
where the client asks for `return=representation`. Source: fhir chapter §9.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from adapter.access.disclose import Matches, Released, combined
from adapter.access.scopes import Letter
from adapter.api.admission import admit, check_writable, may, within
from adapter.api.call import Answer, Call
from adapter.api.conditions import etag, tags
from adapter.api.criteria import criteria
from adapter.api.delete import TRIES, contended, current
from adapter.api.inner import Dispatch, Request, answered, entry_of, inner_call, response_bundle, response_entry
from adapter.api.parameters import ID
from adapter.api.prefer import returned
from adapter.api.writing import Done, Wish, check, new_id, write
from adapter.api.written import STATUS, location, shown, told
from adapter.errors import BadRequest, ChartbridgeError, Forbidden, IssueItem, MethodNotAllowed, NotFound
from adapter.seal.keyring import STOCK
from adapter.services import Services
from ledger.event import timestamp
from mappings.fhir.codec import Json
from mappings.fhir.relink import loose_ends, references, relinked
from mappings.fhir.schema import schema
from mappings.fhir.search import Query, SearchError

ORDER = {"DELETE": 0, "POST": 1, "PUT": 2}
INTERACTIONS: Mapping[str, tuple[str, Letter]] = {
    "DELETE": ("delete", "d"),
    "POST": ("create", "c"),
    "PUT": ("update", "u"),
}


@dataclass(slots=True)
class _Plan:
    """What a transaction is to do. `of` is the entry of each wish."""

    wishes: list[Wish] = field(default_factory=list)
    of: list[Request] = field(default_factory=list)
    asked: dict[str, Query] = field(default_factory=dict)  # placeholder → the conditional reference it stands for


async def transact(call: Call, requests: Sequence[Request], dispatch: Dispatch) -> Answer:
    """Steps 1 to 5."""
    for asked in requests:
        with _placed(asked.number):
            _check_method(asked)
    writes = sorted((one for one in requests if one.method in ORDER), key=lambda one: ORDER[one.method])
    allowed = await _admitted(call, writes)  # 3, before anything is read closely
    plan = await asyncio.to_thread(_planned, call.services, writes)  # 1, 2
    _narrow(call, plan, allowed)
    done = await _write(call, plan)  # 4
    answers = {asked.number: one for asked, one in zip(plan.of, done, strict=True)}
    return await _answer(call, requests, answers, dispatch)  # 5


def _check_method(asked: Request) -> None:
    if asked.method in ("GET", "HEAD"):
        return
    if asked.method not in ORDER:
        raise BadRequest("a transaction does not take this method", code="entry-method", issue="not-supported")
    kind, _, logical_id = asked.path.partition("/")
    if kind not in schema().resource_types:
        raise NotFound("there is no such resource type", code="type-unknown", issue="not-supported")
    check_writable(kind)
    if asked.method == "POST" and logical_id:
        raise MethodNotAllowed("this address does not know the method")
    if asked.method == "DELETE" and not logical_id:
        raise MethodNotAllowed("this address does not know the method")
    if logical_id and not ID.fullmatch(logical_id):
        raise BadRequest("the id in the path is not a FHIR id", code="id", issue="value")
    if asked.method == "PUT" and not logical_id and not asked.query:
        raise BadRequest("an update names an id or criteria", code="criteria-missing", issue="required")
    if (asked.method == "DELETE") is (asked.resource is not None):
        raise BadRequest("an entry has a resource where its method wants none, or none where it wants one")


async def _admitted(call: Call, writes: Sequence[Request]) -> dict[tuple[str, str], Matches | None]:
    """Step 3: each kind of write is judged once. What granular scopes leave is for each resource."""
    known: set[tuple[str, str, bool]] = set()
    judges: dict[tuple[str, str], Matches | None] = {}
    for asked in writes:
        kind = asked.path.partition("/")[0]
        conditional = asked.method != "DELETE" and bool(asked.query or b"if-none-exist" in asked.conditions)
        if (asked.method, kind, conditional) in known:
            continue
        known.add((asked.method, kind, conditional))
        interaction, letter = INTERACTIONS[asked.method]
        with _placed(asked.number):
            await admit(call, kind, interaction, (letter,), conditional=conditional)
        judges[asked.method, kind] = within(call, kind, letter)
    return judges


# --- 1, 2: in a thread ------------------------------------------------------------------------------------------------


def _planned(services: Services, writes: Sequence[Request]) -> _Plan:
    plan, names = _Plan(), dict[str, str]()
    for asked in writes:
        with _placed(asked.number):
            wish = _wish(services, asked)
            if asked.full_url and names.setdefault(asked.full_url, wish.reference) != wish.reference:
                raise BadRequest("two entries have one fullUrl", code="duplicate", issue="duplicate")
        plan.wishes.append(wish)
        plan.of.append(asked)
    for number, (wish, asked) in enumerate(zip(plan.wishes, plan.of, strict=True)):
        if wish.resource is not None:
            with _placed(asked.number):
                plan.wishes[number] = replace(wish, resource=_linked(services, plan, wish.resource, names))
    return plan


def _wish(services: Services, asked: Request) -> Wish:
    kind, _, logical_id = asked.path.partition("/")
    match = asked.conditions.get(b"if-match")
    if_match = None if match is None else tags(match.decode("utf-8", "replace"))
    if asked.method == "DELETE":
        return Wish("delete", kind, logical_id, if_match=if_match)
    resource = asked.resource
    if not isinstance(resource, dict) or resource.get("resourceType") != kind:
        raise BadRequest("the resource is of another type than the address", issue="invalid", expression=kind)
    given = resource.get("id")
    if asked.method == "POST":
        header = asked.conditions.get(b"if-none-exist", b"").decode().removeprefix(f"{kind}?").removeprefix("?")
        query = criteria(kind, header or asked.query, services.base) if header or asked.query else None
        fresh = new_id(services)
        return Wish("create", kind, fresh, resource | {"id": fresh}, query, named=False)
    if logical_id:
        if given is not None and given != logical_id:
            text = "the resource has another id than the address"
            raise BadRequest(text, code="id-differs", issue="invalid", expression=f"{kind}.id")
        return Wish("update", kind, logical_id, resource | {"id": logical_id}, if_match=if_match)
    query = criteria(kind, asked.query, services.base)
    named = isinstance(given, str) and ID.fullmatch(given) is not None
    chosen = str(given) if named else new_id(services)
    return Wish("update", kind, chosen, resource | {"id": chosen}, query, named=named, if_match=if_match)


def _linked(services: Services, plan: _Plan, resource: Json, names: dict[str, str]) -> Json:
    """The resource under the names that will stand, and without a fault."""
    kind = resource["resourceType"]
    for place, reference in references(resource, kind):
        if "?" in reference and not reference.startswith("#") and reference not in names:
            names[reference] = _conditional(services, plan, reference, place)
    resource = relinked(resource, names)
    if loose := [
        IssueItem("invalid", place, "names no entry of this transaction") for place in loose_ends(resource, kind)
    ]:
        raise BadRequest("a reference names no entry of this transaction", code="loose-reference", items=tuple(loose))
    check(resource)
    return resource


def _conditional(services: Services, plan: _Plan, reference: str, place: str) -> str:
    """A placeholder for what a conditional reference will be found to mean."""
    kind, _, asked = reference.removeprefix(f"{services.base}/").partition("?")
    if kind not in schema().resource_types:
        raise BadRequest("a conditional reference names no type", issue="value", expression=place)
    placeholder = f"{kind}/{new_id(services)}"
    plan.asked[placeholder] = criteria(kind, asked, services.base)
    return placeholder


# --- 3, 4 -------------------------------------------------------------------------------------------------------------


def _narrow(call: Call, plan: _Plan, judges: Mapping[tuple[str, str], Matches | None]) -> None:
    """Granular scopes judge what comes; `write` lets them judge what stands."""
    for number, (wish, asked) in enumerate(zip(plan.wishes, plan.of, strict=True)):
        judge = judges[asked.method, wish.type]
        with _placed(asked.number):
            if judge is not None and wish.resource is not None and not judge(wish.resource):
                raise Forbidden("no scope of this token covers the interaction", code="scope")
        if wish.op == "update":
            plan.wishes[number] = replace(wish, may_create=may(call, wish.type, "c"), within=judge)


async def _write(call: Call, plan: _Plan) -> tuple[Done, ...]:
    services = call.services
    people = sum(wish.type == "Patient" for wish in plan.wishes)
    if people >= services.keyring.stock:
        await services.keyring.restock(STOCK + people)
    for _ in range(TRIES):
        seen = await _deletions(call, plan)
        try:
            return await write(services, call.actor.client_id, call.now, seen, plan.asked)
        except ChartbridgeError as error:
            wish = None if error.entry is None else plan.wishes[error.entry]
            if wish is not None and wish.op == "delete" and error.code == "version":
                continue  # somebody wrote between the look and the deletion
            if error.entry is not None:
                raise _at(error, plan.of[error.entry].number) from error
            raise
    raise contended()


async def _deletions(call: Call, plan: _Plan) -> list[Wish]:
    """The wishes, in which each deletion is of the version that the gate has shown."""
    wishes = list(plan.wishes)
    for number, (wish, asked) in enumerate(zip(wishes, plan.of, strict=True)):
        if wish.op == "delete":
            with _placed(asked.number):
                inner = inner_call(call, asked)
                ask = inner.ask("access.read", "delete", wish.type, "d", wish.reference)
                item = await current(inner, ask, wish.id)
            stands = None if item.op == "d" else frozenset({str(item.version)})
            wishes[number] = replace(wish, if_match=stands)
    return wishes


# --- 5 ----------------------------------------------------------------------------------------------------------------


async def _answer(call: Call, requests: Sequence[Request], done: Mapping[int, Done], dispatch: Dispatch) -> Answer:
    want = returned(call.header(b"prefer"), "minimal")
    entries: list[bytes] = []
    released: list[Released] = []
    for asked in requests:
        if (one := done.get(asked.number)) is None:
            answer = await answered(inner_call(call, asked), dispatch)
            entries.append(entry_of(answer))
            part = answer.released
        else:
            part = None if one.became == "deleted" else await shown(call, one, want)
            entries.append(_written(call, one, part, told(one) if want == "OperationOutcome" else b""))
        if part is not None:
            released.append(part)
    return response_bundle("transaction", entries, combined(released))


def _written(call: Call, done: Done, part: Released | None, outcome: bytes) -> bytes:
    response = {
        "etag": etag(done.version).decode(),
        "lastModified": timestamp(datetime.fromtimestamp(done.at / 1000, UTC)),
        "location": None if done.became == "deleted" else location(call, done),
    }
    body = b'"resource":%s,' % part.items[0].body if part is not None else b""
    return response_entry(response, str(STATUS[done.became]), outcome, body)


@contextmanager
def _placed(number: int) -> Iterator[None]:
    """What is raised inside stands at this entry of the Bundle."""
    try:
        yield
    except SearchError as error:
        raise _at(BadRequest(str(error), issue=error.code, code="search"), number) from error
    except ChartbridgeError as error:
        raise _at(error, number) from error


def _at(error: ChartbridgeError, number: int) -> ChartbridgeError:
    """The same error, with its places in the Bundle."""
    items = error.items or (IssueItem(error.issue, error.expression, error.text),)
    placed = tuple(replace(item, expression=_place(item.expression, number)) for item in items)
    return type(error)(error.text, code=error.code, issue=error.issue, hint=error.hint, items=placed)


def _place(expression: str, number: int) -> str:
    entry = f"Bundle.entry[{number}]"
    if expression.startswith("Bundle.entry["):
        return expression
    kind, _, rest = expression.partition(".")
    if kind in schema().resource_types:
        return f"{entry}.resource.{rest}" if rest else f"{entry}.resource"
    return entry
