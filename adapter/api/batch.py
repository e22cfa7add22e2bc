"""batch and transaction: `POST /fhir` with a Bundle. http://hl7.org/fhir/R4/http.html#transaction

A batch runs each entry alone, in the Bundle's order, with its own status, scopes and events; an entry that refers to
what another entry of it brings is refused, for nothing says which would come first. A transaction is
`transaction.py`'s. Source: fhir chapter §9.
"""

import re

from adapter.access.disclose import Released, combined
from adapter.api.body import resource_body
from adapter.api.call import Answer, Call, refusal
from adapter.api.inner import Dispatch, Request, answered, entry_of, inner_call, request_of, response_bundle
from adapter.api.parameters import check_read_parameters
from adapter.api.transaction import transact
from adapter.errors import BadRequest, IssueItem, TooLarge
from mappings.fhir.codec import TRANSACTION, Json, encode
from mappings.fhir.relink import LOCAL_NAMES, base_of, relative
from mappings.fhir.validate import validate

MAX_ENTRIES = 5_000
_ENTRY = re.compile(r"Bundle\.entry\[(\d+)\]")
_NOTHING: Json = {"request": {"method": "GET", "url": "-"}}  # for an entry of a resource alone: told when it is read


async def interact(call: Call, dispatch: Dispatch) -> Answer:
    """Do what the entries of the Bundle say."""
    check_read_parameters(call.pairs)
    bundle = await resource_body(call, TRANSACTION)
    entries, base = _entries(bundle), call.services.base
    faults = _faults(bundle, entries)
    if bundle["type"] == "batch":
        return await _batch(call, entries, faults, dispatch)
    if faults:
        raise _unfit([one for found in faults.values() for one in found])
    return await transact(call, [request_of(number, entry, base) for number, entry in enumerate(entries)], dispatch)


def _entries(bundle: Json) -> list[Json]:
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") not in ("batch", "transaction"):
        raise BadRequest("the body is no batch and no transaction", issue="value", expression="Bundle.type")
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadRequest("the entries are no list of objects", issue="structure", expression="Bundle.entry")
    if len(entries) > MAX_ENTRIES:
        raise TooLarge(f"the Bundle has over {MAX_ENTRIES} entries", expression="Bundle.entry")
    return entries


def _faults(bundle: Json, entries: list[Json]) -> dict[int, list[IssueItem]]:
    """What does not fit R4 in what the Bundle says is to be done, by entry: a condition that is none must not be passed
    over. Each resource in it is checked when its turn comes. Raises BadRequest for what concerns the whole."""
    bare = [{name: value for name, value in entry.items() if name != "resource"} or _NOTHING for entry in entries]
    found: dict[int, list[IssueItem]] = {}
    whole: list[IssueItem] = []
    for one in validate(bundle | {"entry": bare} if bare else bundle):
        item = IssueItem(one.code, one.expression, one.text, one.severity)
        place = _ENTRY.match(one.expression)
        (whole if place is None else found.setdefault(int(place[1]), [])).append(item)
    if whole:
        raise _unfit(whole)
    return found


def _unfit(items: list[IssueItem]) -> BadRequest:
    return BadRequest("the Bundle does not fit FHIR R4", issue="structure", items=tuple(items))


async def _batch(call: Call, entries: list[Json], faults: dict[int, list[IssueItem]], dispatch: Dispatch) -> Answer:
    urls = (entry.get("fullUrl") for entry in entries)
    names = {url for url in urls if isinstance(url, str) and url.startswith(LOCAL_NAMES)}
    answers: list[bytes] = []
    released: list[Released] = []
    for number, entry in enumerate(entries):
        unfit = faults.get(number)
        answer = refusal(_unfit(unfit)) if unfit else await _answered(call, number, entry, names, dispatch)
        answers.append(entry_of(answer))
        if answer.released is not None:
            released.append(answer.released)
    return response_bundle("batch", answers, combined(released))


async def _answered(call: Call, number: int, entry: Json, names: set[str], dispatch: Dispatch) -> Answer:
    try:
        asked = request_of(number, entry, call.services.base)
    except BadRequest as error:
        return refusal(error)
    return _linked(asked, names, call.services.base) or await answered(inner_call(call, asked), dispatch)


def _linked(asked: Request, names: set[str], base: str) -> Answer | None:
    """The refusal of an entry that refers to another entry, or to what stands beside it on another server."""
    if asked.resource is not None and base_of(asked.full_url) not in ("", base):
        for place, _ in relative(asked.resource, f"Bundle.entry[{asked.number}].resource"):
            text = "a relative reference is of the server that fullUrl names, and that is not this one"
            return refusal(BadRequest(text, code="loose-reference", expression=place))
    body = encode(asked.resource) if asked.resource is not None and names else b""
    if not any(encode(name) in body for name in names - {asked.full_url}):
        return None
    place = f"Bundle.entry[{asked.number}].resource"
    return refusal(BadRequest("an entry of a batch refers to another one", code="batch-link", expression=place))
