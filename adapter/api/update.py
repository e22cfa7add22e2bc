"""update: `PUT /fhir/Type/id`; conditional: `PUT /fhir/Type?criteria`. http://hl7.org/fhir/R4/http.html#update

What does not exist is created under the client's id, what was deleted comes back: both are 201 and need `c`. Content
that stands already is 200 with the same `ETag`, and no version. `If-Match` that names another version is 412, and so is
`If-None-Match` that names the one that stands: `*` creates and never overwrites.

With criteria: no match creates, under the body's id where there is one (409 where that is taken); one match is updated
(400 where the body has another id); several are 412. Source: fhir chapter §7, §8.
"""

from adapter.access.disclose import Ask
from adapter.api.admission import admit, check_writable, may_create, within
from adapter.api.body import resource_body
from adapter.api.call import Answer, Call
from adapter.api.conditions import tags
from adapter.api.create import query_pairs, resource_of
from adapter.api.criteria import criteria
from adapter.api.parameters import ID, check_read_parameters, resource_id, resource_type
from adapter.api.writing import Wish, check, new_id, write
from adapter.api.written import written
from adapter.errors import BadRequest, Forbidden
from mappings.fhir.codec import Json
from mappings.fhir.search import Query


async def update(call: Call) -> Answer:
    """Make the body the content of the id in the address."""
    kind, logical_id = resource_type(call), resource_id(call)
    check_writable(kind)
    check_read_parameters(call.pairs)
    ask = await admit(call, kind, "update", ("u",))
    resource = resource_of(await resource_body(call), kind)
    if resource.get("id") != logical_id:
        text = "the body has no id, or another than the address"
        raise BadRequest(text, code="id-differs", issue="invalid", expression=f"{kind}.id")
    return await _write(call, ask, resource, None)


async def conditional_update(call: Call) -> Answer:
    """Make the body the content of the one resource that matches."""
    kind = resource_type(call)
    check_writable(kind)
    if not (pairs := query_pairs(call)):
        raise BadRequest("an update names an id or criteria", code="criteria-missing", issue="required")
    ask = await admit(call, kind, "update", ("u",), conditional=True)
    query = criteria(kind, pairs, call.services.base)
    return await _write(call, ask, resource_of(await resource_body(call), kind), query)


async def _write(call: Call, ask: Ask, resource: Json, query: Query | None) -> Answer:
    kind, given = ask.type, resource.get("id")
    if given is None:
        resource = resource | {"id": new_id(call.services)}
    check(resource)
    if not ID.fullmatch(resource["id"]):
        raise BadRequest("the id in the body is not a FHIR id", code="id", issue="value", expression=f"{kind}.id")
    if (allowed := within(call, kind, "u")) is not None and not allowed(resource):
        await call.services.gate.refuse_scope(ask)
    match, none_match = call.header(b"if-match"), call.header(b"if-none-match")
    wish = Wish(
        "update",
        kind,
        resource["id"],
        resource,
        query,
        named=given is not None,
        if_match=None if match is None else tags(match),
        if_none_match=None if none_match is None else tags(none_match),
        may_create=may_create(call, resource),
        within=allowed,
    )
    try:
        (done,) = await write(call.services, call.actor.client_id, call.now, (wish,))
    except Forbidden:  # what stands is outside of a granular scope
        await call.services.gate.refuse_scope(ask)
    return await written(call, done)
