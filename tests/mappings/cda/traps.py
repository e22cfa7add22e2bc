"""The traps that statements set, as tables: negation, absence, allergies, problems, medications, timing.

Source: CDA R2 §4.3 (statements, negationInd, moodCode, statusCode); HL7 v3 datatypes R1 (GTS); C-CDA R1.1 to R5; C-CDA
on FHIR; eHDSI patient summary, known absence and no information.
"""

from decimal import Decimal
from typing import Any, Final

from tests.mappings.cda.cases import ABSENT, Says, case
from tests.mappings.cda.observations import RESULTS, SNOMED, SOCIAL, entry

ALLERGIES, PROBLEMS, MEDICATIONS, IMMUNIZATIONS = "48765-2", "11450-4", "10160-0", "11369-6"
PROCEDURES, DEVICES, ENCOUNTERS, UNKNOWN = "47519-4", "46264-8", "46240-8", "99999-9"
RXNORM, CVX = 'codeSystem="2.16.840.1.113883.6.88"', 'codeSystem="2.16.840.1.113883.12.292"'
EHDSI = 'codeSystem="2.16.840.1.113883.5.1150.1"'
DENIED: Final = ' negationInd="true"'


def statement(
    tag: str, inside: str = "", *, own: str = "", mood: str = "EVN", status: str = "completed", coded: str = ""
) -> str:
    """A statement of a class: `coded` before its status, `inside` behind it, `own` attributes."""
    told = f'<statusCode code="{status}"/>' if status else ""
    return f'<{tag} classCode="X" moodCode="{mood}"{own}>{coded}{told}{inside}</{tag}>'


def code(value: str, system: str = SNOMED, tag: str = "code") -> str:
    return f'<{tag} code="{value}" {system}/>'


def value(concept: str, system: str = SNOMED, inside: str = "") -> str:
    return f'<value xsi:type="CD" code="{concept}" {system}>{inside}</value>'


def material(inside: str, holder: str = "consumable") -> str:
    made = f"<manufacturedMaterial>{inside}</manufacturedMaterial>"
    return f"<{holder}><manufacturedProduct>{made}</manufacturedProduct></{holder}>"


def related(inner: str, kind: str = "SUBJ", own: str = "") -> str:
    return f'<entryRelationship typeCode="{kind}"{own}>{inner}</entryRelationship>'


def substance(inside: str) -> str:
    playing = f"<participantRole><playingEntity>{inside}</playingEntity></participantRole>"
    return f'<participant typeCode="CSM">{playing}</participant>'


ASPIRIN = material(code("1191", RXNORM))
INFLUENZA = material(code("88", CVX))
CONCERN = code("CONC", 'codeSystem="2.16.840.1.113883.5.6"')
ASSERTION = code("ASSERTION", 'codeSystem="2.16.840.1.113883.5.4"')
PENICILLIN = substance(code("7980", RXNORM))
SITUATION = 'codeSystem="2.16.840.1.113883.6.96"'

# 1. negation ----------------------------------------------------------------------------------------------------------

NOT: Final[dict[str, str]] = {
    "at the statement": "",
    "as 1": "",
    "at the act around it": "<act classCode='ACT' moodCode='EVN'{0}>" + CONCERN + related("{1}") + "</act>",
    "at the relationship": "<act classCode='ACT' moodCode='EVN'>" + CONCERN + related("{1}", own="{0}") + "</act>",
    "at the organizer around it": "<organizer classCode='BATTERY'{0}><component>{1}</component></organizer>",
}
REFUTED = {"verificationStatus": "refuted", "clinicalStatus": "inactive"}
# what is denied → its section, the statement, what must be said, and whether it is refused
DENIABLE: Final[dict[str, tuple[str, str, dict[str, Any], Says, bool]]] = {
    "immunization": (
        IMMUNIZATIONS, "substanceAdministration", {"inside": '<effectiveTime value="2025"/>' + INFLUENZA},
        {"Immunization": [{"status": "not-done", "vaccineCode": "88"}]}, False,
    ),
    "procedure": (
        PROCEDURES, "procedure", {"coded": code("73761001")},
        {"Procedure": [{"status": "not-done", "code": "73761001"}]}, False,
    ),
    "medication": (
        MEDICATIONS, "substanceAdministration", {"inside": ASPIRIN},
        {"MedicationStatement": [{"status": "not-taken", "medicationCodeableConcept": "1191"}],
         "MedicationRequest": []}, False,
    ),
    "order of a medication": (
        MEDICATIONS, "substanceAdministration", {"inside": ASPIRIN, "mood": "RQO"},
        {"MedicationRequest": [{"doNotPerform": True, "medicationCodeableConcept": "1191"}],
         "MedicationStatement": []}, False,
    ),
    "problem": (
        PROBLEMS, "observation", {"coded": code("55607006"), "inside": value("38341003")},
        {"Condition": [{**REFUTED, "code": "38341003"}]}, False,
    ),
    "allergy": (
        ALLERGIES, "observation", {"coded": ASSERTION, "inside": value("416098002") + PENICILLIN},
        {"AllergyIntolerance": [{**REFUTED, "code": "7980"}]}, False,
    ),
    "observation that asserts": (
        SOCIAL, "observation", {"coded": ASSERTION, "inside": value("422615001")},
        {"Observation": [{"code": "422615001", "valueBoolean": False}]}, False,
    ),
    "observation that answers": (
        RESULTS, "observation", {"coded": code("718-7", 'codeSystem="2.16.840.1.113883.6.1"'),
                                 "inside": '<value xsi:type="PQ" value="13" unit="g/dL"/>'},
        {"Observation": [], "DiagnosticReport": []}, True,
    ),
    "act": (UNKNOWN, "act", {"coded": code("409073007")}, {"Procedure": [], "Observation": []}, True),
    "encounter": (
        ENCOUNTERS, "encounter", {"coded": code("99213", 'codeSystem="2.16.840.1.113883.6.12"')},
        {"Encounter": [{"status": "cancelled"}]}, False,
    ),
    "supply": (
        MEDICATIONS, "supply", {"inside": material(code("1191", RXNORM), "product")},
        {"MedicationDispense": [], "MedicationRequest": []}, True,
    ),
    "order of a supply": (
        MEDICATIONS, "supply", {"inside": material(code("1191", RXNORM), "product"), "mood": "INT"},
        {"MedicationDispense": [], "MedicationRequest": []}, True,
    ),
}  # fmt: skip


def _denied(how: str, tag: str, parts: dict[str, Any], status: str) -> str:
    around = NOT[how]
    own = "" if around else ' negationInd="1"' if how == "as 1" else DENIED
    inner = statement(tag, own=own, **({"status": status} | parts))
    return around.replace("{0}", DENIED).replace("{1}", inner) if around else inner


def _told(what: str, how: str, status: str, *, refused: bool) -> tuple[str, ...]:
    """An organizer of findings is a panel, which nothing can deny; what is active has no value yet."""
    asserts = what == "observation that asserts"
    panel = asserts and how == "at the organizer around it"
    early = ("status-conflict",) if asserts and status == "active" else ()
    return early + (("unsupported-statement",) if refused or panel else ())


NEGATION = [
    case(
        f"{what}, {how}, {status}",
        (section, entry(_denied(how, tag, parts, status))),
        says=said,
        issues=_told(what, how, status, refused=refused),
    )
    for what, (section, tag, parts, said, refused) in DENIABLE.items()
    for how in NOT
    for status in ("completed", "active")
]

# 2. absence -----------------------------------------------------------------------------------------------------------

ANY_DRUG = material('<code nullFlavor="OTH"><translation code="410942007" codeSystem="2.16.840.1.113883.6.96"/></code>')
ALLERGIC = "<text>Allergic to penicillin: anaphylaxis.</text>"


def no_known(kind: str, concept: str, element: str = "code", **more: Any) -> Says:
    return {kind: [{element: concept, "verificationStatus": ABSENT, **more}]}


NO_ALLERGY = no_known("AllergyIntolerance", "716186003", clinicalStatus="active")
NO_PROBLEM = no_known("Condition", "160245001", clinicalStatus="active")
NO_DRUG = {"MedicationRequest": [], **no_known("MedicationStatement", "787481004", "medicationCodeableConcept")}
NO_VACCINE = no_known("Immunization", "787482006", "vaccineCode")
NO_PROCEDURE = no_known("Procedure", "787480003")
NO_DEVICE: Says = {"DeviceUseStatement": [{"contained": [{"type": "787483001"}]}]}
KINDS = ("AllergyIntolerance", "Condition", "MedicationStatement", "MedicationRequest", "Immunization", "Procedure",
         "DeviceUseStatement", "Observation")  # fmt: skip
NOTHING: Says = {kind: [] for kind in KINDS}


# known absence of one kind: each stays its own code
OTHER_NO_ALLERGIES = ("409137002", "429625007", "428607008", "428197003", "716220001", "1003774007", "716184000")
IN_VALUE = value("416098002")


def empty(reason: str = "unavailable") -> Says:
    return NOTHING | {"Composition": [{"section": [{"emptyReason": reason, "entry": ABSENT}]}]}


def asserted(inside: str, own: str = "", coded: str = ASSERTION) -> str:
    return entry(statement("observation", inside, own=own, coded=coded))


def absent(concept: str, tag: str, system: str = EHDSI) -> str:
    coded = code(concept, system)
    told = {"observation": statement(tag, value(concept, system), coded=ASSERTION)}
    return entry(told.get(tag) or statement(tag, coded=coded))


# statement class, section, singular and plural code of known absence, code of no information, SNOMED CT's, result
_EHDSI = (
    ("observation", ALLERGIES, "no-known-allerg", ("y", "ies"), "no-allergy-info", "716186003", NO_ALLERGY),
    ("observation", PROBLEMS, "no-known-problem", ("", "s"), "no-problem-info", "160245001", NO_PROBLEM),
    ("substanceAdministration", MEDICATIONS, "no-known-medication", ("", "s"), "no-medication-info", "787481004",
     NO_DRUG),
    ("substanceAdministration", IMMUNIZATIONS, "no-known-immunization", ("", "s"), "no-immunization-info", "787482006",
     NO_VACCINE),
    ("procedure", PROCEDURES, "no-known-procedure", ("", "s"), "no-procedure-info", "787480003", NO_PROCEDURE),
    ("supply", DEVICES, "no-known-device", ("", "s"), "no-device-info", "787483001", NO_DEVICE),
)  # fmt: skip

ABSENCE = [
    case("negated medication, any drug", (MEDICATIONS, entry(statement(
        "substanceAdministration", ANY_DRUG, own=DENIED))), says=NO_DRUG),
    case("negated medication, null", (MEDICATIONS, entry(statement(
        "substanceAdministration", material('<code nullFlavor="NI"/>'), own=DENIED))), says=NO_DRUG),
    case("negated immunization, any vaccine", (IMMUNIZATIONS, entry(statement(
        "substanceAdministration", material(code("71181003")), own=DENIED))), says=NO_VACCINE),
    case("negated immunization, null", (IMMUNIZATIONS, entry(statement(
        "substanceAdministration", material('<code nullFlavor="NA"/>'), own=DENIED))), says=NO_VACCINE),
    case("negated allergy, null substance", (ALLERGIES, asserted(
        value("419199007") + substance('<code nullFlavor="NA"/>'), DENIED)), says=NO_ALLERGY),
    case("negated allergy, any substance", (ALLERGIES, asserted(
        value("419199007") + substance(code("105590001")), DENIED)), says=NO_ALLERGY),
    case("negated problem", (PROBLEMS, asserted(value("55607006"), DENIED)), says=NO_PROBLEM),
    case("section without information", (ALLERGIES, "<text>No known allergies</text>"),
         says=NOTHING | {"Composition": [{"section": [{"emptyReason": ABSENT}]}]}),
    *(case(f"{stem}{end}", (section, absent(stem + end, tag)), says=result)
      for tag, section, stem, ends, _, _, result in _EHDSI for end in ends),
    *(case(f"SNOMED {snomed}", (section, absent(snomed, tag, SITUATION)), says=result)
      for tag, section, _, _, _, snomed, result in _EHDSI),
    *(case(info, (section, absent(info, tag)), says=empty()) for tag, section, _, _, info, _, _ in _EHDSI),
    *(case(f"SNOMED {sent}", (ALLERGIES, absent(sent, "observation", SITUATION)),
           says=no_known("AllergyIntolerance", told, clinicalStatus="active"))
      for sent, told in (*((each, each) for each in OTHER_NO_ALLERGIES), ("160244002", "716186003"))),
    *(case(f"{concept} as the substance", (ALLERGIES, asserted(IN_VALUE + substance(code(concept, system)))),
           says=no_known("AllergyIntolerance", told, clinicalStatus="active", type=ABSENT))
      for concept, system, told in (
          ("no-known-allergies", EHDSI, "716186003"), ("716186003", SITUATION, "716186003"),
          ("160244002", SITUATION, "716186003"), ("409137002", SITUATION, "409137002"))),
    case("no-allergy-info, as substance", (ALLERGIES, asserted(IN_VALUE + substance(code("no-allergy-info", EHDSI)))),
         says=empty()),
    *(case(f"a known absence, denied: {concept}", (ALLERGIES, asserted(value(concept, system), DENIED)), says=NOTHING,
           issues=("unsupported-statement",))
      for concept, system in (("716186003", SITUATION), ("160244002", SITUATION), ("no-known-allergies", EHDSI))),
    case("a known absence, denied, as the substance", (ALLERGIES, asserted(
        IN_VALUE + substance(code("no-known-allergies", EHDSI)), DENIED)), says=NOTHING,
        issues=("unsupported-statement",)),
    case("code against narrative", (ALLERGIES, ALLERGIC + absent("no-known-allergies", "observation")),
         says=NO_ALLERGY),
    case("no information against narrative", (ALLERGIES, ALLERGIC + absent("no-allergy-info", "observation")),
         says=empty()),
    case("entry against narrative", (ALLERGIES, "<text>No known allergies</text>" + asserted(
        value("416098002") + PENICILLIN)), says={"AllergyIntolerance": [{"code": "7980", "clinicalStatus": "active"}]}),
]  # fmt: skip

# 3. allergies ---------------------------------------------------------------------------------------------------------


def severity(concept: str) -> str:
    return related(statement("observation", value(concept), coded=code("SEV")), own=' inversionInd="true"')


def reaction(concept: str, inside: str = "") -> str:
    return related(statement("observation", value(concept) + inside, coded=ASSERTION), "MFST", ' inversionInd="true"')


SEVERE, MILD = severity("24484000"), severity("255604002")
HIVES, NAUSEA = "247472004", "422587007"


def allergy(**said: Any) -> Says:
    return {"AllergyIntolerance": [said], "Observation": []}


ALLERGY = [
    case("US: in the value", (ALLERGIES, asserted(IN_VALUE + PENICILLIN)),
         says=allergy(type="allergy", category=["medication"], code="7980")),
    case("US: an intolerance", (ALLERGIES, asserted(value("59037007") + PENICILLIN)),
         says=allergy(type="intolerance", category=["medication"])),
    case("EU: in the code", (ALLERGIES, asserted('<value xsi:type="CD" nullFlavor="NA"/>' + PENICILLIN,
                                                 coded=code("416098002"))),
         says=allergy(type="allergy", category=["medication"], code="7980")),
    case("EU: without a value", (ALLERGIES, asserted(PENICILLIN, coded=code("414285001"))),
         says=allergy(type="allergy", category=["food"], code="7980")),
    case("uncoded substance: name", (ALLERGIES, asserted(IN_VALUE + substance("<name>Ragweed</name>"))),
         says=allergy(code="Ragweed")),
    case("uncoded substance: original text", (ALLERGIES, asserted(IN_VALUE + substance(
        '<code nullFlavor="OTH"><originalText>Ragweed</originalText></code>'))), says=allergy(code="Ragweed")),
    case("missing substance: what the value says", (ALLERGIES, asserted(value("294505008"))),
         says=allergy(code="294505008"), issues=("vocab-miss",)),
    case("missing substance: the kind", (ALLERGIES, asserted(IN_VALUE)), says=allergy(code="416098002")),
    case("missing substance: nothing", (ALLERGIES, asserted('<value xsi:type="CD" nullFlavor="OTH"/>')),
         says=allergy(code="?unknown")),
    case("severity of two reactions", (ALLERGIES, asserted(IN_VALUE + PENICILLIN + SEVERE + reaction(HIVES) + reaction(
        NAUSEA))), says=allergy(criticality=ABSENT, note=ABSENT, reaction=[
            {"manifestation": [HIVES], "severity": "severe"}, {"manifestation": [NAUSEA], "severity": "severe"}])),
    case("severity of a reaction of its own", (ALLERGIES, asserted(IN_VALUE + PENICILLIN + SEVERE + reaction(HIVES) +
                                                                   reaction(NAUSEA, MILD))),
         says=allergy(reaction=[{"manifestation": [HIVES], "severity": "severe"},
                                {"manifestation": [NAUSEA], "severity": "mild"}])),
    case("severity without a reaction", (ALLERGIES, asserted(IN_VALUE + PENICILLIN + SEVERE.replace(
        '"24484000"', '"24484000" displayName="Severe"'))),
         says=allergy(criticality=ABSENT, reaction=ABSENT, note=[{"text": "Severity: Severe"}])),
    case("severity without a reaction, a bare code", (ALLERGIES, asserted(IN_VALUE + PENICILLIN + SEVERE)),
         says=allergy(criticality=ABSENT, reaction=ABSENT, note=[{"text": "Severity: 24484000 (SNOMED CT)"}])),
    case("severity without a reaction, in words", (ALLERGIES, asserted(IN_VALUE + PENICILLIN + SEVERE.replace(
        code("24484000", tag="value").removeprefix("<value ").removesuffix("/>"), 'nullFlavor="OTH"').replace(
        "></value>", "><originalText>bad</originalText></value>"))),
         says=allergy(criticality=ABSENT, reaction=ABSENT, note=[{"text": "Severity: bad"}])),
]  # fmt: skip

# 4. problems ----------------------------------------------------------------------------------------------------------

ACTIVE, RESOLVED, INACTIVE = "55561003", "413322009", "73425007"


def problem(high: str = "", status: str = "", own: str = "completed", concept: str = "38341003") -> str:
    told = related(statement("observation", value(status), coded=code("33999-4")), "REFR") if status else ""
    time = f'<effectiveTime><low value="2015"/>{high}</effectiveTime>'
    return statement("observation", time + value(concept) + told, coded=code("55607006"), status=own)


def concern(
    *inner: str, status: str = "active", time: str = '<effectiveTime><low value="1999"/></effectiveTime>'
) -> str:
    return entry(statement("act", time + "".join(map(related, inner)), coded=CONCERN, status=status))


def over(status: str, **more: Any) -> Says:
    return {"Condition": [{"clinicalStatus": status, "onsetDateTime": "2015", **more}], "Observation": []}


PAST, FUTURE, UNKNOWN_END = '<high value="20200101"/>', '<high value="20990101"/>', '<high nullFlavor="UNK"/>'
NOT_ABATED = {"abatementDateTime": ABSENT, "_abatementDateTime": ABSENT}
ABATED = {"abatementDateTime": "2020-01-01"}
PROBLEM = [
    case("status observation against concern", (PROBLEMS, concern(problem(status=RESOLVED))), says=over("resolved")),
    case("status observation, inactive", (PROBLEMS, concern(problem(status=INACTIVE))), says=over("inactive")),
    case("status observation against concern, completed", (PROBLEMS, concern(
        problem(status=ACTIVE), status="completed")), says=over("active")),
    case("high", (PROBLEMS, concern(problem(PAST))), says=over("resolved", **ABATED)),
    case("future high", (PROBLEMS, concern(problem(FUTURE))), says=over("active", **NOT_ABATED)),
    case("UNK high", (PROBLEMS, concern(problem(UNKNOWN_END))),
         says=over("resolved", abatementDateTime=ABSENT, _abatementDateTime="?unknown")),
    *(case(f"{flavor} high says nothing", (PROBLEMS, concern(problem(f'<high nullFlavor="{flavor}"/>'))),
           says=over("active", **NOT_ABATED)) for flavor in ("NI", "NA", "NAV", "NASK")),
    case("concern, active", (PROBLEMS, concern(problem())), says=over("active", **NOT_ABATED)),
    *(case(f"concern, {status}", (PROBLEMS, concern(problem(), status=status)), says=over("inactive", **NOT_ABATED))
      for status in ("completed", "suspended", "aborted")),
    case("its own statusCode says nothing", (PROBLEMS, concern(problem(own="active"), status="completed")),
         says=over("inactive")),
    case("high before low", (PROBLEMS, concern(problem('<high value="20140101"/>'))),
         says=over("resolved", abatementDateTime=ABSENT,
                   _abatementDateTime={"extension": [{"valueString": "2014-01-01"}]}), issues=("contradiction",)),
    case("high in the year of low", (PROBLEMS, concern(problem('<high value="20150301"/>'))),
         says=over("resolved", abatementDateTime="2015-03-01", _abatementDateTime=ABSENT)),
    case("conflict: active and over", (PROBLEMS, concern(problem(PAST, ACTIVE))), says=over("inactive", **ABATED),
         issues=("status-conflict",)),
    case("conflict: active and UNK", (PROBLEMS, concern(problem(UNKNOWN_END, ACTIVE))),
         says=over("active", **NOT_ABATED), issues=("status-conflict",)),
    *(case(f"no time of the document: {name}", (PROBLEMS, concern(problem(high, status))), says=over(said, **abated),
           effectiveTime=time, issues=("undated",))
      for time in ("", '<effectiveTime nullFlavor="UNK"/>')
      for name, high, status, said, abated in (
          ("an end in 2099", FUTURE, "", "active", NOT_ABATED), ("an end in 2020", PAST, "", "active", NOT_ABATED),
          ("called active", PAST, ACTIVE, "active", NOT_ABATED),
          ("called resolved", PAST, RESOLVED, "resolved", ABATED),
      )),
    case("no time of the document: over, the date unknown", (PROBLEMS, concern(problem(UNKNOWN_END))), effectiveTime="",
         says=over("resolved", _abatementDateTime="?unknown"), issues=("undated",)),
    case("two observations of an act", (PROBLEMS, concern(problem(status=RESOLVED), problem(concept="73211009"))),
         says={"Condition": [{"code": "38341003", "clinicalStatus": "resolved"},
                             {"code": "73211009", "clinicalStatus": "active"}]}),
]  # fmt: skip

# 5. medications -------------------------------------------------------------------------------------------------------


def drug(times: str = "", inside: str = "", **how: Any) -> str:
    return statement("substanceAdministration", times + ASPIRIN + inside, **how)


def supply(inside: str, mood: str) -> str:
    return statement("supply", inside + material(code("1191", RXNORM), "product"), mood=mood)


UNTIL_2027 = '<effectiveTime xsi:type="IVL_TS"><low value="20260101"/><high value="20270101"/></effectiveTime>'
REPEATS = '<repeatNumber value="{}"/>'


def request(**said: Any) -> Says:
    return {"MedicationRequest": [said], "MedicationStatement": [], "MedicationDispense": []}


MEDICATION = [
    case("EVN is a plan", (MEDICATIONS, entry(drug(status="active"))), says=request(intent="plan", status="active")),
    *(case(f"{mood} is an order", (MEDICATIONS, entry(drug(mood=mood, status="active"))),
           says=request(intent="order", doNotPerform=ABSENT)) for mood in ("INT", "RQO")),
    *(case(f"status {sent}", (MEDICATIONS, entry(drug(status=sent))), says=request(status=status)) for sent, status in (
        ("completed", "completed"), ("aborted", "stopped"), ("suspended", "on-hold"), ("held", "on-hold"),
        ("cancelled", "cancelled"), ("new", "draft"), ("nullified", "entered-in-error"), ("", "unknown"))),
    case("completed, and goes on", (MEDICATIONS, entry(drug(UNTIL_2027))), says=request(status="active")),
    case("completed, and over", (MEDICATIONS, entry(drug(UNTIL_2027.replace("2027", "2025").replace("2026", "2024")))),
         says=request(status="completed")),
    *(case(f"no time of the document, {status}, with an end", (MEDICATIONS, entry(drug(UNTIL_2027, status=status))),
           says=request(status=status), effectiveTime="", issues=("undated",)) for status in ("active", "completed")),
    case("supply INT", (MEDICATIONS, entry(supply("", "INT"))), says=request(medicationCodeableConcept="1191")),
    case("supply EVN", (MEDICATIONS, entry(supply("", "EVN"))), says={
        "MedicationDispense": [{"medicationCodeableConcept": "1191", "status": "completed"}], "MedicationRequest": []}),
    *(case(f"repeatNumber {sent}", (MEDICATIONS, entry(drug(inside=related(supply(REPEATS.format(sent), "INT"), "REFR"),
                                                            mood="INT"))),
           says=request(dispenseRequest={"numberOfRepeatsAllowed": allowed})) for sent, allowed in ((1, 0), (3, 2))),
]  # fmt: skip

# 6. timing ------------------------------------------------------------------------------------------------------------

BOUNDS = '<effectiveTime xsi:type="IVL_TS"><low value="20260101"/><high value="20260110"/></effectiveTime>'
Q12H = '<effectiveTime xsi:type="PIVL_TS" operator="A"><period value="12" unit="h"/></effectiveTime>'
BID = Q12H.replace('operator="A"', 'operator="A" institutionSpecified="true"')
RANGE = (
    '<effectiveTime xsi:type="PIVL_TS"><period xsi:type="IVL_PQ"><low value="4" unit="h"/>'
    '<high value="6" unit="h"/></period></effectiveTime>'
)
BEFORE_SLEEP = '<effectiveTime xsi:type="EIVL_TS" operator="A"><event code="HS"/></effectiveTime>'
SXPR = (
    '<effectiveTime xsi:type="SXPR_TS"><comp xsi:type="IVL_TS"><low value="20260101"/><high value="20260110"/>'
    '</comp><comp xsi:type="PIVL_TS" operator="A"><period value="12" unit="h"/></comp></effectiveTime>'
)
DAYS = {"start": "2026-01-01", "end": "2026-01-10"}
EVERY_12_H = {"frequency": 1, "period": 12, "periodUnit": "h"}


def untyped(text: str) -> str:
    return text.replace('xsi:type="IVL_TS"', "").replace('xsi:type="PIVL_TS"', "").replace('operator="A"', "")


def taken(repeat: Any, **more: Any) -> Says:
    dosage = ({"timing": {"repeat": repeat}} if repeat is not None else {}) | more
    return {"MedicationRequest": [{"dosageInstruction": [dosage]}]}


BOTH = {"boundsPeriod": DAYS, **EVERY_12_H}
TIMING = [
    case(name, (MEDICATIONS, entry(drug(times, status="active"))), says=taken(repeat))
    for name, times, repeat in (
        ("bounds, then frequency", BOUNDS + Q12H, BOTH),
        ("frequency, then bounds", Q12H + BOUNDS, BOTH),
        ("foreign prefix", (BOUNDS + Q12H).replace('xsi:type="', 'xsi:type="ns7:'), BOTH),
        ("no xsi:type", untyped(BOUNDS + Q12H), BOTH),
        ("no xsi:type, swapped", untyped(Q12H + BOUNDS), BOTH),
        ("range of periods", RANGE, {"frequency": 1, "period": 4, "periodMax": 6, "periodUnit": "h"}),
        ("q12h", Q12H, EVERY_12_H),
        ("BID", BID, {"frequency": 2, "period": 1, "periodUnit": "d"}),
        ("EIVL", BOUNDS + BEFORE_SLEEP, {"boundsPeriod": DAYS, "when": ["HS"]}),
        ("SXPR", SXPR, BOTH),
    )
] + [
    case("dose range", (MEDICATIONS, entry(drug(Q12H, status="active").replace("<consumable>", (
        '<doseQuantity><low value="1" unit="mg"/><high value="2.0" unit="mg"/></doseQuantity><consumable>')))),
         says={"MedicationRequest": [{"dosageInstruction": [{"doseAndRate": [
             {"doseRange": {"low": {"value": 1, "code": "mg"}, "high": {"value": Decimal("2.0")}}}]}]}]}),
    case("PRN", (MEDICATIONS, entry(drug(Q12H, '<precondition typeCode="PRCN"><criterion>' + value("25064002") +
                                         "</criterion></precondition>", status="active"))),
         says=taken(EVERY_12_H, asNeededCodeableConcept="25064002")),
    case("PRN, for nothing in particular", (MEDICATIONS, entry(drug(Q12H, '<precondition><criterion/></precondition>',
                                                                    status="active"))),
         says=taken(EVERY_12_H, asNeededBoolean=True)),
]  # fmt: skip
