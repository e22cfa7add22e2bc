"""`GET /openapi.json`, without a token: the route table as an OpenAPI document, for tools that read no FHIR.

Made of the same rows as the capability page; types, ids and parameters of operations come from the schema. What
a resource looks like is FHIR's to say, so bodies are told by their type alone. Refusals are one answer, `default`.

Source: OpenAPI 3.1.0; FHIR R4 §2.24.0 (id), http.html; RFC 6750.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec

from adapter.api.call import Answer, Call, Handler
from adapter.api.content import Form
from adapter.api.interaction import ANY_TYPE, Interaction
from adapter.api.parameters import ID
from mappings.fhir.schema import OperationParameter, schema

Json = dict[str, Any]
Table = Sequence[Interaction]

PLAIN_JSON: Final = "application/json"
FHIR: Final = tuple(form.value for form in Form)
WRITES: Final = frozenset({"POST", "PUT", "PATCH"})
# Success, by interaction; every other answers 200.
SUCCESS: Final = {
    "create": ("200", "201"),
    "update": ("200", "201"),
    "delete": ("204",),
    "read": ("200", "304"),
    "vread": ("200", "304"),
    "job": ("200", "202"),
    "job-cancel": ("202",),
}
TEXTS: Final = {"200": "done", "201": "created", "202": "accepted", "204": "done, no body", "304": "not modified"}
ANYTHING: Final = {
    "name": "parameters",
    "in": "query",
    "description": "search parameters, as the CapabilityStatement lists them for each type",
    "style": "form",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
}


def _query(name: str, **schema_of: Any) -> Json:
    return {"name": name, "in": "query", "schema": {"type": "string"} | schema_of}


FORMS: Final = (_query("_format", examples=["json"]), _query("_pretty", type="boolean"))
SHAPES: Final = (_query("_summary", enum=["true", "false", "text", "data", "count"]), _query("_elements"))
PAGES: Final = (_query("_count", type="integer", minimum=0), _query("_since", format="date-time"))
SEARCHES: Final = (_query("_sort"), _query("_include"), _query("_revinclude"), _query("_total"), PAGES[0], ANYTHING)
QUERIES: Final = {
    "read": SHAPES,
    "vread": SHAPES,
    "history-instance": PAGES,
    "history-type": PAGES,
    "history-system": PAGES,
    "search-type": (*SHAPES, *SEARCHES),
    "search-system": (_query("_type"), *SHAPES, *SEARCHES),
    "search-compartment": (*SHAPES, *SEARCHES),
}


def openapi(table: Callable[[], Table]) -> Handler:
    """The interaction over a route table, which is asked for when it is whole."""

    async def answer(call: Call) -> Answer:
        """The document of this node, made once."""
        services, name = call.services, "openapi"
        if name not in services.capability:
            making = asyncio.to_thread(document, services.base, table())
            services.capability[name] = asyncio.create_task(making)
        return Answer(200, await asyncio.shield(services.capability[name]), media_type=PLAIN_JSON)

    return answer


def document(base: str, table: Table) -> bytes:
    """The bytes of the document; `base` is the public URL of `/fhir`."""
    told = {
        "openapi": "3.1.0",
        "info": {
            "title": "Chartbridge",
            "version": version("chartbridge"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base.removesuffix("/fhir")}],
        "security": [{"bearer": []}],
        "paths": _paths(table),
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": {"Resource": _resource_schema(), "OperationOutcome": _resource_schema("OperationOutcome")},
        },
    }
    return msgspec.json.encode(told)


def _paths(table: Table) -> Json:
    """Rows of one address together; where two rows have a method of it, the first answers, as in the routes."""
    paths: Json = {}
    for row in table:
        there = paths.setdefault(_address(row), {})
        for method in row.methods:
            there.setdefault(method.lower(), _operation(row, method))
    return paths


def _address(row: Interaction) -> str:
    return row.path.replace(":path", "")


def _operation(row: Interaction, method: str) -> Json:
    told: Json = {
        "operationId": _id(row, method),
        "summary": row.name,
        "parameters": [*_places(row), *_queries(row, method)],
        "responses": _responses(row),
    }
    if method in WRITES:
        told["requestBody"] = {
            "required": not row.operation,
            "content": {kind: _body(row) for kind in row.takes or FHIR},
        }
    if not row.authenticated:
        told["security"] = []
    return told


def _id(row: Interaction, method: str) -> str:
    """A name that no other row has: what is asked of which address."""
    words = [word.strip("{}$").partition(":")[0] for word in row.path.split("/")]
    return "-".join([method.lower(), *(word for word in words if word)])


def _places(row: Interaction) -> Iterable[Json]:
    """What stands in braces in the address."""
    for word in row.path.split("/"):
        if word.startswith("{"):
            name = word.strip("{}").partition(":")[0]
            yield {"name": name, "in": "path", "required": True, "schema": _place(row, name)}


def _place(row: Interaction, name: str) -> Json:
    if name == "type":
        kinds = row.types if row.path.split("/")[2] == ANY_TYPE else schema().resource_types
        return {"type": "string", "enum": sorted(kinds)}
    if name == "id":
        return {"type": "string", "pattern": f"^{ID.pattern}$"}
    return {"type": "string", "minLength": 1}


def _queries(row: Interaction, method: str) -> Iterable[Json]:
    if not row.fhir:
        return
    if row.negotiates:
        yield from FORMS
    if row.operation:
        yield from (_query(one.name) for one in _inputs(row) if method == "GET")
    elif method == "GET" or row.name in QUERIES:
        yield from QUERIES.get(row.name, ())
    if row.conditional or (row.name == "update" and "{id}" not in row.path):
        yield ANYTHING


def _inputs(row: Interaction) -> list[OperationParameter]:
    """The parameters of an operation that a URL can hold: those of a primitive type."""
    found: dict[str, OperationParameter] = {}
    for kind in sorted(row.types)[:1]:
        for one in schema().operations(kind):
            if one.code == row.operation:
                primitive = (each for each in one.parameters if each.use == "in" and _is_primitive(each.type))
                found |= {each.name: each for each in primitive}
    return list(found.values())


def _is_primitive(name: str | None) -> bool:
    known = schema().types.get(name or "")
    return known is not None and known.kind == "primitive"


def _body(row: Interaction) -> Json:
    if row.takes:
        return {"schema": {"type": "string"}} if "json" not in row.takes[0] else {"schema": {}}
    return {"schema": {"$ref": "#/components/schemas/Resource"}}


def _responses(row: Interaction) -> Json:
    resource = {kind: {"schema": {"$ref": "#/components/schemas/Resource"}} for kind in FHIR}
    outcome = {kind: {"schema": {"$ref": "#/components/schemas/OperationOutcome"}} for kind in FHIR}
    found = {"content": resource} if row.fhir and row.negotiates else {}
    codes = (code for code in SUCCESS.get(row.name, ("200",)) if row.creates or code != "201")
    told: Json = {code: {"description": TEXTS[code]} for code in codes}
    for code in ("200", "201"):
        if code in told:
            told[code] |= found
    return told | {"default": {"description": "refused: an OperationOutcome", "content": outcome}}


def _resource_schema(name: str | None = None) -> Json:
    kinds = [name] if name else sorted(schema().resource_types)
    return {"type": "object", "required": ["resourceType"], "properties": {"resourceType": {"enum": kinds}}}
