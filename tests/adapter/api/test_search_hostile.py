"""Searches that mean harm or nothing: the right status, no echo of a value, no 5xx. FHIR R4 search.html; fhir chapter
§4, §10, §13.
"""

import random
import string
from urllib.parse import quote, urlencode

import pytest

from mappings.fhir.codec import decode
from mappings.fhir.schema import schema
from tests.adapter.api.conftest import Node, observation, patient
from tests.adapter.api.test_search import FORM

SECRET = "zzsecretzz"
MANY = ",".join(["1"] * 1_001)

BAD = {
    "raw bytes": "Observation?patient=p1&code=%ff%fe",
    "a NUL in a name": f"Observation?patient=p1&co%00de={SECRET}",
    "a name of modifiers": f"Observation?patient=p1&code:not:not={SECRET}",
    "a name that is empty": f"Observation?patient=p1&={SECRET}",
    "only a modifier": f"Observation?patient=p1&:exact={SECRET}",
    "a chain of dots": f"Observation?patient=p1&{'encounter.' * 40}status={SECRET}",
    "a chain that ends in nothing": f"Observation?patient=p1&encounter.={SECRET}",
    "_has of colons": f"Patient?_id=p1&_has{':' * 200}={SECRET}",
    "_has of itself": f"Patient?_id=p1&{'_has:Observation:patient:' * 20}code={SECRET}",
    "too many alternatives": f"Observation?patient=p1&code={MANY}",
    "too many parameters": "Observation?" + "&".join(["patient=p1"] * 150),
    "a backslash at the end": f"Observation?patient=p1&code={SECRET}%5C",
    "an escape that is none": f"Observation?patient=p1&code=%5C{SECRET}",
    "a number as long as a book": f"RiskAssessment?patient=p1&probability={'9' * 80}",
    "an exponent of a universe": "RiskAssessment?patient=p1&probability=1e999999",
    "a number that is not one": "RiskAssessment?patient=p1&probability=NaN",
    "a date of no calendar": "Observation?patient=p1&date=2025-02-30",
    "a time of no clock": "Observation?patient=p1&date=2025-02-03T25:61:00Z",
    "a prefix alone": "Observation?patient=p1&date=ge",
    "a quantity of bars": f"Observation?patient=p1&value-quantity=1|||{SECRET}",
    "a composite with one part": f"Observation?patient=p1&code-value-quantity={SECRET}",
    "a value set of nobody": f"Observation?patient=p1&code:in=http://{SECRET}.example",
    "a tree of nobody": f"Observation?patient=p1&code:below={SECRET}|x",
    "a reference to a path": f"Observation?patient=p1&encounter=../../{SECRET}",
    "a count below none": "Observation?patient=p1&_count=-1",
    "a count of letters": f"Observation?patient=p1&_count={SECRET}",
    "a sort of commas": "Observation?patient=p1&_sort=,,,",
    "a sort by what is not sorted": "Observation?patient=p1&_sort=value-quantity",
    "elements of nobody": f"Observation?patient=p1&_elements={SECRET}",
    "an include of everything": "Observation?patient=p1&_include=*:*",
    "a revinclude of colons": "Observation?patient=p1&_revinclude=::::",
    "two cursors": "Observation?_cursor=a&_cursor=b",
    "two summaries": "Observation?patient=p1&_summary=true&_summary=false",
}


@pytest.mark.parametrize("url", BAD.values(), ids=BAD.keys())
async def test_a_search_that_cannot_be_is_refused_without_an_echo(node: Node, url: str) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward:
        answer = await ward.get(f"/fhir/{url}")
    assert answer.status_code == 400, answer.text
    assert decode(answer.content)["issue"][0]["severity"] == "error"
    assert SECRET.encode() not in answer.content


async def test_a_large_form_of_small_lies_is_refused_or_answered(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward:
        wide = "patient=p1&code=" + ",".join(str(n) for n in range(999))
        found = await ward.post("/fhir/Observation/_search", content=wide, headers=FORM)
        assert found.status_code == 200
        both = await ward.post("/fhir/Observation/_search?code=2160-0", content="patient=p1", headers=FORM)
        assert decode(both.content)["total"] == 1, "parameters of the address and of the form hold together"


@pytest.mark.parametrize("seed", range(4))
async def test_nonsense_is_never_a_fault_of_the_server(node: Node, seed: int) -> None:
    """Names and values made of the grammar's own pieces."""
    dice = random.Random(seed)
    await node.put(patient(), observation("o1"))
    codes = [*schema().params("Observation"), "_sort", "_include", "_has", "_count", "_elements", "_summary", "_type"]
    pieces = [":", ".", "|", "$", ",", "\\", "Patient", "Observation", "exact", "not", "missing", "true", "ge", "ap",
              "2024-02", "1e3", "-", "*", "http://x", "#", " ", "\u0000", "\U0001f600", "ß", "'\"--", "%"]  # fmt: skip
    async with node.client() as ward:
        for _ in range(60):
            pairs = [("patient", "p1")]
            for _ in range(dice.choice([1, 2])):
                name = dice.choice(codes) + "".join(dice.choices(pieces, k=dice.choice([0, 0, 1, 2])))
                value = "".join(dice.choices([*pieces, *string.ascii_letters], k=dice.randrange(6)))
                pairs.append((name, value))
            answer = await ward.get(f"/fhir/Observation?{urlencode(pairs, quote_via=quote)}")
            assert answer.status_code in (200, 400), (pairs, answer.text)
