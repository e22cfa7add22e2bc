"""Immunizations: what was given, what was not, and what is to be given.

Source: C-CDA R2.1 immunization activity; C-CDA on FHIR, immunizations; IHE PCC TF-2 6.3.4.17.
"""

from typing import Any

import pytest

from mappings.cda.datatypes.nulls import flavors
from mappings.convert import Conversion
from tests.mappings.cda.converted import codes, every, of_sections, one

Json = dict[str, Any]

INFLUENZA = '<code code="88" codeSystem="2.16.840.1.113883.12.292"/>'
WHEN = '<effectiveTime value="20251015"/>'
COMPLETED = '<statusCode code="completed"/>'


def given(
    content: str = COMPLETED + WHEN, *, mood: str = "EVN", attributes: str = "", material: str = INFLUENZA
) -> str:
    """A substanceAdministration of a vaccine."""
    made = f"<manufacturedMaterial>{material}</manufacturedMaterial>"
    return (
        f'<substanceAdministration classCode="SBADM" moodCode="{mood}" {attributes}>{content}'
        f"<consumable><manufacturedProduct>{made}</manufacturedProduct></consumable></substanceAdministration>"
    )


def entries(*statements: str, section: str = "11369-6") -> Conversion:
    return of_sections((section, "".join(f"<entry>{each}</entry>" for each in statements)))


def shot(content: str = COMPLETED + WHEN, **how: Any) -> Json:
    return one(entries(given(content, **how)), "Immunization")


def because(code: str, value: str = "", system: str = "2.16.840.1.113883.6.96", kind: str = "RSON") -> str:
    return (
        f'<entryRelationship typeCode="{kind}"><observation classCode="OBS" moodCode="EVN">'
        f'<code code="{code}" codeSystem="{system}"/>{value}</observation></entryRelationship>'
    )


PROBLEM = '<value xsi:type="CD" code="195967001" codeSystem="2.16.840.1.113883.6.96"/>'
REFUSED = because("PATOBJ", system="2.16.840.1.113883.5.8")

# status and negation --------------------------------------------------------------------------------------------------

STATUSES = [
    ("completed", "completed"), ("active", "completed"), ("aborted", "not-done"), ("cancelled", "not-done"),
    ("held", "not-done"), ("suspended", "not-done"), ("new", "not-done"), ("nullified", "entered-in-error"),
    ("", "completed"),
]  # fmt: skip


@pytest.mark.parametrize(("code", "status"), STATUSES)
def test_every_status_has_its_own(code: str, status: str) -> None:
    assert shot(f'<statusCode code="{code}"/>' if code else WHEN)["status"] == status


@pytest.mark.parametrize("code", [code for code, _ in STATUSES])
@pytest.mark.parametrize("attributes", ['negationInd="true"', 'negationInd="1"'])
def test_negation_is_never_lost(code: str, attributes: str) -> None:
    """Before any status: a vaccine that was refused is not one whose talk was completed. But that it was refused may
    have been entered in error."""
    status = f'<statusCode code="{code}"/>' if code else ""
    expected = "entered-in-error" if code == "nullified" else "not-done"
    assert shot(status + WHEN, attributes=attributes)["status"] == expected


@pytest.mark.parametrize("code", [code for code, _ in STATUSES])
def test_a_code_of_no_vaccine_is_nothing_that_was_given(code: str) -> None:
    """As HL7 v2's RXA-5 (`test_traps_drugs.py`): the two agree whatever the status code says."""
    status = f'<statusCode code="{code}"/>' if code else ""
    none = shot(status + WHEN, material=INFLUENZA.replace('"88"', '"998"'))
    assert none["status"] == ("entered-in-error" if code == "nullified" else "not-done")


def test_a_wrapper_denies_all_that_it_holds() -> None:
    act = (
        f'<act classCode="ACT" moodCode="EVN" negationInd="true"><entryRelationship>{given()}</entryRelationship></act>'
    )
    assert one(entries(act), "Immunization")["status"] == "not-done"


def test_what_is_to_be_given_is_no_immunization() -> None:
    for mood in ("INT", "RQO", "PRMS", "PRP"):
        done = entries(given(mood=mood))
        assert every(done, "Immunization") == []
        assert "doNotPerform" not in one(done, "MedicationRequest")


def test_what_is_not_to_be_given_is_an_order_not_to() -> None:
    done = entries(given(mood="INT", attributes='negationInd="true"'))
    assert every(done, "Immunization") == []
    assert one(done, "MedicationRequest")["doNotPerform"] is True


# absence --------------------------------------------------------------------------------------------------------------

NONE = [
    pytest.param('<code code="71181003" codeSystem="2.16.840.1.113883.6.96"/>', 'negationInd="true"', id="any vaccine"),
    pytest.param('<code nullFlavor="NI"/>', 'negationInd="true"', id="null product"),
    pytest.param("", 'negationInd="true"', id="no product"),
    pytest.param('<code code="no-known-immunizations" codeSystem="2.16.840.1.113883.5.1150.1"/>', "", id="eHDSI"),
]


@pytest.mark.parametrize(("material", "attributes"), NONE)
def test_no_known_and_no_information_differ_known(material: str, attributes: str) -> None:
    found = shot(material=material, attributes=attributes)
    assert found["vaccineCode"]["coding"][0]["code"] == "787482006"
    assert found["status"] == "not-done"  # in every form: that there are none is nothing that was given


UNKNOWN = [
    ('<code code="no-immunization-info" codeSystem="2.16.840.1.113883.5.1150.1"/>', ""),
    ('<code nullFlavor="UNK"/>', 'nullFlavor="NI"'),
]


@pytest.mark.parametrize(("material", "attributes"), UNKNOWN)
def test_no_known_and_no_information_differ_unknown(material: str, attributes: str) -> None:
    done = entries(given(material=material, attributes=attributes))
    assert every(done, "Immunization") == []
    assert one(done, "Composition")["section"][0]["emptyReason"]["coding"][0]["code"] == "unavailable"


def test_a_vaccine_of_which_nobody_knows_the_name_was_given_all_the_same() -> None:
    for flavor in flavors():
        found = shot(material=f'<code nullFlavor="{flavor}"/>')
        assert found["status"] == "completed"
        assert found["vaccineCode"].keys() == {"extension"}


# where it stands ------------------------------------------------------------------------------------------------------

PLACES = ["10160-0", "47519-4", "18776-5", "29549-3", "99999-9"]


@pytest.mark.parametrize("section", PLACES)
def test_a_vaccine_is_one_wherever_it_stands(section: str) -> None:
    done = entries(given(), section=section)
    assert one(done, "Immunization")["vaccineCode"]["coding"][0]["system"] == "http://hl7.org/fhir/sid/cvx"
    assert every(done, "MedicationRequest") == []


def test_a_code_of_cvx_may_be_a_translation() -> None:
    material = f'<code nullFlavor="OTH"><translation{INFLUENZA.removeprefix("<code")}</code>'
    assert one(entries(given(material=material), section="10160-0"), "Immunization")


def test_what_stands_among_immunizations_is_one_whatever_its_code() -> None:
    other = '<code code="34689006" codeSystem="2.16.840.1.113883.6.96"/>'
    assert one(entries(given(material=other)), "Immunization")
    assert every(entries(given(material=other), section="10160-0"), "Immunization") == []


# why ------------------------------------------------------------------------------------------------------------------

WHY = [
    pytest.param(True, REFUSED, "PATOBJ", [], id="refusal"),
    pytest.param(True, because("77301-0", PROBLEM), "195967001", [], id="asked for"),
    pytest.param(True, because("77301-0", PROBLEM, kind="REFR"), "195967001", [], id="asked for, only referred to"),
    pytest.param(True, because("ASSERTION", PROBLEM), "195967001", [], id="a problem alone explains why not"),
    pytest.param(True, REFUSED + because("ASSERTION", PROBLEM), "PATOBJ", ["195967001"], id="both"),
    pytest.param(False, because("ASSERTION", PROBLEM), None, ["195967001"], id="indication"),
    pytest.param(False, because("225773000", PROBLEM), None, [], id="a preference is no reason"),
    pytest.param(False, "", None, [], id="none"),
]


@pytest.mark.parametrize(("negated", "reasons", "why_not", "why"), WHY)
def test_why_not_is_never_why(negated: bool, reasons: str, why_not: str | None, why: list[str]) -> None:
    found = shot(COMPLETED + WHEN + reasons, attributes='negationInd="true"' if negated else "")
    said = found.get("statusReason", {}).get("coding", [{"code": None}])[0]["code"]
    assert said == why_not
    assert [each["coding"][0]["code"] for each in found.get("reasonCode", [])] == why


# facts ----------------------------------------------------------------------------------------------------------------

TIMES = [
    ("", None),
    ('<effectiveTime nullFlavor="UNK"/>', None),
    (WHEN, "2025-10-15"),
    ('<effectiveTime><low value="20251015"/></effectiveTime>', "2025-10-15"),
    ('<effectiveTime value="2025"/>', "2025"),
]


@pytest.mark.parametrize(("written", "said"), TIMES)
def test_a_time_that_nobody_knows_is_not_invented(written: str, said: str | None) -> None:
    found = shot(COMPLETED + written)
    assert found.get("occurrenceDateTime") == said
    assert ("_occurrenceDateTime" in found) == (said is None)


def test_who_reports_it_counts_only_where_it_is_said() -> None:
    teller = "<informant><{0}><id root='2.999.2' extension='{1}'/>{2}</{0}></informant>"
    person = "<assignedPerson><name><family>X</family></name></assignedPerson>"
    relative = '<informant><relatedEntity classCode="PRS"><code code="MTH"/></relatedEntity></informant>'
    assert "primarySource" not in shot()
    assert "primarySource" not in shot(COMPLETED + WHEN + teller.format("assignedEntity", "OTHER", person))
    assert shot(COMPLETED + WHEN + teller.format("assignedEntity", "P1", person))["primarySource"] is False
    assert shot(COMPLETED + WHEN + relative)["primarySource"] is False


NUMBERS = [("1", 1), ("3", 3)]


@pytest.mark.parametrize(("written", "number"), NUMBERS)
def test_repeat_number_is_the_place_in_the_series(written: str, number: int) -> None:
    found = shot(f'{COMPLETED}{WHEN}<repeatNumber value="{written}"/>')
    assert found["protocolApplied"] == [{"doseNumberPositiveInt": number}]


def test_a_place_in_the_series_that_nobody_knows_is_none() -> None:
    assert "protocolApplied" not in shot(f'{COMPLETED}{WHEN}<repeatNumber nullFlavor="UNK"/>')


def test_a_reaction_is_an_observation_and_no_allergy() -> None:
    reaction = because("ASSERTION", PROBLEM, "2.16.840.1.113883.5.4", "CAUS").replace(
        "<code ", '<templateId root="2.16.840.1.113883.10.20.22.4.9"/><code ', 1
    )
    done = entries(given(COMPLETED + WHEN + reaction))
    assert every(done, "AllergyIntolerance") == []
    seen = one(done, "Observation")
    assert one(done, "Immunization")["reaction"] == [{"detail": {"reference": f"Observation/{seen['id']}"}}]


def test_a_reaction_to_what_was_not_given_denies_nothing_itself() -> None:
    reaction = because("ASSERTION", PROBLEM, "2.16.840.1.113883.5.4", "CAUS")
    done = entries(given(COMPLETED + WHEN + reaction, attributes='negationInd="true"'))
    assert one(done, "Observation")["valueBoolean"] is True
    assert one(done, "Immunization")["status"] == "not-done"


def test_brand_lot_maker_and_dose_stand_where_they_belong() -> None:
    material = f"{INFLUENZA}<name>Brand</name><lotNumberText>L-1</lotNumberText>"
    statement = given(COMPLETED + WHEN + '<doseQuantity value="0.50" unit="mL"/>', material=material).replace(
        "</manufacturedProduct>",
        "<manufacturerOrganization><name>Maker</name></manufacturerOrganization></manufacturedProduct>",
    )
    found = one(entries(statement), "Immunization")
    assert found["vaccineCode"]["text"] == "Brand"
    assert found["lotNumber"] == "L-1"
    assert found["manufacturer"]["display"] == "Maker"
    assert str(found["doseQuantity"]["value"]) == "0.50"
    assert found["doseQuantity"]["code"] == "mL"


def test_a_dose_that_is_no_number_is_told_of() -> None:
    done = entries(given(COMPLETED + WHEN + '<doseQuantity value="one"/>'))
    assert "doseQuantity" not in one(done, "Immunization")
    assert "not-a-number" in codes(done)
