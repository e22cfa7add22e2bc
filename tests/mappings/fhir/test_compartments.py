"""Whose data a resource is. Covers the owner rule and the Patient compartment of FHIR R4
compartmentdefinition-patient.html.
"""

from typing import Any

import pytest

from mappings.fhir import fhirpath
from mappings.fhir.codec import Json
from mappings.fhir.compartments import (
    Follow,
    compartment_references,
    deciding_place,
    ownable,
    owner_references,
    rule_of,
    rules,
)
from mappings.fhir.schema import schema
from tests.mappings.fhir.samples import RESOURCES

ANNA = {"reference": "Patient/anna"}


def resource(type_: str, **members: Any) -> Json:
    return {"resourceType": type_, "id": "x", **members}


OWNERS = [
    (resource("Patient"), ("Patient/x",)),
    (resource("Observation", subject=ANNA), ("Patient/anna",)),
    (resource("Observation", subject={"reference": "Patient/anna/_history/2"}), ("Patient/anna",)),
    (resource("Observation", performer=[{"reference": "Practitioner/7"}]), ()),
    (resource("Observation", subject={"reference": "Location/1"}), ()),
    (resource("Observation", subject={"reference": "Group/g"}), Follow(("Group/g",))),
    (resource("Observation", subject={"reference": "Device/pump"}), Follow(("Device/pump",))),
    (resource("AllergyIntolerance", patient=ANNA, recorder={"reference": "Patient/eva"}), ("Patient/anna",)),
    (resource("Encounter", subject=ANNA), ("Patient/anna",)),
    (resource("Location"), ()),
    (resource("Practitioner"), ()),
    (resource("Medication"), ()),
    (resource("Account", subject=[ANNA, {"reference": "Patient/eva"}, {"reference": "Device/d"}]),
     ("Patient/anna", "Patient/eva")),
    (resource("Appointment", participant=[{"actor": {"reference": "Practitioner/7"}}, {"actor": ANNA}]),
     ("Patient/anna",)),
    (resource("AppointmentResponse", appointment={"reference": "Appointment/a"}, actor={"reference": "Practitioner/7"}),
     Follow(("Appointment/a",))),
    (resource("AppointmentResponse", appointment={"reference": "Appointment/a"}, actor=ANNA), ("Patient/anna",)),
    (resource("AuditEvent", entity=[{"what": ANNA}]), ("Patient/anna",)),
    (resource("AuditEvent", entity=[{"what": {"reference": "Observation/o"}}]), Follow(("Observation/o",))),
    (resource("Binary", securityContext={"reference": "DocumentReference/d"}), Follow(("DocumentReference/d",))),
    (resource("Binary"), ()),
    (resource("BiologicallyDerivedProduct", collection={"source": ANNA}), ("Patient/anna",)),
    (resource("Coverage", beneficiary=ANNA, subscriber={"reference": "Patient/eva"}), ("Patient/anna",)),
    (resource("DeviceMetric", source={"reference": "Device/pump"}), Follow(("Device/pump",))),
    (resource("EnrollmentResponse", request={"reference": "EnrollmentRequest/e"}), Follow(("EnrollmentRequest/e",))),
    (resource("Group", member=[{"entity": ANNA}, {"entity": {"reference": "Patient/eva"}}]),
     ("Patient/anna", "Patient/eva")),
    (resource("Linkage", item=[{"resource": {"reference": "Condition/c"}}]), Follow(("Condition/c",))),
    (resource("MessageHeader", focus=[ANNA]), Follow(("Patient/anna",))),
    (resource("PaymentNotice", request={"reference": "Claim/c"}), Follow(("Claim/c",))),
    (resource("PaymentReconciliation", detail=[{"request": {"reference": "Claim/c"}}]), Follow(("Claim/c",))),
    (resource("Person", link=[{"target": ANNA}]), ("Patient/anna",)),
    (resource("Provenance", target=[{"reference": "Observation/o"}, {"reference": "Location/l"}]),
     Follow(("Observation/o",))),
    (resource("QuestionnaireResponse", source=ANNA), ("Patient/anna",)),
    (resource("QuestionnaireResponse", subject={"reference": "Patient/eva"}, source=ANNA), ("Patient/eva",)),
    (resource("RelatedPerson", patient=ANNA), ("Patient/anna",)),
    (resource("ResearchSubject", individual=ANNA), ("Patient/anna",)),
    (resource("Schedule", actor=[ANNA]), ("Patient/anna",)),
    (resource("Schedule", actor=[{"reference": "Location/1"}]), ()),
    (resource("Slot", schedule={"reference": "Schedule/s"}), Follow(("Schedule/s",))),
    (resource("SupplyRequest", deliverTo=ANNA), ("Patient/anna",)),
    (resource("SupplyRequest", deliverTo={"display": "Ward 5"}), ()),
    (resource("Task", **{"for": ANNA}), ("Patient/anna",)),
    (resource("VerificationResult", target=[{"reference": "Patient/anna"}]), Follow(("Patient/anna",))),
    # nobody is its subject, but it concerns a patient
    (resource("Communication", recipient=[ANNA]), ("Patient/anna",)),
    (resource("List", source=ANNA), ("Patient/anna",)),
]  # fmt: skip


@pytest.mark.parametrize(("given", "owners"), OWNERS, ids=[row[0]["resourceType"] for row in OWNERS])
def test_a_resource_belongs_to(given: Json, owners: tuple[str, ...] | Follow) -> None:
    assert owner_references(given) == owners


def test_every_row_of_the_table_has_a_case() -> None:
    assert set(rules()) - {"*", "Bundle"} <= {given["resourceType"] for given, _ in OWNERS}


def test_every_place_of_the_table_is_in_the_standard() -> None:
    for type_ in schema().resource_types:
        for place in (*rule_of(type_).patient, *rule_of(type_).follow):
            assert place in schema().params(type_) or fhirpath.compile(place)(resource(type_)) == []


@pytest.mark.parametrize(
    ("subject", "owner"),
    [
        ({"identifier": {"system": "urn:mrn", "value": "1"}}, "Patient?identifier=urn:mrn|1"),
        ({"identifier": {"value": "1|2,3"}}, r"Patient?identifier=|1\|2\,3"),
        ({"display": "somebody"}, "Patient?identifier="),
        ({"reference": "http://x.example/fhir/Patient/9"}, "http://x.example/fhir/Patient/9"),
        (
            {"reference": "urn:uuid:00000000-0000-4000-8000-000000000001"},
            "urn:uuid:00000000-0000-4000-8000-000000000001",
        ),
        ({"type": "Patient", "display": "somebody"}, "Patient?identifier="),
    ],
)
def test_a_patient_who_cannot_be_placed_is_never_taken_for_nobody(subject: Json, owner: str) -> None:
    assert owner_references(resource("Observation", subject=subject)) == (owner,)


def test_a_contained_patient_is_named_by_her_identifier() -> None:
    assert owner_references(RESOURCES["panel"]) == (r"Patient?identifier=urn:test:mrn|9\|1",)
    anonymous = resource("Observation", subject={"reference": "#p"}, contained=[{"resourceType": "Patient", "id": "p"}])
    assert owner_references(anonymous) == ("#p",)
    group = resource("Observation", subject={"reference": "#g"}, contained=[{"resourceType": "Group", "id": "g"}])
    assert owner_references(group) == ()


ELSEWHERE = {"reference": "http://x.example/fhir/Patient/9"}


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (resource("Observation", performer=[ELSEWHERE], subject=ELSEWHERE), "Observation.subject"),
        (resource("Observation", performer=[{"reference": "Practitioner/7"}, ELSEWHERE]), "Observation.performer[1]"),
        (resource("Observation", subject={"display": "somebody"}), "Observation.subject"),
        (resource("Observation", subject={"identifier": {"value": "1"}}), "Observation.subject"),
        (resource("Observation", subject={"reference": "Device/pump"}), "Observation.subject"),
        (resource("AllergyIntolerance", patient=ELSEWHERE), "AllergyIntolerance.patient"),
        (resource("Coverage", subscriber=ELSEWHERE, beneficiary=ELSEWHERE), "Coverage.beneficiary"),
        (resource("Group", member=[{"entity": ANNA}, {"entity": ELSEWHERE}]), "Group.member[1].entity"),
        (resource("Binary", securityContext={"reference": "DocumentReference/d"}), "Binary.securityContext"),
        (
            resource("Bundle", type="collection", entry=[{"resource": resource("Observation", subject=ELSEWHERE)}]),
            "Bundle.entry[0].resource.subject",
        ),
        (
            resource("Bundle", type="collection", entry=[{"resource": {"resourceType": "Patient"}}]),
            "Bundle",
        ),
    ],
)
def test_the_place_that_decided_is_told(given: Json, place: str) -> None:
    said = owner_references(given)
    references = said.references if isinstance(said, Follow) else said
    assert deciding_place(given, references[-1]) == place


def test_a_document_is_its_subjects_and_any_other_bundle_all_its_patients() -> None:
    assert owner_references(RESOURCES["document"]) == ("Patient/anna",)
    entries = [
        {"resource": resource("Observation", subject=ANNA)},
        {"resource": resource("Observation", subject={"reference": "Patient/eva"})},
        {"resource": resource("Provenance", target=[{"reference": "Observation/o"}])},
        {"resource": {"resourceType": "Patient", "identifier": [{"system": "urn:mrn", "value": "1"}]}},
        {"request": {"method": "GET", "url": "Patient"}},
    ]
    owners = ("Patient/anna", "Patient/eva", "Patient?identifier=urn:mrn|1")
    assert owner_references(resource("Bundle", type="collection", entry=entries)) == owners
    assert owner_references(resource("Bundle", type="collection", entry=entries[2:3])) == Follow(("Observation/o",))
    assert owner_references(resource("Bundle", type="document")) == ()
    unnamed = [{"resource": {"resourceType": "Patient", "identifier": [{"system": "urn:mrn"}]}}]
    assert owner_references(resource("Bundle", type="collection", entry=unnamed)) == ("Patient?identifier=",)


def test_what_can_be_nobodys_is_not_followed() -> None:
    assert ownable("Observation")
    assert ownable("Group")
    assert ownable("Device")
    assert not any(map(ownable, ("Location", "Practitioner", "Organization", "Medication", "ValueSet")))


def test_the_compartment_is_wider_than_ownership() -> None:
    own = resource(
        "Observation", subject=ANNA, performer=[{"reference": "Patient/eva"}, {"reference": "Practitioner/7"}]
    )
    assert owner_references(own) == ("Patient/anna",)
    assert compartment_references(own) == ("Patient/anna", "Patient/eva")
    linked = resource("Patient", link=[{"other": {"reference": "Patient/old"}, "type": "replaces"}])
    assert compartment_references(linked) == ("Patient/old", "Patient/x")
    assert compartment_references(resource("Location")) == ()


def test_every_type_in_the_compartment_can_be_owned() -> None:
    assert all(map(ownable, (type_ for type_, params in schema().compartment("Patient").items() if params)))
