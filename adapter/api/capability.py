"""capabilities: `GET /fhir/metadata`, without a token. http://hl7.org/fhir/R4/http.html#capabilities

Made of the route table, the compiled schema and the settings, and of nothing else: what has no row is not claimed, and
a row that comes is. A test calls everything it claims. `fhir.resources` types it, our codec makes its bytes.

Source: FHIR R4 CapabilityStatement; SMART App Launch 1.0 (`oauth-uris`); fhir chapter §5 (tiers), §11.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any

from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from adapter.api import includes
from adapter.api.call import Answer, Call, Handler
from adapter.api.content import Form
from adapter.api.interaction import ANY_TYPE, Interaction, at
from adapter.api.operations.served import of_type
from adapter.api.parameters import check_read_parameters
from adapter.api.search import SERVED
from adapter.services import Services
from adapter.settings import Settings
from adapter.store.index import COMBINED, INDEXED_KINDS, LOCATED, OWNER_SAYS
from mappings.fhir.codec import decode, encode
from mappings.fhir.schema import Param, schema
from mappings.fhir.search import is_searchable, targets

SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
OAUTH_URIS = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
PATIENT_COMPARTMENT = "http://hl7.org/fhir/CompartmentDefinition/patient"
TIERS = {
    "T0": "in clear between keyed ids",
    "T1": "keyed index of the organisation",
    "T2": "keyed index of one patient",
    "T3": "not indexed",
}
TEXT = (
    "A search names a patient, an identifier, a canonical URL or an id; a search of everybody's data is refused "
    "(too-costly). Parameters of tier T0 and T1 find by themselves, those of T2 within one patient; those of T3 are "
    "matched on what the others leave. What leaves is permitted by scope, house rules and consent, one by one."
)
SECURITY = "Bearer tokens (ES256, at+jwt) with SMART scopes; each access is recorded before its answer."

Json = dict[str, Any]
Table = Sequence[Interaction]


def capabilities(table: Callable[[], Table]) -> Handler:
    """The interaction over a route table, which is asked for when it is whole: this row is one of it."""

    async def answer(call: Call) -> Answer:
        """The statement of this node, made once, beside the loop: half a second that no ACK waits for."""
        check_read_parameters(call.pairs, frozenset({"mode"}))
        services, name = call.services, "metadata"
        if name not in services.capability:
            services.capability[name] = asyncio.create_task(asyncio.to_thread(statement, services, table()))
        return Answer(200, await asyncio.shield(services.capability[name]))

    return answer


def statement(services: Services, table: Table) -> bytes:
    """The canonical bytes of the statement."""
    settings = services.settings
    told = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": services.started.isoformat(timespec="seconds"),
        "kind": "instance",
        "instantiates": list(settings.http.instantiates),
        "software": {"name": "Chartbridge", "version": version("chartbridge")},
        "implementation": {"description": settings.node.name, "url": services.base},
        "fhirVersion": schema().version,
        "format": [*(form.value for form in Form), *(form.name.lower() for form in Form)],
        "patchFormat": sorted({kind for row in table if row.name == "patch" for kind in row.takes}),
        "implementationGuide": list(settings.http.implementation_guide),
        "rest": [_rest(settings, table)],
    }
    built = CapabilityStatement.model_validate(_present(told))
    return encode(decode(built.model_dump_json(exclude_none=True).encode()))


def _rest(settings: Settings, table: Table) -> Json:
    whole = [row for row in table if row.fhir and ANY_TYPE not in row.path and not row.types]
    return _present(
        {
            "mode": "server",
            "documentation": TEXT,
            "security": _security(settings),
            "resource": [_resource(kind, at(table, kind)) for kind in sorted(schema().resource_types)],
            "interaction": _interactions("system-restful-interaction", whole),
            "operation": _operations(None, whole),
            "compartment": [PATIENT_COMPARTMENT] if any(row.name == "search-compartment" for row in table) else [],
        }
    )


def _security(settings: Settings) -> Json:
    access = settings.access
    uris = {"authorize": access.authorize_url, "token": access.token_url}
    parts = [{"url": name, "valueUri": uri} for name, uri in uris.items() if uri]
    return _present(
        {
            "extension": [{"url": OAUTH_URIS, "extension": parts}] if parts else [],
            "cors": bool(settings.http.origins),
            "service": [{"coding": [{"system": SECURITY_SERVICE, "code": "SMART-on-FHIR"}]}],
            "description": SECURITY,
        }
    )


def _resource(kind: str, rows: Table) -> Json:
    names = {row.name for row in rows}
    searched = "search-type" in names
    return _present(
        {
            "type": kind,
            "interaction": _interactions("type-restful-interaction", rows),
            "versioning": "versioned" if "vread" in names else "no-version",
            "readHistory": "vread" in names,
            "updateCreate": any(row.name == "update" and row.creates and "{id}" in row.path for row in rows),
            "conditionalCreate": any(row.name == "create" and row.conditional for row in rows),
            "conditionalRead": "full-support" if "read" in names else "not-supported",
            "conditionalUpdate": any(row.name == "update" and "{id}" not in row.path for row in rows),
            "conditionalDelete": "not-supported",
            "searchInclude": list(_includes(kind)) if searched and "_include" in SERVED else [],
            "searchRevInclude": list(_revincludes(kind)) if searched and "_revinclude" in SERVED else [],
            "searchParam": [_param(param) for param in _params(kind)] if searched else [],
            "operation": _operations(kind, rows),
        }
    )


def _interactions(valueset: str, rows: Table) -> list[Json]:
    """Those of the rows that the standard has a code for, in the code's order."""
    names = {row.name for row in rows if not row.operation}
    codes = (schema().valueset(valueset) or {}).values()
    return [{"code": code} for code in sorted(names.intersection(*codes))]


def _operations(kind: str | None, rows: Table) -> list[Json]:
    """The operations that the rows hold, each by its canonical."""
    held = {row.operation for row in rows if row.operation}
    return [{"name": one.name, "definition": one.canonical} for one in of_type(kind or "") if one.name in held]


def _params(kind: str) -> list[Param]:
    return [param for code, param in sorted(schema().params(kind).items()) if is_searchable(kind, code)]


def _param(param: Param) -> Json:
    tier = _tier(param)
    return {"name": param.code, "type": param.type, "definition": param.url, "documentation": f"{tier}: {TIERS[tier]}"}


def _tier(param: Param) -> str:
    """Where the index has it, as `store/index.py` decides."""
    if param.code == "_id" or param.code in OWNER_SAYS:
        return "T0"
    if param.type not in INDEXED_KINDS and param.code not in COMBINED:
        return "T3"
    if param.code in LOCATED:
        return "T1"
    return "T0" if param.type == "reference" else "T2"


def _references(kind: str) -> list[Param]:
    return [param for param in _params(kind) if param.type == "reference"]


def _includes(kind: str) -> Iterable[str]:
    return (f"{kind}:{param.code}" for param in _references(kind))


def _revincludes(kind: str) -> Iterable[str]:
    """What refers to a type, but for what would search everybody's."""
    for source in sorted(schema().resource_types):
        if includes.answerable(kind, source):
            yield from (f"{source}:{param.code}" for param in _references(source) if kind in targets(param))


def _present(told: Json) -> Json:
    """Without what is empty, which FHIR does not have; False is said."""
    return {name: value for name, value in told.items() if value not in ([], None, "")}
