"""The messages of the benchmark: copies that are messages of their own, and nothing else changed."""

import pytest

from adapter.bench import traffic
from mappings.convert import load_profile, patient_keys, to_fhir
from mappings.hl7v2.message import peek

NAMES = (traffic.ADT, traffic.ORU_10, traffic.ORU_50)


@pytest.mark.parametrize("name", NAMES)
def test_copies_are_other_messages_of_other_patients(name: str) -> None:
    template, profile = traffic.Template(name), load_profile("default")
    copies = [template.message(number) for number in range(3)]
    assert len({header.control_id for copy in copies if (header := peek(copy))}) == 3
    assert len({key.id for copy in copies for key in patient_keys(copy, profile)}) == 3
    stays = {"Practitioner", "Organization", "Location"}  # doctors and places repeat, as in a hospital
    bodies = [mapped.body for copy in copies for mapped in to_fhir(copy, profile).resources]
    own = [body["id"] for body in bodies if body["resourceType"] not in stays]
    assert len(set(own)) == len(own)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_maps_without_an_error(name: str) -> None:
    conversion = to_fhir(traffic.Template(name).message(7), load_profile("default"))
    assert [issue.code for issue in conversion.issues if issue.severity == "error"] == []


def test_a_copy_is_the_sample_under_other_numbers() -> None:
    copy = traffic.Template(traffic.ADT).message(11)
    number = traffic.identifier(11).encode()
    original = traffic.sample(traffic.ADT)
    restored = copy.replace(b"|B" + number, b"|BENCH0001").replace(b"|V" + number, b"|V100").replace(number, b"4711")
    assert restored == original
    assert traffic.Template(traffic.ADT).frame(11) == b"\x0b" + copy + b"\x1c\r"
