"""Every answer in every form: XML for whatever answers JSON, gzip, digests; bodies in XML and gzip, hostile ones too.
FHIR R4 §3.1.0.1.11; RFC 9110 §8.4, §12.5.5; RFC 9530 §2; fhir chapter §3, §7, §12, §13."""

import base64
import gzip
import hashlib
import zlib
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from adapter.api.content import Form
from adapter.api.encoding import MAX_EXPANSION, unzip
from adapter.errors import BadRequest, TooLarge
from mappings.fhir.codec import RESOURCE, Json, decode, encode
from mappings.fhir.xml import from_xml, to_xml
from tests.adapter.api.conftest import Node, consent, observation, patient
from tests.adapter.api.test_server import Serving, on_granian, on_uvicorn

XML = {"Accept": Form.XML.value, "Accept-Encoding": "identity"}
XML_BODY = {"Content-Type": Form.XML.value}
QUESTIONNAIRE = '<Questionnaire xmlns="http://hl7.org/fhir"><status value="draft"/>{}</Questionnaire>'


def issue(answer: httpx.Response) -> tuple[int, str, str]:
    """The status, the stable code and the first place of a refusal, in whatever form it is."""
    is_xml = answer.headers["content-type"] == Form.XML.media_type
    found = (from_xml if is_xml else decode)(answer.content)
    assert found["resourceType"] == "OperationOutcome"
    first = found["issue"][0]
    return answer.status_code, first["details"]["coding"][0]["code"], first.get("expression", [""])[0]


# what goes out


@pytest.mark.parametrize(
    "url",
    [
        "/fhir/metadata",
        "/fhir/Observation/o1",
        "/fhir/Observation/o1/_history/1",
        "/fhir/Observation/o1/_history",
        "/fhir/Observation?patient=p1",
        "/fhir/Patient/p1/Observation?_count=1",
        "/fhir/Observation/o1/$validate",
        "/fhir/Observation/absent",
        "/fhir/Observation?nonsense=1",
        "/fhir/Nonsense/1",
        "/fhir/a/b/c/d/e",
    ],
)
async def test_whatever_answers_json_answers_the_same_in_xml(node: Node, url: str) -> None:
    value = {"value": Decimal("1.50"), "unit": "mg/dL"}
    await node.put(patient(family='<Muster> & "Söhne"'), observation("o1", valueQuantity=value))
    async with node.client() as ward:
        as_json = await ward.get(url)
        as_xml = await ward.get(url, headers=XML)
        by_parameter = await ward.get(f"{url}{'&' if '?' in url else '?'}_format=xml&_pretty=true")
    assert as_json.status_code == as_xml.status_code == by_parameter.status_code
    assert as_xml.headers["content-type"] == "application/fhir+xml; charset=utf-8"
    assert as_xml.headers["content-digest"] == digest(as_xml.content)
    expected = decode(as_json.content)
    assert encode(from_xml(as_xml.content)) == encode(expected)
    assert encode(from_xml(by_parameter.content)) == encode(expected)
    assert by_parameter.content.count(b"\n") > 2
    if "etag" in as_json.headers:
        assert as_json.headers["etag"] == as_xml.headers["etag"]


async def test_a_number_keeps_its_lexeme_in_every_form(node: Node) -> None:
    lexeme = b'{"value":1.50e0}'
    resource = observation("o1") | {"valueQuantity": decode(lexeme)}
    await node.put(patient(), resource)
    async with node.client() as ward:
        answers = [await ward.get(f"/fhir/Observation/o1?{query}") for query in ("", "_pretty=true", "_format=xml")]
    assert all(b"1.50e0" in answer.content for answer in answers)


async def test_a_refusal_has_the_form_that_was_asked_for_but_for_those_of_the_form_itself(node: Node) -> None:
    async with node.bare() as nobody:
        unknown = await nobody.get("/fhir/Patient/p1", headers=XML)
        wrong_method = await nobody.delete("/fhir/metadata", headers=XML)
        no_form = await nobody.get("/fhir/metadata", headers={"Accept": "text/html"})
    async with node.client() as ward:
        no_type = await ward.post("/fhir/Consent", content=b"x", headers=XML | {"Content-Type": "text/plain"})
        posted = await ward.post("/fhir/Patient/_search", data={"nonsense": "1", "_format": "xml"})
    assert issue(unknown)[:2] == (401, "token-missing")
    assert issue(wrong_method)[:2] == (405, "method-not-allowed")
    assert {answer.headers["content-type"] for answer in (unknown, wrong_method, posted)} == {Form.XML.media_type}
    assert issue(no_form)[:2] == (406, "format")
    assert issue(no_type)[:2] == (415, "body-type")
    assert {answer.headers["content-type"] for answer in (no_form, no_type)} == {Form.JSON.media_type}


async def test_hidden_and_absent_are_the_same_bytes_in_xml_too(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    async with node.client("north") as north:
        hidden = await north.get("/fhir/Observation/o1", headers=XML)
        absent = await north.get("/fhir/Observation/o2", headers=XML)
    assert hidden.status_code == absent.status_code == 404
    assert hidden.content == absent.content


async def test_what_xml_cannot_hold_is_refused_in_json(node: Node) -> None:
    await node.put(patient() | {"implicitRules": "urn:\x01"})
    async with node.client() as ward:
        assert issue(await ward.get("/fhir/Patient/p1", headers=XML))[:2] == (406, "not-acceptable")
        assert (await ward.get("/fhir/Patient/p1")).status_code == 200


@pytest.mark.parametrize("asked", ["_format=xml&_pretty=true", "_format=application/fhir%2Bxml"])
async def test_the_next_page_looks_like_the_one_before(node: Node, asked: str) -> None:
    """A client follows the link as it is, without the header or parameter that it asked for the first page with."""
    await node.put(patient(), observation("o1"), observation("o2"))
    async with node.client() as ward:
        first = await ward.get(f"/fhir/Observation?patient=p1&_count=1&{asked}")
        (url,) = (link["url"] for link in from_xml(first.content)["link"] if link["relation"] == "next")
        second = await ward.get(url.removeprefix(node.services.base.removesuffix("/fhir")))
    assert second.headers["content-type"] == Form.XML.media_type
    assert (b"\n  <" in second.content) == ("_pretty" in asked)
    assert len(from_xml(second.content)["entry"]) == 1


def digest(body: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


@pytest.mark.parametrize("serving", [on_uvicorn, on_granian], ids=["uvicorn", "granian"])
@pytest.mark.parametrize("form", list(Form))
async def test_gzip_over_a_socket_is_what_was_asked_and_digested_as_sent(
    node: Node, serving: Serving, form: Form, tmp_path: Path
) -> None:
    await node.put(patient(), *(observation(f"o{n}") for n in range(20)))
    token, url = {"Authorization": f"Bearer {node.token()}", "Accept": form.value}, "/fhir/Observation?patient=p1"
    async with serving(node.app, tmp_path) as base, httpx.AsyncClient(base_url=base, headers=token) as client:
        async with client.stream("GET", url, headers={"Accept-Encoding": "gzip"}) as answer:
            raw = b"".join([chunk async for chunk in answer.aiter_raw()])
        plain = await client.get(url, headers={"Accept-Encoding": "identity"})
        small = await client.get("/fhir/Patient/none", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(raw) < len(plain.content)
    assert answer.headers["content-digest"] == digest(raw)
    assert "content-encoding" not in plain.headers
    assert plain.headers["content-digest"] == digest(plain.content)
    assert "content-encoding" not in small.headers
    unpacked = gzip.decompress(raw)
    assert unpacked.replace(b" ", b"")[:64] == plain.content.replace(b" ", b"")[:64]
    for varied in (answer, plain):  # who asks otherwise gets other bytes, so a cache must know
        assert varied.headers["vary"] == "Accept, Accept-Encoding, Authorization"
    assert small.headers["vary"] == "Accept, Authorization"


# what comes in


def spelled(body: Json, form: Form) -> bytes:
    return to_xml(body) if form is Form.XML else encode(body)


@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize("form", list(Form))
async def test_a_body_may_be_xml_or_json_gzip_or_not_and_is_stored_the_same(
    node: Node, form: Form, coding: str
) -> None:
    await node.put(patient())
    body = spelled(consent(), form)
    headers = {"Content-Type": form.value, "Content-Encoding": coding or "identity"}
    async with node.client() as ward:
        made = await ward.post("/fhir/Consent", content=gzip.compress(body) if coding else body, headers=headers)
        read = await ward.get(made.headers["location"].removeprefix(node.services.base.removesuffix("/fhir")))
    assert made.status_code == 201
    stored = decode(read.content)
    assert {name: stored[name] for name in consent()} == decode(encode(consent()))


BODIES: dict[str, tuple[bytes, dict[str, str], tuple[int, str, str]]] = {
    "a member twice": (
        b'{"resourceType":"Consent","status":"a","status":"b"}',
        {},
        (400, "bad-request", "Consent.status"),
    ),
    "deep": (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, {}, (400, "bad-request", "Resource")),
    "deep arrays": (b'{"a":' + b"[" * 500_000, {}, (400, "bad-request", "Resource")),
    "no UTF-8": (b'{"resourceType":"\xff"}', {}, (400, "bad-request", "Resource")),
    "nothing": (b"", {}, (400, "bad-request", "Resource")),
    "an array": (b"[]", {}, (400, "bad-request", "Resource")),
    "a long number": (b'{"a":' + b"1" * 5_000 + b"}", {}, (400, "bad-request", "Resource")),
    "oversized": (b" " * (RESOURCE.max_bytes + 1), {}, (413, "too-large", "")),
    "XML named JSON": (to_xml({"resourceType": "Consent"}), {}, (400, "bad-request", "Resource")),
    "JSON named XML": (b"{}", XML_BODY, (400, "bad-request", "Resource")),
    "a DOCTYPE": (
        b'<!DOCTYPE a [<!ENTITY e "x">]><Consent xmlns="http://hl7.org/fhir">&e;</Consent>',
        XML_BODY,
        (400, "bad-request", "Resource"),
    ),
    "an unknown element": (
        b'<Consent xmlns="http://hl7.org/fhir"><nickname value="x"/></Consent>',
        XML_BODY,
        (400, "bad-request", "Consent.nickname"),
    ),
    "deep XML": (
        QUESTIONNAIRE.format("<item>" * 200 + "</item>" * 200).encode(),
        XML_BODY,
        (400, "bad-request", "Resource"),
    ),
    "a bomb": (gzip.compress(bytes(10_000_000)), {"Content-Encoding": "gzip"}, (413, "expansion", "")),
    "a bomb in XML": (
        gzip.compress(b"<a/>" * 2_000_000),
        XML_BODY | {"Content-Encoding": "gzip"},
        (413, "expansion", ""),
    ),
    "no gzip": (b"{}", {"Content-Encoding": "gzip"}, (400, "body-gzip", "")),
    "half a gzip": (
        gzip.compress(b'{"resourceType":"Consent"}')[:-9],
        {"Content-Encoding": "gzip"},
        (400, "body-gzip", ""),
    ),
    "something behind a gzip": (gzip.compress(b"{}") + b"x", {"Content-Encoding": "gzip"}, (400, "body-gzip", "")),
    "deflate": (zlib.compress(b"{}"), {"Content-Encoding": "deflate"}, (415, "body-encoding", "")),
    "gzip twice": (gzip.compress(gzip.compress(b"{}")), {"Content-Encoding": "gzip, gzip"}, (415, "body-encoding", "")),
    "no type": (b"{}", {"Content-Type": ""}, (415, "body-type", "")),
    "another version": (b"{}", {"Content-Type": "application/fhir+json; fhirVersion=3.0"}, (415, "body-type", "")),
    "another character set": (b"{}", {"Content-Type": "application/fhir+xml; charset=utf-16"}, (415, "body-type", "")),
}


@pytest.mark.parametrize(("body", "headers", "expected"), BODIES.values(), ids=list(BODIES))
async def test_a_hostile_body_is_refused_with_its_place_and_nothing_is_written(
    node: Node, body: bytes, headers: dict[str, str], expected: tuple[int, str, str]
) -> None:
    await node.put(patient())
    before = node.services.ledger.size
    async with node.client() as ward:
        answer = await ward.post("/fhir/Consent", content=body, headers={"Content-Type": Form.JSON.value} | headers)
    assert issue(answer) == expected
    assert node.services.ledger.size == before
    if expected == (415, "body-encoding", ""):
        assert answer.headers["accept-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("packed", "limit", "refusal"),
    [
        (gzip.compress(bytes(1_000_000)), 10_000_000, TooLarge),
        (gzip.compress(bytes(range(256)) * 8), 2_047, TooLarge),
        (gzip.compress(b"a") + gzip.compress(b"b"), 1_000, BadRequest),
        (b"", 1_000, BadRequest),
    ],
    ids=["a bomb", "over the limit", "two streams", "nothing"],
)
def test_what_is_unpacked_stays_within_its_limits(packed: bytes, limit: int, refusal: type[Exception]) -> None:
    with pytest.raises(refusal):
        unzip(packed, limit)


def test_twenty_times_is_taken_and_a_byte_more_is_not() -> None:
    def packed(size: int) -> bytes:
        return gzip.compress(bytes(size), mtime=0)

    size = next(size for size in range(100, 10_000) if size > MAX_EXPANSION * len(packed(size)))
    assert len(unzip(packed(size - 1), 10_000)) == size - 1
    with pytest.raises(TooLarge):
        unzip(packed(size), 10_000)
