"""Documents whose body is a file: kept as it came, told of, never opened.

Source: CDA R2 §4.3.1.3 (nonXMLBody); C-CDA R2.1, unstructured document.
"""

import base64
import zlib
from typing import Any

import pytest

from mappings.convert import Conversion
from tests.mappings.cda.converted import codes, convert, every, one
from tests.mappings.cda.documents import minimal

Json = dict[str, Any]
PDF = b"%PDF-1.4\n% invented\n%%EOF\n"


def unstructured(text: str, **header: str) -> Conversion:
    """A document with this body."""
    body = f"<component><nonXMLBody>{text}</nonXMLBody></component></ClinicalDocument>"
    return convert(minimal(**header).replace(b"</ClinicalDocument>", body.encode()))


def encoded(data: bytes, media: str = "application/pdf", more: str = "") -> str:
    return f'<text mediaType="{media}" representation="B64"{more}>\n{base64.encodebytes(data).decode()}</text>'


def bodies(done: Conversion) -> list[tuple[str, bytes]]:
    """(media type, bytes) of each file, without the original."""
    shown = one(done, "DocumentReference")
    kept = {f"Binary/{each['id']}": each for each in every(done, "Binary")}
    found = [kept[each["attachment"]["url"]] for each in shown["content"][1:]]
    assert all(each["securityContext"] == {"reference": f"DocumentReference/{shown['id']}"} for each in found)
    return [(each["contentType"], base64.b64decode(each["data"])) for each in found]


@pytest.mark.parametrize(
    ("text", "media", "data"),
    [
        (encoded(PDF), "application/pdf", PDF),
        (encoded(PDF * 3_000), "application/pdf", PDF * 3_000),
        (encoded(zlib.compress(PDF), more=' compression="DF"'), "application/pdf", PDF),
        (encoded(b"{\\rtf1 x}", "text/rtf"), "application/rtf", b"{\\rtf1 x}"),
        ('<text mediaType="text/plain">Seen, and well.</text>', "text/plain", b"Seen, and well."),
        (encoded(b"\x00\x01\x02", "application/dicom"), "application/dicom", b"\x00\x01\x02"),
        ("<text>Seen.</text>", "application/octet-stream", b"Seen."),
    ],
)
def test_the_body_is_kept_as_it_came(text: str, media: str, data: bytes) -> None:
    done = unstructured(text)
    assert bodies(done) == [(media, data)]
    (section,) = one(done, "Composition")["section"]
    assert section["entry"] == [{"reference": f"DocumentReference/{one(done, 'DocumentReference')['id']}"}]
    assert str(len(data)) in section["text"]["div"]
    assert codes(done) == []


def test_what_it_is_shows_in_its_first_bytes() -> None:
    done = unstructured(encoded(PDF, "image/png"))
    assert bodies(done) == [("application/pdf", PDF)]
    assert codes(done) == ["bad-value"]


@pytest.mark.parametrize(
    "text",
    ['<text mediaType="application/pdf" representation="B64">!!!</text>', encoded(PDF, more=' compression="GZ"')],
)
def test_what_cannot_be_decoded_is_in_the_original_only(text: str) -> None:
    done = unstructured(text)
    assert bodies(done) == []
    assert codes(done) == ["bad-encoding"]
    assert len(every(done, "Binary")) == 1


def test_a_file_that_is_elsewhere_stays_there() -> None:
    done = unstructured('<text mediaType="application/pdf"><reference value="https://example.org/a.pdf"/></text>')
    attachment = one(done, "DocumentReference")["content"][1]["attachment"]
    assert attachment == {"contentType": "application/pdf", "url": "https://example.org/a.pdf"}
    assert "https://example.org/a.pdf" in one(done, "Composition")["section"][0]["text"]["div"]


@pytest.mark.parametrize("text", ["", "<text/>", '<text nullFlavor="NI"/>'])
def test_a_body_of_nothing_makes_nothing(text: str) -> None:
    done = unstructured(text)
    assert "section" not in one(done, "Composition")
    assert len(every(done, "Binary")) == 1


@pytest.mark.parametrize("markup", ["<b>x</b>", "a.pdf&quot; onclick=&quot;x", "&lt;script&gt;"])
def test_nothing_that_was_sent_is_markup(markup: str) -> None:
    done = unstructured(f'<text mediaType="text/html"><reference value="{markup.replace("<", "&lt;")}"/></text>')
    for section in one(done, "Composition").get("section", ()):
        assert "<b>" not in section["text"]["div"]
        assert "<script" not in section["text"]["div"]


def test_equal_files_of_two_patients_are_two() -> None:
    """A blank form is no bond between the people who got it."""
    ids = []
    for name in ("P1", "P2"):
        target = f'<recordTarget><patientRole><id root="2.999.2" extension="{name}"/></patientRole></recordTarget>'
        done = unstructured(encoded(PDF), recordTarget=target, id=f'<id root="2.999.1" extension="{name}"/>')
        ids.append(one(done, "DocumentReference")["content"][1]["attachment"]["url"])
    assert len(set(ids)) == 2


def test_the_format_says_that_the_body_is_a_file() -> None:
    header = {"templateId": '<templateId root="2.16.840.1.113883.10.20.22.1.1" extension="2015-08-01"/>'}
    content = one(unstructured(encoded(PDF), **header), "DocumentReference")["content"]
    assert content[0]["format"]["code"] == "urn:hl7-org:sdwg:ccda-nonXMLBody:2.1"
    assert "format" not in content[1]
