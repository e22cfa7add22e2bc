"""What holds for every datatype function: absent is absent, null is never text, no input raises (hl7v2.md §5, §8)."""

import json
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir.schema import schema
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.issues import CODES
from mappings.terminology.concept_map import load
from tests.mappings.hl7v2.contexts import collecting, context

NAMES = sorted(FUNCTIONS)
GENDER = load("v2-0001.administrative-gender")
OBX_TYPES = (
    "", "NM", "SN", "NR", "DR", "CE", "CWE", "CNE", "CF", "IS", "ID", "ST", "TX", "FT", "DT", "TM", "TS", "DTM", "ED",
    "RP", "NA", "MA", "XCN", "XPN", "XON", "PN", "CN", "CQ", "MO", "CP", "XAD", "CX", "EI", "QQ", "nm",
)  # fmt: skip

PRIMITIVES = frozenset(
    "string code id markdown uri boolean decimal integer positiveInt unsignedInt date dateTime instant time".split()
)


def call(name: str, raw: str, line: str = "OBX|1|ST|||||") -> Any:
    """The function on a raw repetition, as the compiled rows call it."""
    ctx = context(line)
    collecting(ctx)
    function = FUNCTIONS[name]
    found = function.call([raw] if function.takes == "all" else raw, ctx, None)
    assert {issue.code for issue in ctx.issues} <= CODES.keys()
    return found


def leaves(value: Any) -> list[Any]:
    """Every scalar of a result."""
    if isinstance(value, dict):
        return [leaf for child in value.values() for leaf in leaves(child)]
    if isinstance(value, list | tuple):
        return [leaf for child in value for leaf in leaves(child)]
    return [value]


def empty(value: Any) -> bool:
    """Whether a result holds "" or an empty list or dict anywhere."""
    if isinstance(value, dict):
        return not value or any(empty(child) for child in value.values())
    if isinstance(value, list | tuple):
        return not value or any(empty(child) for child in value)
    return isinstance(value, str) and not value


@pytest.mark.parametrize("name", NAMES)
def test_absent_and_null_say_nothing(name: str) -> None:
    for raw in ("", '""', "^", "^" * 23, "&", "^&^&^&", " ", '""^""^""', '""&""^""&""'):
        assert call(name, raw) is None, raw


@pytest.mark.parametrize("name", NAMES)
def test_hl7_null_never_becomes_text(name: str) -> None:
    """Whatever component is null, it is not in the result; where all the field is one text, null is all of it."""
    if name.partition("[")[0] in ("ST", "TX", "FT", "IS", "ID", "NM", "SI", "GTS", "OBX5"):
        assert call(name, '""') is None
        return
    for position in range(1, 22):
        raw = "^".join('""' if n == position else f"v{n}" for n in range(1, 22))
        assert all('""' not in str(leaf) for leaf in leaves(call(name, raw))), position


@pytest.mark.parametrize("kind", OBX_TYPES)
@pytest.mark.parametrize("raw", ["", '""', "^", '^""', "&"])
def test_a_null_observation_has_no_value(kind: str, raw: str) -> None:
    found = call("OBX5[value]", raw, f"OBX|1|{kind}|||||")
    assert found is None


@pytest.mark.parametrize("name", NAMES)
def test_every_function_gives_a_type_that_r4_has(name: str) -> None:
    gives = FUNCTIONS[name].fhir_type
    assert gives in PRIMITIVES or gives == "value[x]" or schema().children(gives)


_LETTERS = st.one_of(
    st.text(alphabet='^&~|\\"<>=-+:/.,0123456789ABXYZabchMTRZ _@\x00\x1c\né中𝄞', max_size=60),
    st.text(max_size=30),
    st.lists(
        st.sampled_from(
            ["1.5", "20240501", "Doe", "HL70001", "LN", "Y", '""', "A&B", "PRN", "PH", "Base64", "aGk=", "1.2.3", ""]
        ),
        max_size=24,
    ).map("^".join),
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=25, deadline=None)
@given(raw=_LETTERS, line=st.sampled_from(["OBX|1|ST|||||mg", "PID|1", "OBX|1|NM|||1|10^9/L"]))
def test_no_input_raises_and_no_result_is_empty(name: str, raw: str, line: str) -> None:
    found = call(name, raw.replace("\r", ""), line)
    assert not empty(found) or found is None
    for leaf in leaves(found):
        assert leaf is None or isinstance(leaf, str | bool | int | Decimal | msgspec.Raw)


@pytest.mark.parametrize("kind", OBX_TYPES)
@settings(max_examples=25, deadline=None)
@given(raw=_LETTERS)
def test_no_observation_value_raises(kind: str, raw: str) -> None:
    found = call("OBX5[value]", raw.replace("\r", ""), f"OBX|1|{kind}|||||mg")
    assert found is None or all(name.lstrip("_").startswith("value") for name in found)


@settings(max_examples=60, deadline=None)
@given(raw=_LETTERS, name=st.sampled_from([name for name in NAMES if name.endswith(("[code]", "[CodeableConcept]"))]))
def test_a_vocabulary_changes_none_of_that(raw: str, name: str) -> None:
    ctx = context("PID|1", number=8)
    found = FUNCTIONS[name].call(raw.replace("\r", ""), ctx, GENDER)
    assert found is None or not empty(found)


@pytest.mark.parametrize("name", NAMES)
def test_results_are_fresh_so_that_bodies_may_change(name: str) -> None:
    ctx = context("OBX|1|CWE|||||mg/dL^^UCUM")
    function = FUNCTIONS[name]
    raw = "718-7^Hemoglobin^LN^HGB^Hb^L"
    first = function.call([raw] if function.takes == "all" else raw, ctx, None)
    before = json.dumps(first, default=str)
    for leaf in [first, *(first.values() if isinstance(first, dict) else ())]:
        if isinstance(leaf, dict):
            leaf["changed"] = True
        elif isinstance(leaf, list):
            for item in leaf:
                if isinstance(item, dict):
                    item["changed"] = True
    again = function.call([raw] if function.takes == "all" else raw, ctx, None)
    assert json.dumps(again, default=str) == before
