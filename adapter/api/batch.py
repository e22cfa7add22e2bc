"""batch and transaction: `POST /fhir` with a Bundle. http://hl7.org/fhir/R4/http.html#transaction

A batch runs each entry alone, in the Bundle's order, with its own status, scopes and events; an entry that refers to
what another entry of it brings is refused, for nothing says which would come first. A transaction is
`transaction.py`'s. Source: fhir chapter §9.
"""

from adapter.access.disclose import Released, combined
from adapter.api.body import resource_body
from adapter.api.call import Answer, Call, refusal
from adapter.api.inner import Dispatch, Request, answered, entry_of, inner_call, request_of, response_bundle
from adapter.api.parameters import check_read_parameters
from adapter.api.transaction import transact
from adapter.errors import BadRequest, TooLarge
from mappings.fhir.codec import TRANSACTION, Json, encode
from mappings.fhir.relink import LOCAL_NAMES

MAX_ENTRIES = 5_000


async def interact(call: Call, dispatch: Dispatch) -> Answer:
    """Do what the entries of the Bundle say."""
    check_read_parameters(call.pairs)
    bundle = await resource_body(call, TRANSACTION)
    requests = _requests(bundle, call.services.base)
    if bundle["type"] == "transaction":
        return await transact(call, requests, dispatch)
    return await _batch(call, requests, dispatch)


def _requests(bundle: Json, base: str) -> list[Request]:
    if bundle.get("resourceType") != "Bundle" or bundle.get("type") not in ("batch", "transaction"):
        raise BadRequest("the body is no batch and no transaction", issue="value", expression="Bundle.type")
    entries = bundle.get("entry", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise BadRequest("the entries are no list of objects", issue="structure", expression="Bundle.entry")
    if len(entries) > MAX_ENTRIES:
        raise TooLarge(f"the Bundle has over {MAX_ENTRIES} entries", expression="Bundle.entry")
    return [request_of(number, entry, base) for number, entry in enumerate(entries)]


async def _batch(call: Call, requests: list[Request], dispatch: Dispatch) -> Answer:
    names = {asked.full_url for asked in requests if asked.full_url.startswith(LOCAL_NAMES)}
    entries: list[bytes] = []
    released: list[Released] = []
    for asked in requests:
        answer = _linked(asked, names) or await answered(inner_call(call, asked), dispatch)
        entries.append(entry_of(answer))
        if answer.released is not None:
            released.append(answer.released)
    return response_bundle("batch", entries, combined(released))


def _linked(asked: Request, names: set[str]) -> Answer | None:
    """The refusal of an entry that refers to another entry."""
    text = encode(asked.resource) if asked.resource is not None and names else b""
    if not any(encode(name) in text for name in names - {asked.full_url}):
        return None
    place = f"Bundle.entry[{asked.number}].resource"
    return refusal(BadRequest("an entry of a batch refers to another one", code="batch-link", expression=place))
