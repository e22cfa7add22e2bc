"""What makes two statements, or two documents, one: of several documents no fact may take another's place.

Source: design chapter CDA §8; CDA R2 §4.2.3 (relatedDocument), §4.3.2 (II, CD.translation).
"""

from itertools import permutations
from typing import Any

import pytest

from mappings.cda.explain import explain
from mappings.convert import Conversion
from mappings.merge import settle
from tests.mappings.cda.converted import codes, convert, default, every, of_sections, one
from tests.mappings.cda.documents import LEAST, in_section, minimal

Json = dict[str, Any]

RXNORM, ICD10 = 'codeSystem="2.16.840.1.113883.6.88"', 'codeSystem="2.16.840.1.113883.6.90"'
ATC, LOINC = 'codeSystem="2.16.840.1.113883.6.73"', 'codeSystem="2.16.840.1.113883.6.1"'
ID = '<id root="2.999.9" extension="x"/>'
START = '<effectiveTime><low value="2020"/></effectiveTime>'
RESULTS, ALLERGIES, PROBLEMS, MEDICATIONS = "30954-2", "48765-2", "11450-4", "10160-0"


def ids(done: Conversion, kind: str) -> list[str]:
    return [each["id"] for each in every(done, kind)]


# codes that are only translations -------------------------------------------------------------------------------------


def coded(tag: str, system: str, code: str, shape: str) -> str:
    told = f'<translation code="{code}" {system}/>'
    if shape == "deep":
        told = f'<translation nullFlavor="OTH">{told}</translation>'
    typed = ' xsi:type="CD"' if tag == "value" else ""
    return f'<{tag}{typed} nullFlavor="OTH"><originalText>as said</originalText>{told}</{tag}>'


def allergy(code: str, shape: str) -> str:
    playing = coded("code", RXNORM, code, shape)
    return f"""<entry><observation classCode="OBS" moodCode="EVN">{ID}
      <code code="ASSERTION" codeSystem="2.16.840.1.113883.5.4"/>{START}<participant typeCode="CSM">
      <participantRole><playingEntity>{playing}</playingEntity></participantRole></participant></observation></entry>"""


def problem(code: str, shape: str) -> str:
    return f"""<entry><observation classCode="OBS" moodCode="EVN">{ID}
      <code code="55607006" codeSystem="2.16.840.1.113883.6.96"/>{START}{coded("value", ICD10, code, shape)}
      </observation></entry>"""


def given(material: str) -> str:
    return f"""<entry><substanceAdministration classCode="SBADM" moodCode="EVN">{ID}
      <effectiveTime xsi:type="IVL_TS"><low value="20260101"/></effectiveTime><consumable><manufacturedProduct>
      <manufacturedMaterial>{material}</manufacturedMaterial></manufacturedProduct></consumable>
      </substanceAdministration></entry>"""


def drug(code: str, shape: str) -> str:
    return given(coded("code", RXNORM, code, shape))


@pytest.mark.parametrize("shape", ["flat", "deep"])
@pytest.mark.parametrize(
    ("section", "kind", "state", "pair"),
    [
        (ALLERGIES, "AllergyIntolerance", allergy, ("7980", "1191")),
        (PROBLEMS, "Condition", problem, ("I10", "E11")),
        (MEDICATIONS, "MedicationRequest", drug, ("29046", "11289")),
    ],
)
def test_what_is_coded_by_a_translation_alone_is_about_that_code(
    section: str, kind: str, state: Any, pair: tuple[str, str], shape: str
) -> None:
    first, second, again = (ids(of_sections((section, state(each, shape))), kind) for each in (*pair, pair[0]))
    assert first != second
    assert first == again


def of_ingredients(inner: str, uri: str, *atc: str) -> str:
    told = "".join(
        f'<p:ingredient xmlns:p="{uri}" classCode="ACTI"><p:{inner}><p:code code="{each}" {ATC}/></p:{inner}>'
        "</p:ingredient>"
        for each in atc
    )
    return given(f'<code nullFlavor="NA"/>{told}')


@pytest.mark.parametrize(
    ("inner", "uri"),
    [("ingredientSubstance", "urn:hl7-org:pharm"), ("ingredient", "urn:epsos-org:ep:medication")],
)
def test_a_drug_coded_by_its_ingredients_is_about_them(inner: str, uri: str) -> None:
    alone, other, both, turned = (
        ids(of_sections((MEDICATIONS, of_ingredients(inner, uri, *atc))), "MedicationRequest")
        for atc in (["C09AA05"], ["B01AA03"], ["C09AA05", "C03AA03"], ["C03AA03", "C09AA05"])
    )
    assert alone != other
    assert alone != both == turned


# one identity, several statements -------------------------------------------------------------------------------------


def result(value: str, time: str = '<effectiveTime value="20260101"/>', text: str = "") -> str:
    return f"""<observation classCode="OBS" moodCode="EVN">{ID}<code code="2345-7" {LOINC}/>{text}
      <statusCode code="completed"/>{time}<value xsi:type="PQ" value="{value}" unit="mg/dL"/></observation>"""


def panel(*results: str) -> str:
    held = "".join(f"<component>{each}</component>" for each in results)
    return f"""<entry><organizer classCode="BATTERY" moodCode="EVN"><id root="2.999.9" extension="org"/>
      <code code="24323-8" {LOINC}/><statusCode code="completed"/>
      <effectiveTime><low value="20260101"/><high value="20260131"/></effectiveTime>{held}</organizer></entry>"""


def values(done: Conversion) -> dict[str, str]:
    """Id of each result → its value."""
    return {each["id"]: str(each["valueQuantity"]["value"]) for each in every(done, "Observation")}


def test_twins_are_told_apart_by_what_they_say_in_any_order() -> None:
    told = [values(of_sections((RESULTS, panel(*map(result, order))))) for order in permutations(["90", "140", "160"])]
    assert len(told[0]) == 3
    assert all(each == told[0] for each in told)


def test_no_twin_has_the_name_of_one_that_stands_alone() -> None:
    """Else the next document, which holds one of them, would say it of the other."""
    held = values(of_sections((RESULTS, panel(result("90"), result("140")))))
    for alone in ("140", "90", "95"):  # the last corrects one of them, nobody knows which
        held |= values(of_sections((RESULTS, panel(result(alone)))))
    assert {"90", "140"} <= set(held.values())


def test_the_anchor_of_a_twins_words_is_not_what_it_says() -> None:
    def document(*anchors: str) -> Conversion:
        told = zip(anchors, ("90", "140"), strict=True)
        shown = "".join(f'<paragraph ID="{each}">same</paragraph>' for each in anchors)
        parts = (result(each, text=f'<text><reference value="#{anchor}"/></text>') for anchor, each in told)
        return of_sections((RESULTS, f"<text>{shown}</text>{panel(*parts)}"))

    assert values(document("r1", "r2")) == values(document("r7", "r8"))


def test_what_was_said_of_a_twin_stays_said_of_it() -> None:
    """References in resources and sections, the outcomes and the trace."""
    data = minimal(in_section(panel(result("90"), result("140"), result("90")), RESULTS))
    done = convert(data, trace=True)
    known = {f"{m.body['resourceType']}/{m.body['id']}" for m in done.resources}
    assert len(values(done)) == 2
    report, composition = one(done, "DiagnosticReport"), one(done, "Composition")
    assert {each["reference"] for each in report["result"]} == {f"Observation/{each}" for each in values(done)}
    (section,) = composition["section"]
    assert {each["reference"] for each in section["entry"]} <= known
    assert {each.resource for each in done.tally} <= known
    assert {t["reference"] for each in every(done, "Provenance") for t in each["target"]} <= known
    said = [
        (fact.resource, str(fact.place))
        for fact in explain(data, default()).facts
        if fact.path.startswith("valueQuantity.value") and fact.resource.startswith("Observation/")
    ]
    found = {values(done)[resource.partition("/")[2]]: place for resource, place in said}
    assert "/component[2]/observation/value" in found["140"]
    assert "/component[3]/observation/value" in found["90"], "the same said again is told of where it was said last"


@pytest.mark.parametrize("turned", [False, True])
def test_panels_of_one_identity_follow_their_results(turned: bool) -> None:
    """A panel has no value: what it holds tells it apart, under the names that its results get."""
    parts = [panel(result("90")), panel(result("140"))]
    done = of_sections((RESULTS, "".join(reversed(parts) if turned else parts)))
    known = values(done)
    reports = {known[each["result"][0]["reference"].partition("/")[2]]: each["id"] for each in _reports(done)}
    straight = of_sections((RESULTS, "".join(parts)))
    expected = values(straight)
    assert known == expected
    assert reports == {
        expected[each["result"][0]["reference"].partition("/")[2]]: each["id"] for each in _reports(straight)
    }
    assert len(set(reports.values())) == 2


def _reports(done: Conversion) -> list[Json]:
    return every(done, "DiagnosticReport")


def visit(day: str) -> str:
    return f"""<entry><encounter classCode="ENC" moodCode="EVN">{ID}<code code="99213"/>
      <effectiveTime><low value="{day}"/></effectiveTime></encounter></entry>"""


@pytest.mark.parametrize("around", ["", "20260101"])
def test_encounters_of_one_number_have_one_name_each_in_any_order(around: str) -> None:
    header = {"componentOf": f"<componentOf><encompassingEncounter>{ID}<effectiveTime><low value='{around}'/>"
              "</effectiveTime></encompassingEncounter></componentOf>"} if around else {}  # fmt: skip
    days = ("20260101", "20260201", "20260301")
    told = [
        {each["period"]["start"]: each["id"] for each in every(done, "Encounter")}
        for order in permutations(days)
        for done in [of_sections(("46240-8", "".join(map(visit, order))), **header)]
    ]
    assert len(told[0]) == 3
    assert all(each == told[0] for each in told)


# when -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "time",
    [
        '<effectiveTime><low nullFlavor="UNK"/><high value="{}"/></effectiveTime>',
        '<effectiveTime><center value="{}"/></effectiveTime>',
        '<effectiveTime value="{}"/>',
        '<effectiveTime><low value="{}"/></effectiveTime>',
    ],
)
def test_a_results_own_time_counts_before_its_panels(time: str) -> None:
    first, second = (
        values(of_sections((RESULTS, panel(result("90", time.format(day)))))) for day in ("20260110", "20260120")
    )
    assert first.keys() != second.keys()


# documents ------------------------------------------------------------------------------------------------------------

OTHER = LEAST["recordTarget"].replace("P1", "P9")


def document(number: str, day: str, names: str = "", kind: str = "RPLC", **header: str) -> Conversion:
    related = (
        f'<relatedDocument typeCode="{kind}"><parentDocument><id root="2.999.1" extension="{names}"/></parentDocument>'
        "</relatedDocument>"
    )
    return convert(
        minimal(
            id=f'<id root="2.999.1" extension="{number}"/>',
            effectiveTime=f'<effectiveTime value="{day}120000+0100"/>',
            **({"relatedDocument": related} if names else {}),
            **header,
        )
    )


def stored(*conversions: Conversion) -> dict[str, Json]:
    """The DocumentReferences after these, by id."""
    held: dict[str, tuple[Json, Any]] = {}
    for mapped in (each for done in conversions for each in done.resources):
        if mapped.body["resourceType"] == "DocumentReference":
            old, clock = held.get(mapped.body["id"], (None, {}))
            settled = settle(old, mapped, clock)
            held[mapped.body["id"]] = (settled.body or old or {}, settled.clock)
    return {id_: body for id_, (body, _) in held.items()}


@pytest.mark.parametrize("kind", ["RPLC", "APND", "XFRM"])
@pytest.mark.parametrize("turned", [False, True])
def test_another_patients_document_is_left_alone_whoever_names_it(kind: str, turned: bool) -> None:
    hers, theirs = document("D1", "20260301"), document("D6", "20260701", "D1", kind, recordTarget=OTHER)
    found = stored(*((theirs, hers) if turned else (hers, theirs)))
    original = one(hers, "DocumentReference")
    assert found[original["id"]] == original


@pytest.mark.parametrize("days", [("20260301", "20260801"), ("20260801", "20260301")])
def test_one_number_of_two_patients_is_two_documents(days: tuple[str, str]) -> None:
    both = document("D1", days[0]), document("D1", days[1], recordTarget=OTHER)
    assert len({one(each, "DocumentReference")["id"] for each in both}) == 2
    assert {one(each, "DocumentReference")["subject"]["reference"] for each in both} == {
        each["subject"]["reference"] for each in stored(*both).values()
    }


@pytest.mark.parametrize("turned", [False, True], ids=["in order", "the old one last"])
@pytest.mark.parametrize("day", ["20260201", "20260701"])
def test_what_was_replaced_is_superseded_whatever_the_dates_say(day: str, turned: bool) -> None:
    old, new = document("D4", "20260601"), document("D5", day, "D4")
    found = {
        each["masterIdentifier"]["value"]: each for each in stored(*((new, old) if turned else (old, new))).values()
    }
    assert {number: each["status"] for number, each in found.items()} == {"D4": "superseded", "D5": "current"}
    assert found["D4"]["content"][0]["attachment"]["url"].startswith("Binary/")
    assert codes(new) == []
