"""Encounters: one for all that a document says of one number; class, status, diagnoses."""

import pytest

from tests.mappings.cda.converted import codes, every, of_sections, one, outcomes

ENCOUNTERS, PROCEDURES, PROBLEMS = "46240-8", "47519-4", "11450-4"
SCT = 'codeSystem="2.16.840.1.113883.6.96"'
ACT = 'codeSystem="2.16.840.1.113883.5.4"'
CPT = '<code code="99213" codeSystem="2.16.840.1.113883.6.12"/>'


def listed(inside: str = CPT, own: str = "", id_: str = "e1", mood: str = "EVN") -> str:
    return f"""<entry><encounter classCode="ENC" moodCode="{mood}" {own}>
      <id root="2.999.9" extension="{id_}"/>{inside}</encounter></entry>"""


def around(inside: str, id_: str = "e1") -> str:
    return f"""<componentOf><encompassingEncounter>
      <id root="2.999.9" extension="{id_}"/>{inside}</encompassingEncounter></componentOf>"""


def time(low: str = "", high: str = "", value: str = "") -> str:
    if value:
        return f'<effectiveTime value="{value}"/>'
    ends = (f'<low value="{low}"/>' if low else "") + (f'<high value="{high}"/>' if high else "")
    return f"<effectiveTime>{ends}</effectiveTime>"


def diagnosis(code: str = "74400008", act: str = "29308-4", more: str = "", id_: str = "c1") -> str:
    return f"""<entryRelationship typeCode="SUBJ"><act classCode="ACT" moodCode="EVN"><code code="{act}"/>
      <entryRelationship typeCode="SUBJ"><observation classCode="OBS" moodCode="EVN">
      <id root="2.999.9" extension="{id_}"/>
      <code code="282291009" {SCT}/><statusCode code="completed"/>
      <value xsi:type="CD" code="{code}" {SCT}/>{more}</observation>
      </entryRelationship></act></entryRelationship>"""


# class and type -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        f'<code code="IMP" {ACT}/>',
        f'<code code="99213" codeSystem="2.16.840.1.113883.6.12"><translation code="IMP" {ACT}/></code>',
        f"""<code nullFlavor="OTH"><translation code="X" codeSystem="2.999"><translation code="IMP" {ACT}/>
          </translation></code>""",
    ],
)
def test_the_class_is_hl7s_own_code_wherever_it_stands(code: str) -> None:
    found = one(of_sections((ENCOUNTERS, listed(code))), "Encounter")
    assert found["class"]["code"] == "IMP"
    assert "IMP" not in str(found.get("type"))


def test_any_other_code_is_a_type_and_the_class_is_absent() -> None:
    found = one(of_sections((ENCOUNTERS, listed())), "Encounter")
    assert found["type"][0]["coding"][0]["code"] == "99213"
    assert found["class"]["extension"][0]["valueCode"] == "unknown"


def test_further_codes_of_one_encounter_are_types_too() -> None:
    more = """<entryRelationship typeCode="REFR"><act classCode="ACT" moodCode="EVN">
      <code code="99408" codeSystem="2.16.840.1.113883.6.12"/></act></entryRelationship>"""
    done = of_sections((ENCOUNTERS, listed(CPT + more)))
    assert [each["coding"][0]["code"] for each in one(done, "Encounter")["type"]] == ["99213", "99408"]
    assert outcomes(done) == [("encounter", "mapped"), ("act", "mapped")]


# status ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inside", "status"),
    [
        ('<statusCode code="active"/>', "in-progress"), ('<statusCode code="completed"/>', "finished"),
        ('<statusCode code="cancelled"/>', "cancelled"), ('<statusCode code="aborted"/>', "cancelled"),
        ('<statusCode code="held"/>', "planned"), ('<statusCode code="new"/>', "planned"),
        ('<statusCode code="suspended"/>', "onleave"), ('<statusCode code="nullified"/>', "entered-in-error"),
        (time(value="20240101"), "finished"), (time("20240101", "20240103"), "finished"),
        (time("20240101", "20280101"), "in-progress"), (time("20240101"), "unknown"),
        (time(value="20280101"), "planned"), (time("20280101"), "planned"), ("", "unknown"),
        ('<statusCode code="active"/>' + time("20240101", "20240103"), "in-progress"),
    ],
)  # fmt: skip
def test_a_status_code_says_it_else_the_time(inside: str, status: str) -> None:
    assert one(of_sections((ENCOUNTERS, listed(CPT + inside))), "Encounter")["status"] == status


@pytest.mark.parametrize("status", ["", '<statusCode code="completed"/>'])
def test_negation_is_never_lost_encounter(status: str) -> None:
    done = of_sections((ENCOUNTERS, listed(CPT + status + time(value="20240101"), 'negationInd="true"')))
    assert one(done, "Encounter")["status"] == "cancelled"


def test_a_visit_to_come_is_no_encounter() -> None:
    done = of_sections((ENCOUNTERS, listed(CPT + '<statusCode code="active"/>', mood="INT")))
    assert every(done, "Encounter") == []


# trap 15: the encompassing encounter ----------------------------------------------------------------------------------


def test_the_headers_encounter_and_the_listed_one_of_its_number_are_one() -> None:
    header = around(f'<code code="IMP" {ACT}/>' + time("20260220"))
    inside = CPT + '<statusCode code="completed"/>' + time("20260220", "20260224") + diagnosis()
    done = of_sections((ENCOUNTERS, listed(inside)), componentOf=header)
    found = one(done, "Encounter")
    assert found["class"]["code"] == "IMP"
    assert found["type"][0]["coding"][0]["code"] == "99213"
    assert found["status"] == "finished"
    assert found["period"] == {"start": "2026-02-20", "end": "2026-02-24"}
    assert one(done, "Composition")["encounter"]["reference"] == f"Encounter/{found['id']}"
    assert len(found["diagnosis"]) == 1


def test_another_number_is_another_encounter() -> None:
    done = of_sections((ENCOUNTERS, listed(id_="e2")), componentOf=around(time("20260220")))
    assert len(every(done, "Encounter")) == 2


def test_one_number_and_another_time_are_two_and_told_of() -> None:
    done = of_sections((ENCOUNTERS, listed(CPT + time("20240101"))), componentOf=around(time("20260220")))
    assert sorted(each["period"]["start"] for each in every(done, "Encounter")) == ["2024-01-01", "2026-02-20"]
    assert "id-reused" in codes(done)


def test_listed_encounters_under_one_number_are_told_apart_by_what_they_say() -> None:
    done = of_sections((ENCOUNTERS, listed(CPT + time(value="20240101")) + listed(CPT + time(value="20250101"))))
    assert len(every(done, "Encounter")) == 2


def test_one_that_is_only_named_is_the_one_of_its_number() -> None:
    named = """<entryRelationship typeCode="COMP" inversionInd="true"><encounter classCode="ENC" moodCode="EVN">
      <id root="2.999.9" extension="e1"/></encounter></entryRelationship>"""
    procedure = f'<entry><procedure classCode="PROC" moodCode="EVN"><code code="1" {SCT}/>{named}</procedure></entry>'
    for sections in (
        [(PROCEDURES, procedure), (ENCOUNTERS, listed())],
        [(ENCOUNTERS, listed()), (PROCEDURES, procedure)],
    ):
        done = of_sections(*sections)
        found = one(done, "Encounter")
        assert one(done, "Procedure")["encounter"] == {"reference": f"Encounter/{found['id']}"}
        assert found["type"][0]["coding"][0]["code"] == "99213"
        assert ("encounter", "merged") in outcomes(done)


def test_the_nearest_encounter_counts() -> None:
    done = of_sections((ENCOUNTERS, listed(CPT + diagnosis(), id_="e2")), componentOf=around(time("20260220")))
    by_number = {each["identifier"][0]["value"]: each["id"] for each in every(done, "Encounter")}
    assert one(done, "Condition")["encounter"] == {"reference": f"Encounter/{by_number['e2']}"}


# diagnoses and reasons ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("act", "use"), [("29308-4", None), ("11535-2", "DD"), ("46241-6", "AD")])
def test_a_diagnosis_is_a_condition_with_its_use_and_rank(act: str, use: str | None) -> None:
    rank = f"""<entryRelationship typeCode="REFR"><observation classCode="OBS" moodCode="EVN">
      <code code="263486008" {SCT}/><value xsi:type="INT" value="1"/></observation></entryRelationship>"""
    done = of_sections((ENCOUNTERS, listed(CPT + diagnosis(act=act, more=rank))))
    condition = one(done, "Condition")
    (found,) = one(done, "Encounter")["diagnosis"]
    assert found["condition"] == {"reference": f"Condition/{condition['id']}"}
    assert found["rank"] == 1
    assert (found["use"]["coding"][0]["code"] if "use" in found else None) == use
    assert condition["category"][0]["coding"][0]["code"] == "encounter-diagnosis"
    assert every(done, "Observation") == []


def test_a_problem_that_is_a_diagnosis_too_is_one_condition_with_both_categories() -> None:
    problem = f"""<entry><observation classCode="OBS" moodCode="EVN"><id root="2.999.9" extension="c1"/>
      <code code="282291009" {SCT}/><statusCode code="completed"/><value xsi:type="CD" code="74400008" {SCT}/>
      </observation></entry>"""
    done = of_sections((PROBLEMS, problem), (ENCOUNTERS, listed(CPT + diagnosis())))
    told = [each["coding"][0]["code"] for each in one(done, "Condition")["category"]]
    assert {"problem-list-item", "encounter-diagnosis"} <= set(told)
    assert len(one(done, "Encounter")["diagnosis"]) == 1


def test_that_the_diagnosing_is_completed_ends_no_problem() -> None:
    problem = f"""<entry><observation classCode="OBS" moodCode="EVN"><id root="2.999.9" extension="c1"/>
      <code code="282291009" {SCT}/><statusCode code="completed"/><value xsi:type="CD" code="74400008" {SCT}/>
      </observation></entry>"""
    completed = diagnosis().replace('<code code="29308-4"/>', '<code code="29308-4"/><statusCode code="completed"/>')
    alone = one(of_sections((ENCOUNTERS, listed(CPT + completed))), "Condition")
    assert "clinicalStatus" not in alone
    both = one(of_sections((PROBLEMS, problem), (ENCOUNTERS, listed(CPT + completed))), "Condition")
    assert both["clinicalStatus"]["coding"][0]["code"] == "active"


def test_a_reason_is_a_code() -> None:
    reason = f"""<entryRelationship typeCode="RSON"><observation classCode="OBS" moodCode="EVN">
      <code code="404684003" {SCT}/>
      <value xsi:type="CD" code="233604007" {SCT}/></observation></entryRelationship>"""
    found = one(of_sections((ENCOUNTERS, listed(CPT + reason))), "Encounter")
    assert found["reasonCode"][0]["coding"][0]["code"] == "233604007"


# who and where --------------------------------------------------------------------------------------------------------


def test_who_took_part_where_and_where_to() -> None:
    inside = """<sdtc:dischargeDispositionCode code="01" codeSystem="2.16.840.1.113883.6.301.5"/>
      <performer typeCode="PPRF"><assignedEntity><id root="2.999.3" extension="1"/></assignedEntity></performer>
      <participant typeCode="REF"><participantRole><playingEntity><name><family>Referrer</family></name>
      </playingEntity></participantRole></participant>
      <participant typeCode="LOC"><participantRole><playingEntity><name>Ward</name></playingEntity>
      </participantRole></participant>
      <participant typeCode="DST"><participantRole><playingEntity><name>Home</name></playingEntity>
      </participantRole></participant>"""
    found = one(of_sections((ENCOUNTERS, listed(CPT + inside))), "Encounter")
    assert [each["type"][0]["coding"][0]["code"] for each in found["participant"]] == ["PPRF", "REF"]
    assert found["participant"][1]["individual"]["display"] == "Referrer"
    assert found["location"][0]["location"]["display"] == "Ward"
    assert found["hospitalization"]["destination"]["display"] == "Home"
    assert found["hospitalization"]["dischargeDisposition"]["coding"][0]["code"] == "01"


def test_a_patient_who_came_by_herself_is_no_referrer() -> None:
    """R4 takes professionals and relatives there: the subject is said already."""
    own = """<participant typeCode="REF"><participantRole><id root="2.999.2" extension="P1"/></participantRole>
      </participant>"""
    (found,) = one(of_sections((ENCOUNTERS, listed(CPT + own))), "Encounter")["participant"]
    assert "individual" not in found


def test_what_points_at_no_reason_leaves_no_empty_list() -> None:
    """Said of an encounter that the header has begun, too."""
    reason = """<entryRelationship typeCode="RSON"><act classCode="ACT" moodCode="EVN">
      <templateId root="2.16.840.1.113883.10.20.22.4.122"/><id root="2.999.9" extension="d1"/><code nullFlavor="NP"/>
      </act></entryRelationship>"""
    drug = f"""<entry><substanceAdministration classCode="SBADM" moodCode="EVN"><id root="2.999.9" extension="d1"/>
      <consumable><manufacturedProduct><manufacturedMaterial><code code="1" {SCT}/></manufacturedMaterial>
      </manufacturedProduct></consumable></substanceAdministration></entry>"""
    done = of_sections((ENCOUNTERS, listed(CPT + reason)), ("10160-0", drug), componentOf=around(time("2026")))
    assert "reasonReference" not in one(done, "Encounter")
