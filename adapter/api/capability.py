"""capabilities: `GET /fhir/metadata`, without a token. http://hl7.org/fhir/R4/http.html#capabilities

Built from the route table and the compiled schema, so it claims what there is: a test calls everything it claims and
finds every route claimed. `fhir.resources` types it, our codec makes its bytes.
"""

import asyncio
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import version
from typing import Any

from fhir.resources.R4B.capabilitystatement import CapabilityStatement

from adapter.api.admission import CONSENT, RENDERED
from adapter.api.call import Answer, Call
from adapter.api.operations.served import SYSTEM, of_type
from adapter.api.parameters import check_read_parameters
from mappings.fhir.codec import decode, encode
from mappings.fhir.schema import Param, schema
from mappings.fhir.search import is_searchable

SECURITY_SERVICE = "http://terminology.hl7.org/CodeSystem/restful-security-service"
TIERS = {
    "T1": "by a keyed index of the organisation",
    "T2": "within one patient, by her own keyed index",
    "T3": "within one patient, by opening what the other parameters leave",
}
INDEXED = frozenset({"token", "date", "reference", "uri"})
READS = ("read", "vread", "history-instance", "search-type")


async def capabilities(call: Call) -> Answer:
    """The CapabilityStatement of this node, made once, beside the loop: half a second that no ACK waits for."""
    check_read_parameters(call.pairs, frozenset({"mode"}))
    services, name = call.services, "metadata"
    if name not in services.capability:
        making = asyncio.to_thread(statement, services.base, services.settings.node.name, services.started)
        services.capability[name] = asyncio.create_task(making)
    return Answer(200, await asyncio.shield(services.capability[name]))


def statement(base: str, name: str, at: datetime) -> bytes:
    """The canonical bytes of the statement."""
    built = CapabilityStatement.model_validate(
        {
            "resourceType": "CapabilityStatement",
            "status": "active",
            "date": at.isoformat(timespec="seconds"),
            "kind": "instance",
            "fhirVersion": "4.0.1",
            "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
            "software": {"name": "Chartbridge", "version": version("chartbridge")},
            "implementation": {"description": name, "url": base},
            "rest": [
                {
                    "mode": "server",
                    "security": _security(),
                    "resource": list(_resources()),
                    "interaction": [{"code": "search-system"}],
                    "operation": _operations(SYSTEM),
                }
            ],
        }
    )
    return encode(decode(built.model_dump_json(exclude_none=True).encode()))


def _security() -> dict[str, Any]:
    return {
        "cors": False,
        "service": [{"coding": [{"system": SECURITY_SERVICE, "code": "SMART-on-FHIR"}]}],
        "description": "Bearer tokens (ES256, at+jwt) with SMART scopes; each access is recorded before its answer.",
    }


def _resources() -> Iterable[dict[str, Any]]:
    for name in sorted(schema().resource_types):
        plain = name not in RENDERED | {CONSENT}
        codes = [*READS, *_writes(name)]
        yield {
            "type": name,
            "interaction": [{"code": code} for code in codes],
            "versioning": "versioned",
            "readHistory": True,
            "updateCreate": name not in RENDERED,
            "conditionalCreate": plain,
            "conditionalRead": "full-support",
            "conditionalUpdate": plain,
            "conditionalDelete": "not-supported",
            "searchParam": [_param(param) for param in _params(name)],
            "operation": _operations(name),
        }


def _writes(name: str) -> tuple[str, ...]:
    """How a type is written; what is rendered from the log is not."""
    if name in RENDERED:
        return ()
    return ("create", "update") if name == CONSENT else ("create", "update", "delete")


def _operations(type_: str) -> list[dict[str, str]]:
    return [{"name": one.name, "definition": one.canonical} for one in of_type(type_)]


def _params(name: str) -> list[Param]:
    return [param for code, param in sorted(schema().params(name).items()) if is_searchable(name, code)]


def _param(param: Param) -> dict[str, Any]:
    tier = "T1" if param.code == "identifier" else "T2" if param.type in INDEXED else "T3"
    return {"name": param.code, "type": param.type, "definition": param.url, "documentation": f"{tier}: {TIERS[tier]}"}
