"""transaction: the entries of a Bundle as one unit of work, all or nothing. http://hl7.org/fhir/R4/http.html#trules

1. Each entry becomes a wish (`writing.py`) with its id assigned; `fullUrl`s become names. A conditional reference is
   searched for as the client itself might search, through the gate: what is hidden from it is not there.
2. Resources are rewritten under these names; what still names nothing is refused. Each is checked whole. A relative
   reference is one of the server that its entry's `fullUrl` names: of another server it is an entry's, or refused.
3. Scopes and organisation, for each kind of write once; deletions and patches pass the gate as reads of what stands. A
   patch is applied to what was shown, and its result goes through step 2.
4. Write: DELETE, then POST, then PUT and PATCH, in one commit; the log is owed one event for each patient. Where
   somebody wrote between the look at what stands and the commit, both are done again.
5. GET entries run after the commit, each on its own; one that cannot be recorded is 503 alone.

The first entry that fails gives its status to the whole, and `Bundle.entry[n]…` says where. Bodies stand in the answer
where the client asks for `return=representation`. Source: fhir chapter §9.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from adapter.access.disclose import Ask, Disclosed, Matches, Released, combined
from adapter.access.scopes import Letter
from adapter.api.admission import admit, check_writable, may_create, within
from adapter.api.call import Answer, Call
from adapter.api.conditions import etag, tags
from adapter.api.criteria import criteria, several
from adapter.api.delete import TRIES, contended, current
from adapter.api.inner import Dispatch, Request, answered, entry_of, inner_call, response_bundle, response_entry
from adapter.api.parameters import ID, check_read_parameters
from adapter.api.patch import Change, change_of, changed
from adapter.api.prefer import returned
from adapter.api.writing import Done, Wish, check, new_id, write
from adapter.api.written import STATUS, location, shown, told
from adapter.errors import (
    BadRequest,
    ChartbridgeError,
    Forbidden,
    Gone,
    IssueItem,
    MethodNotAllowed,
    NotFound,
    PreconditionFailed,
)
from adapter.seal.keyring import STOCK
from adapter.services import Services
from adapter.store.criteria import ENOUGH, too_wide
from ledger.event import timestamp
from mappings.fhir.codec import Json, decode
from mappings.fhir.relink import base_of, loose_ends, references, relative, relinked
from mappings.fhir.schema import schema
from mappings.fhir.search import SearchError

ORDER = {"DELETE": 0, "POST": 1, "PUT": 2, "PATCH": 2}
INTERACTIONS: Mapping[str, tuple[str, tuple[Letter, ...]]] = {  # the last letter is the write's own
    "DELETE": ("delete", ("d",)),
    "POST": ("create", ("c",)),
    "PUT": ("update", ("u",)),
    "PATCH": ("patch", ("r", "u")),
}
LOOKED_AT = frozenset({"DELETE", "PATCH"})  # what stands passes the gate first


@dataclass(slots=True)
class _Plan:
    """What a transaction is to do. `of` is the entry of each wish."""

    wishes: list[Wish] = field(default_factory=list)
    of: list[Request] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)  # of the Bundle → of the server


@dataclass(frozen=True, slots=True)
class _Admitted:
    """What a kind of write was admitted for, and the judge of its granular scopes."""

    ask: Ask
    within: Matches | None


Admitted = Mapping[tuple[str, str], _Admitted]


async def transact(call: Call, requests: Sequence[Request], dispatch: Dispatch) -> Answer:
    """Steps 1 to 5."""
    for asked in requests:
        with _placed(asked.number):
            _check_method(asked)
            if asked.method in ORDER and "/" in asked.path:
                check_read_parameters(inner_call(call, asked).pairs)
    writes = sorted((one for one in requests if one.method in ORDER), key=lambda one: ORDER[one.method])
    admitted = await _admitted(call, writes)  # 3, before anything is read closely
    patches = await _patches(call, writes)
    plan = await asyncio.to_thread(_planned, call.services, writes)  # 1
    for wish, asked in zip(plan.wishes, plan.of, strict=True):
        if wish.resource is not None:
            await _look_up(call, asked, wish.resource, plan.names, dispatch)
    await asyncio.to_thread(_link, call.services, plan)  # 2
    await _narrow(call, plan, admitted)
    done = await _write(call, plan, patches, admitted, dispatch)  # 4
    answers = {asked.number: one for asked, one in zip(plan.of, done, strict=True)}
    return await _answer(call, requests, answers, dispatch)  # 5


def _check_method(asked: Request) -> None:
    if asked.method in ("GET", "HEAD"):
        return
    kind, _, logical_id = asked.path.partition("/")
    if kind not in schema().resource_types:
        raise NotFound("there is no such resource type", code="type-unknown", issue="not-supported")
    check_writable(kind)
    if asked.method == "POST" and logical_id:
        raise MethodNotAllowed("this address does not know the method")
    if asked.method in LOOKED_AT and not logical_id:
        raise MethodNotAllowed("this address does not know the method")
    if logical_id and not ID.fullmatch(logical_id):
        raise BadRequest("the id in the path is not a FHIR id", code="id", issue="value")
    if asked.method == "PUT" and not logical_id and not asked.query:
        raise BadRequest("an update names an id or criteria", code="criteria-missing", issue="required")
    if (asked.method == "DELETE") is (asked.resource is not None):
        raise BadRequest("an entry has a resource where its method wants none, or none where it wants one")


async def _admitted(call: Call, writes: Sequence[Request]) -> Admitted:
    """Step 3: each kind of write is judged once. What granular scopes leave is for each resource."""
    known: set[tuple[str, str, bool]] = set()
    admitted: dict[tuple[str, str], _Admitted] = {}
    for asked in writes:
        kind = asked.path.partition("/")[0]
        conditional = asked.method not in LOOKED_AT and bool(asked.query or b"if-none-exist" in asked.conditions)
        if (asked.method, kind, conditional) in known:
            continue
        known.add((asked.method, kind, conditional))
        interaction, letters = INTERACTIONS[asked.method]
        with _placed(asked.number):
            ask = await admit(call, kind, interaction, letters, conditional=conditional)
        admitted[asked.method, kind] = _Admitted(ask, within(call, kind, letters[-1]))
    return admitted


async def _patches(call: Call, writes: Sequence[Request]) -> dict[int, Change]:
    """What each PATCH wants done, by the number of its entry: a patch in a Binary, or an object that is merged."""
    found: dict[int, Change] = {}
    for asked in writes:
        if asked.method == "PATCH":
            with _placed(asked.number):
                found[asked.number] = await change_of(inner_call(call, asked))
    return found


# --- 1: what conditional references mean ------------------------------------------------------------------------------


async def _look_up(
    call: Call,
    asked: Request,
    resource: Json,
    names: dict[str, str],
    dispatch: Dispatch,
    stood: frozenset[str] = frozenset(),
) -> None:
    """Add the meaning of its conditional references to the names. `stood`: what a patch found there refer to."""
    for place, reference in references(resource, resource["resourceType"]):
        if "?" in reference and not reference.startswith("#") and reference not in names and reference not in stood:
            with _placed(asked.number):
                names[reference] = await _meant(call, asked, reference, place, dispatch)


async def _meant(call: Call, asked: Request, reference: str, place: str, dispatch: Dispatch) -> str:
    """The one resource that matches, of those that the client may see. Raises PreconditionFailed for more or none."""
    kind, _, query = reference.removeprefix(f"{call.services.base}/").partition("?")
    if kind not in schema().resource_types:
        raise BadRequest("a conditional reference names no type", issue="value", expression=place)
    await admit(call, kind, "search-type", ("s",), conditional=True)
    try:
        criteria(kind, query, call.services.base)
        search = Request(asked.number, "GET", kind, f"{query}&_count={ENOUGH}&_elements=id", "", {})
        found = decode((await dispatch(inner_call(call, search))).body)
    except PreconditionFailed as error:
        raise at_place(error, place) from error
    except SearchError as error:
        if error.code != "too-costly":
            raise
        raise at_place(too_wide(), place) from error
    matches = [one["resource"]["id"] for one in found.get("entry", ()) if one["search"]["mode"] == "match"]
    if len(matches) > 1:
        raise at_place(several(), place)
    if not matches:
        text = "a conditional reference matches nothing"
        raise PreconditionFailed(text, code="unmatched", issue="not-found", expression=place)
    return f"{kind}/{matches[0]}"


# --- 1, 2: in a thread ------------------------------------------------------------------------------------------------


def _planned(services: Services, writes: Sequence[Request]) -> _Plan:
    plan = _Plan()
    names = plan.names
    for asked in writes:
        with _placed(asked.number):
            wish = _wish(services, asked)
            if asked.full_url and names.setdefault(asked.full_url, wish.reference) != wish.reference:
                raise BadRequest("two entries have one fullUrl", code="duplicate", issue="duplicate")
        plan.wishes.append(wish)
        plan.of.append(asked)
    return plan


def _link(services: Services, plan: _Plan) -> None:
    for number, (wish, asked) in enumerate(zip(plan.wishes, plan.of, strict=True)):
        if wish.resource is not None:
            with _placed(asked.number):
                plan.wishes[number] = replace(wish, resource=_linked(services, asked, wish.resource, plan.names))


def _wish(services: Services, asked: Request) -> Wish:
    kind, _, logical_id = asked.path.partition("/")
    if_match, if_none_match = _tags(asked, b"if-match"), _tags(asked, b"if-none-match")
    if asked.method == "DELETE":
        return Wish("delete", kind, logical_id, if_match=if_match)
    if asked.method == "PATCH":
        return Wish("update", kind, logical_id, may_create=False)  # its content comes when it has been looked at
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
        return Wish(
            "update", kind, logical_id, resource | {"id": logical_id}, if_match=if_match, if_none_match=if_none_match
        )
    query = criteria(kind, asked.query, services.base)
    named = isinstance(given, str) and ID.fullmatch(given) is not None
    chosen = str(given) if named else new_id(services)
    body = resource | {"id": chosen}
    return Wish("update", kind, chosen, body, query, named=named, if_match=if_match, if_none_match=if_none_match)


def _tags(asked: Request, condition: bytes) -> frozenset[str] | None:
    value = asked.conditions.get(condition)
    return None if value is None else tags(value.decode("utf-8", "replace"))


def _linked(
    services: Services, asked: Request, resource: Json, names: dict[str, str], stood: frozenset[str] = frozenset()
) -> Json:
    """The resource under the names that will stand, and without a fault. `stood`: what a patch found there refer to."""
    kind = resource["resourceType"]
    loose = []
    if base := base_of(asked.full_url):
        found = {reference: place for place, reference in relative(resource, kind) if reference not in stood}
        own = {each: names[url] for each in found if (url := f"{base}/{each}") in names}
        resource = relinked(resource, own) if own else resource
        if base != services.base:
            loose = [place for each, place in found.items() if each not in own]
    resource = relinked(resource, names)
    if loose := [*loose, *loose_ends(resource, kind, stood)]:
        items = tuple(IssueItem("invalid", place, "names no entry of this transaction") for place in loose)
        raise BadRequest("a reference names no entry of this transaction", code="loose-reference", items=items)
    check(resource)
    return resource


# --- 3, 4 -------------------------------------------------------------------------------------------------------------


async def _narrow(call: Call, plan: _Plan, admitted: Admitted) -> None:
    """Granular scopes judge what comes; `write` lets them judge what stands."""
    for number, (wish, asked) in enumerate(zip(plan.wishes, plan.of, strict=True)):
        judge = admitted[asked.method, wish.type].within
        if wish.resource is not None:
            await _judge(call, asked, wish.resource, admitted)
        if wish.op == "update":
            creates = asked.method == "PUT" and wish.resource is not None and may_create(call, wish.resource)
            plan.wishes[number] = replace(wish, may_create=creates, within=judge)


async def _judge(call: Call, asked: Request, resource: Json, admitted: Admitted) -> None:
    known = admitted[asked.method, resource["resourceType"]]
    if known.within is not None and not known.within(resource):
        with _placed(asked.number):
            await call.services.gate.refuse_scope(known.ask)


async def _write(
    call: Call, plan: _Plan, patches: Mapping[int, Change], admitted: Admitted, dispatch: Dispatch
) -> tuple[Done, ...]:
    services = call.services
    people = sum(wish.type == "Patient" for wish in plan.wishes)
    if people >= services.keyring.stock:
        await services.keyring.restock(STOCK + people)
    for _ in range(TRIES):
        looked = await _looked(call, plan, patches, admitted, dispatch)
        try:
            return await write(services, call.actor.client_id, call.now, looked)
        except ChartbridgeError as error:
            entry = None if error.entry is None else plan.of[error.entry]
            if entry is None:
                raise
            if entry.method in LOOKED_AT and error.code == "version":
                continue  # somebody wrote between the look and the commit
            if isinstance(error, Forbidden):  # what stands is outside of a granular scope
                with _placed(entry.number):
                    await services.gate.refuse_scope(admitted[entry.method, entry.path.partition("/")[0]].ask)
            raise _at(error, entry.number) from error
    raise contended()


async def _looked(
    call: Call, plan: _Plan, patches: Mapping[int, Change], admitted: Admitted, dispatch: Dispatch
) -> list[Wish]:
    """The wishes, in which each deletion and patch is of the version that the gate has shown."""
    wishes, names = list(plan.wishes), dict(plan.names)
    for number, (wish, asked) in enumerate(zip(wishes, plan.of, strict=True)):
        if asked.method not in LOOKED_AT:
            continue
        with _placed(asked.number):
            inner, letter = inner_call(call, asked), INTERACTIONS[asked.method][1][0]
            ask = inner.ask("access.read", INTERACTIONS[asked.method][0], wish.type, letter, wish.reference)
            item = await current(inner, ask, wish.id)
            if asked.method == "PATCH":
                if item.op == "d":
                    raise Gone("this resource was deleted", code="deleted")
                resource, stood = await asyncio.to_thread(_patched, item, patches[asked.number])
                await _look_up(call, asked, resource, names, dispatch, stood)
                resource = await asyncio.to_thread(_linked, call.services, asked, resource, names, stood)
                wish = replace(wish, resource=resource)
        if wish.resource is not None:
            await _judge(call, asked, wish.resource, admitted)
        stands = None if item.op == "d" else frozenset({str(item.version)})
        wishes[number] = replace(wish, if_match=stands)
    return wishes


def _patched(item: Disclosed, change: Change) -> tuple[Json, frozenset[str]]:
    """In a thread: what a patch makes of what was shown, and what that referred to."""
    stood = frozenset(reference for _, reference in references(decode(item.body), item.type))
    return changed(item, change), stood


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


def at_place(error: PreconditionFailed, place: str) -> PreconditionFailed:
    """The same error at a place."""
    return PreconditionFailed(error.text, code=error.code, issue=error.issue, hint=error.hint, expression=place)


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
