"""Valid resources with one fault each: every fault is found, at its place, and nothing else is.

The rows of `tests/vectors/mutants.csv` say which rule is broken, where a member of a valid resource (in the folder
`mutants` beside it) is set to a value or taken away, and the code and expression of the one fault. Of those that other
judges accept, `tests/vectors/disagreements.csv` says who is right and why.
"""

import csv
import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from fhir.resources.R4B import get_fhir_model_class

from mappings.fhir.codec import Json, check_bytes, decode, encode
from mappings.fhir.validate import validate

VECTORS = Path(__file__).parents[2] / "vectors"
BASES = {path.stem: path.read_bytes() for path in sorted((VECTORS / "mutants").glob("*.json"))}
Row = dict[str, str]


def rows(name: str) -> list[Row]:
    with (VECTORS / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


MUTANTS = rows("mutants.csv")


def mutant(row: Row) -> Json:
    """The base of a row with one member set, or taken away where the row has no value."""
    resource = decode(BASES[row["base"]])
    *parents, last = row["pointer"][1:].split("/")
    node: object = resource
    for step in parents:
        node = node[int(step)] if isinstance(node, list) else node[step]  # type: ignore[index]
    if isinstance(node, list):
        node[int(last)] = decode(row["value"])
    elif isinstance(node, dict) and row["value"]:
        node[last] = decode(row["value"])
    elif isinstance(node, dict):
        del node[last]
    return resource


@pytest.mark.parametrize("base", BASES)
def test_a_base_is_valid(base: str) -> None:
    assert validate(check_bytes(BASES[base])) == ()


@pytest.mark.parametrize("row", MUTANTS, ids=lambda row: f"{row['rule']} {row['base']}{row['pointer']}")
def test_a_mutant_is_refused_at_its_place(row: Row) -> None:
    faults = validate(mutant(row))
    assert [(fault.code, fault.expression) for fault in faults] == [(row["code"], row["expression"])]


def test_there_are_enough_mutants_and_each_rule_has_some() -> None:
    assert len(MUTANTS) >= 150
    assert len({tuple(row.values()) for row in MUTANTS}) == len(MUTANTS)


def test_all_faults_are_found_at_once() -> None:
    resource = decode(BASES["patient"])
    resource |= {"nickname": "x", "gender": "robot", "birthDate": "1970-02-30", "telecom": []}
    assert [fault.expression for fault in validate(resource)] == [
        "Patient.telecom",
        "Patient.gender",
        "Patient.birthDate",
        "Patient.nickname",
    ]


def test_fhir_resources_accepts_exactly_what_is_listed() -> None:
    """It does not know value sets, reference targets, narrative and most of JSON's rules; the table has it by rule."""
    accepted = Counter(row["rule"] for row in MUTANTS if accepted_by_fhir_resources(mutant(row)))
    assert accepted == listed("fhir.resources")


def listed(judge: str) -> dict[str, int]:
    """By rule, how many mutants a judge is known to accept."""
    found = [row for row in rows("disagreements.csv") if row["judge"] == judge and not row["subject"].endswith(".json")]
    assert all(row["right"] and row["reason"] for row in found)
    return {row["subject"]: int(row["cases"]) for row in found}


@pytest.mark.conformance
def test_the_official_validator_accepts_exactly_what_is_listed(tmp_path: Path) -> None:
    command = os.environ.get("CHARTBRIDGE_VALIDATOR")
    if command is None:
        pytest.skip("needs HL7's validator: CHARTBRIDGE_VALIDATOR names a command that takes a folder")
    for number, row in enumerate(MUTANTS):
        (tmp_path / f"{number:04}.json").write_bytes(encode(mutant(row)))
    for name, data in BASES.items():
        (tmp_path / f"{name}.json").write_bytes(data)
    done = subprocess.run([command, str(tmp_path)], check=False, capture_output=True, text=True)  # noqa: S603
    refused = set(re.findall(r"([^/\\\n]+)\.json: (?:error|fatal): ", done.stdout))
    assert refused.isdisjoint(BASES)
    accepted = Counter(row["rule"] for number, row in enumerate(MUTANTS) if f"{number:04}" not in refused)
    assert accepted == listed("HL7 validator")


def accepted_by_fhir_resources(resource: Json) -> bool:
    plain = json.loads(encode(resource))
    try:
        get_fhir_model_class(plain.get("resourceType", "Patient")).model_validate(plain)
    except (ValueError, TypeError, KeyError):  # the last two: a resourceType it does not expect
        return False
    return True
