"""Cases of a table: a document, and what its conversion must say: resources by type, each with what counts of it.

    case("two reactions", (ALLERGIES, entry), says={"AllergyIntolerance": [{"code": "7980"}], "Observation": []})

Every type that is named has as many resources as are listed, in any order. Of a resource only what is listed counts. A
word for a concept is one of its codes, its text, or `?reason` for why there is none; `ABSENT` an element that is not
there. Numbers are compared as they are written.
"""

from decimal import Decimal
from itertools import permutations
from typing import Any, Final, NamedTuple

import pytest
from _pytest.mark.structures import ParameterSet

from mappings.fhir.values import DATA_ABSENT_REASON
from tests.mappings.cda.converted import codes, convert
from tests.mappings.cda.documents import in_section, minimal

Json = dict[str, Any]
Says = dict[str, list[Json]]
ABSENT: Final = object()


class Case(NamedTuple):
    """A document, what it says, and the issues that are told of."""

    data: bytes
    says: Says
    issues: tuple[str, ...]


def case(
    name: str, *sections: tuple[str, str], says: Says, issues: tuple[str, ...] = (), **header: str
) -> ParameterSet:
    """A row of a table: sections by LOINC code and content, and elements of the header."""
    body = "".join(in_section(content, code) for code, content in sections)
    return pytest.param(Case(minimal(body, **header), says, issues), id=name)


def check(given: Case) -> None:
    """Whether a conversion says what it must, and tells of what it must, and of no failure."""
    done = convert(given.data)
    for kind, expected in given.says.items():
        found = [m.body for m in done.resources if m.body["resourceType"] == kind]
        assert len(found) == len(expected), (kind, found)
        ways = permutations(expected)
        assert any(all(says(*pair) for pair in zip(found, way, strict=True)) for way in ways), (kind, found)
    assert set(given.issues) == set(codes(done)), codes(done)
    assert "error" not in {outcome.outcome for outcome in done.tally}


def says(found: Any, expected: Any) -> bool:
    """Whether an element says what is expected of it."""
    if isinstance(expected, dict):
        return isinstance(found, dict) and all(
            name not in found if each is ABSENT else name in found and says(found[name], each)
            for name, each in expected.items()
        )
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(says, found, expected))
    if isinstance(expected, str) and isinstance(found, dict):
        return expected in words(found)
    if isinstance(expected, int | Decimal) and not isinstance(expected, bool):
        return not isinstance(found, bool) and str(found) == str(expected)
    return bool(found == expected)


def words(found: Json) -> set[str]:
    """What a concept, or an absent element, may be called by."""
    coded = {each.get("code", "") for each in (*found.get("coding", ()), found)}
    reasons = {f"?{each['valueCode']}" for each in found.get("extension", ()) if each["url"] == DATA_ABSENT_REASON}
    return coded | reasons | {found.get("text", "")}
