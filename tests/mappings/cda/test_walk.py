"""The walk over a document: every statement has one outcome, and none costs the others anything."""

import pytest

from mappings.cda import handlers
from mappings.cda.document import parse
from mappings.cda.element import Element
from mappings.cda.explain import tally
from mappings.cda.paths import STATEMENTS
from mappings.cda.walk import Walk
from mappings.convert import Conversion, to_fhir
from tests.mappings.cda.converted import codes, convert, default, every, of_fragment, of_sections, one, outcomes
from tests.mappings.cda.documents import in_section, minimal
from tests.mappings.cda.test_samples import dangling

ALLERGY = """<entry><act classCode="ACT" moodCode="EVN"{wrapper}><code code="CONC"/><statusCode code="active"/>
  <entryRelationship typeCode="SUBJ"><observation classCode="OBS" moodCode="EVN"{own}>
  <id root="2.999.9" extension="{id}"/><code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>
  <statusCode code="completed"/><effectiveTime><low value="2001"/></effectiveTime>
  <value xsi:type="CD" code="416098002" codeSystem="2.16.840.1.113883.6.96"/>
  <participant typeCode="CSM"><participantRole><playingEntity>
  <code code="{code}" codeSystem="2.16.840.1.113883.6.88" displayName="{code}"/></playingEntity></participantRole>
  </participant></observation></entryRelationship></act></entry>"""
ALLERGIES, PROBLEMS = "48765-2", "11450-4"


def allergy(code: str = "7980", id_: str = "a", own: str = "", wrapper: str = "") -> str:
    return ALLERGY.format(code=code, id=id_, own=own, wrapper=wrapper)


def test_every_statement_has_exactly_one_outcome() -> None:
    data = minimal(in_section(allergy() + "<entry><act><code code='X'/></act></entry>", ALLERGIES))
    done = to_fhir(data, default())
    statements = [el for el in parse(data).root.iter("*") if str(el.tag).rpartition("}")[2] in STATEMENTS]
    assert len(done.tally) == len(statements) == 3
    assert outcomes(done) == [("act", "mapped"), ("observation", "mapped"), ("act", "narrative")]


@pytest.mark.parametrize("where", ["own", "wrapper"])
def test_a_negation_of_the_statement_and_of_its_wrapper_both_count(where: str) -> None:
    done = of_sections((ALLERGIES, allergy(**{where: ' negationInd="true"'})))
    found = one(done, "AllergyIntolerance")
    assert found["verificationStatus"]["coding"][0]["code"] == "refuted"
    assert found["clinicalStatus"]["coding"][0]["code"] == "inactive"


def test_a_negation_ends_with_its_wrapper() -> None:
    done = of_sections((ALLERGIES, allergy(wrapper=' negationInd="true"') + allergy("723", "b")))
    assert ["verificationStatus" in each for each in every(done, "AllergyIntolerance")] == [True, False]


def test_a_negated_statement_that_its_handler_cannot_turn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = handlers.HANDLERS["allergy"]
    monkeypatch.setitem(handlers.HANDLERS, "allergy", whole._replace(negation=False))
    done = of_sections((ALLERGIES, allergy(own=' negationInd="true"')))
    assert every(done, "AllergyIntolerance") == []
    assert outcomes(done) == [("act", "narrative"), ("observation", "unsupported")]
    assert "unsupported-statement" in codes(done)


def test_an_entry_that_fails_costs_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = handlers.HANDLERS["allergy"]

    def failing(walk: object, el: object) -> None:
        whole.call(walk, el)  # type: ignore[arg-type]
        if walk.own_id(el)[1] == "bad":  # type: ignore[attr-defined]
            raise KeyError("a fault of ours")

    monkeypatch.setitem(handlers.HANDLERS, "allergy", whole._replace(call=failing))
    done = of_sections((ALLERGIES, allergy("1", "good") + allergy("2", "bad") + allergy("3", "after")))
    assert [each["code"]["coding"][0]["code"] for each in every(done, "AllergyIntolerance")] == ["1", "3"]
    assert [said for _, said in outcomes(done)] == ["mapped", "mapped", "error", "error", "mapped", "mapped"]
    assert codes(done).count("entry-failed") == 1
    entries = one(done, "Composition")["section"][0]["entry"]
    assert len(entries) == 2


def test_an_entry_that_fails_leaves_nothing_in_what_the_others_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its number was joined to an equal statement before it; who wrote it is described for an entry after it."""
    whole = handlers.HANDLERS["allergy"]

    def failing(walk: Walk, el: Element) -> None:
        whole.call(walk, el)
        if len(el.kids["id"]) > 1:
            raise KeyError("a fault of ours")

    monkeypatch.setitem(handlers.HANDLERS, "allergy", whole._replace(call=failing))
    author = """<author><time value="20260301"/><assignedAuthor><id root="2.999.3" extension="N1"/>{}</assignedAuthor>
      </author><participant"""
    described = author.format("<assignedPerson><name><family>Nurse</family></name></assignedPerson>")
    good, after = allergy("1", "good"), allergy("3", "after").replace("<participant", author.format(""))
    bad = good.replace('extension="good"/>', 'extension="good"/><id root="2.999.9" extension="bad"/>')
    done = of_sections((ALLERGIES, good + bad.replace("<participant", described) + after))
    assert codes(done) == ["entry-failed"]
    assert every(done, "AllergyIntolerance")[0] == one(of_sections((ALLERGIES, good)), "AllergyIntolerance")
    assert "Nurse" in [each["name"][0]["family"] for each in every(done, "Practitioner") if "name" in each]
    assert dangling(done) == set()
    assert [said for _, said in outcomes(done)] == ["mapped", "mapped", "error", "error", "mapped", "mapped"]


@pytest.mark.parametrize(
    "inner", ["<note>words</note>", '<x:act xmlns:x="urn:example:x"/>', "<x xmlns=''><act/></x>", "<section/>"]
)
def test_what_no_cda_knows_in_an_entry_has_an_outcome(inner: str) -> None:
    done = of_sections((ALLERGIES, f"<entry><templateId root='2.999.1'/>{inner}</entry>{allergy()}"))
    assert [outcome.outcome for outcome in done.tally] == ["unsupported", "mapped", "mapped"]
    assert codes(done) == ["unsupported-statement"]
    assert tally(done) == {"statements": 3, "mapped": 2, "merged": 0, "narrative": 0, "unsupported": 1, "error": 0}


def test_a_denial_that_fails_denies_nothing_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = handlers.HANDLERS["allergy"]

    def failing(walk: object, el: object) -> None:
        if walk.own_id(el)[1] == "bad":  # type: ignore[attr-defined]
            raise KeyError("a fault of ours")
        whole.call(walk, el)  # type: ignore[arg-type]

    monkeypatch.setitem(handlers.HANDLERS, "allergy", whole._replace(call=failing))
    denied = allergy("2", "bad", own=' negationInd="true"')
    done = of_sections((ALLERGIES, denied + allergy("3", "after")))
    assert "verificationStatus" not in one(done, "AllergyIntolerance")


@pytest.mark.parametrize("space", ["", ' xmlns=""', ' xmlns="urn:hl7-org:v3"'])
def test_a_statement_about_somebody_else_is_never_the_patients(space: str) -> None:
    subject = f'<subject><relatedSubject classCode="PRS"{space}><code code="MTH"/></relatedSubject></subject>'
    done = of_sections((ALLERGIES, allergy().replace("<participant", f"{subject}<participant")))
    assert every(done, "AllergyIntolerance") == []
    assert "unsupported-statement" in codes(done)


def test_a_section_that_nobody_knows_keeps_its_words_and_its_place() -> None:
    done = of_sections(("99999-9", "<title>Odd</title><text>Some words</text>"), (ALLERGIES, allergy()))
    sections = one(done, "Composition")["section"]
    assert [each["code"]["coding"][0]["code"] for each in sections] == ["99999-9", ALLERGIES]
    assert "Some words" in sections[0]["text"]["div"]


def test_a_statement_is_mapped_by_its_template_where_its_section_is_unknown() -> None:
    entry = allergy().replace(
        '<id root="2.999.9"', '<templateId root="2.16.840.1.113883.10.20.22.4.7"/><id root="2.999.9"'
    )
    done = of_sections(("99999-9", entry))
    assert one(done, "AllergyIntolerance")["code"]["coding"][0]["code"] == "7980"


def test_sections_within_sections_stay_within() -> None:
    inner = in_section(f"<title>Inner</title>{allergy()}", ALLERGIES)
    done = of_sections(("18776-5", f"<title>Outer</title>{inner}"))
    (outer,) = one(done, "Composition")["section"]
    assert outer["section"][0]["entry"][0]["reference"].startswith("AllergyIntolerance/")
    assert "entry" not in outer


# identity -------------------------------------------------------------------------------------------------------------


def test_one_id_on_different_facts_is_two_resources() -> None:
    done = of_sections((ALLERGIES, allergy("1", "same") + allergy("2", "same")))
    assert len(every(done, "AllergyIntolerance")) == 2


def test_the_same_fact_twice_is_one_resource() -> None:
    done = of_sections((ALLERGIES, allergy("1", "same") + allergy("1", "same")))
    assert len(every(done, "AllergyIntolerance")) == 1
    assert [said for _, said in outcomes(done)].count("merged") == 1


def test_what_is_said_and_what_is_denied_are_two() -> None:
    denied = allergy("1", "same", own=' negationInd="true"')
    first = of_sections((ALLERGIES, allergy("1", "same") + denied))
    other = of_sections((ALLERGIES, denied + allergy("1", "same")))
    for done in (first, other):
        refuted = ["verificationStatus" in each for each in every(done, "AllergyIntolerance")]
        assert sorted(refuted) == [False, True]


def test_a_problem_in_two_sections_is_one_condition_with_both_categories() -> None:
    problem = """<entry><observation classCode="OBS" moodCode="EVN"><id root="2.999.9" extension="p"/>
      <code code="55607006" codeSystem="2.16.840.1.113883.6.96"/><effectiveTime><low value="2001"/></effectiveTime>
      <value xsi:type="CD" code="38341003" codeSystem="2.16.840.1.113883.6.96"/></observation></entry>"""
    done = of_sections((PROBLEMS, problem), ("75310-3", problem))
    found = one(done, "Condition")
    told = [each["coding"][0]["code"] for each in found["category"]]
    assert {"problem-list-item", "health-concern"} <= set(told)


LEFT = '<targetSiteCode code="7771000" codeSystem="2.16.840.1.113883.6.96" displayName="Left"/>'
SIDE = """<qualifier><name code="272741003" codeSystem="2.16.840.1.113883.6.96"/>
  <value code="7771000" codeSystem="2.16.840.1.113883.6.96" displayName="Left"/></qualifier>"""


def problem(site: str = "", side: str = "") -> str:
    return f"""<entry><observation classCode="OBS" moodCode="EVN"><id root="2.999.9" extension="p"/>
      <code code="55607006" codeSystem="2.16.840.1.113883.6.96"/><effectiveTime><low value="2001"/></effectiveTime>
      <value xsi:type="CD" code="71620000" codeSystem="2.16.840.1.113883.6.96">{side}</value>{site}</observation>
      </entry>"""


@pytest.mark.parametrize("told", [problem(LEFT), problem(side=SIDE)], ids=["site", "laterality"])
@pytest.mark.parametrize("turned", [False, True])
def test_what_names_a_side_and_what_names_none_are_two_facts(told: str, turned: bool) -> None:
    both = [told, problem()]
    done = of_sections((PROBLEMS, "".join(reversed(both) if turned else both)))
    sides = [each.get("bodySite") for each in every(done, "Condition")]
    assert sorted(side is None for side in sides) == [False, True]
    assert codes(done) == ["id-reused"]
    again = of_sections((PROBLEMS, told), ("75310-3", told))
    assert len(every(again, "Condition")) == 1, "the same side twice is one"


def test_an_observation_of_the_fetus_is_not_joined_with_the_mothers() -> None:
    subject = """<subject><relatedSubject classCode="PRS"><code code="121026" codeSystem="1.2.840.10008.2.16.4"/>
      </relatedSubject></subject>"""
    rate = """<entry><observation classCode="OBS" moodCode="EVN"><id root="2.999.9" extension="r"/>
      <code code="8867-4" codeSystem="2.16.840.1.113883.6.1"/><statusCode code="completed"/>
      <effectiveTime value="20260301"/><value xsi:type="PQ" value="120" unit="/min"/>{}</observation></entry>"""
    done = of_sections(("30954-2", rate.format("") + rate.format(subject)))
    assert sorted("focus" in each for each in every(done, "Observation")) == [False, True]


def test_the_same_input_gives_the_same_bytes() -> None:
    data = minimal(in_section(allergy(), ALLERGIES))
    assert to_fhir(data, default()) == to_fhir(data, default())


def test_a_fragment_in_no_section_is_mapped_by_its_class() -> None:
    done = of_fragment(
        '<observation classCode="OBS" moodCode="EVN"><code code="8867-4" codeSystem="2.16.840.1.113883.6.1"/>'
        '<statusCode code="completed"/><value xsi:type="PQ" value="72" unit="/min"/></observation>'
    )
    assert one(done, "Observation")["valueQuantity"]["value"] == 72


@pytest.mark.parametrize("code", ["33999-4", "SEV", "82606-5", "445518008", "75328-5", "225773000", "11323-3"])
@pytest.mark.parametrize("section", [PROBLEMS, ALLERGIES])
def test_what_only_says_more_of_another_statement_is_no_problem_and_no_allergy(code: str, section: str) -> None:
    done = of_sections(
        (
            section,
            f"""<entry><observation classCode="OBS" moodCode="EVN">
            <templateId root="2.16.840.1.113883.10.20.22.4.4"/><templateId root="2.16.840.1.113883.10.20.22.4.7"/>
            <code code="{code}"/><statusCode code="completed"/>
            <value xsi:type="CD" code="24484000" codeSystem="2.16.840.1.113883.6.96"/></observation></entry>""",
        )
    )
    assert every(done, "Condition") == every(done, "AllergyIntolerance") == []
    assert one(done, "Observation")["code"]["coding"][0]["code"] == code


def test_a_reaction_that_nobody_reads_is_no_allergy() -> None:
    done = of_sections(
        (
            PROBLEMS,
            """<entry><observation classCode="OBS" moodCode="EVN"><code code="55607006"/>
            <value xsi:type="CD" code="38341003" codeSystem="2.16.840.1.113883.6.96"/>
            <entryRelationship typeCode="MFST"><observation classCode="OBS" moodCode="EVN">
            <templateId root="2.16.840.1.113883.10.20.22.4.9"/><code code="ASSERTION"/>
            <value xsi:type="CD" code="422587007" codeSystem="2.16.840.1.113883.6.96"/></observation>
            </entryRelationship></observation></entry>""",
        )
    )
    assert every(done, "AllergyIntolerance") == []
    assert len(every(done, "Observation")) == 1


# what only has a number -----------------------------------------------------------------------------------------------

_NUMBER = '<id root="2.999.9" extension="x1"/><statusCode code="completed"/>'
_NO_DRUG = "<consumable><manufacturedProduct><manufacturedMaterial/></manufacturedProduct></consumable>"
POINTING = [
    f'<substanceAdministration moodCode="EVN">{_NUMBER}{_NO_DRUG}</substanceAdministration>',
    f'<substanceAdministration moodCode="INT">{_NUMBER}<code code="DRUG"/><consumable nullFlavor="NI"/>'
    "</substanceAdministration>",
    f'<supply moodCode="EVN">{_NUMBER}</supply>',
    f'<observation moodCode="EVN">{_NUMBER}<code nullFlavor="NA"/></observation>',
]


def _with(inner: str, *others: str) -> Conversion:
    owner = (
        '<procedure moodCode="EVN"><id root="2.999.9" extension="o"/><code code="1" codeSystem="2.999.7"/>'
        f'<statusCode code="completed"/><entryRelationship typeCode="REFR">{inner}</entryRelationship></procedure>'
    )
    results = in_section("".join(f"<entry>{each}</entry>" for each in others), "30954-2") if others else ""
    return convert(minimal(in_section(f"<entry>{owner}</entry>", "47519-4") + results))


@pytest.mark.parametrize("pointing", POINTING)
def test_nothing_is_made_up_for_a_number_of_another_document(pointing: str) -> None:
    done = _with(pointing)
    made = {each.body["resourceType"] for each in done.resources}
    assert made & {"MedicationRequest", "MedicationStatement", "MedicationDispense", "Observation"} == set()
    assert [each.outcome for each in done.tally] == ["mapped", "narrative"]
    assert codes(done) == ["dangling-reference"]


def test_a_number_of_this_document_is_the_statement_that_says_something() -> None:
    stated = (
        f'<observation classCode="OBS" moodCode="EVN">{_NUMBER}<code code="8302-2" codeSystem="2.16.840.1.113883.6.1"/>'
        '<effectiveTime value="20260101"/><value xsi:type="PQ" value="180" unit="cm"/></observation>'
    )
    done = _with(POINTING[-1], stated)
    observation = one(done, "Observation")
    assert [each.resource for each in done.tally if each.outcome == "merged"] == [f"Observation/{observation['id']}"]
    assert codes(done) == []


@pytest.mark.parametrize("said", ['negationInd="true"', 'nullFlavor="NI"'])
def test_a_number_that_is_denied_is_no_reference(said: str) -> None:
    done = _with(POINTING[-1].replace("<observation", f"<observation {said}"))
    assert "dangling-reference" not in codes(done)
