"""create: `POST /fhir/Type`, under an id of ours; conditional with `If-None-Exist` or criteria behind the type.
http://hl7.org/fhir/R4/http.html#create

The body's `id` is ignored. With criteria: no match creates (201), one match writes nothing (200, and what matches where
the client may read it), several are 412. Source: fhir chapter §7, §8.
"""

from adapter.api.admission import admit, check_writable, within
from adapter.api.body import resource_body
from adapter.api.call import Answer, Call, Pairs
from adapter.api.criteria import criteria
from adapter.api.parameters import EVERYWHERE, resource_type
from adapter.api.writing import Wish, check, new_id, write
from adapter.api.written import written
from adapter.errors import BadRequest
from mappings.fhir.codec import Json
from mappings.fhir.search import Query


async def create(call: Call) -> Answer:
    """Answer with where the new resource is, or the one that matches."""
    kind = resource_type(call)
    check_writable(kind)
    asked = _asked(call)
    ask = await admit(call, kind, "create", ("c",), conditional=asked is not None)
    query = None if asked is None else _query(call, kind, asked)
    resource = resource_of(await resource_body(call), kind) | {"id": new_id(call.services)}
    check(resource)
    if (allowed := within(call, kind, "c")) is not None and not allowed(resource):
        await call.services.gate.refuse_scope(ask)
    wish = Wish("create", kind, resource["id"], resource, query, named=False)
    (done,) = await write(call.services, call.actor.client_id, call.now, (wish,))
    return await written(call, done)


def resource_of(body: Json, kind: str) -> Json:
    """The resource in a body. Raises BadRequest where it is of another type than the address."""
    if body.get("resourceType") != kind:
        text = "the body is of another type than the address"
        raise BadRequest(text, issue="invalid", expression=f"{kind}.resourceType")
    return body


def query_pairs(call: Call) -> Pairs:
    """The criteria in the URL."""
    return tuple(pair for pair in call.pairs if pair[0] not in EVERYWHERE)


def _asked(call: Call) -> str | Pairs | None:
    header = call.header(b"if-none-exist")
    pairs = query_pairs(call)
    if header is not None and pairs:
        raise BadRequest("criteria stand in the URL and in If-None-Exist", code="parameter")
    return header if header is not None else pairs or None


def _query(call: Call, kind: str, asked: str | Pairs) -> Query:
    if isinstance(asked, str):
        asked = asked.removeprefix(f"{call.services.base}/").removeprefix(f"{kind}?").removeprefix("?")
    return criteria(kind, asked, call.services.base)
