"""The route table: every address of the API, what answers it, and what it owes.

The capability page, the OpenAPI document, the permission tests and `tests/test_gate.py` read this table; a route that
is not here does not exist. An address under `/fhir` with a trailing slash is the same address.
"""

import re
from collections.abc import Iterator, Sequence
from functools import cache

from starlette.routing import Route, compile_path

from adapter.api.admission import CONSENT, RENDERED, SUBSCRIPTION
from adapter.api.batch import interact
from adapter.api.call import Answer, Call, FhirEndpoint
from adapter.api.capability import capabilities
from adapter.api.cda import receive_document
from adapter.api.consent import create as create_consent
from adapter.api.consent import update as update_consent
from adapter.api.content import PATCHES
from adapter.api.create import create
from adapter.api.delete import delete
from adapter.api.health import livez, readyz
from adapter.api.history import history, history_system, history_type
from adapter.api.hl7v2 import receive
from adapter.api.interaction import ANY_TYPE, BASE, Interaction
from adapter.api.log import checkpoint, tile
from adapter.api.openapi import openapi
from adapter.api.operations.everything import everything
from adapter.api.operations.export import (
    cancel_job,
    export_group,
    export_patients,
    export_system,
    job_file,
    job_status,
)
from adapter.api.operations.match import match
from adapter.api.operations.terminology import expand, translate, validate_code_of_set, validate_code_of_system
from adapter.api.operations.validate import validate_instance, validate_type
from adapter.api.options import allow
from adapter.api.parameters import ID
from adapter.api.patch import patch
from adapter.api.read import read
from adapter.api.search import FORM, search_compartment, search_system, search_type
from adapter.api.subscription import create as create_subscription
from adapter.api.subscription import delete as delete_subscription
from adapter.api.subscription import update as update_subscription
from adapter.api.update import conditional_update, update
from adapter.api.vread import vread
from adapter.api.well_known import well_known
from adapter.errors import MethodNotAllowed, NotFound
from adapter.services import Services
from mappings.fhir.schema import schema

ELSEWHERE = RENDERED | {CONSENT, SUBSCRIPTION}  # read from the log; written in ways of their own

# The most asked for stand first; a literal path stands before a pattern that would take it.
TABLE: tuple[Interaction, ...] = (
    Interaction(
        "capabilities", ("GET",), "/fhir/metadata", capabilities(lambda: TABLE), discloses=False, authenticated=False
    ),
    Interaction("openapi", ("GET",), "/openapi.json", openapi(lambda: TABLE), discloses=False, authenticated=False),
    Interaction("well-known", ("GET",), "/fhir/.well-known/{page}", well_known, discloses=False, authenticated=False),
    Interaction(
        "translate", ("GET", "POST"), "/fhir/ConceptMap/$translate", translate, discloses=False, operation="translate"
    ),
    Interaction(
        "validate-code",
        ("GET", "POST"),
        "/fhir/CodeSystem/$validate-code",
        validate_code_of_system,
        discloses=False,
        operation="validate-code",
    ),
    Interaction(
        "validate-code",
        ("GET", "POST"),
        "/fhir/ValueSet/$validate-code",
        validate_code_of_set,
        discloses=False,
        operation="validate-code",
    ),
    Interaction("expand", ("GET", "POST"), "/fhir/ValueSet/$expand", expand, discloses=False, operation="expand"),
    Interaction(
        "export-patient", ("GET",), "/fhir/Patient/$export", export_patients, discloses=False, operation="export"
    ),
    Interaction("job", ("GET",), "/fhir/job/{id}", job_status, discloses=False, negotiates=False),
    Interaction("history-type", ("GET",), "/fhir/{type}/_history", history_type),
    Interaction("history-system", ("GET",), "/fhir/_history", history_system),
    Interaction("read", ("GET",), "/fhir/{type}/{id}", read),
    Interaction("export-system", ("GET",), "/fhir/$export", export_system, discloses=False, operation="export"),
    Interaction("search-type", ("GET",), "/fhir/{type}", search_type),
    Interaction("search-type", ("POST",), "/fhir/{type}/_search", search_type, takes=(FORM,)),
    Interaction("search-system", ("GET",), "/fhir", search_system),
    Interaction("search-system", ("POST",), "/fhir/_search", search_system, takes=(FORM,)),
    Interaction("vread", ("GET",), "/fhir/{type}/{id}/_history/{version}", vread),
    Interaction("history-instance", ("GET",), "/fhir/{type}/{id}/_history", history),
    Interaction(
        "export-group", ("GET",), "/fhir/Group/{id}/$export", export_group, discloses=False, operation="export"
    ),
    Interaction("job-file", ("GET",), "/fhir/job/{id}/{file}", job_file, negotiates=False),
    Interaction("everything", ("GET", "POST"), "/fhir/Patient/{id}/$everything", everything, operation="everything"),
    Interaction("match", ("POST",), "/fhir/Patient/$match", match, operation="match"),
    Interaction(
        "validate-instance", ("GET", "POST"), "/fhir/{type}/{id}/$validate", validate_instance, operation="validate"
    ),
    Interaction("validate", ("POST",), "/fhir/{type}/$validate", validate_type, discloses=False, operation="validate"),
    Interaction("search-compartment", ("GET",), "/fhir/Patient/{id}/{type}", search_compartment),
    Interaction(
        "search-compartment", ("POST",), "/fhir/Patient/{id}/{type}/_search", search_compartment, takes=(FORM,)
    ),
    Interaction("create", ("POST",), "/fhir/Consent", create_consent),
    Interaction("update", ("PUT",), "/fhir/Consent/{id}", update_consent),
    Interaction("create", ("POST",), "/fhir/Subscription", create_subscription),
    Interaction("update", ("PUT",), "/fhir/Subscription/{id}", update_subscription, creates=False),
    Interaction("delete", ("DELETE",), "/fhir/Subscription/{id}", delete_subscription),
    Interaction("create", ("POST",), "/fhir/{type}", create, without=ELSEWHERE, conditional=True),
    Interaction("update", ("PUT",), "/fhir/{type}/{id}", update, without=ELSEWHERE),
    Interaction("update", ("PUT",), "/fhir/{type}", conditional_update, without=ELSEWHERE),
    Interaction("patch", ("PATCH",), "/fhir/{type}/{id}", patch, takes=PATCHES, without=ELSEWHERE),
    Interaction("job-cancel", ("DELETE",), "/fhir/job/{id}", cancel_job, discloses=False, negotiates=False),
    Interaction("delete", ("DELETE",), "/fhir/{type}/{id}", delete, without=ELSEWHERE),
    Interaction("transaction", ("POST",), "/fhir", lambda call: interact(call, dispatch)),
    Interaction("batch", ("POST",), "/fhir", lambda call: interact(call, dispatch)),  # the same: the Bundle says which
    Interaction("hl7v2", ("POST",), "/hl7v2", receive, discloses=False),
    Interaction("cda", ("POST",), "/cda", receive_document, discloses=False),
    Interaction("checkpoint", ("GET",), "/log/{shard}/checkpoint", checkpoint, discloses=False, authenticated=False),
    Interaction("tile", ("GET",), "/log/{shard}/tile/{tile:path}", tile, discloses=False, authenticated=False),
    Interaction("livez", ("GET",), "/livez", livez, discloses=False, authenticated=False),
    Interaction("readyz", ("GET",), "/readyz", readyz, discloses=False, authenticated=False),
)


class _SlashRoute(Route):
    """A route that takes a trailing slash for what it is: the same address."""

    def __init__(self, path: str, endpoint: FhirEndpoint, *, methods: Sequence[str], name: str) -> None:
        super().__init__(path, endpoint, methods=list(methods), name=name)
        self.path_regex = _with_slash(self.path_regex)


def _with_slash(pattern: re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(pattern.pattern.removesuffix("$") + r"/?\Z")


def routes(services: Services, table: Sequence[Interaction] = TABLE) -> list[Route]:
    """The table as routes of the framework."""
    return [
        _SlashRoute(
            row.path,
            FhirEndpoint(
                services,
                row.handler,
                authenticated=row.authenticated,
                discloses=row.discloses,
                fhir=row.fhir and row.negotiates,
                allow=lambda path: allow(methods(path)),
            ),
            methods=row.methods,
            name=row.name,
        )
        for row in table
    ]


async def dispatch(call: Call) -> Answer:
    """What answers a request inside a request (`inner.py`): the first row that takes it, as outside."""
    known = False
    for row, pattern in _patterns():
        if (found := pattern.match(call.path)) is None:
            continue
        known = True
        if call.method in row.methods or (call.method == "HEAD" and "GET" in row.methods):
            call.params = found.groupdict()
            return await row.handler(call)
    if known:
        raise MethodNotAllowed("this address does not know the method")
    raise NotFound("there is nothing at this address")


@cache
def _patterns() -> tuple[tuple[Interaction, re.Pattern[str]], ...]:
    """The rows that an entry of a Bundle may ask for; a Bundle inside a Bundle is none, nor what is no FHIR."""
    rows = (row for row in TABLE if row.path.startswith("/fhir/") and row.negotiates)
    return tuple((row, compile_path(row.path)[0]) for row in rows)


def methods(path: str) -> tuple[str, ...]:
    """The methods that an address knows, for `Allow`; none where there is no such address."""
    found = {method for row in _at(path) for method in row.methods}
    if "GET" in found:
        found.add("HEAD")
    return tuple(sorted(found | {"OPTIONS"})) if found else ()


def is_public(path: str) -> bool:
    """Whether an address of the API needs no token."""
    return any(row.fhir and not row.authenticated for row in _at(path))


def _at(path: str) -> Iterator[Interaction]:
    """The rows that an address is one of: it names a type that they stand at, and what can be an id."""
    for row, pattern in _addresses():
        if (found := pattern.match(path)) is None:
            continue
        kind, logical_id = found.groupdict().get("type"), found.groupdict().get("id")
        kinds = row.types if row.path.startswith(f"{BASE}/{ANY_TYPE}") else schema().resource_types
        if (kind is None or kind in kinds) and (logical_id is None or ID.fullmatch(logical_id)):
            yield row


@cache
def _addresses() -> tuple[tuple[Interaction, re.Pattern[str]], ...]:
    return tuple((row, _with_slash(compile_path(row.path)[0])) for row in TABLE)
