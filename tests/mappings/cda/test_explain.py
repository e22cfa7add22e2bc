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
