"""The records of the benchmark: invented patients, each a transaction of 25 resources, the same in each run.

A record is what a practice or ward keeps of somebody: the Patient, visits, problems, an allergy, drugs, a report and
its values; a resource has some 0.8 kB. Numbers, names, dates and values differ from copy to copy, codes repeat. One
patient more has 600 Observations, in 25 transactions. Practitioners and an organization belong to nobody and are
referred to.

Source: fhir chapter §14 (600 Observations of a patient); FHIR R4 http.html#transaction.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

Json = dict[str, Any]

RESOURCES = 25  # of a transaction, and of a record
LARGE = 600  # Observations of the one large record
LARGE_ID = "large-record"
STAFF = 23  # practitioners
RESERVED = 1 + STAFF + 1 + LARGE  # what is there once: the house and its staff, the large record
SYSTEM = "urn:oid:2.999.1"  # identifiers: an arc for examples
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"
FAMILIES = ("Moser", "Huber", "Novák", "Wagner", "Steiner", "Berger", "Pichler", "Kovačić", "Eder", "Lang", "Fuchs")
GIVEN = ("Anna", "Jakob", "Marie", "Paul", "Emma", "Felix", "Lena", "David", "Sophie", "Elias", "Ida", "Leo", "Mila")
FIRST_NUMBER = 100_000  # all copies are of one length
FIRST_DAY = date(2019, 1, 1)
DAYS = 2_000  # over which the copies' visits are spread

# code, name, unit, normal from, to: values of a visit's laboratory report, and what a nurse measures
VALUES: Sequence[tuple[str, str, str, str, str]] = (
    ("2160-0", "Creatinine", "mg/dL", "0.6", "1.2"),
    ("2345-7", "Glucose", "mg/dL", "70", "99"),
    ("718-7", "Haemoglobin", "g/dL", "12.0", "16.0"),
    ("6690-2", "Leukocytes", "10*3/uL", "4.0", "10.0"),
    ("777-3", "Platelets", "10*3/uL", "150", "400"),
    ("2951-2", "Sodium", "mmol/L", "135", "145"),
    ("2823-3", "Potassium", "mmol/L", "3.5", "5.1"),
    ("1742-6", "Alanine aminotransferase", "U/L", "7", "56"),
    ("8867-4", "Heart rate", "/min", "60", "100"),
    ("8310-5", "Body temperature", "Cel", "36.1", "37.8"),
    ("29463-7", "Body weight", "kg", "45", "95"),
    ("8302-2", "Body height", "cm", "150", "195"),
)
ASKED = VALUES[0][0]  # the code that searches ask for: two of each record, and every twelfth of the large one
PROBLEMS = (("I10", "Essential hypertension"), ("E11.9", "Type 2 diabetes mellitus"), ("J45.9", "Asthma"))
DRUGS = (("C09AA05", "Ramipril 5 mg"), ("A10BA02", "Metformin 500 mg"), ("R03AC02", "Salbutamol 100 ug"))

_NUMBER = re.compile(rb'"#(\w+)#"')


def identifier(number: int) -> str:
    """The patient's number in the record of this number."""
    return str(FIRST_NUMBER + number)


def staff() -> bytes:
    """The transaction of what belongs to nobody; once, and first."""
    people = [_practitioner(n) for n in range(1, STAFF + 1)]
    resources: list[Json] = [{"resourceType": "Organization", "id": "bench-house", "name": "House"}, *people]
    return _transaction([_put(one) for one in resources])


class Records:
    """The transactions of ordinary patients, copied under ever new numbers in some microseconds each."""

    def __init__(self) -> None:
        text = _transaction(_record()).replace(b"%", b"%%").replace(b"%%(", b"%(")
        self._text = _NUMBER.sub(rb"%(\1)s", text)

    def transaction(self, number: int) -> bytes:
        """The record of this number, which names its resources by `urn:uuid`."""
        return self._text % _facts(number)


def large() -> Iterator[bytes]:
    """The large record's transactions, to be sent in order."""
    observations = [_put(_observation_of_large(n)) for n in range(LARGE)]
    facts = _facts(0)
    patient = _patient() | {"id": LARGE_ID, "identifier": [{"system": SYSTEM, "value": "L-%(n)d"}]}
    entries = [_put(patient), *observations]
    for start in range(0, len(entries), RESOURCES):
        text = _NUMBER.sub(rb"%(\1)s", _transaction(entries[start : start + RESOURCES]))
        yield text % facts


def _facts(number: int) -> dict[bytes, bytes | int]:
    n = FIRST_NUMBER + number
    day = FIRST_DAY + timedelta(days=number * 7 % DAYS)
    born = date(1935, 1, 1) + timedelta(days=number * 37 % 29_000)
    texts = {
        "family": FAMILIES[number % len(FAMILIES)],
        "given": GIVEN[number // 3 % len(GIVEN)],
        "born": born.isoformat(),
        "day": day.isoformat(),
        "later": (day + timedelta(days=90)).isoformat(),
        "v": f"{number % 41 + 60}.{number % 10}",
        "w": f"{number % 7 + 1}.{number % 89 + 10}",
    }
    return {b"n": n, b"staff": number % STAFF + 1} | {name.encode(): text.encode() for name, text in texts.items()}


# --- one record -------------------------------------------------------------------------------------------------------


def _record() -> list[Json]:
    patient, visits = _name(0), (_name(1), _name(2))
    found: list[Json] = [_patient()]
    found += [_encounter(patient, day) for day in ("%(day)s", "%(later)s")]
    found += [_condition(patient, visits[0], *problem) for problem in PROBLEMS]
    found += [_request(patient, visits[n % 2], *drug) for n, drug in enumerate(DRUGS)]
    found += [_allergy(patient), _immunization(patient)]
    first = len(found)
    values = [*VALUES, *VALUES[:1], VALUES[1]]
    found += [
        _observation(patient, visits[n >= len(VALUES)], *value, day="%(day)s" if n < len(VALUES) else "%(later)s")
        for n, value in enumerate(values[: RESOURCES - first - 1])
    ]
    found.append(_report(patient, visits[0], [_name(first + n) for n in range(8)]))
    return [_post(n, one) for n, one in enumerate(found)]


def _patient() -> Json:
    return {
        "resourceType": "Patient",
        "identifier": [
            {
                "use": "usual",
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
                "system": SYSTEM,
                "value": "%(n)d",
            }
        ],
        "active": True,
        "name": [{"use": "official", "family": "%(family)s", "given": ["%(given)s"]}],
        "telecom": [{"system": "phone", "value": "+43 660 %(n)d", "use": "mobile"}],
        "gender": "female",
        "birthDate": "%(born)s",
        "address": [{"use": "home", "line": ["Ring %(n)d"], "city": "Graz", "postalCode": "8010", "country": "AT"}],
        "contact": [
            {
                "relationship": [{"text": "next of kin"}],
                "name": {"family": "%(family)s", "given": ["Maria"]},
                "telecom": [{"system": "phone", "value": "+43 316 %(n)d"}],
            }
        ],
        "generalPractitioner": [_staff()],
        "managingOrganization": {"reference": "Organization/bench-house"},
    }


def _encounter(patient: Json, day: str) -> Json:
    return {
        "resourceType": "Encounter",
        "identifier": [{"system": f"{SYSTEM}.2", "value": f"V%(n)d-{day}"}],
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB", "display": "ambulatory"},
        "type": [{"coding": [{"system": "urn:example:visits", "code": "CHECK", "display": "Check-up"}]}],
        "subject": patient,
        "participant": [{"individual": _staff()}],
        "period": {"start": f"{day}T08:05:00+01:00", "end": f"{day}T09:20:00+01:00"},
        "serviceProvider": {"reference": "Organization/bench-house"},
    }


def _condition(patient: Json, visit: Json, code: str, name: str) -> Json:
    base = "http://terminology.hl7.org/CodeSystem"
    return {
        "resourceType": "Condition",
        "clinicalStatus": {"coding": [{"system": f"{base}/condition-clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{base}/condition-ver-status", "code": "confirmed"}]},
        "category": [{"coding": [{"system": f"{base}/condition-category", "code": "problem-list-item"}]}],
        "code": {
            "coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": code, "display": name}],
            "text": name,
        },
        "subject": patient,
        "encounter": visit,
        "onsetDateTime": "%(day)s",
        "recordedDate": "%(day)sT08:30:00+01:00",
        "note": [{"text": "Known for years, well controlled at the visit %(n)d."}],
    }


def _request(patient: Json, visit: Json, code: str, name: str) -> Json:
    return {
        "resourceType": "MedicationRequest",
        "identifier": [{"system": f"{SYSTEM}.3", "value": f"R%(n)d-{code}"}],
        "status": "active",
        "intent": "order",
        "medicationCodeableConcept": {
            "coding": [{"system": "http://www.whocc.no/atc", "code": code, "display": name}],
            "text": name,
        },
        "subject": patient,
        "encounter": visit,
        "authoredOn": "%(day)sT08:40:00+01:00",
        "requester": _staff(),
        "dosageInstruction": [
            {
                "text": "1-0-0",
                "timing": {"repeat": {"frequency": 1, "period": 1, "periodUnit": "d"}},
                "doseAndRate": [{"doseQuantity": {"value": 1, "unit": "tablet"}}],
            }
        ],
    }


def _allergy(patient: Json) -> Json:
    base = "http://terminology.hl7.org/CodeSystem"
    return {
        "resourceType": "AllergyIntolerance",
        "clinicalStatus": {"coding": [{"system": f"{base}/allergyintolerance-clinical", "code": "active"}]},
        "verificationStatus": {"coding": [{"system": f"{base}/allergyintolerance-verification", "code": "confirmed"}]},
        "category": ["medication"],
        "criticality": "high",
        "code": {"coding": [{"system": "http://www.whocc.no/atc", "code": "J01CA04", "display": "Amoxicillin"}]},
        "patient": patient,
        "recordedDate": "%(day)sT08:32:00+01:00",
        "reaction": [{"manifestation": [{"text": "hives"}], "severity": "moderate"}],
    }


def _immunization(patient: Json) -> Json:
    return {
        "resourceType": "Immunization",
        "status": "completed",
        "vaccineCode": {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": "115", "display": "Tdap"}]},
        "patient": patient,
        "occurrenceDateTime": "%(later)s",
        "lotNumber": "L%(n)d",
        "performer": [{"actor": _staff()}],
    }


def _observation(patient: Json, visit: Json, code: str, name: str, unit: str, low: str, high: str, *, day: str) -> Json:
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                        "code": "laboratory",
                        "display": "Laboratory",
                    }
                ]
            }
        ],
        "code": {"coding": [{"system": LOINC, "code": code, "display": name}], "text": name},
        "subject": patient,
        "encounter": visit,
        "effectiveDateTime": f"{day}T08:15:00+01:00",
        "issued": f"{day}T11:02:17.000+01:00",
        "performer": [_staff()],
        "valueQuantity": _quantity("#v#", unit),
        "interpretation": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation", "code": "N"}]}
        ],
        "referenceRange": [{"low": _quantity(f"={low}", unit), "high": _quantity(f"={high}", unit)}],
    }


def _quantity(value: str, unit: str) -> Json:
    number: object = value if value.startswith("#") else float(value[1:])
    return {"value": number, "unit": unit, "system": UCUM, "code": unit}


def _report(patient: Json, visit: Json, results: Sequence[Json]) -> Json:
    return {
        "resourceType": "DiagnosticReport",
        "identifier": [{"system": f"{SYSTEM}.4", "value": "D%(n)d"}],
        "status": "final",
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0074", "code": "LAB"}]},
        ],
        "code": {"coding": [{"system": LOINC, "code": "11502-2", "display": "Laboratory report"}]},
        "subject": patient,
        "encounter": visit,
        "effectiveDateTime": "%(day)sT08:15:00+01:00",
        "issued": "%(day)sT11:02:17.000+01:00",
        "performer": [_staff()],
        "result": list(results),
        "conclusion": "Nothing that needs attention at once.",
    }


# --- the large record, and nobody's -----------------------------------------------------------------------------------


def _observation_of_large(n: int) -> Json:
    patient = {"reference": f"Patient/{LARGE_ID}"}
    day = (FIRST_DAY + timedelta(days=n * 3)).isoformat()
    found = _observation(patient, {}, *VALUES[n % len(VALUES)], day=day)
    found["valueQuantity"]["value"] = n % 50 + 50.5
    del found["encounter"]
    return found | {"id": f"{LARGE_ID}-{n}"}


def _practitioner(n: int) -> Json:
    return {
        "resourceType": "Practitioner",
        "id": f"bench-{n}",
        "identifier": [{"system": f"{SYSTEM}.5", "value": str(n)}],
        "name": [{"family": FAMILIES[n % len(FAMILIES)], "given": [GIVEN[n % len(GIVEN)]], "prefix": ["Dr."]}],
        "qualification": [{"code": {"text": "internal medicine"}}],
    }


def _staff() -> Json:
    return {"reference": "Practitioner/bench-%(staff)d"}


# --- transactions -----------------------------------------------------------------------------------------------------


def _name(n: int) -> Json:
    return {"reference": _uuid(n)}


def _uuid(n: int) -> str:
    """What the n-th entry of a record is called inside its transaction."""
    return f"urn:uuid:{n:08x}-0000-4000-8000-0000%(n)08d"


def _post(n: int, resource: Json) -> Json:
    kind = resource["resourceType"]
    return {"fullUrl": _uuid(n), "resource": resource, "request": {"method": "POST", "url": kind}}


def _put(resource: Json) -> Json:
    kind, logical_id = resource["resourceType"], resource["id"]
    return {"resource": resource, "request": {"method": "PUT", "url": f"{kind}/{logical_id}"}}


def _transaction(entries: Sequence[Json]) -> bytes:
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    return json.dumps(bundle, ensure_ascii=False, separators=(",", ":")).encode()
