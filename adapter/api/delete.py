"""delete: `DELETE /fhir/Type/id`. http://hl7.org/fhir/R4/http.html#delete

What stands passes the gate first, as a read of its current version: what is hidden answers like what is absent, and
nothing is written. 204 with the `ETag` of the deletion; again 204; 404 for what never was. There is no conditional
delete: 405. Source: fhir chapter §7.
"""

from adapter.access.disclose import Ask, Disclosed
from adapter.api.admission import admit, check_writable
from adapter.api.call import Answer, Call
from adapter.api.conditions import meets, tags
from adapter.api.parameters import check_read_parameters, resource_id, resource_type
from adapter.api.read import found
from adapter.api.writing import Done, Wish, write
from adapter.api.written import written
from adapter.errors import Conflict, PreconditionFailed
from adapter.store import resources

TRIES = 3


async def delete(call: Call) -> Answer:
    """Write a deletion over what the client was shown, and not over what came since."""
    kind, logical_id = resource_type(call), resource_id(call)
    check_writable(kind)
    check_read_parameters(call.pairs)
    await admit(call, kind, "delete", ("d",))
    ask = call.ask("access.read", "delete", kind, "d", f"{kind}/{logical_id}")
    for _ in range(TRIES):
        item = await current(call, ask, logical_id)
        if item.op == "d":
            return await written(call, Done(kind, logical_id, item.version, item.at, "deleted"))
        wish = Wish("delete", kind, logical_id, if_match=frozenset({str(item.version)}))
        try:
            (done,) = await write(call.services, call.actor.client_id, call.now, (wish,))
        except PreconditionFailed:  # somebody wrote in between: look again
            continue
        return await written(call, done)
    raise contended()


async def current(call: Call, ask: Ask, logical_id: str) -> Disclosed:
    """What stands, as the gate shows it, and as `If-Match` expects it. Raises NotFound, PreconditionFailed."""
    services = call.services
    org = services.keyring.organisation()
    released = await services.gate.disclose(ask, lambda conn: found(resources.current(conn, org, ask.type, logical_id)))
    item = released.items[0]
    wanted = call.header(b"if-match")
    if wanted is not None and not meets(tags(wanted), None if item.op == "d" else item.version):
        raise PreconditionFailed("another version stands than the one expected", code="version")
    return item


def contended() -> Conflict:
    return Conflict("others keep writing this resource; try again", code="contended")
