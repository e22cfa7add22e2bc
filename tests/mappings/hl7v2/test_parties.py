"""Who is around a patient: roles, care teams, payers, relatives, reporters, beds; hl7v2 chapter §4."""

import json
from typing import Any

import pytest

from mappings.convert import Conversion
from mappings.fhir.validate import validate
from tests.mappings.hl7v2.messages import MR, Store, adt, bodies, convert, header, one, segment

Json = dict[str, Any]
DOCTOR = "{}^Doc^{}^^^^^^HOSP&2.999.1.5&ISO"
ORG = "Praxis^L^901^^^HOSP&2.999.1.7&ISO"
PV1 = segment("PV1", f2="I", f3="MED^1^A^HOSP", f19="V1^^^HOSP")


def doctor(number: str) -> str:
    return DOCTOR.format(number, number)


def valid(conversion: Conversion) -> Conversion:
    for each in conversion.resources:
        assert validate(each.body) == (), each.body["resourceType"]
    return conversion


def rol(person: str = "1", role: str = "CP", action: str = "AD", **more: str) -> str:
    return segment("ROL", f2=action, f3=role, **({"f4": doctor(person)} if person else {}), **more)


def prt(person: str = "1", role: str = "RT", action: str = "AD", **more: str) -> str:
    return segment("PRT", f2=action, f4=role, **({"f5": doctor(person)} if person else {}), **more)


# roles
def test_a_person_alone_is_a_practitioner_and_one_in_a_role_names_it() -> None:
    alone, held = (
        one(valid(adt("A08", rol(role="PP", **more))), "Patient")["generalPractitioner"][0]["reference"].partition("/")[
            0
        ]
        for more in ({}, {"f14": ORG})
    )
    assert (alone, held) == ("Practitioner", "PractitionerRole")


@pytest.mark.parametrize("build", [rol, prt])
def test_a_role_says_where_for_whom_and_how_to_be_reached(build: Any) -> None:
    where = {
        "f11": "Gasse 1^^Wien",
        "f12": "^WPN^PH^^43^1^555",
        "f13": "PRAX^1^^HOSP",
        "f14": ORG,
        "f9": "GP^General^L",
    }
    if build is prt:
        where = {
            "f14": "Gasse 1^^Wien",
            "f15": "^WPN^PH^^43^1^555",
            "f9": "PRAX^1^^HOSP",
            "f8": ORG,
            "f6": "GP^General^L",
        }
    conversion = valid(adt("A08", build(role="PP", **where)))
    role = one(conversion, "PractitionerRole")
    assert {"code", "specialty", "location", "organization", "telecom", "practitioner"} <= role.keys()
    person = one(conversion, "Practitioner")
    assert role["practitioner"]["reference"] == f"Practitioner/{person['id']}"
    assert person["address"][0]["city"] == "Wien"


def test_two_roles_of_one_person_stay_two() -> None:
    """Also where her own field is word for word the same: what stands beside it decides."""
    other = ORG.replace("901", "902")
    conversion = valid(adt("A08", rol(role="PP", f14=ORG), rol(role="PP", f14=other)))
    assert len(bodies(conversion, "PractitionerRole")) == 2
    assert len(bodies(conversion, "Practitioner")) == 1


def test_a_person_without_a_number_stays_inside_with_her_phone() -> None:
    patient = one(valid(adt("A08", segment("ROL", f2="AD", f3="PP", f4="^Weiss^Eva", f12="5551"))), "Patient")
    assert [each["value"] for each in patient["contained"][0]["telecom"]] == ["5551"]
    assert patient["generalPractitioner"][0]["reference"] == f"#{patient['contained'][0]['id']}"


# teams
def test_everyone_behind_the_patient_is_one_team() -> None:
    conversion = valid(adt("A08", rol("1"), rol("2", "PP"), prt("3"), rol("", "FHCP", f14=ORG)))
    team = one(conversion, "CareTeam")
    assert [each["role"][0]["coding"][0]["code"] for each in team["participant"]] == ["CP", "RT", "FHCP"]
    assert team["subject"]["reference"].startswith("Patient/")


def test_what_follows_the_visit_takes_part_in_the_visit() -> None:
    conversion = valid(adt("A08", PV1, rol("1"), prt("2")))
    assert bodies(conversion, "CareTeam") == []
    assert len(one(conversion, "Encounter")["participant"]) == 2


def test_a_team_grows_and_who_is_deleted_leaves_it() -> None:
    store = Store()
    for day, line in ((1, rol("1")), (2, rol("2", "AT")), (3, rol("1", action="DE"))):
        store.take(adt("A08", line, at=f"2025030{day}080000+0100"))
    (member,) = store.one("CareTeam")["participant"]
    assert member["member"]["display"] == "2 Doc"


def test_a_case_manager_is_of_the_team() -> None:
    insurance = ("IN1|1|P^Plan|K^^^HOSP|Kasse", segment("IN3", f1="1", f21=doctor("7")))
    team = one(valid(adt("A08", *insurance)), "CareTeam")
    assert team["participant"][0]["role"] == [{"text": "case manager"}]


# payers
def test_one_name_with_two_numbers_is_two_payers() -> None:
    plans = [segment("IN1", f1=str(n), f2="P^Plan", f3=f"K{n}^^^HOSP&2.999.1.14&ISO", f4="Kasse") for n in (1, 2)]
    conversion = valid(adt("A08", *plans))
    payers = {each["payor"][0]["reference"] for each in bodies(conversion, "Coverage")}
    assert len(payers) == 2


def test_a_payer_has_its_address_and_whom_to_ask() -> None:
    line = segment(
        "IN1", f2="P^Plan", f3="K^^^HOSP&2.999.1.14&ISO", f4="Kasse", f5="Ring 1^^Wien", f6="Frage^F", f7="5551"
    )
    conversion = valid(adt("A08", line))
    payer = next(each for each in bodies(conversion, "Organization") if each.get("name") == "Kasse")
    assert payer["address"][0]["city"] == "Wien"
    assert payer["contact"][0]["name"]["family"] == "Frage"
    assert payer["telecom"][0]["value"] == "5551"


@pytest.mark.parametrize(
    ("code", "expected"), [("SEL", "self"), ("SPO", "spouse"), ("NCH", "child"), ("MTH", "parent")]
)
def test_the_relationship_to_the_insured_is_fhir_s(code: str, expected: str) -> None:
    line = segment("IN1", f2="P^Plan", f3="K^^^HOSP", f16="Demo^Ana", f17=code)
    coding = one(valid(adt("A08", line)), "Coverage")["relationship"]["coding"][0]
    assert coding["code"] == expected
    assert coding["system"].endswith("subscriber-relationship")


def test_a_relationship_that_fhir_does_not_know_keeps_its_code() -> None:
    line = segment("IN1", f2="P^Plan", f3="K^^^HOSP", f16="Demo^Ana", f17="TRA^Trainer^HL70063")
    assert one(valid(adt("A08", line)), "Coverage")["relationship"]["coding"][0]["code"] == "TRA"


@pytest.mark.parametrize(("kind", "element"), [("SN", "subscriberId"), ("EN", "policyHolder")])
def test_in1_10_is_the_insured_s_number_or_the_employer_s(kind: str, element: str) -> None:
    plan = one(valid(adt("A08", segment("IN1", f2="P^Plan", f3="K^^^HOSP", f10=f"9^^^HOSP^{kind}"))), "Coverage")
    assert element in plan
    assert len({"subscriberId", "policyHolder"} & plan.keys()) == 1


def test_the_financial_class_of_a_visit_is_a_coverage_of_its_own() -> None:
    conversion = valid(adt("A01", segment("PV1", f2="I", f3="MED", f19="V1^^^HOSP", f20="P&Private&L^20250101")))
    assert one(conversion, "Coverage")["type"]["coding"][0]["code"] == "P"


# relatives, reporters
def test_an_organisation_next_of_kin_is_a_contact_with_whom_to_ask_for() -> None:
    line = segment("NK1", f1="1", f3="O", f13="Pflege", f30="Pfleger^Piet", f31="5551", f32="Gasse 1^^Wien")
    conversion = valid(adt("A08", line))
    assert bodies(conversion, "RelatedPerson") == []
    patient = one(conversion, "Patient")
    assert patient["contained"][0]["contact"][0]["name"]["family"] == "Pfleger"


@pytest.mark.parametrize(("relation", "kind"), [("", "#"), ("SEL", "Patient"), ("FND", "RelatedPerson")])
def test_who_reported_an_allergy_is_who_iam_15_says(relation: str, kind: str) -> None:
    line = segment("IAM", f1="1", f3="^Latex", f14="Freund^Franz", f15=relation)
    body = one(valid(adt("A08", line)), "AllergyIntolerance")
    assert body["recorder"]["reference"].startswith(kind)


def test_a_reporter_who_is_a_relative_already_is_that_relative() -> None:
    lines = ("NK1|1|Freund^Franz|FND", segment("IAM", f1="1", f3="^Latex", f14="Freund^Franz", f15="FND"))
    assert len(bodies(valid(adt("A08", *lines)), "RelatedPerson")) == 1


# beds, episodes, wills, inside
def test_a_bed_s_status_is_stated_and_a_ward_has_none() -> None:
    conversion = valid(convert(header("ADT^A20"), "EVN|A20|20250304081500+0100", "NPU|MED^1^A^HOSP|H"))
    (bed,) = [each for each in conversion.resources if "operationalStatus" in each.body]
    assert (bed.mode, bed.body["operationalStatus"]["code"]) == ("update", "H")
    ward = valid(convert(header("ADT^A20"), "EVN|A20|20250304081500+0100", "NPU|MED|H"))
    assert "operationalStatus" not in json.dumps([each.body for each in ward.resources])


def test_the_bed_of_a_visit_and_of_its_status_are_one_place() -> None:
    visit = valid(adt("A01", segment("PV1", f2="I", f3="MED^1^A^HOSP", f19="V1^^^HOSP", f40="O")))
    status = valid(convert(header("ADT^A20"), "EVN|A20|20250304081500+0100", "NPU|MED^1^A^HOSP|H"))
    place = one(visit, "Encounter")["location"][0]["location"]["reference"]
    for conversion in (visit, status):
        (bed,) = [each.body for each in conversion.resources if "operationalStatus" in each.body]
        assert f"Location/{bed['id']}" == place


def test_a_visit_belongs_to_its_episode() -> None:
    conversion = valid(adt("A01", segment("PV1", f2="I", f3="MED", f19="V1^^^HOSP", f53="Rehab", f54="E1^^^HOSP")))
    episode = one(conversion, "EpisodeOfCare")
    assert one(conversion, "Encounter")["episodeOfCare"] == [{"reference": f"EpisodeOfCare/{episode['id']}"}]


def test_the_last_word_on_a_living_will_counts() -> None:
    store = Store()
    for day, code in ((1, "Y"), (2, "N")):
        store.take(valid(adt("A31", segment("PD1", f7=code), at=f"2025030{day}080000+0100")))
    assert store.one("Observation")["valueCodeableConcept"]["coding"][0]["code"] == "N"


def test_nothing_stays_inside_that_nothing_refers_to() -> None:
    """A second PD1 puts another facility in the place of the first."""
    conversion = valid(adt("A08", segment("PD1", f3="Praxis Eins"), segment("PD1", f3="Praxis Zwei")))
    assert [each["name"] for each in one(conversion, "Patient")["contained"]] == ["Praxis Zwei"]


def test_the_registry_s_last_change_is_a_provenance_of_the_patient_alone() -> None:
    conversion = valid(
        convert(header(), segment("PID", f3=f"4711{MR}", f33="20250301090000+0100", f34="HOSP^2.999.1^ISO"))
    )
    whole, change = bodies(conversion, "Provenance")
    assert change["target"] == [{"reference": f"Patient/{one(conversion, 'Patient')['id']}"}]
    assert change["occurredDateTime"].startswith("2025-03-01")
    assert all("Provenance" not in each["reference"] for each in whole["target"])


def test_who_helped_in_a_procedure_did_so_in_a_role() -> None:
    conversion = valid(adt("A08", "PR1|1||31622^Bronchoscopy^C4||20250304", rol(f13="OP^1^^HOSP", f14=ORG)))
    performer = one(conversion, "Procedure")["performer"][0]["actor"]["reference"]
    assert performer == f"PractitionerRole/{one(conversion, 'PractitionerRole')['id']}"
