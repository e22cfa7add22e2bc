"""search: `GET /fhir/Type?…`, `POST /fhir/Type/_search`, and the same inside a Patient's compartment.
http://hl7.org/fhir/R4/http.html#search

1. Read the parameters against the schema; what is not supported is refused (400), never left out in silence.
2. The planner finds candidates from an anchor: a patient, an identifier, an id. None: 400 `too-costly`.
3. The gate opens, matches and decides each candidate; what is left is sorted, counted and paged here.
4. Put the page together from stored bytes.

Every page is cut at the transaction of page one and passes the gate of its own moment. `total` stands on page one.
Source: fhir chapter §4, §6, §10.
"""



from adapter.api.call import Answer, Call, Pairs
from adapter.api.parameters import resource_id, resource_type

FORM = "application/x-www-form-urlencoded"
SERVED = frozenset({"_count", "_sort", "_total", "_format", "_pretty"})


async def search_type(call: Call) -> Answer:
    """All resources of one type that the parameters find."""
    return await _search(call, resource_type(call), ())


async def search_compartment(call: Call) -> Answer:
    """The resources of one type that belong to the patient in the path."""
    return await _search(call, resource_type(call), (("patient", f"Patient/{resource_id(call)}"),))


async def _search(call: Call, kind: str, inside: Pairs) -> Answer:
    return Answer(500)
