"""Who takes part: one person a number, nobody by name alone, and never the document's author for another's words.

Source: CDA R2 §4.2.2 (participants), §4.4 (context conduction); C-CDA on FHIR, participations.
"""

from typing import Any

import pytest

from mappings.convert import Conversion
from tests.mappings.cda.converted import codes, convert, every, of_sections, one
from tests.mappings.cda.documents import minimal

Json = dict[str, Any]

NPI = "2.16.840.1.113883.4.6"
ORGANIZATION = (
    '<representedOrganization><id root="2.999.4" extension="O1"/><name>Clinic</name></representedOrganization>'
)
CODE = '<code code="207Q00000X" codeSystem="2.16.840.1.113883.6.101"/>'


def person(name: str) -> str:
    return f"<assignedPerson><name>{name}</name></assignedPerson>"


def author(inner: str, time: str = "20260301") -> str:
    return f'<author><time value="{time}"/><assignedAuthor>{inner}</assignedAuthor></author>'


def number(extension: str, root: str = "2.999.3") -> str:
    return f'<id root="{root}" extension="{extension}"/>'


def allergy(name: str, inner: str = "") -> str:
    """An entry of the allergies."""
    return f"""<entry><observation classCode="OBS" moodCode="EVN">
      <code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>
      <value xsi:type="CD" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" code="419199007"
        codeSystem="2.16.840.1.113883.6.96"/>{inner}
      <participant typeCode="CSM"><participantRole><playingEntity><name>{name}</name></playingEntity></participantRole>
      </participant></observation></entry>"""


def stated(*entries: str, section: str = "", **header: str) -> Conversion:
    """A document of allergies."""
    return of_sections(("48765-2", section + "".join(entries)), **header)


def recorder(done: Conversion, name: str = "") -> Json | None:
    found = [each for each in every(done, "AllergyIntolerance") if name in str(each["code"])]
    reference: Json | None = found[0].get("recorder")
    return reference


def authored(inner: str) -> tuple[Conversion, Json]:
    """A document by this author, and its first author's reference."""
    done = convert(minimal(author=author(inner)))
    first: Json = one(done, "Composition")["author"][0]
    return done, first


def kind(reference: Json | None) -> str:
    return "" if reference is None else str(reference.get("reference", "")).partition("/")[0]


# what a role becomes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        (number("A1") + person("Ann"), "Practitioner"),
        (number("A1") + CODE + person("Ann"), "PractitionerRole"),
        (number("A1") + person("Ann") + ORGANIZATION, "PractitionerRole"),
        (number("A1") + CODE + person("Ann") + ORGANIZATION, "PractitionerRole"),
        (number("A1"), "Practitioner"),
        (ORGANIZATION, "Organization"),
        (number("A1") + ORGANIZATION, "Organization"),
        (
            number("D1") + "<assignedAuthoringDevice><softwareName>EHR</softwareName></assignedAuthoringDevice>",
            "Device",
        ),
        (number("P1", "2.999.2") + person("Ida"), "Patient"),
    ],
)
def test_what_an_author_becomes(inner: str, expected: str) -> None:
    done, reference = authored(inner)
    assert kind(reference) == expected
    kind_, _, id_ = reference["reference"].partition("/")
    assert [each["id"] for each in every(done, kind_) if each["id"] == id_] == [id_]


@pytest.mark.parametrize(
    "inner",
    [
        '<id nullFlavor="NI"/>',
        '<id nullFlavor="UNK"/><assignedPerson><name nullFlavor="UNK"/></assignedPerson>',
        '<id root="2.999.3"/>',  # an issuer without a number
        f'<id root="{NPI}" nullFlavor="UNK"/>',
        '<id nullFlavor="NI"/><code nullFlavor="UNK"/><addr nullFlavor="NI"/>'
        "<representedOrganization><name nullFlavor='NI'/></representedOrganization>",
        "",
    ],
)
def test_a_role_that_is_nothing_is_nobody(inner: str) -> None:
    done, reference = authored(inner)
    assert "reference" not in reference
    assert every(done, "Practitioner") == every(done, "PractitionerRole") == []
    assert [agent["type"]["coding"][0]["code"] for agent in one(done, "Provenance")["agent"]] == ["custodian"]


def test_a_person_without_a_number_is_never_another_one() -> None:
    """Two John Smiths of two documents, or of one, stay two."""
    done, reference = authored('<id nullFlavor="NI"/>' + person("John Smith"))
    assert reference["reference"].startswith("#")
    assert every(done, "Practitioner") == []
    assert one(done, "Composition")["contained"][0]["name"] == [{"text": "John Smith"}]


def test_a_role_of_an_unnumbered_organization_stays_inside_and_the_person_does_not() -> None:
    place = "<representedOrganization><name>Clinic</name></representedOrganization>"
    done, reference = authored(number("A1") + person("Ann") + place)
    inside = {each["resourceType"]: each for each in one(done, "Composition")["contained"]}
    assert reference["reference"] == f"#{inside['PractitionerRole']['id']}"
    assert kind(inside["PractitionerRole"]["practitioner"]) == "Practitioner"
    assert inside["PractitionerRole"]["organization"]["reference"] == f"#{inside['Organization']['id']}"


def test_a_national_number_is_the_one_that_counts() -> None:
    ids = {
        one(authored(inner + person("Ann"))[0], "Practitioner")["id"]
        for inner in (number("9999999995", NPI), number("A1") + number("9999999995", NPI))
    }
    assert len(ids) == 1


def test_one_number_is_one_person_in_every_document() -> None:
    ids = {one(authored(number("A1") + person(name))[0], "Practitioner")["id"] for name in ("Ann", "Ann B.", "A. B.")}
    assert len(ids) == 1


def test_what_is_only_a_number_is_who_the_document_describes_under_it() -> None:
    done = stated(
        allergy("Latex", author(number("N1"))),
        author=author(number("A1") + person("Ann")),
        dataEnterer=f"<dataEnterer><assignedEntity>{number('N1')}{CODE}{person('Nora')}</assignedEntity></dataEnterer>",
    )
    assert recorder(done) == {"reference": recorder(done)["reference"], "display": "Nora"}  # type: ignore[index]
    assert kind(recorder(done)) == "PractitionerRole"


# who said a statement -------------------------------------------------------------------------------------------------

HEADER = author(number("H1") + person("Header"))


@pytest.mark.parametrize(
    ("statement", "section", "shown"),
    [
        ("", "", "Header"),
        ("", author(number("S1") + person("Section")), "Section"),
        (author(number("O1") + person("Own")), author(number("S1") + person("Section")), "Own"),
        (
            author(number("O1") + person("Own"), "20260301") + author(number("O2") + person("Last"), "20260302"),
            "",
            "Last",
        ),
        (
            author(number("O2") + person("Last"), "20260302") + author(number("O1") + person("Own"), "20260301"),
            "",
            "Last",
        ),
        (author('<id nullFlavor="NI"/>'), "", None),
        (author('<id nullFlavor="NI"/>'), author(number("S1") + person("Section")), None),
    ],
)
def test_the_nearest_author_counts_and_nobody_is_nobody(statement: str, section: str, shown: str | None) -> None:
    """Never the document's author for a statement that has its own."""
    done = stated(allergy("Latex", statement), section=section, author=HEADER)
    found = recorder(done)
    assert (found["display"] if found else None) == shown


def test_a_device_records_nothing_where_only_people_may() -> None:
    device = number("D1") + "<assignedAuthoringDevice><softwareName>EHR</softwareName></assignedAuthoringDevice>"
    done = stated(
        allergy("Latex", author(number("O1") + person("Own"), "2025") + author(device, "2026")), author=HEADER
    )
    assert recorder(done)["display"] == "Own"  # type: ignore[index]
    done = stated(allergy("Latex", author(device)), author=HEADER)
    assert recorder(done) is None


def test_the_patients_own_words_are_hers() -> None:
    done = stated(allergy("Latex", author(number("P1", "2.999.2") + person("Ida"))), author=HEADER)
    assert recorder(done) == {"reference": f"Patient/{one(done, 'Patient')['id']}"}


ONESELF = '<code code="ONESELF" codeSystem="2.16.840.1.113883.5.111"/>'


@pytest.mark.parametrize("numbered", ["", number("N9")])
def test_who_is_told_to_be_herself_is_the_patient(numbered: str) -> None:
    """An author and a performer too, as documents are written that a patient generates."""
    done, first = authored(numbered + ONESELF + person("Ida"))
    assert first == {"reference": f"Patient/{one(done, 'Patient')['id']}"}
    given = f"""<entry><substanceAdministration classCode="SBADM" moodCode="EVN"><statusCode code="completed"/>
      <consumable><manufacturedProduct><manufacturedMaterial><code code="1"/></manufacturedMaterial>
      </manufacturedProduct></consumable>
      <performer><assignedEntity>{numbered}{ONESELF}{person("Ida")}</assignedEntity></performer>
      </substanceAdministration></entry>"""
    again = of_sections(("11369-6", given), author=HEADER)
    assert "Ida" not in str(every(again, "Practitioner")) + str(one(again, "Immunization"))


# relatives ------------------------------------------------------------------------------------------------------------


def relative(role: str, code: str = "SIS", name: str = "Eva", more: str = "") -> str:
    return (
        f'<participant typeCode="IND"><associatedEntity classCode="{role}">{more}<code code="{code}" '
        f'codeSystem="2.16.840.1.113883.5.111"/><telecom value="tel:1"/><associatedPerson><name>{name}</name>'
        "</associatedPerson></associatedEntity></participant>"
    )


@pytest.mark.parametrize("role", ["NOK", "ECON", "CAREGIVER", "GUARD", "PRS", "AGNT"])
def test_a_relative_is_one_of_the_patient(role: str) -> None:
    done = convert(minimal(participant=relative(role)))
    found = one(done, "RelatedPerson")
    assert found["patient"] == {"reference": f"Patient/{one(done, 'Patient')['id']}"}
    kinds = [each["coding"][0]["code"] for each in found["relationship"]]
    assert kinds == (["SIS"] if role == "PRS" else ["SIS", role])
    assert [m.mode for m in done.resources if m.body is found] == ["update"]


@pytest.mark.parametrize("role", ["PROV", "ASSIGNED", "CON"])
def test_a_professional_is_no_relative(role: str) -> None:
    assert every(convert(minimal(participant=relative(role))), "RelatedPerson") == []


def test_relatives_of_one_name_and_kind_are_one_and_of_another_kind_two() -> None:
    twice = convert(minimal(participant=relative("NOK") + relative("ECON")))
    assert len(every(twice, "RelatedPerson")) == 1
    two = convert(minimal(participant=relative("NOK") + relative("NOK", code="MTH")))
    assert len(every(two, "RelatedPerson")) == 2
    numbered = convert(minimal(participant=relative("NOK") + relative("NOK", more=number("K1", "2.999.13"))))
    assert len(every(numbered, "RelatedPerson")) == 2


def test_the_same_relative_of_two_patients_is_two() -> None:
    other = minimal(participant=relative("NOK")).replace(b'extension="P1"', b'extension="P2"')
    ids = {one(convert(each), "RelatedPerson")["id"] for each in (minimal(participant=relative("NOK")), other)}
    assert len(ids) == 2


def test_an_informant_who_is_a_relative_tells() -> None:
    told = (
        '<informant><relatedEntity classCode="PRS"><code code="SPS" codeSystem="2.16.840.1.113883.5.111"/>'
        "<relatedPerson><name>Max</name></relatedPerson></relatedEntity></informant>"
    )
    done = convert(minimal(informant=told))
    agents = {each["type"]["coding"][0]["code"]: each["who"] for each in one(done, "Provenance")["agent"]}
    assert kind(agents["informant"]) == "RelatedPerson"
    assert codes(done) == []


def test_a_relative_who_writes_is_a_relative() -> None:
    inner = (
        '<id nullFlavor="UNK"/><assignedPerson><name>Tina</name><sdtc:asPatientRelationship classCode="PRS">'
        '<sdtc:code code="DAUC" codeSystem="2.16.840.1.113883.5.111"/></sdtc:asPatientRelationship></assignedPerson>'
    )
    done, reference = authored(inner)
    assert kind(reference) == "RelatedPerson"
    found = one(done, "RelatedPerson")
    assert found["relationship"][0]["coding"][0]["code"] == "DAUC"
    assert "period" not in found  # when she wrote is not how long she is a daughter


# organizations --------------------------------------------------------------------------------------------------------


def test_organizations_of_organizations_end_somewhere() -> None:
    inside = '<representedCustodianOrganization><id root="2.999.4" extension="0"/><name>0</name>'
    deep = "".join(
        f'<asOrganizationPartOf><wholeOrganization><id root="2.999.4" extension="{n}"/><name>{n}</name>'
        for n in range(1, 60)
    )
    closed = "</wholeOrganization></asOrganizationPartOf>" * 59 + "</representedCustodianOrganization>"
    custodian = f"<custodian><assignedCustodian>{inside}{deep}{closed}</assignedCustodian></custodian>"
    done = convert(minimal(custodian=custodian))
    names = [each["name"] for each in every(done, "Organization")]
    assert 2 <= len(names) <= 6


@pytest.mark.parametrize("twice", [False, True])
def test_a_numbered_place_holds_its_unnumbered_organization_itself(twice: bool) -> None:
    """A resource of its own refers to nothing that is contained in another."""
    provider = "<serviceProviderOrganization><name>Clinic</name></serviceProviderOrganization>"
    facility = f"<location><healthCareFacility>{number('F1', '2.999.16')}{{}}</healthCareFacility></location>"
    first = facility.format("" if twice else provider)
    second = facility.format(provider) if twice else ""
    stay = f'<id root="2.999.5" extension="V1"/>{first}{second}'
    done = convert(
        minimal(componentOf=f"<componentOf><encompassingEncounter>{stay}</encompassingEncounter></componentOf>")
    )
    place = one(done, "Location")
    (inside,) = place["contained"]
    assert place["managingOrganization"]["reference"] == f"#{inside['id']}"
    assert inside["name"] == "Clinic"
