"""The pages of docs/api: each request is sent as it stands there, and answered as it stands there.

`…` in an answer stands for what differs each time.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from mappings.fhir.codec import decode
from tests.adapter.api.conftest import Json, Node, observation, patient

PAGES = sorted((Path(__file__).parents[3] / "docs" / "api").glob("*.md"))
BLOCK = re.compile(r"^```http\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY = "…"


def exchanges(page: Path) -> Iterator[tuple[str, str]]:
    """Each request with its answer."""
    blocks = BLOCK.findall(page.read_text("utf-8"))
    assert len(blocks) % 2 == 0
    yield from zip(blocks[::2], blocks[1::2], strict=True)


def parts(block: str) -> tuple[str, dict[str, str], str]:
    head, _, body = block.partition("\n\n")
    first, *lines = head.strip().splitlines()
    return first, dict(line.split(": ", 1) for line in lines), body.strip()


def same(told: object, found: object) -> bool:
    """Equal, but for what the page leaves open."""
    if isinstance(told, dict) and isinstance(found, dict):
        return told.keys() == found.keys() and all(same(told[name], found[name]) for name in told)
    if isinstance(told, list) and isinstance(found, list):
        return len(told) == len(found) and all(map(same, told, found))
    if isinstance(told, str) and ANY in told:
        return re.fullmatch(".+".join(map(re.escape, told.split(ANY))), str(found)) is not None
    return told == found


async def filled(node: Node) -> None:
    """What the pages ask about."""
    await node.put(patient("ana"), observation("creatinine", of="ana"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
async def test_every_request_is_answered_as_it_stands_there(node: Node, page: Path) -> None:
    await filled(node)
    async with node.client() as ward:
        for request, answer in exchanges(page):
            await check(ward, request, answer)


async def check(client: httpx.AsyncClient, request: str, answer: str) -> None:
    first, headers, body = parts(request)
    method, _, url = first.partition(" ")
    got = await client.request(method, url, headers=headers, content=body or None)
    status, expected, text = parts(answer)
    assert f"HTTP/1.1 {got.status_code}" == status, got.text
    for name, value in expected.items():
        assert same(value, got.headers[name])
    if text.startswith("{"):
        assert same(decode(text), found := decode(got.content)), found
    else:
        assert not text or same(text, got.text)


def test_a_page_that_says_something_else_is_found_out() -> None:
    told: Json = {"id": "…", "total": 1}
    assert same(told, {"id": "x", "total": 1})
    assert not same(told, {"id": "x", "total": 2})
    assert not same(told, {"id": "x", "total": 1, "more": 1})
    assert not same(["a…"], ["b1"])
