"""How much of a released resource is shown: `_summary` and `_elements`, of a search and of a read.

What the gate released and recorded is the whole version; its stored bytes go out as they are unless less was asked
for. Source: FHIR R4 http.html §3.1.0.1.8 (general parameters); search.html §3.1.1.5.8, §3.1.1.5.9.
"""

from adapter.access.disclose import Disclosed
from adapter.api.call import Pairs
from adapter.errors import BadRequest
from mappings.fhir.codec import decode, encode
from mappings.fhir.search import Results
from mappings.fhir.search_results import read_results
from mappings.fhir.summary import SHORTER, shortened

SHAPES = frozenset({"_summary", "_elements"})


def asked_of(kind: str, pairs: Pairs) -> Results:
    """What a read asks for. Raises SearchError, or BadRequest for a count of one resource."""
    results = read_results(kind, [pair for pair in pairs if pair[0] in SHAPES])
    if results.summary == "count":
        raise BadRequest("a read has nothing to count", code="parameter", issue="value")
    return results


def shaped(item: Disclosed, results: Results, kind: str) -> bytes:
    """The bytes of a resource in the form asked for. Elements without a type are those of `kind`, what was asked for:
    what is included beside it stays whole.
    """
    elements = [name for name in results.elements if item.type == kind or "." in name]
    if not item.body or not (results.summary in SHORTER or elements):
        return item.body
    resource = decode(item.body) if item.resource is None else item.resource
    return encode(shortened(resource, results.summary, elements))
