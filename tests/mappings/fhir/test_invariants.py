"""The constraints of R4: each is asked where it is declared, broken by what breaks it, and by nothing else.

The rows of `tests/vectors/invariants.csv` name a constraint, a valid resource of the folder `invariants` beside it, and
a merge patch (RFC 7386) at one place that breaks this constraint and no other, with the place of the fault. fhirpathpy
is the oracle, HL7's own validator the judge (marker `conformance`), and every published example is asked (`node`).
Source: design chapter FHIR §3.
"""

import copy
import csv
import os
import re
import shutil
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir import fhirpath
from mappings.fhir.codec import BytesError, Json, check_bytes, decode, encode
from mappings.fhir.decided import UNDECIDED, decide
from mappings.fhir.fhirpath import Env
from mappings.fhir.invariants import PROVEN, Where, asked, broken, key_of
from mappings.fhir.schema import schema
from mappings.fhir.validate import validate
from tests.mappings.fhir import oracle, r4_package
from tests.mappings.fhir.samples import RESOURCES

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests" / "vectors"
BASES = {path.stem: decode(path.read_bytes()) for path in sorted((VECTORS / "invariants").glob("*.json"))}
VALIDATOR = Path(os.environ.get("CHARTBRIDGE_TOOLS", ROOT.parent / "shared/tools")) / "validate"
Row = dict[str, str]

# Of these mutants HL7's validator says something else, or nothing.
JUDGED_OTHERWISE = {
    "ctm-1": "it resolves the member, which nobody published, where the reference alone names the type",
    "ref-1": "of `#` outside a contained resource it says that it cannot be resolved",
    "sdf-15a": "it does not ask this of a differential",
    "smp-1": "it does not ask this",
    "vsd-2": "it does not ask this",
}


def rows() -> list[Row]:
    with (VECTORS / "invariants.csv").open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


MUTANTS = rows()


def patched(target: Any, change: Any) -> Any:
    """RFC 7386, in place where it can be."""
    if not isinstance(change, dict):
        return change
    found = target if isinstance(target, dict) else {}
    for name, value in change.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = patched(found.get(name), value)
    return found


def mutant(row: Row) -> Json:
    resource = copy.deepcopy(BASES[row["base"]])
    node: Any = resource
    for step in filter(None, row["pointer"].split("/")):
        node = node[int(step)] if isinstance(node, list) else node[step]
    patched(node, decode(row["change"]))
    return resource


def named(row: Row) -> str:
    return f"{row['key']} {row['base']}{row['pointer']}"


def all_asked(resource: Json) -> tuple[str, ...]:
    """The keys of the errors that asking every constraint at every node finds, without the quick pass."""
    found = (one for one in asked(resource) if one.rule.severity == "error" and one.answer is not True)
    return tuple(one.rule.key.partition("@")[0] for one in found)


# --- mutants ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", BASES)
def test_a_base_breaks_nothing(base: str) -> None:
    assert validate(BASES[base]) == ()
    assert broken(BASES[base]) == ()


@pytest.mark.parametrize("row", MUTANTS, ids=named)
def test_a_mutant_breaks_the_one_constraint_at_its_place(row: Row) -> None:
    resource = mutant(row)
    assert validate(resource) == (), "not a fault that the schema layer finds before"
    assert [(key_of(fault), fault.code, fault.expression) for fault in broken(resource)] == [
        (row["key"], "invariant", row["expression"])
    ]


def test_there_are_mutants_of_nearly_all_constraints() -> None:
    errors = {key for key, rule in schema().constraints.items() if rule.severity == "error" and key not in PROVEN}
    tried = {row["key"] for row in MUTANTS}
    assert len(tried) >= 170
    assert tried <= {key.partition("@")[0] for key in errors}
    assert len(errors) == 197


def test_what_is_proven_by_the_schema_layer_is_in_the_standard() -> None:
    assert set(schema().constraints) >= PROVEN


@pytest.mark.conformance
@pytest.mark.skipif(not VALIDATOR.exists() or shutil.which("java") is None, reason="no official validator here")
def test_the_official_validator_names_the_same_constraint(tmp_path: Path) -> None:
    for number, row in enumerate(MUTANTS):
        (tmp_path / f"{number}.json").write_bytes(encode(mutant(row)))
    for name, base in BASES.items():
        (tmp_path / f"{name}.json").write_bytes(encode(base))
    done = subprocess.run([VALIDATOR, "--level", "error", tmp_path], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 1, f"the validator itself failed: {done.stderr[-500:]}"
    named = defaultdict(set)
    for name, key in re.findall(r"([a-z0-9-]+)\.json: error: .*?Constraint failed: ([a-z]+-[0-9]+[a-z]?)", done.stdout):
        named[name].add(key)
    missed = {row["key"] for number, row in enumerate(MUTANTS) if row["key"] not in named[str(number)]}
    assert missed == set(JUDGED_OTHERWISE)
    assert [name for name in BASES if named[name]] == []


# --- the quick pass, and what it knows --------------------------------------------------------------------------------


@st.composite
def changed(draw: st.DrawFn) -> Json:
    """A base of which some members are taken away, copied from elsewhere in it, or set to another's."""
    resource = copy.deepcopy(BASES[draw(st.sampled_from(sorted(BASES)))])
    for _ in range(draw(st.integers(1, 3))):
        objects = [node for node in nodes(resource) if isinstance(node, dict)]
        node = objects[draw(st.integers(0, len(objects) - 1))]
        names = sorted(set(node) - {"resourceType"})
        if not names:
            continue
        name = draw(st.sampled_from(names))
        if draw(st.booleans()):
            del node[name]
        else:
            other = objects[draw(st.integers(0, len(objects) - 1))]
            node[name] = copy.deepcopy(other.get(name, draw(st.sampled_from(["2020", "#o", "a", 1, True]))))
    return resource


def nodes(value: Any) -> Iterator[Any]:
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        yield from nodes(each)


@given(changed())
@settings(max_examples=300, deadline=None)
def test_the_quick_pass_says_what_asking_everything_says(resource: Json) -> None:
    if validate(resource) == ():
        assert tuple(key_of(fault) for fault in broken(resource)) == all_asked(resource)


@given(changed())
@settings(max_examples=150, deadline=None)
def test_what_fits_the_schema_keeps_what_is_proven(resource: Json) -> None:
    if validate(resource) != ():
        return
    for one in asked(resource):
        known = schema().types.get(one.node[0])
        for rule in known.constraints if known is not None else ():
            if rule.key in PROVEN:
                answer = fhirpath.compile(rule.expression).ask(one.node, Env(*one.where))
                assert answer is not False, rule.key


@given(changed())
@settings(max_examples=150, deadline=None)
def test_names_alone_decide_only_what_asking_says(resource: Json) -> None:
    if validate(resource) != ():
        return
    for one in asked(resource):
        if isinstance(one.node[1], dict):
            tree = fhirpath.compile(one.rule.expression).tree
            decided = decide(tree, one.node[0], tuple(one.node[1]))
            assert decided is UNDECIDED or decided is one.answer, (one.rule.key, one.path)


@pytest.mark.parametrize(
    ("key", "kind", "shape", "expected"),
    [
        ("obs-6", "Observation", ("status", "code", "valueQuantity"), True),
        ("obs-6", "Observation", ("dataAbsentReason", "valueString"), False),
        ("obs-6", "Observation", ("dataAbsentReason", "_valueString"), False),
        ("obs-7", "Observation", ("status", "valueQuantity"), True),
        ("obs-7", "Observation", ("valueQuantity", "component"), UNDECIDED),
        ("per-1", "Period", ("start",), True),
        ("per-1", "Period", ("_start", "end"), True),
        ("per-1", "Period", ("start", "end"), UNDECIDED),
        ("org-1", "Organization", ("active",), False),
        ("org-1", "Organization", ("active", "name"), True),
        ("rat-1", "Ratio", ("numerator",), False),
        ("rat-1", "Ratio", ("extension",), True),
        ("app-2", "Appointment", ("status", "start"), False),
        ("vsd-9", "ValueSet.expansion.contains", ("display",), None),
        ("qty-3", "Quantity", ("value", "code"), False),
    ],
)
def test_the_names_of_the_members_decide(key: str, kind: str, shape: tuple[str, ...], expected: object) -> None:
    assert decide(fhirpath.compile(schema().constraints[key].expression).tree, kind, shape) is expected


# --- what an expression sees ------------------------------------------------------------------------------------------


def test_a_local_reference_finds_what_its_container_holds_and_a_contained_one_its_container() -> None:
    inner = {"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": "#o"}}
    organization = {"resourceType": "Organization", "id": "o", "name": "Praxis", "partOf": {"reference": "#"}}
    resource = BASES["observation"] | {"subject": {"reference": "#p"}, "contained": [inner, organization]}
    assert broken(resource) == ()
    inner["managingOrganization"] = {"reference": "#x"}
    faults = broken(resource)
    assert [(key_of(fault), fault.expression) for fault in faults] == [
        ("ref-1", "Observation.contained[0].managingOrganization")
    ]


def test_a_resource_in_a_bundle_is_its_own_root() -> None:
    resource = copy.deepcopy(BASES["bundle"])
    held = copy.deepcopy(BASES["observation"]) | {"subject": {"reference": "#p"}}
    resource["entry"].append({"fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000003", "resource": held})
    resource["contained"] = [{"resourceType": "Patient", "id": "p"}]  # not a member of Bundle; and if it were
    assert [fault.expression for fault in broken(resource)] == ["Bundle.entry[2].resource.subject"]


def test_resolve_finds_the_entries_of_the_bundle() -> None:
    url = "urn:uuid:00000000-0000-4000-8000-000000000009"
    team = copy.deepcopy(BASES["careteam"])
    team["participant"][0]["member"] = {"reference": url}
    entries: list[Json] = [{"resource": team}]
    held = {"resourceType": "Bundle", "type": "collection", "entry": entries}
    assert broken(held) == ()  # nobody knows what the member is
    entries.append({"fullUrl": url, "resource": {"resourceType": "Patient", "active": True}})
    assert [key_of(fault) for fault in broken(held)] == ["ctm-1"]
    entries[1]["resource"] = {"resourceType": "Practitioner", "active": True}
    assert broken(held) == ()


def test_warnings_are_told_only_when_they_are_asked_for() -> None:
    resource = BASES["valueset"] | {"name": "not a name"}
    assert broken(resource) == ()
    found = broken(resource, warnings=True)
    assert {(fault.severity, key_of(fault)) for fault in found} == {("warning", "vsd-0"), ("warning", "dom-6")}


def test_times_of_unlike_precision_may_meet_in_a_period() -> None:
    """What an erratum lets be: the end of a period holds all of its day."""
    flag = RESOURCES["flag"]
    for start, end, kept in [
        ("2025-03-04T08:00:00+01:00", "2025-03-04", True),
        ("2025-03-04T08:00:00+01:00", "2025-03-02", False),
        ("2025-03", "2025-03-04", True),
        ("2025-03-04T09:00:00Z", "2025-03-04T09:30:00+01:00", False),
    ]:
        assert (broken(flag | {"period": {"start": start, "end": end}}) == ()) is kept, (start, end)


def test_faults_end_where_a_hundred_are_found_and_hold_no_value() -> None:
    resource = BASES["patient"] | {"telecom": [{"value": f"secret-{number}"} for number in range(500)]}
    faults = broken(resource)
    assert len(faults) == 100
    assert {key_of(fault) for fault in faults} == {"cpt-2"}
    assert not any("secret" in fault.text or "secret" in fault.expression for fault in faults)


# --- the oracle -------------------------------------------------------------------------------------------------------


def assert_the_oracle_agrees(resource: Json) -> Counter[str]:
    """Every verdict on a resource that the oracle can give; how often each constraint was asked."""
    seen = Counter[str]()
    for one in asked(resource):
        if one.rule.severity == "error" and one.rule.key not in oracle.NO_VERDICT:
            assert one.answer is oracle.verdict(one), (one.rule.key, one.path)
            seen[one.rule.key] += 1
    return seen


def test_every_verdict_on_our_resources_and_mutants_is_the_oracles() -> None:
    seen = Counter[str]()
    for resource in (*BASES.values(), *RESOURCES.values(), *map(mutant, MUTANTS)):
        seen += assert_the_oracle_agrees(resource)
    assert len(seen) > 185


@pytest.mark.node
def test_every_verdict_on_the_published_examples_is_the_oracles() -> None:
    """Of files up to 20 kB, ten of each type: the oracle takes a millisecond for each question."""
    seen, types = Counter[str](), Counter[str]()
    for data in r4_package.examples().values():
        if len(data) > 20_000:
            continue
        resource = readable(data)
        if resource is not None and types[resource["resourceType"]] < 10:
            types[resource["resourceType"]] += 1
            seen += assert_the_oracle_agrees(resource)
    assert len(types) > 130
    assert len(seen) > 180


@pytest.mark.node
def test_published_examples_break_only_what_is_listed() -> None:
    """Four definitions of HL7's own are neither abstract nor based on anything."""
    found = {}
    for name, data in r4_package.examples().items():
        resource = readable(data)
        if resource is not None and (keys := {key_of(fault) for fault in broken(resource)}):
            found[name] = keys
    pattern = "StructureDefinition-{}.json"
    assert found == {pattern.format(name): {"sdf-4"} for name in ("Definition", "Event", "FiveWs", "Request")}


def readable(data: bytes) -> Json | None:
    """A published example that fits the schema."""
    try:
        resource = check_bytes(data)
    except BytesError:
        return None
    return resource if validate(resource) == () else None


def test_the_surroundings_of_a_node_are_an_environment() -> None:
    """`Env(*where)`: the two have their members in one order."""
    assert tuple(Env.__dataclass_fields__)[: len(Where._fields)] == Where._fields
