"""Which operations there are, at which types and levels: what the capability page claims.

Everything else about them (canonical, parameters) stands in the standard's definition, in the compiled schema.
"""

from dataclasses import dataclass

from mappings.fhir.schema import Operation, schema

EVERY_TYPE = "Resource"
SYSTEM = ""
BULK = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition/"  # FHIR Bulk Data Access IG 2.0


@dataclass(frozen=True, slots=True)
class Served:
    """An operation at a type (SYSTEM: at none), by the name behind the dollar sign, with its canonical."""

    name: str
    type: str
    canonical: str


def definition(type_: str, name: str) -> Operation:
    """The standard's definition. KeyError for an operation that R4 does not have."""
    for found in schema().operations(type_):
        if found.code == name:
            return found
    raise KeyError(name)


def _standard(name: str, type_: str) -> Served:
    return Served(name, type_, definition(type_, name).url)


SERVED: tuple[Served, ...] = (
    _standard("validate", EVERY_TYPE),
    _standard("match", "Patient"),
    _standard("everything", "Patient"),
    _standard("translate", "ConceptMap"),
    _standard("validate-code", "CodeSystem"),
    _standard("validate-code", "ValueSet"),
    _standard("expand", "ValueSet"),
    Served("export", "Patient", f"{BULK}patient-export"),
    Served("export", "Group", f"{BULK}group-export"),
    Served("export", SYSTEM, f"{BULK}export"),
)


def of_type(type_: str) -> list[Served]:
    """Those that the capability page names at a type."""
    return [one for one in SERVED if one.type in (type_, EVERY_TYPE if type_ else SYSTEM)]
