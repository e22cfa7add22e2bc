"""Every resource that HL7 publishes with R4 4.0.1: definitions and examples of all types, 5,300 files.

Source: npm package hl7.fhir.r4.examples 4.0.1 (CC0). What is refused is listed in `tests/vectors/r4_examples.csv`, with
the reason; HL7's own validator refuses the same resources (but for the two over our limit of a string).
"""

import csv
import json
from functools import cache
from pathlib import Path

import pytest
from fhir.resources.R4B import get_fhir_model_class

from mappings.fhir import schema as schema_module
from mappings.fhir.codec import BOM, MIB, BytesError, Fault, Limits, check_bytes, decode, encode
from mappings.fhir.validate import validate
from tests.mappings.fhir import r4_package
from tools import compile_fhir

VECTORS = Path(__file__).parents[2] / "vectors"
BUNDLES_OF_DEFINITIONS = Limits(max_bytes=64 * MIB)  # the largest has 35 MB
SECOND_OPINION = 200_000  # bytes; these classes are slow, and what is larger defines things
DEFINITIONS = ("CodeSystem-", "ConceptMap-", "SearchParameter-", "StructureDefinition-", "ValueSet-")

pytestmark = pytest.mark.node


def faults(data: bytes) -> tuple[Fault, ...]:
    """What the bytes, schema and narrative layers say."""
    try:
        return validate(check_bytes(data, BUNDLES_OF_DEFINITIONS))
    except BytesError as exc:
        return exc.faults


def exceptions() -> dict[str, dict[str, str]]:
    with (VECTORS / "r4_examples.csv").open(encoding="utf-8", newline="") as rows:
        return {row["file"]: row for row in csv.DictReader(rows)}


def lexemes(data: bytes) -> object:
    """JSON with its numbers as they are written."""
    return json.loads(data, parse_float=str, parse_int=str)


@cache
def judged() -> tuple[dict[str, tuple[Fault, ...]], list[str]]:
    """In one pass over all examples: what is refused, and what does not come back with its members and lexemes."""
    refused, changed = {}, []
    for name, data in r4_package.examples().items():
        try:
            resource = check_bytes(data, BUNDLES_OF_DEFINITIONS)
        except BytesError as exc:
            refused[name] = exc.faults
            continue
        if found := validate(resource):
            refused[name] = found
        canonical = encode(resource)
        if encode(decode(canonical)) != canonical or lexemes(canonical) != lexemes(data.removeprefix(BOM)):
            changed.append(name)
    return refused, changed


def test_every_example_is_valid_but_for_those_listed_with_a_reason() -> None:
    listed = {name: (row["code"], int(row["faults"]), row["expression"]) for name, row in exceptions().items()}
    refused = {name: (found[0].code, len(found), found[0].expression) for name, found in judged()[0].items()}
    assert refused == listed
    assert all(row["reason"] for row in exceptions().values())


def test_every_example_keeps_its_members_and_number_lexemes() -> None:
    assert judged()[1] == []


def test_what_is_checked_in_is_what_the_package_compiles_to(tmp_path: Path) -> None:
    package = r4_package.package()
    assert compile_fhir.main(["--package", str(package), "--out", str(tmp_path)]) == 0
    kept = schema_module.TABLE.parent
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        name: (kept / name).read_bytes() for name in ("r4.json", "deflate.dict")
    }


def test_a_changed_package_is_refused(tmp_path: Path) -> None:
    tampered = tmp_path / "package.tgz"
    tampered.write_bytes(r4_package.package().read_bytes() + b"\0")
    with pytest.raises(compile_fhir.CompileError, match="wrong integrity"):
        compile_fhir.check_integrity(tampered)


def test_fhir_resources_disagrees_on_examples_only_where_it_is_listed() -> None:
    with (VECTORS / "disagreements.csv").open(encoding="utf-8", newline="") as rows:
        listed = {row["subject"]: row["theirs"] for row in csv.DictReader(rows) if row["judge"] == "fhir.resources"}
    found = {}
    for name, data in r4_package.examples().items():
        if len(data) < SECOND_OPINION and not name.startswith(DEFINITIONS):
            theirs, ours = accepted_by_fhir_resources(json.loads(data)), not faults(data)
            if theirs is not None and theirs != ours:
                found[name] = "accepts" if theirs else "refuses"
    assert found == {name: theirs for name, theirs in listed.items() if name.endswith(".json")}


def accepted_by_fhir_resources(resource: dict[str, object]) -> bool | None:
    """The verdict of the R4B classes; None for the types that R4B dropped."""
    try:
        model = get_fhir_model_class(str(resource["resourceType"]))
    except ValueError:
        return None
    try:
        model.model_validate(resource)
    except ValueError:
        return False
    return True
