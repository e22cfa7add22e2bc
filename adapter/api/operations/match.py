"""Patient/$match: which Patient is certainly the one described? http://hl7.org/fhir/R4/patient-operation-match.html

1. The description is a Patient that fits R4, though it may say little. Too little for a certain match finds nobody, and
   an `outcome` entry says so.
2. Candidates by identifier, or by family name with birth date, over the whole organisation.
3. The gate opens each, compares (`mappings/fhir/matching.py`) and decides; it needs the scope `s` on Patient.
4. Of those that may be shown one is the answer, with score 1.0 and grade `certain`; two certain ones are none.

Nobody is ever given as a possible match: `onlyCertainMatches` changes nothing. Whoever is hidden has no part in the
answer, so it tells nothing of her.
"""

import asyncio
import hashlib

from adapter.access.disclose import Arranged, Disclosed, Found
from adapter.api import bundle
from adapter.api.call import Answer, Call
from adapter.api.operations.arguments import arguments
from adapter.api.operations.served import definition
from adapter.api.outcome import outcome
from adapter.errors import BadRequest, IssueItem, Unprocessable
from adapter.store import matching
from mappings.fhir.codec import Json, encode
from mappings.fhir.invariants import broken
from mappings.fhir.matching import certain, is_enough
from mappings.fhir.validate import validate

PARAMETERS = frozenset({"resource", "onlyCertainMatches", "count"})
TOO_LITTLE = (
    "too little for a certain match: an identifier with its system, or family name, given name, birth date, gender and"
    " an address or telecom"
)


async def match(call: Call) -> Answer:
    """`POST /fhir/Patient/$match`."""
    asked = await _described(call)  # 1
    services = call.services
    org = services.keyring.organisation()
    name = hashlib.sha256(encode(asked)).hexdigest()
    released = await services.gate.disclose(  # 3
        call.ask("access.search", "match", "Patient", "s", f"Patient/$match {name}"),
        lambda conn: Found(matching.candidates(conn, org, asked), lambda held: certain(asked, held)),  # 2
        arrange=_only_one,
    )
    address = f"{services.base}/Patient/$match"
    said = b"" if is_enough(asked) else _too_little()
    body = bundle.matches(released, services.base, [("self", address)], said)
    return Answer(200, body, released=released)


def _only_one(shown: list[Disclosed]) -> Arranged:
    """Step 4."""
    return Arranged(shown if len(shown) == 1 else ())


async def _described(call: Call) -> Json:
    given = await arguments(call, definition("Patient", "match"), PARAMETERS)
    asked: Json | None = given.one("resource")
    if asked is None:
        raise BadRequest("there is no resource to match", code="parameter", issue="required")
    if asked.get("resourceType") != "Patient":
        raise BadRequest("what is matched is a Patient", code="parameter", issue="value")
    if (count := given.one("count")) is not None and count < 1:
        raise BadRequest("count is no number of matches", code="parameter", issue="value")
    faults = await asyncio.to_thread(lambda: validate(asked) or broken(asked))
    if faults:
        items = tuple(IssueItem(one.code, one.expression, one.text, one.severity) for one in faults)
        raise Unprocessable("the resource does not fit FHIR R4", code="invalid-resource", items=items)
    return asked


def _too_little() -> bytes:
    return outcome((IssueItem("informational", "", TOO_LITTLE, "information"),), code="match-too-little")
