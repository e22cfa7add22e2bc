"""read: `GET /fhir/Type/id`, HEAD the same without the body. http://hl7.org/fhir/R4/http.html#read

404 is what is absent and what is hidden, with the same bytes; 410 is told only to one who could have read the resource.
304 goes through the gate and the log like any read: that nothing has changed is a fact about the patient too.
"""

from adapter.access.disclose import Disclosed, Found, Released
from adapter.api.call import Answer, Call
from adapter.api.conditions import is_unmodified, version_headers
from adapter.api.parameters import check_read_parameters, resource_id, resource_type
from adapter.api.shape import SHAPES, asked_of, shaped
from adapter.errors import Gone
from adapter.store import resources
from adapter.store.resources import Sealed


async def read(call: Call) -> Answer:
    """Answer with the current version."""
    kind, logical_id = resource_type(call), resource_id(call)
    check_read_parameters(call.pairs, SHAPES)
    results = asked_of(kind, call.pairs)
    org = call.services.keyring.organisation()
    released = await call.services.gate.disclose(
        call.ask("access.read", "read", kind, "r", f"{kind}/{logical_id}"),
        lambda conn: found(resources.current(conn, org, kind, logical_id)),
    )
    item = released.items[0]
    if item.op == "d":
        raise Gone("this resource was deleted", code="deleted")
    if is_unmodified(item, call.header(b"if-none-match"), call.header(b"if-modified-since")):
        return Answer(304, headers=version_headers(item), released=released)
    return Answer(200, shaped(item, results, kind), version_headers(item), released=released)


def resource_answer(item: Disclosed, released: Released, status: int = 200) -> Answer:
    """One resource, its stored bytes as they are."""
    return Answer(status, item.body, version_headers(item), released=released)


def found(sealed: Sealed | None) -> Found:
    """At most one candidate, as the gate takes it."""
    return Found(() if sealed is None else (sealed,))
