"""ED as an attachment: HL7 v3 datatypes R1, ED; FHIR R4 Attachment; RFC 1951, 1952."""

import base64
import gzip
import hashlib
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from mappings.cda.datatypes import attachments
from mappings.fhir.values import INLINE_BYTES
from tests.mappings.cda.contexts import NULL_FLAVORS, SAY_MORE, collecting, context, element, on, read, why

PDF = b"%PDF-1.7 a small one"
RTF = rb"{\rtf1}"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def content(found: Any) -> bytes:
    return base64.b64decode(found["data"])


@pytest.mark.parametrize(
    ("attributes", "inside", "media", "data"),
    [
        ('mediaType="application/pdf" representation="B64"', b64(PDF), "application/pdf", PDF),
        (
            'mediaType="application/pdf" representation="B64"',
            f"\n {b64(PDF)[:8]}\n {b64(PDF)[8:]} ",
            "application/pdf",
            PDF,
        ),
        ('representation="B64"', b64(PDF), "application/pdf", PDF),
        ('mediaType="application/pdf"', b64(PDF), "application/pdf", PDF),
        ('mediaType="text/plain" representation="B64"', b64(b"a\nb"), "text/plain", b"a\nb"),
        ('representation="B64"', b64(b"\x00\xff"), "application/octet-stream", b"\x00\xff"),
        ('representation="B64"', b64("ö".encode()), "text/plain", "ö".encode()),
        ("", " some\n  words ", "text/plain", b"some\nwords"),
        ('mediaType="text/html"', "&lt;b&gt;x&lt;/b&gt;", "text/html", b"<b>x</b>"),
    ],
)
def test_data_is_decoded_once(attributes: str, inside: str, media: str, data: bytes) -> None:
    found = read("ED[Attachment]", f"<text {attributes}>{inside}</text>")
    assert content(found.value) == data
    assert found.value["contentType"] == media
    assert found.value["size"] == len(data)
    assert found.codes == []


@pytest.mark.parametrize(
    ("attributes", "inside"),
    [
        ('representation="B64"', "AAA"), ('representation="B64"', "####"), ('representation="B64"', "AA==AA=="),
        ('representation="B64"', "é"), ('mediaType="application/pdf"', "no base64 at all"),
        ('mediaType="image/png"', b64(b"no picture")), ('compression="DF"', "text"),
        ('representation="B64" compression="DF"', b64(b"\xff\xff\xff")),
        ('representation="B64" compression="GZ"', b64(gzip.compress(b"abc", mtime=0)[:-9])),
        ('representation="B64" compression="Z7"', b64(b"7z")),
    ],
)  # fmt: skip
def test_what_is_not_what_it_claims_is_dropped_and_told(attributes: str, inside: str) -> None:
    found = read("ED[Attachment]", f"<text {attributes}>{inside}</text>")
    assert found.value is None
    assert found.codes == ["bad-encoding"]


@pytest.mark.parametrize(
    ("compression", "packed"),
    [
        ("DF", raw_deflate(PDF)),
        ("DF", zlib.compress(PDF)),
        ("GZ", gzip.compress(PDF, mtime=0)),
        ("ZL", zlib.compress(PDF)),
    ],
)
def test_compressed_data_is_given_as_it_was(compression: str, packed: bytes) -> None:
    found = read("ED[Attachment]", f'<text representation="B64" compression="{compression}">{b64(packed)}</text>')
    assert content(found.value) == PDF


@pytest.mark.parametrize(("compression", "pack"), [("DF", raw_deflate), ("GZ", gzip.compress), ("ZL", zlib.compress)])
def test_a_bomb_does_not_go_off(compression: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(bytes(attachments.MOST_BYTES + 1))
    found = read("ED[Attachment]", f'<text representation="B64" compression="{compression}">{b64(packed)}</text>')
    assert found.value is None
    assert found.codes == ["over-limit"]


@pytest.mark.parametrize(
    ("stated", "data", "media"),
    [
        ("image/png", PDF, "application/pdf"),
        ("application/pdf", b"\x89PNG\r\n\x1a\n rest", "image/png"),
        ("text/html", b"\xff\xd8\xff rest", "image/jpeg"),
        ("application/pdf", b"GIF89a", "image/gif"),
        ("text/plain", b"{\\rtf1 x}", "application/rtf"),
    ],
)
def test_the_first_bytes_decide_against_a_wrong_media_type(stated: str, data: bytes, media: str) -> None:
    found = read("ED[Attachment]", f'<text mediaType="{stated}" representation="B64">{b64(data)}</text>')
    assert found.value["contentType"] == media
    assert found.codes == ["bad-value"]


@pytest.mark.parametrize("stated", ["text/rtf", "application/rtf"])
def test_two_names_of_one_media_type_are_no_contradiction(stated: str) -> None:
    found = read("ED[Attachment]", f'<text mediaType="{stated}" representation="B64">{b64(RTF)}</text>')
    assert found.codes == []


@pytest.mark.parametrize("stated", ["nonsense", "a/b\nc", "/", "&quot;{}", "x/" + "y" * 400])
def test_a_media_type_that_is_none_is_left_out(stated: str) -> None:
    found = read("ED[Attachment]", f'<text mediaType="{stated}">words</text>')
    assert found.value["contentType"] == "text/plain"
    assert set(found.codes) == {"bad-value"}


def test_a_language_is_kept() -> None:
    assert read("ED[Attachment]", '<text language="de-AT">Wort</text>').value["language"] == "de-AT"
    assert "language" not in read("ED[Attachment]", f'<text language="{"d" * 99}">Wort</text>').value


# Pointers ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("https://example.org/a.pdf", {"url": "https://example.org/a.pdf"}),
        ("picture.jpg", {"title": "picture.jpg"}),
        ("javascript:alert(1)", {"title": "javascript:alert(1)"}),
        ("file:///etc/passwd", {"title": "file:///etc/passwd"}),
        ("https://example.org/a b", {"title": "https://example.org/a b"}),
        ("cid:1@x", {"title": "cid:1@x"}),
    ],
)
def test_only_what_a_browser_could_fetch_is_a_url(target: str, expected: dict[str, str]) -> None:
    fragment = f'<text mediaType="application/pdf"><reference value="{target}"/></text>'
    assert read("ED[Attachment]", fragment).value == expected | {"contentType": "application/pdf"}


def test_a_pointer_into_the_narrative_gives_its_text() -> None:
    fragment = '<text><reference value="#t1"/></text>'
    found = read("ED[Attachment]", fragment, narrative='<content ID="t1">Some words</content>')
    assert content(found.value) == b"Some words"
    dangling = read("ED[Attachment]", fragment)
    assert dangling.value is None
    assert dangling.codes == ["dangling-reference"]


def test_data_counts_and_its_pointer_says_where_it_came_from() -> None:
    fragment = f'<text representation="B64">{b64(PDF)}<reference value="https://example.org/a.pdf"/></text>'
    found = read("ED[Attachment]", fragment).value
    assert content(found) == PDF
    assert found["url"] == "https://example.org/a.pdf"


# Large data ----------------------------------------------------------------------------------------------------------


def test_large_data_is_a_binary_named_by_its_content() -> None:
    data = PDF + bytes(INLINE_BYTES)
    ctx = context(f'<text mediaType="application/pdf" representation="B64">{b64(data)}</text>')
    made = collecting(ctx)
    found = on("ED[Attachment]", element(ctx), ctx).value
    [(kind, key, body)] = made.resources
    assert (kind, key) == ("Binary", (hashlib.sha256(data).hexdigest(),))
    assert body == {"contentType": "application/pdf", "data": b64(data)}
    sha1 = base64.b64encode(hashlib.sha1(data, usedforsecurity=False).digest()).decode()
    assert found == {"contentType": "application/pdf", "size": len(data), "url": "Binary/1", "hash": sha1}


def test_data_of_the_limit_stays_inline_and_nothing_is_lost_where_no_one_makes_a_binary() -> None:
    at_limit, over = bytes(INLINE_BYTES), bytes(INLINE_BYTES + 1)
    ctx = context(f'<text representation="B64">{b64(at_limit)}</text>')
    made = collecting(ctx)
    assert content(on("ED[Attachment]", element(ctx), ctx).value) == at_limit
    assert made.resources == []
    assert content(read("ED[Attachment]", f'<text representation="B64">{b64(over)}</text>').value) == over


@pytest.mark.parametrize("flavor", NULL_FLAVORS)
def test_a_null_flavor_is_nothing_unless_it_says_more(flavor: str) -> None:
    expected = why(SAY_MORE[flavor]) if flavor in SAY_MORE else None
    assert read("ED[Attachment]", f'<text nullFlavor="{flavor}"/>').value == expected


@pytest.mark.parametrize(
    "fragment", ["<text/>", "<text> \n </text>", '<text language="de"/>', '<text representation="B64"/>']
)
def test_absent_says_nothing(fragment: str) -> None:
    assert read("ED[Attachment]", fragment).value is None


def test_an_attribute_is_text() -> None:
    assert content(on("ED[Attachment]", " x ", context()).value) == b"x"
    assert on("ED[Attachment]", " ", context()).value is None
