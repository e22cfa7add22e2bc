"""A seeded population, and seeded questions about it: as odd as records are, and no two runs alike unless asked."""

import random
from typing import Any

from tests.adapter.api.conftest import observation, patient

Json = dict[str, Any]
Pairs = list[tuple[str, str]]

LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
CODES = ["2160-0", "2951-2", "718-7", "KREA"]
LOCAL = "urn:oid:2.999.7"
DATES = [
    "2024", "2024-02", "2024-02-29", "2024-12-31", "2025-01-01", "2025-03-30T01:30:00+01:00", "2025-03-30T23:59:59Z",
    "2025-06-15T08:00:00.250+02:00", "2026-01", "2026-03-04T10:00:00Z", "1999-12-31", "2031-05-05",
]  # fmt: skip
PERIODS = [
    {"start": "2024-01", "end": "2024-03-15"}, {"start": "2025-03-30"}, {"end": "2024-02-29"},
    {"start": "1960-01-01", "end": "2026-02-01"}, {"start": "2025-12-31T22:00:00Z", "end": "2026-01-01T03:00:00Z"},
]  # fmt: skip
AMOUNTS = ["5", "5.0", "5.4", "0.05", "50", "54", "-1", "0", "100", "0.054"]
UNITS = ["g/L", "mg/dL", "mg/L", "mmol/L", "umol/L"]
FAMILIES = ["Müller-Lüdenscheidt", "Muller", "O'Brien", "Šimůnek", "van  der Berg"]
WORDS = ["positiv", "Positive", "not detected", "näher: siehe Befund"]
PROFILES = ["http://a.example/p/one", "http://a.example/p/one/two", "http://a.example/p/onetwo"]
TAGS = ["night", "Night", "recheck"]
MR = "http://terminology.hl7.org/CodeSystem/v2-0203"
PATIENTS = [f"p{n}" for n in range(6)]


def population(seed: int) -> list[Json]:
    dice = random.Random(seed)
    found: list[Json] = [
        {"resourceType": "Practitioner", "id": f"d{n}", "name": [{"family": FAMILIES[n]}]} for n in range(2)
    ]
    for name in PATIENTS:
        found.append(_patient(dice, name))
        stays = [f"{name}-e{n}" for n in range(3)]
        found += [_encounter(dice, one, name, stays[:n]) for n, one in enumerate(stays)]
        results: list[str] = []
        for n in range(14):
            result = _observation(dice, f"{name}-o{n}", name, stays, results)
            results.append(result["id"])
            found.append(result)
        found += [_condition(dice, f"{name}-c{n}", name, stays) for n in range(4)]
        found += [_risk(dice, f"{name}-r{n}", name) for n in range(3)]
    return found


def maybe(dice: random.Random, chance: float, **members: Any) -> Json:
    return members if dice.random() < chance else {}


def _meta(dice: random.Random) -> Json:
    meta = (
        maybe(dice, 0.3, tag=[{"system": LOCAL, "code": dice.choice(TAGS)}])
        | maybe(dice, 0.2, profile=[dice.choice(PROFILES)])
        | maybe(dice, 0.2, source=dice.choice(PROFILES))
        | maybe(dice, 0.1, security=[{"system": LOCAL, "code": "X"}])
    )
    return {"meta": meta} if meta else {}


def _concept(dice: random.Random) -> Json:
    system = maybe(dice, 0.9, system=dice.choice([LOINC, LOINC, LOCAL]))
    coding = system | {"code": dice.choice(CODES)} | maybe(dice, 0.3, display="Kreatinin im Serum")
    return {"coding": [coding]} | maybe(dice, 0.3, text=dice.choice(WORDS))


def _quantity(dice: random.Random) -> Json:
    from decimal import Decimal

    unit = dice.choice(UNITS)
    coded = {"system": UCUM, "code": unit} if dice.random() < 0.8 else {}
    amount = {"value": Decimal(dice.choice(AMOUNTS)), "unit": unit}
    return amount | coded | maybe(dice, 0.15, comparator=dice.choice(["<", "<=", ">", ">="]))


def _when(dice: random.Random, stem: str) -> Json:
    if dice.random() < 0.7:
        return {f"{stem}DateTime": dice.choice(DATES)}
    return {f"{stem}Period": dice.choice(PERIODS)} if dice.random() < 0.7 else {}


def _patient(dice: random.Random, name: str) -> Json:
    found = patient(name, family=dice.choice(FAMILIES))
    found["name"][0]["given"] = dice.sample(["Ana", "Zoë", "Änne", "Jean-Luc"], 2)
    return (
        found
        | _meta(dice)
        | {"birthDate": dice.choice(["1970", "1970-05", "1970-05-17", "2001-02-03"])}
        | {"gender": dice.choice(["female", "male", "other"])}
        | maybe(dice, 0.6, active=dice.random() < 0.5)
        | maybe(dice, 0.6, address=[{"city": dice.choice(["Köln", "Koblenz", "St. Ives"])}])
        | maybe(dice, 0.5, telecom=[{"system": "phone", "use": "home", "value": "+49 30 1234"}])
    )


def _encounter(dice: random.Random, name: str, of: str, before: list[str]) -> Json:
    return {
        "resourceType": "Encounter",
        "id": name,
        "status": dice.choice(["finished", "in-progress", "planned"]),
        "class": {"system": LOCAL, "code": dice.choice(["IMP", "AMB"])},
        "subject": {"reference": f"Patient/{of}"},
        **maybe(dice, 0.7, period=dice.choice(PERIODS)),
        **maybe(dice, 0.5, length={"value": dice.choice([90, 2]), "unit": "x", "system": UCUM, "code": "min"}),
        **(maybe(dice, 0.7, partOf={"reference": f"Encounter/{dice.choice(before)}"}) if before else {}),
        **_meta(dice),
    }


def _observation(dice: random.Random, name: str, of: str, stays: list[str], results: list[str]) -> Json:
    found = observation(name, of=of)
    del found["effectiveDateTime"]
    found["code"] = _concept(dice)
    found["status"] = dice.choice(["final", "amended", "registered"])
    value: Json = dice.choice(
        [
            {},
            {"valueQuantity": _quantity(dice)},
            {"valueQuantity": _quantity(dice)},
            {"valueString": dice.choice(WORDS)},
            {"valueCodeableConcept": _concept(dice)},
        ]
    )
    parts = [{"code": _concept(dice), "valueQuantity": _quantity(dice)} for _ in range(dice.choice([0, 0, 1, 2]))]
    parts = [one for one in parts if one["code"]["coding"][0]["code"] != found["code"]["coding"][0]["code"]]  # obs-7
    number = {"type": {"coding": [{"system": MR, "code": "FILL"}]}, "system": LOCAL, "value": f"N-{name}"}
    return (
        found
        | value
        | ({"component": parts} if parts else {})
        | _when(dice, "effective")
        | _meta(dice)
        | maybe(dice, 0.5, encounter={"reference": f"Encounter/{dice.choice(stays)}"})
        | maybe(dice, 0.4, performer=[{"reference": f"Practitioner/d{dice.choice([0, 1])}"}])
        | maybe(dice, 0.2, method=_concept(dice))
        | maybe(dice, 0.3, category=[_concept(dice)])
        | maybe(dice, 0.3, identifier=[number])
        | (maybe(dice, 0.3, derivedFrom=[{"reference": f"Observation/{dice.choice(results)}"}]) if results else {})
    )


def _condition(dice: random.Random, name: str, of: str, stays: list[str]) -> Json:
    system = "http://terminology.hl7.org/CodeSystem/condition-clinical"
    return {
        "resourceType": "Condition",
        "id": name,
        "clinicalStatus": {"coding": [{"system": system, "code": dice.choice(["active", "recurrence"])}]},
        "code": _concept(dice),
        "subject": {"reference": f"Patient/{of}"},
        **_when(dice, "onset"),
        **maybe(dice, 0.5, recordedDate=dice.choice(DATES)),
        **maybe(dice, 0.5, encounter={"reference": f"Encounter/{dice.choice(stays)}"}),
        **_meta(dice),
    }


def _risk(dice: random.Random, name: str, of: str) -> Json:
    from decimal import Decimal

    amount = Decimal(dice.choice(["0.05", "0.054", "0.5", "0.50", "1"]))
    return {
        "resourceType": "RiskAssessment",
        "id": name,
        "status": "final",
        "subject": {"reference": f"Patient/{of}"},
        "prediction": [{"outcome": {"text": "x"}, "probabilityDecimal": amount}],
        **maybe(dice, 0.7, occurrenceDateTime=dice.choice(DATES)),
    }


# --- questions --------------------------------------------------------------------------------------------------------

PREFIXES = ["", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]
REFERENCES = {
    "encounter": ["Encounter/{p}-e0", "{p}-e1", "Encounter/{p}-e2"],
    "performer": ["Practitioner/d0", "d1", "Practitioner/d9"],
    "derived-from": ["Observation/{p}-o1", "{p}-o3"],
    "part-of": ["Encounter/{p}-e0", "{p}-e1"],
}
CHAINS = {
    "Observation": ["encounter.status", "encounter.class", "encounter.part-of.status", "performer:Practitioner._id",
                    "derived-from:Observation.code", "subject:Patient.family", "patient.gender",
                    "encounter:Encounter.date", "derived-from:Observation.value-quantity", "encounter._tag"],
    "Condition": ["encounter.status", "patient.birthdate", "encounter.part-of.class"],
    "Encounter": ["part-of.status", "part-of.part-of.status", "subject:Patient.name"],
    "RiskAssessment": ["patient.family"],
    "Patient": [],
}  # fmt: skip
HAS = {
    "Patient": [("Observation:patient", "Observation"), ("Condition:subject", "Condition"),
                ("Encounter:patient", "Encounter")],
    "Encounter": [("Observation:encounter", "Observation"), ("Encounter:part-of", "Encounter")],
    "Observation": [("Observation:derived-from", "Observation")],
    "Condition": [],
    "RiskAssessment": [],
}  # fmt: skip
UNSUPPORTED = [
    ("colour", "red"), ("code:above", "x"), ("_text", "x"), ("_filter", "a eq b"), ("_list", "1"),
    ("status:exact", "x"),
    ("encounter:Practitioner", "d1"), ("encounter.part-of.part-of.status", "finished"), ("_has:Observation", "x"),
    ("date:contains", "2024"), ("_content", "x"), ("subject:colour", "x"), ("date", "24-1"), ("_sort", "colour"),
    ("_count", "many"), ("_include", "Observation:colour"), ("_elements", "colour"), ("_summary", "some"),
    ("_lastUpdated", "gtnow"), ("_id:missing", "perhaps"), ("_total", "all"), ("_id", ""), ("near", "1|2"),
]  # fmt: skip


def criterion(
    dice: random.Random, kind: str, whose: str, places: dict[str, Any], name: str | None = None
) -> tuple[str, str]:
    """One pair about a type, with any modifier that its parameter has."""
    code = name or dice.choice([one for one in places if one != "subject"])
    if dice.random() < 0.07 and code != "_id":
        return f"{code}:missing", dice.choice(["true", "false"])
    match places[code][0]:
        case "token":
            return token(dice, code, whose)
        case "string":
            values = [*FAMILIES, *WORDS, "ana", "zoe", "MULLER", "koln", "st ives", "an", "not", "st."]
            return code + dice.choice(["", "", ":exact", ":contains"]), dice.choice(values)
        case "date":
            return code, ",".join(dice.choice(PREFIXES) + dice.choice(DATES) for _ in range(dice.choice([1, 1, 2])))
        case "number":
            return code, dice.choice(PREFIXES) + dice.choice(["0.05", "0.1", "0.5", "0.50", "1"])
        case "quantity":
            return code, amount(dice)
        case "uri":
            return code + dice.choice(["", ":below", ":above"]), dice.choice([*PROFILES, "http://a.example/p"])
        case _:
            text = dice.choice(REFERENCES[code]).format(p=whose)
            return (
                (f"{code}:{text.split('/')[0]}", text.split("/")[1])
                if "/" in text and dice.random() < 0.3
                else (code, text)
            )


def amount(dice: random.Random) -> str:
    unit = dice.choice(["", "", "||{u}", "|{s}|{u}", "|{s}|{u}", "|urn:x|{u}"])
    return dice.choice(PREFIXES) + dice.choice(AMOUNTS) + unit.format(u=dice.choice(UNITS), s=UCUM)


def token(dice: random.Random, code: str, whose: str) -> tuple[str, str]:
    if code == "_id":
        return code, dice.choice([f"{whose}-o1,{whose}-o2,{whose}-e0", whose, f"{whose}-c1", "nobody"])
    if code == "identifier":
        return dice.choice(
            [(code, f"N-{whose}-o3,MR-{whose}"), (code, f"{LOCAL}|n-{whose}-o1"), (code, f"{LOCAL}|")]
            + [(f"{code}:of-type", f"{MR}|FILL|N-{whose}-o{n}") for n in range(4)]
        )
    words = {
        "status": ["final", "finished", "FINAL", "in-progress", "amended,registered", "|final"],
        "gender": ["female", "male,other", "http://hl7.org/fhir/administrative-gender|female"],
        "active": ["true", "false"], "class": ["IMP", f"{LOCAL}|AMB", "amb"],
        "clinical-status": ["active", "recurrence", "x"], "telecom": ["+49 30 1234", "1234"],
        "_tag": TAGS, "_security": ["X", f"{LOCAL}|x"],
    }.get(code, [*CODES, "krea", f"{LOINC}|2160-0", f"{LOCAL}|krea", "|KREA", f"{LOINC}|", "2160-0,718-7"])  # fmt: skip
    if code in ("code", "method", "category", "value-concept") and dice.random() < 0.15:
        return f"{code}:text", dice.choice(["krea", "Positiv", "serum", "näher siehe"])
    return code + dice.choice(["", "", "", ":not"]), dice.choice(words)
