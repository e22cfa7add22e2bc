"""The traps that values, panels and the rest of a document set, as tables: types, codes, results, vital signs, social
facts, texts, identity.

Source: HL7 v3 datatypes R1; CDA R2 §4.3 (observations, narrative, context conduction); C-CDA R1.1 to R5, results, vital
signs, social history; C-CDA on FHIR.
"""

from decimal import Decimal
from typing import Any, Final

from tests.mappings.cda.cases import ABSENT, case
from tests.mappings.cda.observations import (
    ASSERTION,
    INTERPRETATION,
    PREGNANCIES,
    RESULTS,
    SNOMED,
    SOCIAL,
    TIME,
    VITALS,
    code,
    entry,
    measured,
    observation,
    organizer,
    related,
    template,
)
from tests.mappings.cda.traps import (
    ACTIVE,
    ALLERGIES,
    ENCOUNTERS,
    PENICILLIN,
    PROBLEMS,
    RESOLVED,
    asserted,
    concern,
    problem,
    statement,
    substance,
    value,
)

# 8. values ------------------------------------------------------------------------------------------------------------

QUESTION = code("94500-6")
SAID = "<text><content ID='said'>The lungs are clear.</content></text>"
MG: Final = {"unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}
CODED, CONCEPT = f'code="260373001" {SNOMED}', {"valueCodeableConcept": "260373001"}
FROM_1, UP_TO_5 = '<low value="1" unit="mg/dL"/>', '<high value="5" unit="mg/dL"/>'
# type → attributes, what is inside, the value; and what it is without its type, if anything else
TYPED: Final[dict[str, tuple[str, str, dict[str, Any], dict[str, Any] | None]]] = {
    **dict.fromkeys(("CD", "CE", "CV", "CO", "CS", "CR"), (CODED, "", CONCEPT, None)),
    "PQ": ('value="1.030" unit="mg/dL"', "", {"valueQuantity": {"value": Decimal("1.030"), **MG}}, None),
    "INT": ('value="12"', "", {"valueInteger": 12}, {"valueQuantity": {"value": 12}}),
    "REAL": ('value="1.50"', "", {"valueQuantity": {"value": Decimal("1.50"), "unit": ABSENT}}, None),
    "BL": ('value="false"', "", {"valueBoolean": False}, None),
    "ST": ("", "Amber", {"valueString": "Amber"}, None),
    "SC": ("", "Amber", {"valueString": "Amber"}, None),
    "II": ('root="2.999.1" extension="007"', "", {"valueString": "007"}, None),
    "ED": ("", '<reference value="#said"/>', {"valueString": "The lungs are clear."}, None),
    "TS": ('value="20260228"', "", {"valueDateTime": "2026-02-28"}, None),
    "IVL_TS": ("", '<low value="20240101"/><high value="20240201"/>',
               {"valuePeriod": {"start": "2024-01-01", "end": "2024-02-01"}}, None),
    "IVL_PQ": ("", FROM_1 + UP_TO_5,
               {"valueRange": {"low": {"value": 1, **MG}, "high": {"value": 5, **MG}}}, None),
    "RTO": ("", '<numerator value="1"/><denominator value="80"/>',
            {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 80}}}, None),
    "RTO_PQ_PQ": ("", '<numerator value="1"/><denominator value="80"/>',
                  {"valueRatio": {"numerator": {"value": 1}, "denominator": {"value": 80}}}, None),
}  # fmt: skip


def valued(written: str, text: str = "") -> tuple[str, str]:
    return RESULTS, text + entry(observation(QUESTION, written))


def _value(kind: str, attributes: str, inside: str) -> tuple[str, str]:
    typed = f'xsi:type="{kind}"' if kind else ""
    return valued(f"<value {typed} {attributes}>{inside}</value>", SAID)


ALONE: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "null PQ with translation": (
        '<value xsi:type="PQ" nullFlavor="OTH"><translation value="7" code="mg/dL" '
        'codeSystem="2.16.840.1.113883.6.8"/></value>', {"valueQuantity": {"value": 7, **MG}}),
    "IVL_PQ with a low": (
        f'<value xsi:type="IVL_PQ">{FROM_1}</value>', {"valueQuantity": {"value": 1, "comparator": ">=", **MG}}),
    "IVL_PQ with a high, exclusive": (
        '<value xsi:type="IVL_PQ"><high value="5" unit="mg/dL" inclusive="false"/></value>',
        {"valueQuantity": {"value": 5, "comparator": "<", **MG}}),
    "NINF": (f'<value xsi:type="IVL_PQ"><low nullFlavor="NINF"/>{UP_TO_5}</value>',
             {"valueQuantity": {"value": 5, "comparator": "<=", **MG}}),
    "PINF": (f'<value xsi:type="IVL_PQ">{FROM_1}<high nullFlavor="PINF"/></value>',
             {"valueQuantity": {"value": 1, "comparator": ">=", **MG}}),
    "a quantity that is no number": ('<value xsi:type="PQ" value="positive"/>', {"valueString": "positive"}),
    "none, and why": ('<value xsi:type="PQ" nullFlavor="NASK"/>', {"dataAbsentReason": "not-asked"}),
}  # fmt: skip
NO_NUMBER = {"a quantity that is no number": ("not-a-number",)}

VALUE = [
    case(f"{kind}{how}", _value(prefix, attributes, inside), says={"Observation": [said]},
         issues=("type-inferred",) if not prefix and said is not CONCEPT else ())
    for kind, (attributes, inside, typed, untyped) in TYPED.items()
    for how, prefix, said in (
        ("", kind, typed), (" of a foreign prefix", f"ns1:{kind}", typed), (" untyped", "", untyped or typed))
] + [
    case(name, valued(written), says={"Observation": [said]}, issues=NO_NUMBER.get(name, ()))
    for name, (written, said) in ALONE.items()
]  # fmt: skip

# 9. codes -------------------------------------------------------------------------------------------------------------

A_B_C = (
    '<translation code="B" codeSystem="2.999.1"><translation code="C" codeSystem="2.999.2"/></translation>'
    '<translation code="B" codeSystem="2.999.1"/>'
)
LEFT = f'<qualifier><name code="272741003" {SNOMED}/><value code="7771000" {SNOMED}/></qualifier>'


def concept(written: str) -> tuple[str, str]:
    return valued(f'<value xsi:type="CD" {written}</value>')


def codings(*listed: dict[str, Any], **more: Any) -> dict[str, list[Any]]:
    return {"Observation": [{"valueCodeableConcept": {"coding": list(listed), **more}}]}


CODE = [
    *(case(f"{flavor} with a translation", concept(f'nullFlavor="{flavor}"><translation {CODED}/>'),
           says=codings({"system": "http://snomed.info/sct", "code": "260373001"})) for flavor in ("OTH", "UNK")),
    case("nested chain", concept('code="A" codeSystem="2.999.1">' + A_B_C), says=codings(
        {"system": "urn:oid:2.999.1", "code": "A"}, {"system": "urn:oid:2.999.1", "code": "B"},
        {"system": "urn:oid:2.999.2", "code": "C"})),
    case("display only", concept('nullFlavor="OTH"><translation displayName="Detected"/>'),
         says={"Observation": [{"valueCodeableConcept": {"coding": ABSENT, "text": "Detected"}}]}),
    case("display only, of a code", concept(
        f'{CODED} displayName="Nachgewiesen"><translation displayName="Detected"/>'),
         says=codings({"code": "260373001", "display": "Nachgewiesen", "_display": {"extension": [
             {"extension": [{"url": "lang"}, {"url": "content", "valueString": "Detected"}]}]}})),
    case("CR and LF behind it", concept(f'code=" 260373001&#13;&#10;" {SNOMED}>'),
         says=codings({"system": "http://snomed.info/sct", "code": "260373001"})),
    case("a system by its name", concept('code="94500-6" codeSystem="LOINC">'),
         says=codings({"system": "http://loinc.org", "code": "94500-6"})),
    case("a system by its URL", concept('code="94500-6" codeSystem="http://loinc.org">'),
         says=codings({"system": "http://loinc.org", "code": "94500-6"})),
    case("a system that is none", concept('code="A" codeSystem="x y">'),
         says=codings({"system": "urn:chartbridge:default/codes/x%20y", "code": "A"})),
    case("no system", concept('code="A">'), says=codings({"system": ABSENT, "code": "A"})),
    case("no code, but words", concept('nullFlavor="OTH"><originalText>Trace</originalText>'),
         says={"Observation": [{"valueCodeableConcept": {"coding": ABSENT, "text": "Trace"}}]}),
    case("qualifier: the side", (PROBLEMS, concern(problem().replace(
        value("38341003"), value("71620000", inside=LEFT)))),
         says={"Condition": [{"code": "71620000", "bodySite": ["7771000"]}]}),
]  # fmt: skip

# 10. and 11. results --------------------------------------------------------------------------------------------------

PANEL = code("57021-8")
BLOOD = (
    '<specimen><specimenRole><id root="2.999.7" extension="S1"/><specimenPlayingEntity>'
    f"{code('119297000', SNOMED)}</specimenPlayingEntity></specimenRole></specimen>"
)


def hemoglobin(number: str = "13.2", **more: str) -> str:
    return measured("718-7", number, "g/dL", **more)


def panel(*parts: str, **more: str) -> tuple[str, str]:
    return RESULTS, entry(organizer(*parts, **({"coded": PANEL} | more)))


def period(low: str, high: str) -> str:
    return f'<effectiveTime><low value="{low}"/><high value="{high}"/></effectiveTime>'


REPORT = [
    *(case(f"status {sent or 'missing'}", panel(hemoglobin(status=sent), status=sent), issues=told,
           says={"DiagnosticReport": [{"status": said}], "Observation": [{"status": said}]})
      for sent, said, told in (
          ("completed", "final", ()), ("held", "registered", ("status-conflict",)), ("aborted", "cancelled", ()),
          ("active", "registered", ("status-conflict",)), ("cancelled", "cancelled", ()),
          ("nullified", "entered-in-error", ()), ("", "unknown", ()))),
    case("missing time: first and last of its results", panel(
        hemoglobin(time="20260228093000+0100"), measured("789-8", "5", "10*12/L", time="20260227080000+0100")),
        says={"DiagnosticReport": [{"effectivePeriod": {"start": "2026-02-27T08:00:00+01:00",
                                                        "end": "2026-02-28T09:30:00+01:00"}}]}),
    case("missing time of a result: its panel's", panel(hemoglobin(time=""), time=TIME),
         says={"Observation": [{"effectiveDateTime": "2026-02-28T09:30:00+01:00"}]}),
    case("null code: its section's", panel(hemoglobin(), coded='<code nullFlavor="UNK"/>'),
         says={"DiagnosticReport": [{"code": RESULTS}]}),
    case("equal low and high", panel(hemoglobin(time="").replace("<value", period("20260228", "20260228") + "<value")),
         says={"Observation": [{"effectiveDateTime": "2026-02-28", "effectivePeriod": ABSENT}]}),
    case("equal codes", panel(hemoglobin("13.2", id_="a"), hemoglobin("12.9", id_="b")),
         says={"Observation": [{"valueQuantity": {"value": Decimal(each)}} for each in ("13.2", "12.9")],
               "DiagnosticReport": [{"result": [{}, {}]}]}),
    case("specimen: its panel's", panel(hemoglobin(), more=BLOOD),
         says={"Specimen": [{"type": "119297000"}], "DiagnosticReport": [{"specimen": [{}]}],
               "Observation": [{"specimen": {}}]}),
]  # fmt: skip

INTERVAL = '<value xsi:type="IVL_PQ"><low value="12.0" unit="g/dL"/><high value="16.0" unit="g/dL"/></value>'


def means(meaning: str) -> str:
    return f'<interpretationCode code="{meaning}" {INTERPRETATION}/>'


def ranged(*ranges: str) -> tuple[str, str]:
    told = "".join(f"<referenceRange><observationRange>{each}</observationRange></referenceRange>" for each in ranges)
    return RESULTS, entry(hemoglobin(more=told))


NORMAL = {"low": {"value": Decimal("12.0")}, "high": {"value": Decimal("16.0")}}
RANGE = [
    case("several ranges", ranged(INTERVAL + means("N"), "<text>Critical</text>" + INTERVAL + means("LL")),
         says={"Observation": [{"referenceRange": [
             NORMAL, {"low": ABSENT, "high": ABSENT, "text": "Critical: 12.0 g/dL - 16.0 g/dL"}]}]}),
    case("one without a meaning", ranged(INTERVAL), says={"Observation": [{"referenceRange": [NORMAL]}]}),
    case("text only", ranged("<text>12 to 16 in adults</text>"),
         says={"Observation": [{"referenceRange": [{"text": "12 to 16 in adults", "low": ABSENT}]}]}),
    case("several interpretations", (RESULTS, entry(hemoglobin(more=means("L") + means("D")))),
         says={"Observation": [{"interpretation": ["L", "D"]}]}),
]  # fmt: skip

# 12. vital signs ------------------------------------------------------------------------------------------------------

NOON = "20260228120000+0100"


def systolic(number: str, **more: str) -> str:
    return measured("8480-6", number, "mm[Hg]", **more)


def diastolic(number: str, **more: str) -> str:
    return measured("8462-4", number, "mm[Hg]", **more)


def signs(*parts: str) -> tuple[str, str]:
    return VITALS, entry(organizer(*parts, coded=code("46680005", SNOMED)))


def pressure(high: int | None, low: int | None, **more: Any) -> dict[str, Any]:
    halves = [{"dataAbsentReason": "unknown"} if each is None else {"valueQuantity": {"value": each}}
              for each in (high, low)]  # fmt: skip
    return {"code": "85354-9", "component": halves, **more}


def members(number: int) -> dict[str, Any]:
    return {"code": "85353-1", "hasMember": [{}] * number}


def sign(loinc: str, number: str, unit: str) -> dict[str, Any]:
    return {"code": loinc, "valueQuantity": {"value": Decimal(number), "code": unit}}


VITAL = [
    case("mixed times", signs(systolic("132"), systolic("128", time=NOON), diastolic("88", time=NOON), diastolic("84")),
         says={"Observation": [members(2), pressure(132, 84, effectiveDateTime="2026-02-28T09:30:00+01:00"),
                               pressure(128, 88, effectiveDateTime="2026-02-28T12:00:00+01:00")]}),
    case("two organizers of one time", (VITALS, signs(systolic("132"))[1] + signs(diastolic("84"))[1]),
         says={"Observation": [members(1), pressure(132, 84)]}),
    case("two organizers of two times", (VITALS, signs(systolic("132"))[1] + signs(diastolic("84", time=NOON))[1]),
         says={"Observation": [members(1), members(1), pressure(132, None), pressure(None, 84)]},
         issues=("id-reused",)),
    case("repeated code", signs(measured("8867-4", "80", "/min", id_="a"), measured("8867-4", "84", "/min", id_="b")),
         says={"Observation": [members(2), sign("8867-4", "80", "/min"), sign("8867-4", "84", "/min")]}),
    case("lone systolic", signs(systolic("120")), says={"Observation": [members(1), pressure(120, None)]}),
    case("lone diastolic", signs(diastolic("70")), says={"Observation": [members(1), pressure(None, 70)]}),
    *(case(f"SpO2 as {sent}", signs(measured(sent, "95", "%"), measured("3150-6", "40", "%"),
                                    measured("3151-8", "2", "L/min")),
           says={"Observation": [members(1), {"code": each, **sign(sent, "95", "%"), "component": [
               {"code": "3150-6"}, {"code": "3151-8", "valueQuantity": {"value": 2}}]}]})
      for sent, each in (("2708-6", "59408-5"), ("59408-5", "2708-6"))),
    case("lbs", signs(measured("29463-7", "150", "lbs")),
         says={"Observation": [members(1), sign("29463-7", "150", "[lb_av]")]}),
    case("in", signs(measured("8302-2", "67", "in")),
         says={"Observation": [members(1), sign("8302-2", "67", "[in_i]")]}),
]  # fmt: skip

# 13. social facts -----------------------------------------------------------------------------------------------------

CCDA = "2.16.840.1.113883.10.20."
US_CORE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
INDIVIDUAL = "http://hl7.org/fhir/StructureDefinition/individual-"
FEMALE = 'code="F" codeSystem="2.16.840.1.113883.5.1"'


def answered(asked: str, said: str, section: str = SOCIAL, **more: str) -> tuple[str, str]:
    return section, entry(observation(asked, said, **more))


def smoker(asked: str, loinc: str) -> Any:
    return {"Observation": [{"code": loinc, "valueCodeableConcept": "8517006", "valueBoolean": ABSENT}]}


SMOKED = value("8517006")
DUE = related(observation(code("11778-8"), '<value xsi:type="TS" value="20261011"/>'), "REFR")
SOCIAL_FACT = [
    *(case(f"smoking, {name}", answered(asked, SMOKED), says=smoker(asked, loinc)) for name, asked, loinc in (
        ("R1.1: asserted", template(CCDA + "22.4.78") + ASSERTION, "72166-2"),
        ("R2.1: asked", template(CCDA + "22.4.78") + code("72166-2"), "72166-2"),
        ("R5: asked", template(CCDA + "22.4.511") + code("72166-2"), "72166-2"),
        ("another question", template(CCDA + "22.4.85") + code("11367-0"), "11367-0"))),
    case("tobacco use: its period", answered(code("11367-0"), SMOKED, time="", more=period("2009", "2024")),
         says={"Observation": [{"effectivePeriod": {"start": "2009", "end": "2024"}}]}),
    *(case(f"who she is: {url.rpartition('/')[2]}", answered(code(loinc), said),
           says={"Observation": [], "Patient": [{"extension": [{"url": url, **held}]}]})
      for loinc, said, url, held in (
          ("76689-9", f'<value xsi:type="CD" {FEMALE}/>', US_CORE + "birthsex", {"valueCode": "F"}),
          ("46098-0", value("248152002"), US_CORE + "individual-sex", {"valueCoding": "248152002"}),
          ("54588-9", value("373067005"), US_CORE + "interpreter-needed", {"valueCoding": "373067005"}),
          ("95370-3", value("68"), US_CORE + "tribal-affiliation", {}),
          ("76691-5", value("446141000124107"), INDIVIDUAL + "genderIdentity", {}),
          ("90778-2", value("68"), INDIVIDUAL + "pronouns", {}))),
    case("orientation is an observation", answered(code("76690-7"), value("20430005")),
         says={"Observation": [{"valueCodeableConcept": "20430005"}], "Patient": [{"extension": ABSENT}]}),
    *(case(f"pregnancy UNK, {name}", answered(asked, said, PREGNANCIES, own=own),
           says={"Observation": [{"code": "82810-3", "valueCodeableConcept": "UNK", "dataAbsentReason": ABSENT}]})
      for name, asked, said, own in (
          ("as the value", code("82810-3"), '<value xsi:type="CD" nullFlavor="UNK"/>', ""),
          ("as a whole", template(CCDA + "15.3.8") + ASSERTION, value("77386006"), 'nullFlavor="UNK"'))),
    case("delivery date", answered(template(CCDA + "15.3.8") + ASSERTION, value("77386006"), more=DUE),
         says={"Observation": [{"code": "82810-3", "component": [
             {"code": "11778-8", "valueDateTime": "2026-10-11"}]}]}),
]  # fmt: skip

# 14. texts ------------------------------------------------------------------------------------------------------------

SHOWN = '<div xmlns="http://www.w3.org/1999/xhtml"><p id="s1-p">Bee stings.</p></div>'
TABLE = (
    '<text><table><thead><tr><th>Drug</th><th>Effect</th></tr></thead><tbody><tr ID="row"><td ID="cell">Penicillin</td>'
    '<td>Hives</td></tr></tbody></table><paragraph ID="p">Bee stings.</paragraph></text>'
)


def refers(to: str) -> str:
    return f'<reference value="{to}"/>'


def named(text: str) -> tuple[str, str]:
    """An allergy to what some original text says."""
    to = f'<code nullFlavor="OTH"><originalText>{text}</originalText></code>'
    return ALLERGIES, TABLE + asserted(value("419199007") + substance(to))


def allergic_to(what: str) -> Any:
    return {"AllergyIntolerance": [{"code": what}]}


WORDS_ONLY = entry(statement("act", f"<text>{refers('#p')}</text>", coded='<code nullFlavor="NI"/>'))
TEXT = [
    case("a reference", named(refers("#p")), says=allergic_to("Bee stings.")),
    case("no #", named(refers("p")), says=allergic_to("Bee stings.")),
    case("a cell", named(refers("#cell")), says=allergic_to("Penicillin")),
    case("a row with its headers", named(refers("#row")), says=allergic_to("Drug: Penicillin; Effect: Hives")),
    case("words and a reference", named("Severe: " + refers("#p")), says=allergic_to("Severe: Bee stings.")),
    case("dangling", named(refers("#gone")), says=allergic_to("419199007"), issues=("dangling-reference",)),
    case("dangling, and words", named("Bees " + refers("#gone")), says=allergic_to("Bees"),
         issues=("dangling-reference",)),
    case("an entry of words only", (ALLERGIES, TABLE + WORDS_ONLY), says={"AllergyIntolerance": [], "Composition": [
        {"section": [{"text": {"status": "generated"}, "entry": ABSENT}]}]}),
    case("a section of words only", (ALLERGIES, TABLE), says={"Composition": [{"section": [{"text": {}}]}]}),
    case("narrative against code", (ALLERGIES, TABLE + asserted(f"<text>{refers('#p')}</text>" + value("419199007") +
                                                                PENICILLIN)),
         says={"AllergyIntolerance": [{"code": "7980", "text": {"div": SHOWN}}]}),
]  # fmt: skip

# 15. identity and context ---------------------------------------------------------------------------------------------

ONE_ID = '<id root="2.999.9" extension="1"/>'
HYPERTENSION, DIABETES = problem(), problem(concept="73211009")


def numbered(text: str) -> str:
    """Every statement with the same id, before its code."""
    return text.replace("<code", ONE_ID + "<code", 1)


def encounter(inside: str = "") -> str:
    return entry(statement("encounter", inside, coded=ONE_ID + code("99213", 'codeSystem="2.16.840.1.113883.6.12"')))


def author(name: str, time: str = "2026") -> str:
    who = (
        f'<id root="2.999.3" extension="{name}"/><assignedPerson><name><family>{name}</family></name></assignedPerson>'
    )
    return f'<author><time value="{time}"/><assignedAuthor>{who}</assignedAuthor></author>'


def recorded_by(name: str) -> Any:
    return {"Condition": [{"recorder": {"display": name}}]}


def labelled(*levels: str) -> Any:
    return {"meta": {"security": list(levels)}}


def level(label: str) -> str:
    return f'<confidentialityCode code="{label}" codeSystem="2.16.840.1.113883.5.25"/>'


DIAGNOSIS = related(statement("act", related(HYPERTENSION), coded=code("29308-4"), status=""))
AROUND = f"<componentOf><encompassingEncounter>{ONE_ID}<effectiveTime/></encompassingEncounter></componentOf>"
MOTHER = '<subject><relatedSubject classCode="PRS"><code code="MTH"/></relatedSubject></subject>'
PARENT = '<parentDocument><id root="2.999.1" extension="D0"/></parentDocument>'
HEADER_AUTHOR, ACT = author("Header"), '<act classCode="ACT" moodCode="EVN">'
IDENTITY = [
    case("one id on all statements", (PROBLEMS, entry(numbered(HYPERTENSION)) + entry(numbered(DIABETES))),
         (ALLERGIES, asserted(value("416098002") + PENICILLIN, coded=ONE_ID + ASSERTION)),
         says={"Condition": [{"code": "38341003"}, {"code": "73211009"}], "AllergyIntolerance": [{"code": "7980"}]}),
    case("one id on contradicting statements", (PROBLEMS, entry(numbered(problem(status=ACTIVE))) + entry(
        numbered(problem(status=RESOLVED)))), issues=("id-reused",),
        says={"Condition": [{"clinicalStatus": "active"}, {"clinicalStatus": "resolved"}]}),
    case("one statement twice", (PROBLEMS, entry(numbered(HYPERTENSION)) * 2), says={"Condition": [{}]}),
    case("encompassing encounter", (ENCOUNTERS, encounter()), componentOf=AROUND,
         says={"Encounter": [{"type": ["99213"]}]}),
    case("condition in three sections", (PROBLEMS, entry(HYPERTENSION)), (ENCOUNTERS, encounter(DIAGNOSIS)),
         ("75310-3", concern(HYPERTENSION)), says={"Condition": [{"category": [{}, {}, {}, {}]}], "Encounter": [{}]}),
    *(case(f"author of the {where}", (PROBLEMS, section + entry(around.format(author) if around else HYPERTENSION)),
           author=HEADER_AUTHOR, says=recorded_by(name)) for where, section, around, author, name in (
        ("header", "", "", "", "Header"),
        ("section", author("Section"), "", "", "Section"),
        ("act", author("Section"), ACT + "{}" + related(HYPERTENSION) + "</act>", author("Act"), "Act"),
        ("statement", author("Section"), ACT + author("Act") + related(HYPERTENSION.replace("<value", "{}<value")) +
         "</act>", author("First", "2025") + author("Last"), "Last"))),
    *(case(f"of the mother, said at the {where}", (PROBLEMS, inside), says={"Condition": [], "Observation": []},
           issues=("unsupported-statement",)) for where, inside in (
        ("statement", entry(HYPERTENSION.replace("<value", MOTHER + "<value"))),
        ("act", entry(ACT + MOTHER + related(HYPERTENSION) + "</act>")),
        ("section", MOTHER + entry(HYPERTENSION)))),
    *(case(kind, relatedDocument=f'<relatedDocument typeCode="{kind}">{PARENT}</relatedDocument>', says={
        "Composition": [{"relatesTo": [{"code": relation, "targetIdentifier": {"value": "D0"}}]}],
        "DocumentReference": [{"masterIdentifier": {"value": "D1"}, "status": "current",
                               "relatesTo": [{"code": relation}]}, {"masterIdentifier": {"value": "D0"}, **old}]})
      for kind, relation, old in (("RPLC", "replaces", {"status": "superseded"}), ("APND", "appends", {}),
                                  ("XFRM", "transforms", {}))),
    *(case(f"label {sent} of the document", (PROBLEMS, entry(HYPERTENSION)), confidentialityCode=level(sent),
           says={"Condition": [labelled(held)], "Patient": [{}], "Composition": [labelled(held)]})
      for sent, held in (("N", "N"), ("R", "R"), ("V", "V"))),
    case("label of a section", (PROBLEMS, level("V") + entry(HYPERTENSION)), (ALLERGIES, asserted(
        value("416098002") + PENICILLIN)),
        says={"Condition": [labelled("V")], "AllergyIntolerance": [labelled("N")], "Composition": [labelled("V")]}),
]  # fmt: skip
