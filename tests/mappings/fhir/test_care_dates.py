"""When care took place. FHIR R4 patient-operation-everything.html (`start`, `end`)."""

from datetime import UTC

from mappings.fhir.care_dates import TABLE, is_within, parameters
from mappings.fhir.schema import schema
from mappings.fhir.temporal import interval

YEAR = interval("2025", UTC)


def test_every_row_names_date_parameters_of_its_type() -> None:
    for type_, wanted in parameters().items():
        known = schema().params(type_)
        assert {known[code].type for code in wanted} == {"date"}, type_


def test_a_row_has_a_source() -> None:
    assert all(line.rpartition(",")[2].startswith("FHIR R4") for line in TABLE.read_text("utf-8").splitlines()[1:])


def test_any_overlap_counts_and_what_says_nothing_is_in_every_range() -> None:
    stay = {"resourceType": "Encounter", "period": {"start": "2024-12-31", "end": "2025-01-02"}}
    assert is_within(stay, YEAR, UTC)
    assert is_within(stay | {"period": {"start": "2024-12-31"}}, YEAR, UTC)
    assert not is_within(stay | {"period": {"start": "2024-12-30", "end": "2024-12-31"}}, YEAR, UTC)
    assert is_within({"resourceType": "Encounter"}, YEAR, UTC)
    assert is_within({"resourceType": "Patient", "birthDate": "1970-05-17"}, YEAR, UTC)
