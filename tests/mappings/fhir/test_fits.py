"""The quick test of a resource (`fits.py`) never says yes where the careful one finds a fault.

Source: design chapter FHIR §3; the mutants are those of `test_mutants.py`.
"""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir import validate as module
from mappings.fhir.primitives import PRIMITIVES, in_calendar
from mappings.fhir.schema import schema
from mappings.fhir.validate import validate
from tests.mappings.fhir.test_mutants import MUTANTS, mutant

KINDS = ("date", "dateTime", "instant")


@pytest.mark.parametrize("row", MUTANTS, ids=lambda row: row["id"] if "id" in row else None)
def test_a_mutant_never_fits(row: dict[str, str]) -> None:
    resource = mutant(row)
    validate(resource)  # makes the tests of its type
    assert not module._types.holds(resource)


@given(st.sampled_from(KINDS), st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}[+-][0-9:]{5})?"))
@settings(max_examples=300, deadline=None)
def test_the_usual_form_of_a_time_is_no_wider_than_its_pattern(kind: str, text: str) -> None:
    declared = schema().types[kind].pattern
    assert declared is not None
    right = re.compile(declared, re.ASCII).fullmatch(text) is not None and (len(text) < 10 or in_calendar(text))
    assert PRIMITIVES[kind](text) == right
