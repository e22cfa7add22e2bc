"""Numbers of groups of orders: ORC-4 is an EI, from HL7 v2.9 on an EIP whose first part is the placer's."""

from typing import Any

import pytest

from mappings.hl7v2.datatypes import FUNCTIONS
from tests.mappings.hl7v2.contexts import context

V2_0203 = "http://terminology.hl7.org/CodeSystem/v2-0203"


@pytest.mark.parametrize(
    ("name", "raw", "value", "kind"),
    [
        ("EI[Identifier-PlacerGroup]", "77^A^2.999.1.4^ISO", "77", "PGN"),
        ("EI[Identifier-PlacerGroup]", "77&A&2.999.1.4&ISO^88&B&2.999.1.5&ISO", "77", "PGN"),
        ("EI[Identifier-FillerGroup]", "88^B^2.999.1.4^ISO", "88", "FGN"),
    ],
)
def test_a_group_s_number_says_whose_it_is(name: str, raw: str, value: str, kind: str) -> None:
    found: Any = FUNCTIONS[name].call(raw, context(), None)
    assert found["value"] == value
    assert found["system"] == "urn:oid:2.999.1.4"
    assert found["type"]["coding"] == [{"system": V2_0203, "code": kind}]


@pytest.mark.parametrize("raw", ["", "^A", '""'])
def test_no_number_is_no_identifier(raw: str) -> None:
    assert FUNCTIONS["EI[Identifier-PlacerGroup]"].call(raw, context(), None) is None


def test_the_check_digit_of_an_organization_s_number_is_kept() -> None:
    ctx = context()
    made: list[Any] = []
    ctx.make = lambda kind, key, body: made.append(body) or "Organization/1"  # type: ignore[func-returns-value]
    FUNCTIONS["XON[Reference(Organization)]"].call("North^L^42^7^M10^A&2.999.1.4&ISO", ctx, None)
    (extension,) = made[0]["identifier"][0]["extension"]
    assert extension["valueString"] == "7 M10"
