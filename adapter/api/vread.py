"""vread: `GET /fhir/Type/id/_history/version`. http://hl7.org/fhir/R4/http.html#vread

A version that is a delete marker is 410; one that never was is 404, like one that is hidden.
"""

from adapter.api.call import Answer, Call
from adapter.api.conditions import version_headers
from adapter.api.parameters import check_read_parameters, resource_id, resource_type, version_number
from adapter.api.read import found
from adapter.api.shape import SHAPES, asked_of, shaped
from adapter.errors import Gone
from adapter.store import resources


async def vread(call: Call) -> Answer:
    """Answer with one stored version."""
    kind, logical_id, number = resource_type(call), resource_id(call), version_number(call)
    check_read_parameters(call.pairs, SHAPES)
    results = asked_of(kind, call.pairs)
    org = call.services.keyring.organisation()
    released = await call.services.gate.disclose(
        call.ask("access.read", "vread", kind, "r", f"{kind}/{logical_id}"),
        lambda conn: found(resources.version(conn, org, kind, logical_id, number)),
    )
    item = released.items[0]
    if item.op == "d":
        raise Gone("this version is a deletion", code="deleted")
    return Answer(200, shaped(item, results, kind), version_headers(item), released=released)
