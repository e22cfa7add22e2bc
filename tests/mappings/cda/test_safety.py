"""Nothing inverted, nothing of another person, nothing of two made one: each case once slipped through, none may again.

Source: CDA R2 (negationInd, moodCode, statusCode, subject); C-CDA on FHIR.
"""

import pytest

from mappings.convert import to_fhir
from mappings.fhir.invariants import broken
from tests.mappings.cda.converted import codes, convert, default, every, of_sections, one
from tests.mappings.cda.documents import in_section, minimal

ALLERGIES, PROBLEMS, MEDICATIONS, RESULTS, FAMILY = "48765-2", "11450-4", "10160-0", "30954-2", "10157-6"
SNOMED = 'codeSystem="2.16.840.1.113883.6.96"'
HYPERTENSION = f'<value xsi:type="CD" code="38341003" {SNOMED}/>'


def observation(
    inner: str, *, own: str = "", mood: str = "EVN", code: str = "55607006", status: str = "completed"
) -> str:
    return (
        f'<entry><observation classCode="OBS" moodCode="{mood}"{own}><code code="{code}"/>'
        f'<statusCode code="{status}"/><effectiveTime><low value="2015"/></effectiveTime>{inner}</observation></entry>'
    )


def drug(own: str = "") -> str:
    return (
        f'<entry><substanceAdministration classCode="SBADM" moodCode="INT"{own}><statusCode code="active"/>'
        '<effectiveTime xsi:type="IVL_TS"><low value="20260101"/></effectiveTime><consumable><manufacturedProduct>'
        '<manufacturedMaterial><code code="314076" codeSystem="2.16.840.1.113883.6.88"/></manufacturedMaterial>'
        "</manufacturedProduct></consumable></substanceAdministration></entry>"
    )


DENIED = ' negationInd="true"'


@pytest.mark.parametrize("order", [("", DENIED), (DENIED, "")])
def test_a_statement_and_its_denial_never_become_one(order: tuple[str, str]) -> None:
    orders = every(of_sections((MEDICATIONS, "".join(map(drug, order)))), "MedicationRequest")
    assert sorted(each.get("doNotPerform", False) for each in orders) == [False, True]
    problems = every(of_sections((PROBLEMS, "".join(observation(HYPERTENSION, own=own) for own in order))), "Condition")
    assert sorted("verificationStatus" in each for each in problems) == [False, True]


def test_an_older_denial_says_nothing_of_a_newer_statement() -> None:
    def of(own: str, day: str) -> dict[str, object]:
        section = in_section(observation(HYPERTENSION, own=own), PROBLEMS)
        done = to_fhir(minimal(section, effectiveTime=f'<effectiveTime value="{day}"/>'), default())
        return {m.body["id"]: m for m in done.resources if m.body["resourceType"] == "Condition"}

    assert of("", "20260401").keys().isdisjoint(of(DENIED, "20260301"))


@pytest.mark.parametrize(
    "values",
    [
        ('<value xsi:type="PQ" value="5" unit="mg/dL"/>', '<value xsi:type="ST">POSITIVE</value>'),
        ('<value xsi:type="PQ" value="5" unit="mg/dL"/>', '<value xsi:type="PQ" nullFlavor="NAV"/>'),
        ('<value xsi:type="IVL_PQ"><high value="5" unit="g"/></value>',
         '<value xsi:type="IVL_PQ"><low value="5" unit="g"/><high value="9" unit="g"/></value>'),
    ],
)  # fmt: skip
def test_two_values_of_one_test_are_two_results(values: tuple[str, str]) -> None:
    done = of_sections((RESULTS, "".join(observation(each, code="2345-7") for each in values)))
    assert len(every(done, "Observation")) == 2
    assert "id-reused" in codes(done)


def test_no_allergy_to_one_drug_is_not_no_allergy() -> None:
    value = f'<value xsi:type="CD" code="294505008" {SNOMED} displayName="Allergy to amoxicillin"/>'
    found = one(of_sections((ALLERGIES, observation(value, own=DENIED, code="ASSERTION"))), "AllergyIntolerance")
    assert [each["code"] for each in found["code"]["coding"]] == ["294505008"]
    assert found["verificationStatus"]["coding"][0]["code"] == "refuted"


@pytest.mark.parametrize(
    "inner",
    [
        f'<value xsi:type="CD" code="55607006" {SNOMED}><originalText>Diabetes</originalText></value>',
        "<text>Diabetes</text>",
    ],
)
def test_no_diabetes_is_not_no_problem(inner: str) -> None:
    found = one(of_sections((PROBLEMS, observation(inner, own=DENIED))), "Condition")
    assert found["verificationStatus"]["coding"][0]["code"] == "refuted"
    assert "160245001" not in str(found["code"])
    assert "Diabetes" in str(found["code"])


def test_no_known_allergy_in_a_list_of_problems_is_not_no_problem() -> None:
    value = f'<value xsi:type="CD" code="716186003" {SNOMED}/>'
    found = one(of_sections((PROBLEMS, observation(value))), "Condition")
    assert [each["code"] for each in found["code"]["coding"]] == ["716186003"]


def test_what_is_denied_within_a_statement_is_no_part_of_it() -> None:
    nested = (
        '<entryRelationship typeCode="REFR"><observation classCode="OBS" moodCode="EVN" negationInd="true">'
        f'<code code="33999-4"/><value xsi:type="CD" code="413322009" {SNOMED}/></observation></entryRelationship>'
        '<entryRelationship typeCode="SUBJ" negationInd="true"><observation classCode="OBS" moodCode="EVN">'
        f'<code code="SEV"/><value xsi:type="CD" code="24484000" {SNOMED}/></observation></entryRelationship>'
    )
    done = of_sections((PROBLEMS, observation(HYPERTENSION + nested)))
    found = one(done, "Condition")
    assert found["clinicalStatus"]["coding"][0]["code"] == "active"
    assert "severity" not in found
    assert codes(done).count("unsupported-statement") == 2


@pytest.mark.parametrize("said", ["true", "1", "TRUE", " true "])
def test_a_denial_is_one_however_it_is_spelled(said: str) -> None:
    found = one(of_sections((PROBLEMS, observation(HYPERTENSION, own=f' negationInd="{said}"'))), "Condition")
    assert found["verificationStatus"]["coding"][0]["code"] == "refuted"


def test_what_is_neither_true_nor_false_is_refused() -> None:
    done = of_sections((PROBLEMS, observation(HYPERTENSION, own=' negationInd="yes"')))
    assert every(done, "Condition") == []
    assert "unsupported-statement" in codes(done)


def relative(component: str, kind: str = "MTH") -> str:
    return (
        '<entry><organizer classCode="CLUSTER" moodCode="EVN"><statusCode code="completed"/><subject>'
        f'<relatedSubject classCode="PRS"><code code="{kind}" codeSystem="2.16.840.1.113883.5.111"/></relatedSubject>'
        f"</subject>{component}</organizer></entry>"
    )


def had(code: str = "254837009", own: str = "", status: str = "completed", inner: str = "") -> str:
    return (
        f'<component><observation classCode="OBS" moodCode="EVN"{own}><code code="64572001"/>'
        f'<statusCode code="{status}"/><value xsi:type="CD" code="{code}" {SNOMED}/>{inner}</observation></component>'
    )


def test_what_a_relative_did_not_have_she_did_not_have() -> None:
    dead = (
        '<entryRelationship typeCode="CAUS"><observation classCode="OBS" moodCode="EVN" negationInd="1">'
        f'<code code="ASSERTION"/><value xsi:type="CD" code="419099009" {SNOMED}/></observation></entryRelationship>'
    )
    told = had(own=' negationInd="1"') + had("38341003", inner=dead) + had("73211009", status="nullified")
    found = one(of_sections((FAMILY, relative(told))), "FamilyMemberHistory")
    assert [each["code"]["coding"][0]["code"] for each in found["condition"]] == ["38341003"]
    assert "deceasedBoolean" not in found
    assert "contributedToDeath" not in found["condition"][0]


def test_two_brothers_are_two() -> None:
    found = every(of_sections((FAMILY, relative("", "BRO") + relative(had(), "BRO"))), "FamilyMemberHistory")
    assert len(found) == 2


def test_the_familys_facts_are_not_the_patients() -> None:
    done = of_sections((FAMILY, observation(HYPERTENSION, code="ASSERTION")))
    assert every(done, "Observation") == []
    assert len(every(done, "FamilyMemberHistory")) == 1
    subject = '<subject><relatedSubject classCode="PRS"><code code="MTH"/></relatedSubject></subject>'
    done = of_sections((PROBLEMS, subject + observation(HYPERTENSION)))
    assert every(done, "Condition") == []
    assert "unsupported-statement" in codes(done)


@pytest.mark.parametrize("mood", ["INT", "RSK", "GOL"])
def test_what_is_feared_or_planned_is_not_there(mood: str) -> None:
    done = of_sections(
        (PROBLEMS, observation(HYPERTENSION, mood=mood)), (ALLERGIES, observation(HYPERTENSION, mood=mood))
    )
    assert every(done, "Condition") == every(done, "AllergyIntolerance") == []


@pytest.mark.parametrize("mood", ["APT", "OPT", "EVN.CRT"])
def test_what_is_booked_or_possible_is_not_done(mood: str) -> None:
    entry = (
        f'<entry><procedure classCode="PROC" moodCode="{mood}"><code code="73761001" {SNOMED}/>'
        '<statusCode code="completed"/></procedure></entry>'
    )
    assert every(of_sections(("47519-4", entry)), "Procedure") == []


def test_what_was_entered_in_error_is_no_allergy_and_no_problem() -> None:
    for section, kind in ((ALLERGIES, "AllergyIntolerance"), (PROBLEMS, "Condition")):
        for own, around in (("nullified", "active"), ("completed", "nullified")):
            inner = observation(HYPERTENSION, status=own).replace("<entry>", "").replace("</entry>", "")
            act = (
                f'<entry><act classCode="ACT" moodCode="EVN"><code code="CONC"/><statusCode code="{around}"/>'
                f'<entryRelationship typeCode="SUBJ">{inner}</entryRelationship></act></entry>'
            )
            found = one(of_sections((section, act)), kind)
            assert found["verificationStatus"]["coding"][0]["code"] == "entered-in-error"
            assert "clinicalStatus" not in found


@pytest.mark.parametrize(
    ("section", "kind", "product"),
    [
        ("10160-0", "MedicationStatement", f'code="1191" {SNOMED}'),
        ("10160-0", "MedicationStatement", f'code="410942007" {SNOMED}'),
        ("10160-0", "MedicationStatement", 'nullFlavor="NI"'),
        ("10160-0", "MedicationStatement", 'code="no-known-medications" codeSystem="2.16.840.1.113883.5.1150.1"'),
        ("11369-6", "Immunization", 'code="88" codeSystem="2.16.840.1.113883.12.292"'),
        ("11369-6", "Immunization", f'code="71181003" {SNOMED}'),
        ("11369-6", "Immunization", 'nullFlavor="NI"'),
        ("11369-6", "Immunization", 'code="no-known-immunizations" codeSystem="2.16.840.1.113883.5.1150.1"'),
    ],
)
@pytest.mark.parametrize("own", [' negationInd="true"', ""])
def test_a_denial_that_was_entered_in_error_denies_nothing(section: str, kind: str, product: str, own: str) -> None:
    material = f"<manufacturedMaterial><code {product}/></manufacturedMaterial>"
    entry = (
        f'<entry><substanceAdministration classCode="SBADM" moodCode="EVN"{own}><statusCode code="nullified"/>'
        f"<consumable><manufacturedProduct>{material}</manufacturedProduct></consumable></substanceAdministration></entry>"
    )
    done = of_sections((section, entry))
    found = [m.body for m in done.resources if "status" in m.body and m.body["resourceType"].startswith(("Med", "Imm"))]
    twice = own and "no-known" in product  # nobody knows what "not no known" says: it stays in the narrative
    assert [each["status"] for each in found] == ([] if twice else ["entered-in-error"])
    if found and (own or "no-known" in product):
        assert found[0]["resourceType"] == kind


def test_what_shows_itself_in_a_reaction_is_a_manifestation_of_it() -> None:
    inner = """<observation classCode="OBS" moodCode="EVN"><code code="ASSERTION"/>
      <value xsi:type="CD" code="{}" codeSystem="2.16.840.1.113883.6.96"/>{}</observation>"""
    wheeze = f'<entryRelationship typeCode="MFST">{inner.format("56018004", "")}</entryRelationship>'
    cough = f'<entryRelationship typeCode="MFST">{inner.format("49727002", wheeze)}</entryRelationship>'
    done = of_sections(
        (ALLERGIES, observation(f'<value xsi:type="CD" code="416098002" {SNOMED}/>{cough}', code="ASSERTION"))
    )
    (reaction,) = one(done, "AllergyIntolerance")["reaction"]
    assert [each["coding"][0]["code"] for each in reaction["manifestation"]] == ["49727002", "56018004"]
    assert every(done, "Observation") == []


def test_a_reaction_in_words_and_a_severity_without_reaction_stay() -> None:
    nested = (
        '<entryRelationship typeCode="MFST"><observation classCode="OBS" moodCode="EVN"><code code="ASSERTION"/>'
        '<text>Anaphylaxis</text><value xsi:type="CD" nullFlavor="UNK"/></observation></entryRelationship>'
    )
    severe = (
        '<entryRelationship typeCode="SUBJ"><observation classCode="OBS" moodCode="EVN"><code code="SEV"/>'
        f'<value xsi:type="CD" code="24484000" {SNOMED} displayName="Severe"/></observation></entryRelationship>'
    )
    value = f'<value xsi:type="CD" code="416098002" {SNOMED}/>'
    reacted = one(of_sections((ALLERGIES, observation(value + nested, code="ASSERTION"))), "AllergyIntolerance")
    assert reacted["reaction"][0]["manifestation"] == [{"text": "Anaphylaxis"}]
    told = one(of_sections((ALLERGIES, observation(value + severe, code="ASSERTION"))), "AllergyIntolerance")
    assert told["note"] == [{"text": "Severity: Severe"}]


def test_a_number_without_an_issuer_is_nobodys() -> None:
    def of(name: str) -> str:
        who = f'<patientRole><id extension="12345"/><patient><name>{name}</name></patient></patientRole>'
        done = convert(minimal(recordTarget=f"<recordTarget>{who}</recordTarget>"))
        assert "no-identity" in codes(done)
        return str(one(done, "Patient")["id"])

    assert of("Ida") != of("Bob")


@pytest.mark.parametrize("nullified_first", [True, False])
def test_what_was_entered_in_error_takes_nothing_back_that_stands_beside_it(nullified_first: bool) -> None:
    good, bad = observation(HYPERTENSION), observation(HYPERTENSION, status="nullified")
    for section, kind in ((ALLERGIES, "AllergyIntolerance"), (PROBLEMS, "Condition")):
        found = every(of_sections((section, bad + good if nullified_first else good + bad)), kind)
        assert sorted("clinicalStatus" in each for each in found) == [False, True]
        assert all(("clinicalStatus" in each) != ("verificationStatus" in each) for each in found)


@pytest.mark.parametrize("inner", ["", HYPERTENSION])
@pytest.mark.parametrize("status", ["completed", "nullified"])
@pytest.mark.parametrize("end", ['value="2020"', 'nullFlavor="UNK"'])
def test_an_end_of_what_was_never_there_is_none(inner: str, status: str, end: str) -> None:
    """con-4: that there are no problems is active, what was entered in error has no status; neither is abated."""
    none = f'<value xsi:type="CD" code="160245001" {SNOMED}/>'
    ended = observation(inner or none, status="nullified" if inner else status).replace(
        '<low value="2015"/>', f'<low value="2015"/><high {end}/>'
    )
    found = one(of_sections((PROBLEMS, ended)), "Condition")
    assert not [name for name in found if "abatement" in name]
    assert not broken(found)


@pytest.mark.parametrize("mood", ["EVN.CRT", "DEF", "OPT", "GOL", "invented"])
def test_a_criterion_a_definition_and_an_option_are_no_order(mood: str) -> None:
    product = (
        '<manufacturedProduct><manufacturedMaterial><code code="314076" codeSystem="2.16.840.1.113883.6.88"/>'
        "</manufacturedMaterial></manufacturedProduct>"
    )
    supply = (
        f'<entry><supply classCode="SPLY" moodCode="{mood}"><statusCode code="active"/><product>{product}</product>'
        "</supply></entry>"
    )
    for entry in (drug().replace('moodCode="INT"', f'moodCode="{mood}"'), supply):
        done = of_sections((MEDICATIONS, entry))
        assert {m.body["resourceType"] for m in done.resources}.isdisjoint(
            {"MedicationRequest", "MedicationStatement", "MedicationDispense", "DeviceRequest", "Immunization"}
        )
        assert [each.outcome for each in done.tally] == ["unsupported"]
        assert "unsupported-statement" in codes(done)


SECOND_SUBSTANCE = (
    '<participant typeCode="CSM"><participantRole classCode="MANU"><playingEntity classCode="MMAT">'
    '<code code="{}" codeSystem="2.16.840.1.113883.6.88"/></playingEntity></participantRole></participant>'
)


@pytest.mark.parametrize(
    ("section", "inner", "told"),
    [
        (ALLERGIES, SECOND_SUBSTANCE.format("7980") + SECOND_SUBSTANCE.format("1191"), 1),
        (ALLERGIES, SECOND_SUBSTANCE.format("7980") * 2, 0),
        (PROBLEMS, HYPERTENSION + HYPERTENSION.replace("38341003", "44054006"), 1),
        (PROBLEMS, HYPERTENSION + '<value xsi:type="CD" nullFlavor="UNK"/>', 0),
    ],
)
def test_a_second_value_where_fhir_takes_one_is_told_of(section: str, inner: str, told: int) -> None:
    done = of_sections((section, observation(inner, code="ASSERTION")))
    assert codes(done).count("extra-value") == told


@pytest.mark.parametrize("flavor", ["20200101", "Hypertension"])
def test_what_is_written_into_a_null_flavor_is_told_of_wherever_it_stands(flavor: str) -> None:
    null = f'nullFlavor="{flavor}"'
    for inner, where in (
        (f'<value xsi:type="CD" {null}/>', PROBLEMS),
        (f"{HYPERTENSION}<methodCode {null}/>", PROBLEMS),
        (f'<value xsi:type="PQ" {null}/>', RESULTS),
    ):
        done = of_sections((where, observation(inner)))
        assert codes(done).count("bad-null-flavor") == 1
    timed = observation(HYPERTENSION).replace('<low value="2015"/>', f"<low {null}/>")
    assert codes(of_sections((PROBLEMS, timed))).count("bad-null-flavor") == 1
    known = observation('<value xsi:type="PQ" nullFlavor="NAV"/>')
    assert "bad-null-flavor" not in codes(of_sections((RESULTS, known)))


@pytest.mark.parametrize(
    ("section", "code"), [(ALLERGIES, "716186003"), (PROBLEMS, "160245001"), (MEDICATIONS, "787481004")]
)
def test_that_a_known_absence_is_denied_is_understood_by_nobody(section: str, code: str) -> None:
    value = f'<value xsi:type="CD" code="{code}" {SNOMED}/>'
    entry = observation(value, own=DENIED, code="ASSERTION")
    if section == MEDICATIONS:
        entry = drug(DENIED).replace("<statusCode", f'<code code="{code}" {SNOMED}/><statusCode')
    done = of_sections((section, entry))
    assert [each.outcome for each in done.tally] == ["unsupported"]
    assert "unsupported-statement" in codes(done)
    assert all(
        code not in str(m.body) for m in done.resources if m.body["resourceType"] not in {"Composition", "Binary"}
    )
