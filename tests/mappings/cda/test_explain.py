"""Explain, the unmapped report and the tally of documents: readings of one trace.

Source: cda chapter §17; HL7 v2 chapter §13.
"""

import pytest

from mappings.cda.compiled import used
from mappings.cda.errors import UnreadableDocument
from mappings.cda.explain import Explanation, coverage, explain, tally
from mappings.cda.place import XmlPlace
from mappings.convert import load_profile, to_fhir
from mappings.hl7v2.census import Census
from mappings.hl7v2.codes import worklist
from tests.mappings.cda.documents import in_section, minimal

PROFILE = load_profile("default")
XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
PATH = "section[48765-2]/entry[1]/act/entryRelationship/observation"


def allergy(inside: str = "", beside: str = "", substance: str = "Nuts") -> bytes:
    """One allergy, its lines as an editor would write them."""
    return minimal(
        in_section(
            f"""<text><content ID="n1">Nuts</content></text>
<entry>
<act classCode="ACT" moodCode="EVN"><code code="CONC" codeSystem="2.16.840.1.113883.5.6"/>
<entryRelationship typeCode="SUBJ">
<observation classCode="OBS" moodCode="EVN">
<id root="2.999.5" extension="AL1"/>
<code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>
<text><reference value="#n1"/></text>
<effectiveTime><low value="20200101"/></effectiveTime>
<value {XSI} xsi:type="CD" code="414285001" codeSystem="2.16.840.1.113883.6.96"/>
<participant typeCode="CSM"><participantRole><playingEntity><name>{substance}</name></playingEntity>
</participantRole></participant>
{inside}
</observation></entryRelationship></act></entry>{beside}""",
            "48765-2",
        )
    )


def explained(data: bytes) -> Explanation:
    return explain(data, PROFILE)


def left(data: bytes) -> dict[str, str]:
    return {each.place.path: each.reason for each in explained(data).unmapped}


def test_a_fact_tells_row_type_path_and_line() -> None:
    found = explained(allergy())
    (fact,) = (each for each in found.facts if each.path == "onsetDateTime")
    assert fact.resource.startswith("AllergyIntolerance/")
    assert fact.place is not None
    line = next(n for n, text in enumerate(allergy().decode().split("\n"), 1) if "20200101" in text)
    assert (fact.place.path, fact.place.line) == (f"{PATH}/effectiveTime/low", line)
    assert (fact.row, fact.overlay) == ("allergy.AllergyIntolerance:onset", "base")
    assert fact.source.startswith("entries/allergy.AllergyIntolerance.csv:")
    assert fact.type


def test_a_party_that_is_read_on_the_way_is_not_the_place_of_what_is_under_construction() -> None:
    """An author is read while an allergy is made: its number is the author's."""
    found = explained(allergy())
    of_allergy = [each for each in found.facts if each.resource.startswith("AllergyIntolerance/")]
    assert {each.row for each in of_allergy if each.path.startswith("identifier[")} == {"allergy.AllergyIntolerance:id"}
    assert not any(each.row.startswith(("party.", "section.")) for each in of_allergy)


def author(role: str) -> str:
    return f'<author><time value="20260301"/><assignedAuthor>{role}</assignedAuthor></author>'


NAMED = "<assignedPerson><name><family>Writer</family></name></assignedPerson>"
DRUG = """<entry><substanceAdministration classCode="SBADM" moodCode="EVN"><id root="2.999.5" extension="M1"/>
<statusCode code="active"/><consumable><manufacturedProduct><manufacturedMaterial>
<code code="1" codeSystem="2.16.840.1.113883.6.88"/><lotNumberText>L1</lotNumberText>
</manufacturedMaterial></manufacturedProduct></consumable>
{}</substanceAdministration></entry>"""


@pytest.mark.parametrize(
    ("inside", "kind", "path", "row", "element"),
    [
        (author(NAMED), "MedicationRequest", "contained[1].name[0].family", "party.Practitioner:name", "name"),
        (author('<id root="2.999.3" extension="9"/>' + NAMED), "Practitioner", "name[0].family",
         "party.Practitioner:name", "name"),
        ("", "MedicationRequest", "contained[0].batch.lotNumber", "product.Medication:lot", "lotNumberText"),
    ],
    ids=["a person inside", "a person of her own", "a product inside"],
)  # fmt: skip
def test_what_is_read_before_its_place_is_known_tells_its_row_and_its_element(
    inside: str, kind: str, path: str, row: str, element: str
) -> None:
    found = explained(minimal(in_section(DRUG.format(inside), "10160-0")))
    (fact,) = (each for each in found.facts if each.resource.startswith(f"{kind}/") and each.path == path)
    assert fact.row == row
    assert fact.place is not None
    assert fact.place.path.startswith("section[10160-0]/entry[1]/substanceAdministration/")
    assert fact.place.path.endswith(f"/{element}")


def test_one_who_is_inside_of_two_is_told_of_in_both() -> None:
    both = DRUG.format(author(NAMED)) + DRUG.format(author(NAMED)).replace('"M1"', '"M2"').replace('"1"', '"2"')
    facts = [each for each in explained(minimal(in_section(both, "10160-0"))).facts if each.path.endswith(".family")]
    told = [each.row for each in facts if each.resource.startswith("MedicationRequest/")]
    assert told == ["party.Practitioner:name"] * 2


def test_the_second_sign_of_two_that_are_one_is_told_of_as_its_component() -> None:
    sign = """<entry><observation classCode="OBS" moodCode="EVN"><id root="2.999.5" extension="{0}"/>
      <code code="{0}" codeSystem="2.16.840.1.113883.6.1"/><statusCode code="completed"/>
      <effectiveTime value="20260301"/><value {1} xsi:type="PQ" value="80" unit="mm[Hg]"/></observation></entry>"""
    found = explained(minimal(in_section(sign.format("8480-6", XSI) + sign.format("8462-4", XSI), "8716-3")))
    (fact,) = (each for each in found.facts if each.path == "component[1].valueQuantity.value")
    assert fact.row == "observation.Observation:value"
    assert fact.place is not None
    assert fact.place.path == "section[8716-3]/entry[2]/observation/value"


def test_every_value_of_every_resource_is_a_fact() -> None:
    from mappings.fhir.leaves import leaves

    found = explained(allergy())
    for mapped in found.conversion.resources:
        reference = f"{mapped.body['resourceType']}/{mapped.body['id']}"
        told = {each.path for each in found.facts if each.resource == reference}
        assert told == {path for path, _ in leaves(mapped.body)} - {"resourceType", "id"}


def test_no_fact_holds_a_value() -> None:
    found = explained(allergy(substance="Zqkan"))
    assert "Zqkan" not in repr(found.facts) + repr(found.unmapped)


def test_a_place_says_its_content_to_who_may_see_it() -> None:
    found = explained(allergy())
    onset = next(each for each in found.facts if each.path == "onsetDateTime")
    assert found.said(onset.place) == "20200101"
    assert found.said(XmlPlace("section[1]/text", 1)) == ""
    assert found.said(None) == ""


@pytest.mark.parametrize(
    ("inside", "place", "reason"),
    [
        ('<methodCode code="X" codeSystem="2.999.1"/>', "methodCode", "no-row"),
        ('<interpretationCode code="H"/><interpretationCode code="L"/>', "interpretationCode[1]", "no-row"),
        ("<x:own xmlns:x='urn:x'>said</x:own>", "own", "no-row"),
        ('<reference typeCode="REFR"><externalAct><id root="2.9"/><code code="A"/></externalAct></reference>',
         "reference", "no-row"),
    ],
)  # fmt: skip
def test_what_no_row_reads_is_told_by_its_topmost_element(inside: str, place: str, reason: str) -> None:
    assert left(allergy(inside))[f"{PATH}/{place}"] == reason
    assert f"{PATH}/{place}" not in left(allergy())


@pytest.mark.parametrize("inside", ["", '<methodCode nullFlavor="UNK"/>', "<methodCode/>", '<templateId root="2.9"/>'])
def test_what_says_nothing_is_not_told(inside: str) -> None:
    assert left(allergy(inside)) == left(allergy())


def test_what_a_row_reads_and_no_table_knows_is_told_with_its_reason() -> None:
    unknown = left(allergy().replace(b'code="414285001"', b'code="99"'))
    assert unknown[f"{PATH}/value"] == "vocab-miss"
    bad = left(allergy().replace(b"20200101", b"2020-99"))
    assert bad[f"{PATH}/effectiveTime/low"] == "not-a-date"


def test_a_statement_that_nothing_maps_is_told_as_a_whole() -> None:
    other = "<entry><supply classCode='SPLY' moodCode='EVN' negationInd='true'><code code='X'/></supply></entry>"
    found = explained(allergy(beside=other))
    assert left(allergy(beside=other))["section[48765-2]/entry[2]/supply"] == "unsupported-statement"
    assert found.tally["unsupported"] == 1


def test_the_tally_adds_up() -> None:
    other = "<entry><regionOfInterest classCode='ROIOVL' moodCode='EVN'><code code='X'/></regionOfInterest></entry>"
    for data in (minimal(), allergy(), allergy(beside=other)):
        found = tally(to_fhir(data, PROFILE))
        assert found.pop("statements") == sum(found.values())
        assert explained(data).tally == tally(to_fhir(data, PROFILE))


def test_unmapped_places_stand_in_the_order_of_the_document() -> None:
    data = allergy('<methodCode code="A"/>\n<targetSiteCode code="B"/>\n<priorityCode code="C"/>')
    lines = [each.place.line for each in explained(data).unmapped]
    assert lines == sorted(lines)
    assert len(lines) >= 3


def test_what_is_no_document_is_not_explained() -> None:
    with pytest.raises(UnreadableDocument):
        explained(b"<html/>")


def test_coverage_is_of_the_rows_that_documents_fire() -> None:
    found = coverage([allergy(), b"MSH|^~\\&|", b"<torn"], PROFILE)
    assert "allergy.AllergyIntolerance:onset" in found.fired
    assert "allergy.AllergyIntolerance:onset" not in {row.id for row in found.silent}
    assert {row.id for row in found.silent} == set(used(PROFILE.cda.entries.rows)) - found.fired
    assert {row.file.split("/")[0] for row in found.silent} == {"entries"}


def test_a_census_counts_documents_by_the_kind_of_their_places() -> None:
    census = Census(PROFILE)
    for n in (1, 2):
        census.add(allergy('<methodCode code="A"/>').replace(b'"AL1"', f'"AL{n}"'.encode()))
    census.add(b"<torn")
    found = {(each.place, each.reason): each.messages for each in census.unmapped()}
    kind = "section[48765-2]/entry/act/entryRelationship/observation/methodCode"
    assert found[kind, "no-row"] == 2
    assert (census.read, census.unreadable) == (2, 1)


def test_codes_that_no_map_knows_are_listed_with_their_system() -> None:
    data = allergy().replace(b'code="414285001"', b'code="99"')
    found = [(each.system, each.code, each.reason) for each in worklist([data, data, b"<torn"], PROFILE)]
    assert ("2.16.840.1.113883.6.96", "99", "vocab-miss") in found


def test_codes_under_a_system_that_does_not_have_them_are_listed() -> None:
    data = allergy().replace(
        b'code="414285001" codeSystem="2.16.840.1.113883.6.96"', b'code="Z9" codeSystem="2.16.840.1.113883.5.4"'
    )
    assert b"Z9" in data
    found = [(each.system, each.code, each.reason) for each in worklist([data], PROFILE)]
    assert ("2.16.840.1.113883.5.4", "Z9", "not-in-system") in found


def test_what_is_explained_is_what_is_converted() -> None:
    """A row that does not hold reads nothing, traced or not: what it would have read stands for itself."""
    status = (
        '<entryRelationship typeCode="REFR"><observation classCode="OBS" moodCode="EVN"><code code="33999-4"/>'
        '<value xsi:type="CD" code="413322009" codeSystem="2.16.840.1.113883.6.96"/></observation></entryRelationship>'
    )
    data = allergy(status).replace(b'classCode="ACT" moodCode="EVN"', b'classCode="ACT" moodCode="EVN" negationInd="1"')
    plain, traced = to_fhir(data, PROFILE), to_fhir(data, PROFILE, trace=True)
    assert plain.resources == traced.resources
    assert plain.tally == traced.tally
    assert plain.issues == traced.issues
