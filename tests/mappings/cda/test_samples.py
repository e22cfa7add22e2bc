"""The samples are the specification by example: each document maps as recorded, and together they fire every row."""

from pathlib import Path

import pytest

from mappings.bundle import bundle
from mappings.cda.assemble import NARRATIVE_LINK
from mappings.cda.document import parse
from mappings.cda.paths import STATEMENTS
from mappings.convert import Conversion, to_fhir
from mappings.fhir.invariants import broken
from mappings.fhir.validate import validate
from mappings.merge import settle
from mappings.record import record
from tests import golden
from tests.mappings.cda.converted import default
from tests.mappings.cda.documents import in_section, minimal

ROOT = Path(__file__).parents[3]
SAMPLES = sorted((ROOT / "samples/cda").glob("*.xml"))  # drop in a file: that is a new test


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_sample_maps_as_recorded(sample: Path) -> None:
    golden.check(golden.FOLDER / "cda" / f"{sample.stem}.json", record(to_fhir(sample.read_bytes(), default())))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_resource_of_a_sample_is_valid(sample: Path) -> None:
    for mapped in to_fhir(sample.read_bytes(), default()).resources:
        assert validate(mapped.body) == (), mapped.body["resourceType"]
        assert broken(mapped.body) == (), mapped.body["resourceType"]


def test_every_row_is_fired_by_some_sample() -> None:
    traces = [to_fhir(sample.read_bytes(), default(), trace=True).trace for sample in SAMPLES]
    fired = {step.row for trace in traces if trace is not None for step in trace}
    maps = default().cda.entries.rows.maps
    live = {fact.row.id for compiled in maps.values() for fact in compiled.facts}
    assert sorted(live - fired) == []


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_the_tally_adds_up(sample: Path) -> None:
    """Statements in are outcomes out, each exactly one."""
    data = sample.read_bytes()
    statements = [el for el in parse(data).root.iter("*") if str(el.tag).rpartition("}")[2] in STATEMENTS]
    assert len(to_fhir(data, default()).tally) == len(statements)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_same_input_same_bytes(sample: Path) -> None:
    data = sample.read_bytes()
    first, second, traced = to_fhir(data, default()), to_fhir(data, default()), to_fhir(data, default(), trace=True)
    assert record(first) == record(second) == record(traced)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_reference_has_its_end(sample: Path) -> None:
    done = to_fhir(sample.read_bytes(), default())
    assert dangling(done) == set()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_narrative_link_leads_to_words_of_the_composition(sample: Path) -> None:
    done = to_fhir(sample.read_bytes(), default())
    linked = [each.body["text"]["extension"][0] for each in done.resources if "extension" in each.body.get("text", {})]
    (composition,) = (each.body for each in done.resources if each.body["resourceType"] == "Composition")
    told = "".join(str(section) for section in composition.get("section", ()))
    for each in linked:
        resource, _, fragment = each["valueUrl"].partition("#")
        assert each["url"] == NARRATIVE_LINK
        assert resource == f"Composition/{composition['id']}"
        assert f'id="{fragment}"' in told
    shown = [each["resource"] for each in bundle(done, "document")["entry"]]
    urls = [each["text"]["extension"][0]["valueUrl"] for each in shown if "extension" in each.get("text", {})]
    assert len(urls) == len(linked)
    assert all(each.startswith(f"urn:uuid:{composition['id']}#") for each in urls)


def test_the_same_words_in_the_next_document_are_no_new_version() -> None:
    entry = """<text><paragraph ID="p1">Nuts</paragraph></text><entry><observation classCode="OBS" moodCode="EVN">
      <id root="2.999.5" extension="A"/><code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>
      <text><reference value="#p1"/></text><value xsi:type="CD" code="414285001" codeSystem="2.16.840.1.113883.6.96"/>
      <participant typeCode="CSM"><participantRole><playingEntity><name>Nuts</name></playingEntity></participantRole>
      </participant></observation></entry>"""
    later = '<effectiveTime value="20260401120000+0100"/>'
    documents = minimal(in_section(entry, "48765-2")), minimal(in_section(entry, "48765-2"), effectiveTime=later)
    first, second = (
        next(each for each in to_fhir(data, default()).resources if each.body["resourceType"] == "AllergyIntolerance")
        for data in documents
    )
    assert first.body["text"]["extension"] != second.body["text"]["extension"]
    assert settle(first.body, second, {"": first.at}).body == first.body


def dangling(done: Conversion) -> set[str]:
    """References to resources of this conversion that are not in it."""
    known = {f"{m.body['resourceType']}/{m.body['id']}" for m in done.resources}
    found: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            if isinstance(ref := value.get("reference"), str) and not ref.startswith(("#", "urn:", "http")):
                found.add(ref)
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)

    for mapped in done.resources:
        walk(mapped.body)
    return found - known
