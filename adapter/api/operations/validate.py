"""$validate: does a resource fit, and would it be taken? http://hl7.org/fhir/R4/resource-operation-validate.html

1. The bytes, the schema and the narrative: every fault, at its place.
2. The constraints, those that only advise as warnings. Asked where 1 found nothing.
3. `fhir.resources` as second opinion, for information.
4. Profiles: R4's own definition of the type is what 1 and 2 check. No other profile is held here: one that the resource
   declares is named for information, one that the caller names is an error, as the standard wants it.

The answer is 200 with an OperationOutcome, whatever is found; 400 is a question that cannot be understood. At the type
nothing is read or kept, so no event is due. At an instance the gate reads the stored version first: who may not see it
gets 404 for anything asked about it; then `update` judges the body that was sent, `profile` what is stored, and
`delete` that there is something to delete.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from adapter.access.disclose import Disclosed
from adapter.api.body import resource_body
from adapter.api.call import Answer, Call
from adapter.api.operations.arguments import Arguments, read
from adapter.api.operations.second_opinion import second_opinion
from adapter.api.operations.served import definition
from adapter.api.outcome import outcome
from adapter.api.parameters import resource_id, resource_type
from adapter.api.read import found
from adapter.errors import BadRequest, Gone, IssueItem
from adapter.store import resources
from mappings.fhir.codec import BytesError, Fault, Json, decode
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate

PARAMETERS = frozenset({"resource", "mode", "profile"})
CREATE, UPDATE, DELETE, PROFILE = "create", "update", "delete", "profile"
MODES = frozenset({CREATE, UPDATE, DELETE, PROFILE})  # http://hl7.org/fhir/ValueSet/resource-validation-mode
BASE = "http://hl7.org/fhir/StructureDefinition/"
UNKNOWN_PROFILE = "this profile is not known here, so nothing was checked against it"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What to judge; or, of a body that is no JSON, what is wrong with its bytes."""

    resource: Json | None
    arguments: Arguments
    faults: tuple[Fault, ...] = ()

    @property
    def mode(self) -> str | None:
        """Raises BadRequest for one that the standard does not have."""
        mode: str | None = self.arguments.one("mode")
        if mode not in (None, *MODES):
            raise _misused("the mode is one of create, update, delete, profile")
        return mode


async def validate_type(call: Call) -> Answer:
    """`POST /fhir/Type/$validate`: a resource that was sent."""
    kind = resource_type(call)
    asked = await _asked(call, kind)
    if asked.mode not in (None, CREATE):
        raise _misused("this mode is for an instance: /Type/id/$validate")
    return Answer(200, await asyncio.to_thread(_judge, kind, asked))


async def validate_instance(call: Call) -> Answer:
    """`POST` or `GET /fhir/Type/id/$validate`: what is sent for a resource, or what is stored of it."""
    kind, logical_id = resource_type(call), resource_id(call)
    asked = await _asked(call, kind)
    _check_instance(asked)
    org = call.services.keyring.organisation()
    released = await call.services.gate.disclose(
        call.ask("access.read", "validate", kind, "r", f"{kind}/{logical_id}"),
        lambda conn: found(resources.current(conn, org, kind, logical_id)),
    )
    item = released.items[0]
    if item.op == "d":
        raise Gone("this resource was deleted", code="deleted")
    judged = await asyncio.to_thread(_judge, kind, _at_instance(asked, item), logical_id)
    return Answer(200, judged, released=released)


async def _asked(call: Call, kind: str) -> _Asked:
    """The resource and the parameters around it: in the URL, or all of them in a Parameters body."""
    asked = definition(kind, "validate")
    if call.method == "GET" or call.header(b"content-type") is None:
        return _Asked(None, read(asked, PARAMETERS, call, None))
    try:
        body = await resource_body(call)
    except BytesError as exc:
        return _Asked(None, read(asked, PARAMETERS, call, None), exc.faults)
    wrapped = body.get("resourceType") == "Parameters" and (kind != "Parameters" or _wraps(body))
    given = read(asked, PARAMETERS, call, body if wrapped else None)
    return _Asked(given.one("resource") if wrapped else body, given)


def _wraps(parameters: Json) -> bool:
    """Whether a Parameters body is the question and not what is to be judged: it holds a `resource`."""
    rows = parameters.get("parameter")
    return isinstance(rows, list) and any(isinstance(row, dict) and row.get("name") == "resource" for row in rows)


def _check_instance(asked: _Asked) -> None:
    """Raises BadRequest where the standard has no such question."""
    sent = asked.resource is not None or asked.faults
    if asked.mode in (PROFILE, DELETE) and sent:
        raise _misused("in this mode the stored resource is judged: send none")
    if asked.mode in (CREATE, UPDATE) and not sent:
        raise _misused("in this mode a resource is sent")


def _at_instance(asked: _Asked, item: Disclosed) -> _Asked:
    """What is judged at an instance: what was sent, else what is stored."""
    return asked if asked.resource is not None or asked.faults else _Asked(decode(item.body), asked.arguments)


def _judge(kind: str, asked: _Asked, logical_id: str | None = None) -> bytes:
    """The outcome of all layers. Runs in a thread: a large resource takes its time."""
    issues = [_issue(fault) for fault in asked.faults]
    if asked.resource is not None:
        issues += _content(kind, asked.resource, logical_id)
        issues += _profiles(asked.resource, asked.arguments.all("profile"))
    elif not asked.faults:
        raise _misused("there is no resource to validate")
    if not any(issue.severity in ("error", "warning") for issue in issues):
        issues.append(IssueItem("informational", "", "no fault was found", "information"))
    return outcome(tuple(issues), code="validated")


def _content(kind: str, resource: Json, logical_id: str | None) -> list[IssueItem]:
    if resource.get("resourceType") in (None, kind) and logical_id is not None and "id" not in resource:
        return [IssueItem("required", f"{kind}.id", "the resource has no id, and the address has one")]
    faults = validate(resource)
    issues = [_issue(fault) for fault in faults or broken(resource, warnings=True)]
    if not faults and resource["resourceType"] != kind:
        issues.append(IssueItem("invalid", "resourceType", f"the resource is no {kind}"))
    if not faults and logical_id is not None and resource.get("id") != logical_id:
        issues.append(IssueItem("invalid", f"{kind}.id", "the resource has another id than the address"))
    if not any(issue.severity == "error" for issue in issues):
        issues += second_opinion(resource)
    return issues


def _profiles(resource: Json, named: Sequence[str]) -> list[IssueItem]:
    """Those that the caller names, then those that the resource declares."""
    own = f"{BASE}{resource.get('resourceType')}"
    meta = resource.get("meta")
    declared = meta.get("profile") if isinstance(meta, dict) else None
    issues = [IssueItem("not-supported", "", UNKNOWN_PROFILE) for url in named if url.partition("|")[0] != own]
    for index, url in enumerate(declared if isinstance(declared, list) else ()):
        if isinstance(url, str) and url.partition("|")[0] != own and url not in named:
            place = f"{resource.get('resourceType')}.meta.profile[{index}]"
            issues.append(IssueItem("informational", place, UNKNOWN_PROFILE, "information"))
    return issues


def _issue(fault: Fault) -> IssueItem:
    return IssueItem(fault.code, fault.expression, fault.text, fault.severity)


def _misused(text: str) -> BadRequest:
    return BadRequest(text, code="parameter")
