"""What rows of outbound maps are made of, whatever they write: a concept map read backwards, an expression compiled.

Source: FHIR R4 ConceptMap; FHIRPath 2.0.
"""

from mappings.fhir.fhirpath import Compiled, FhirpathError, compile
from mappings.outbound.errors import OutboundError
from mappings.outbound.vocabulary import backwards
from mappings.terminology.concept_map import ConceptMap, MapError, load


def vocabulary_of(name: str, where: str, faults: list[str]) -> ConceptMap | None:
    """The map of a row's `vocab`, which must read backwards; None where it names none. A fault is added, not raised."""
    if not name:
        return None
    try:
        backwards(name)
        return load(name)
    except (MapError, OutboundError) as exc:
        faults.append(f"{where}: {exc}")
        return None


def compiled(text: str, where: str, faults: list[str]) -> Compiled | None:
    """The expression of a cell. A fault is added, not raised."""
    try:
        return compile(text)
    except FhirpathError as exc:
        faults.append(f"{where}: {exc}")
        return None
