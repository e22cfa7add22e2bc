"""Codes that HL7's own code systems have, and those that they lack: hl7.terminology.r4 7.0.1."""

import pytest

from mappings.terminology import concept_map, tables
from mappings.terminology.hl7_codes import lacks, own_name, v3_systems
from mappings.terminology.lookup import in_system

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
def test_only_what_is_published_whole_lacks_a_code(system: str, code: str, expected: bool) -> None:
    assert lacks(system, code) is expected


def test_what_our_own_maps_give_out_is_in_its_system() -> None:
    targets = [
        (name, each.system, each.code)
        for name in concept_map.names()
        for each in concept_map.load(name).concepts.values()
    ]
    assert len(targets) > 1_000
    assert [each for each in targets if lacks(each[1], each[2])] == []


@pytest.mark.parametrize(
    ("system", "name"), [("v2-0001", ("table", "0001")), ("v3-ActClass", ("codes", "v3-ActClass"))]
)
def test_a_feed_s_own_codes_under_a_system_of_hl7_s_have_one_name(system: str, name: tuple[str, str]) -> None:
    assert own_name(HL7 + system) == name


def test_no_code_that_hl7_publishes_is_denied() -> None:
    """`$validate-code` and the mapping speak of the same codes."""
    assert len(v3_systems()) > 150
    denied = [(uri, code) for uri, each in v3_systems().items() for code in each.codes if not in_system(uri, code)]
    assert denied == []
    assert in_system(HL7 + "v3-ObservationValue", "abuse")
    assert in_system(HL7 + "v3-ActClass", "obs") is False
    assert [t for t in tables.names() for code in tables.codes(t) if lacks(f"{HL7}v2-{t}", code)] == []


def test_a_table_that_lists_patterns_denies_nothing() -> None:
    assert in_system(HL7 + "v2-0485", "TM10") is None
    assert in_system(HL7 + "v2-0001", "XX") is False
