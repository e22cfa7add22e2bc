"""The pages of docs/api: each request is sent as it stands there, and answered as it stands there.

`…` in an answer stands for what differs each time, `{content-location}` in a request for what an answer before it said.
A request that is answered with 202 is sent again until it is not, as its client would.
"""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.routing import compile_path

from adapter.api.routes import TABLE
from mappings.fhir.codec import decode
from tests.adapter.api.conftest import Json, Node, observation, patient

pytestmark = pytest.mark.usefixtures("both")

PAGES = sorted((Path(__file__).parents[3] / "docs" / "api").glob("*.md"))
BLOCK = re.compile(r"^```http\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY = "…"
# Interactions that no page replays, and why.
WITHOUT = {
    "export-group": "as export-patient",
    "export-system": "as export-patient",
    "job-cancel": "the page's export is finished when its job is asked for",
    "validate-instance": "as validate",
}


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
    place = ""
    async with node.client() as ward:
        for request, answer in exchanges(page):
            got = await check(ward, request.replace("{content-location}", place), answer)
            place = (
                "/fhir" + got.headers["content-location"].partition("/fhir")[2]
                if "content-location" in got.headers
                else place
            )


async def sent(client: httpx.AsyncClient, request: str, *, patient: bool) -> httpx.Response:
    first, headers, body = parts(request)
    method, _, url = first.partition(" ")
    for _ in range(500 if patient else 1):
        got = await client.request(method, url, headers=headers, content=body or None)
        if got.status_code != 202:
            break
        await asyncio.sleep(0.01)
    return got


async def check(client: httpx.AsyncClient, request: str, answer: str) -> httpx.Response:
    got = await sent(client, request, patient=" 202" not in answer.partition("\n")[0])
    status, expected, text = parts(answer)
    assert f"HTTP/1.1 {got.status_code}" == status, got.text
    for name, value in expected.items():
        assert same(value, got.headers[name])
    if text.startswith("{"):
        assert same(decode(text), found := decode(got.content)), found
    else:
        assert not text or same(text, got.text.strip())
    return got


def shown() -> set[str]:
    """The names of the interactions that some page asks for."""
    found = set[str]()
    for page in PAGES:
        for request, _ in exchanges(page):
            method, _, url = parts(request)[0].partition(" ")
            path = url.partition("?")[0].replace("{content-location}", "/fhir/job/1")
            rows = [row for row in TABLE if method.replace("HEAD", "GET") in row.methods]
            found |= {row.name for row in rows if compile_path(row.path)[0].match(path)}
    return found


def test_every_interaction_has_an_example_on_some_page() -> None:
    """A row that comes needs a page, or a reason here."""
    assert {row.name for row in TABLE if row.fhir} - shown() == WITHOUT.keys()


def test_every_page_is_named_on_the_first() -> None:
    named = set(re.findall(r"\]\(([a-z]+\.md)\)", (PAGES[0].parent / "README.md").read_text("utf-8")))
    assert named == {page.name for page in PAGES} - {"README.md"}


def test_a_page_that_says_something_else_is_found_out() -> None:
    told: Json = {"id": "…", "total": 1}
    assert same(told, {"id": "x", "total": 1})
    assert not same(told, {"id": "x", "total": 2})
    assert not same(told, {"id": "x", "total": 1, "more": 1})
    assert not same(["a…"], ["b1"])
