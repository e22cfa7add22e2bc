"""Codes that HL7's own code systems have, and those that they lack: hl7.terminology.r4 7.0.1."""

import pytest

from mappings.terminology import concept_map
from mappings.terminology.hl7_codes import lacks

HL7 = "http://terminology.hl7.org/CodeSystem/"


@pytest.mark.parametrize(
    ("system", "code", "expected"),
    [
        (HL7 + "v3-ActClass", "OBS", False),
        (HL7 + "v3-ActClass", "obs", True),
        (HL7 + "v3-ActClass", "75323-6", True),
        (HL7 + "v3-ObservationValue", "a0", False),  # its codes are of any case
        (HL7 + "v3-ObservationValue", "A0", False),
        (HL7 + "v3-ObservationValue", "unheard", True),
        (HL7 + "v3-HealthcareProviderTaxonomyHIPAA", "unheard", False),  # published in part
        (HL7 + "v3-Unheard", "OBS", False),
        (HL7 + "v2-0001", "F", False),
        (HL7 + "v2-0001", "f", True),
        (HL7 + "v2-0045", "unheard", False),  # a table whose codes are a site's own
        (HL7 + "condition-clinical", "unheard", False),
        ("http://loinc.org", "unheard", False),
    ],
)
def test_only_what_is_known_whole_lacks_a_code(system: str, code: str, expected: bool) -> None:
    assert lacks(system, code) is expected


def test_what_our_own_maps_give_out_is_in_its_system() -> None:
    targets = [
        (name, each.system, each.code)
        for name in concept_map.names()
        for each in concept_map.load(name).concepts.values()
    ]
    assert len(targets) > 1_000
    assert [each for each in targets if lacks(each[1], each[2])] == []
