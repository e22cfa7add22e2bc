"""A few resources of our own, small and valid, that the tests of FHIRPath and search share. Every name is invented."""

from mappings.fhir.codec import Json, decode

OBSERVATION = b"""{
  "resourceType": "Observation", "id": "crea",
  "meta": {"versionId": "1", "lastUpdated": "2025-03-04T09:15:02.417Z", "source": "urn:test:lab",
           "profile": ["http://example.org/lab|2"], "tag": [{"system": "urn:test:tags", "code": "night"}],
           "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]},
  "identifier": [{"type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "FILL"}],
                           "text": "Filler number"}, "system": "urn:test:orders", "value": "4711a"}],
  "status": "final",
  "code": {"coding": [{"system": "http://loinc.org", "code": "2160-0", "display": "Creatinine"},
                      {"system": "urn:test:local", "code": "Krea"}], "text": "Kreatinin i. S."},
  "subject": {"reference": "Patient/anna"}, "encounter": {"reference": "Encounter/e1/_history/3"},
  "effectiveDateTime": "2025-03-04T08:00:00+01:00", "issued": "2025-03-04T10:00:00Z",
  "performer": [{"reference": "http://other.example/fhir/Organization/lab"},
                {"identifier": {"system": "urn:test:staff", "value": "77"}, "display": "Dr. Beispiel"}],
  "valueQuantity": {"value": 1.50, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"},
  "referenceRange": [{"low": {"value": 0.5, "unit": "mg/dL"}, "high": {"value": 1.2, "unit": "mg/dL"}}]
}"""

PANEL = b"""{
  "resourceType": "Observation", "id": "bp", "status": "final",
  "code": {"coding": [{"system": "http://loinc.org", "code": "85354-9"}]},
  "subject": {"reference": "#p", "type": "Patient"},
  "contained": [{"resourceType": "Patient", "id": "p", "identifier": [{"system": "urn:test:mrn", "value": "9|1"}]}],
  "effectivePeriod": {"start": "2025-03-01"},
  "component": [
    {"code": {"coding": [{"system": "http://loinc.org", "code": "8480-6"}]},
     "valueQuantity": {"value": 120, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]"}},
    {"code": {"coding": [{"system": "http://loinc.org", "code": "8462-4"}]},
     "valueQuantity": {"value": 80, "comparator": "<", "unit": "mmHg"}},
    {"code": {"text": "cuff"}, "valueCodeableConcept": {"coding": [{"system": "urn:test:cuffs", "code": "L"}]}},
    {"code": {"text": "trace"},
     "valueSampledData": {"origin": {"value": 2, "unit": "mV"}, "period": 10, "factor": -0.5, "dimensions": 1,
                          "data": "1 E 4 -2 U"}}]
}"""

PATIENT = """{
  "resourceType": "Patient", "id": "anna", "active": true,
  "identifier": [{"system": "urn:test:mrn", "value": "00123"}],
  "name": [{"use": "official", "family": "Müller-Lüdenscheidt", "given": ["Anna", "Zoë"]}, {"text": "O'Brien"}],
  "telecom": [{"system": "phone", "value": "+49 30 1234", "use": "home"},
              {"system": "email", "value": "a@example.org"}],
  "gender": "female", "birthDate": "1970-05",
  "_birthDate": {"extension": [{"url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
                                "valueDateTime": "1970-05-17T14:35:45-05:00"}]},
  "deceasedDateTime": "2024-12-24",
  "address": [{"line": ["Hauptstraße 1", "2. Stock"], "city": "Köln", "postalCode": "50667", "country": "DE"}],
  "generalPractitioner": [{"reference": "Practitioner/7"}],
  "managingOrganization": {"reference": "Organization/1"},
  "link": [{"other": {"reference": "Patient/old"}, "type": "replaces"}]
}""".encode()

QUESTIONNAIRE = b"""{
  "resourceType": "Questionnaire", "id": "q", "status": "draft", "url": "http://example.org/q/pain", "version": "1.0",
  "title": "Pain", "date": "2025",
  "item": [{"linkId": "1", "type": "group", "text": "Where?",
            "item": [{"linkId": "1.1", "type": "choice", "repeats": true, "maxLength": 3,
                      "answerOption": [{"valueCoding": {"code": "a"}}, {"valueInteger": 3}]}]},
           {"linkId": "2", "type": "display", "text": "Thanks", "enableBehavior": "all",
            "enableWhen": [{"question": "1", "operator": "exists", "answerBoolean": true}]}]
}"""

DOCUMENT = b"""{
  "resourceType": "Bundle", "id": "doc", "type": "document", "timestamp": "2025-03-04T09:15:02Z",
  "identifier": {"system": "urn:test:docs", "value": "d1"},
  "entry": [
    {"fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000001",
     "resource": {"resourceType": "Composition", "id": "c", "status": "final", "title": "Summary", "date": "2025-03-04",
                  "type": {"text": "summary"}, "author": [{"reference": "Practitioner/7"}],
                  "subject": {"reference": "Patient/anna"},
                  "relatesTo": [{"code": "replaces", "targetReference": {"reference": "Composition/b"}}]}},
    {"fullUrl": "urn:uuid:00000000-0000-4000-8000-000000000002",
     "resource": {"resourceType": "Patient", "id": "anna"}}]
}"""

MEDICATION_REQUEST = b"""{
  "resourceType": "MedicationRequest", "id": "m", "status": "active", "intent": "order",
  "medicationCodeableConcept": {"coding": [{"system": "http://www.whocc.no/atc", "code": "N02BE01"}]},
  "subject": {"identifier": {"system": "urn:test:mrn", "value": "00123"}}, "authoredOn": "2025-03-04",
  "dosageInstruction": [{"timing": {"event": ["2025-03-06", "2025-03-05T08:00:00Z"]},
                         "doseAndRate": [{"doseRange": {"low": {"value": 1}, "high": {"value": 2}}}]}],
  "dispenseRequest": {"validityPeriod": {"start": "2025-03-04", "end": "2025-04"}}
}"""

RISK = b"""{
  "resourceType": "RiskAssessment", "id": "r", "status": "final", "subject": {"reference": "Group/g"},
  "occurrencePeriod": {"end": "2025-03"},
  "prediction": [{"probabilityDecimal": 0.000168, "qualitativeRisk": {"text": "low"}},
                 {"probabilityRange": {"low": {"value": 0.1}, "high": {"value": 0.25}}}]
}"""

CHARGE = b"""{
  "resourceType": "ChargeItem", "id": "ch", "status": "billable", "code": {"text": "visit"},
  "subject": {"reference": "Patient/anna"}, "priceOverride": {"value": 40.00, "currency": "EUR"},
  "occurrenceTiming": {"repeat": {"boundsPeriod": {"start": "2025-03-04"}}}
}"""

FLAG = b"""{
  "resourceType": "Flag", "id": "f", "status": "active", "code": {"text": "falls"},
  "subject": {"reference": "Patient/anna"}, "period": {"end": "2025-03"}
}"""

SERVICE_REQUEST = b"""{
  "resourceType": "ServiceRequest", "id": "s", "status": "active", "intent": "order",
  "subject": {"reference": "Patient/anna"},
  "occurrenceTiming": {"event": ["2025-03-06", "2025-03-05T08:00:00Z", "2025-03-05"]}
}"""

STAY = b"""{
  "resourceType": "Encounter", "id": "e1", "status": "finished",
  "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "IMP"},
  "subject": {"reference": "Patient/anna"}, "period": {"start": "2025-03-01", "end": "2025-03-05"}
}"""

RESOURCES: dict[str, Json] = {
    name: decode(data)
    for name, data in {
        "observation": OBSERVATION,
        "panel": PANEL,
        "patient": PATIENT,
        "questionnaire": QUESTIONNAIRE,
        "document": DOCUMENT,
        "medication-request": MEDICATION_REQUEST,
        "risk": RISK,
        "charge": CHARGE,
        "flag": FLAG,
        "service-request": SERVICE_REQUEST,
        "stay": STAY,
    }.items()
}
