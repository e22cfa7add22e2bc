"""The quick test of a resource (`fits.py`) never says yes where the careful one finds a fault.

Source: design chapter FHIR §3; the mutants are those of `test_mutants.py`.
"""

import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from mappings.fhir import validate as module
from mappings.fhir.codec import RESOURCE, BytesError, Json, check_bytes, decode, encode
from mappings.fhir.primitives import PRIMITIVES, in_calendar
from mappings.fhir.schema import schema
from mappings.fhir.validate import validate, written
from tests.mappings.fhir.test_mutants import MUTANTS, mutant

KINDS = ("date", "dateTime", "instant")


@pytest.mark.parametrize("row", MUTANTS, ids=lambda row: row["id"] if "id" in row else None)
def test_a_mutant_never_fits(row: dict[str, str]) -> None:
    resource = mutant(row)
    validate(resource)  # makes the tests of its type
    assert not module._types.holds(resource, RESOURCE.max_depth)


@given(st.sampled_from(KINDS), st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}[+-][0-9:]{5})?"))
@settings(max_examples=300, deadline=None)
def test_the_usual_form_of_a_time_is_no_wider_than_its_pattern(kind: str, text: str) -> None:
    declared = schema().types[kind].pattern
    assert declared is not None
    right = re.compile(declared, re.ASCII).fullmatch(text) is not None and (len(text) < 10 or in_calendar(text))
    assert PRIMITIVES[kind](text) == right


def quantity(value: object) -> Json:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "valueQuantity": {"value": value}}


def deep(levels: int) -> Json:
    extension: Json = {"url": "http://example.org/x", "valueBoolean": True}
    for _ in range(levels):
        extension = {"url": "http://example.org/x", "extension": [extension]}
    return {"resourceType": "Basic", "code": {"text": "x"}, "extension": [extension]}


@pytest.mark.parametrize(
    ("resource", "right"),
    [
        (quantity(Decimal("0." + "1" * 62)), True),
        (quantity(Decimal("0." + "1" * 63)), False),
        (quantity(10**63), True),
        (quantity(-(10**63)), False),
        (quantity(Raw(b"1." + b"0" * 62)), True),
        (quantity(Raw(b"1." + b"0" * 63)), False),
        (quantity(Decimal("1E+999")), True),
        (quantity(Decimal("1E+1000")), False),
        (quantity(Decimal("1E-5000")), False),
        (quantity(Raw(b"1e1000")), False),
        (quantity(Raw(b"1e999999999999999999999")), False),
        (deep(30), True),
        (deep(31), False),
        (deep(90), False),
        ({"resourceType": "Basic", "code": {"text": "é" * 1_000}}, True),
        ({"resourceType": "Basic", "code": {"text": "é" * ((1 << 20) + 1)}}, False),
    ],
)
def test_what_is_written_keeps_the_limits_of_the_bytes(resource: Json, right: bool) -> None:
    """The quick test stands for the bytes layer: it may not be wider."""
    if right:
        assert check_bytes(encode(resource)) == decode(encode(resource))
        assert written(resource) == (encode(resource), ())
        return
    with pytest.raises(BytesError):
        check_bytes(encode(resource))
    try:
        data, faults = written(resource)
    except BytesError:
        return
    assert (data, len(faults)) == (b"", 1)


@pytest.mark.parametrize("value", ["\ud800", 10**5_000], ids=["half of a pair", "an endless number"])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(BytesError):
        written(quantity(value) if isinstance(value, int) else {"resourceType": "Basic", "code": {"text": value}})


@pytest.mark.parametrize("levels", [900, 30_000])
def test_what_is_far_too_deep_is_one_fault(levels: int) -> None:
    assert [fault.text for fault in validate(deep(levels))] == ["is deeper than 64 levels"]


def test_what_is_wrong_is_not_written() -> None:
    data, faults = written({"resourceType": "Basic"})
    assert data == b""
    assert [fault.code for fault in faults] == ["required"]
