"""HEAD: the headers of GET, no body, and the same pass of the gate. RFC 9110 §9.3.2; fhir chapter §7."""

import pytest

from tests.adapter.api.conftest import Node, observation, patient

SAME = ("content-length", "content-type", "content-digest", "etag", "last-modified", "vary", "cache-control")


@pytest.mark.parametrize("path", ["/fhir/Patient/p1", "/fhir/Observation?patient=p1", "/fhir/Patient/none"])
async def test_head_says_what_get_says_and_sends_nothing(node: Node, path: str) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client() as ward:
        told, head = await ward.get(path), await ward.head(path)
    assert (head.status_code, head.content) == (told.status_code, b"")
    assert {name: head.headers.get(name) for name in SAME} == {name: told.headers.get(name) for name in SAME}


@pytest.mark.parametrize("path", ["/fhir/Patient/p1", "/fhir/Observation?patient=p1"])
async def test_head_is_an_access_and_is_recorded_as_one(node: Node, path: str) -> None:
    await node.put(patient(), observation("o1"))
    before = node.services.ledger.size
    async with node.client() as ward:
        head = await ward.head(path)
    index = int(head.headers["x-ledger-index"].rpartition(":")[2])
    assert index >= before
    assert (await node.entries())[index]["outcome"] == "permit"
