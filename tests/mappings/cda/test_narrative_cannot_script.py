"""Nothing of a document's narrative can run, or fetch anything, once it is XHTML: FHIR R4 §2.4.0, CDA R2 §4.3.5.

The R4 checker is one judge; the other is here: an allow-list of its own of what may stand in the result.
"""

import re
from typing import Any

import pytest
from hypothesis import given
from lxml import etree

from mappings.cda.element import Element
from mappings.cda.narrative import block, from_xhtml, to_xhtml
from tests.mappings.cda.narratives import (
    STRUCDOC,
    H,
    around,
    context,
    document,
    fits,
    grown,
    harmless,
    squeezed,
    text_of,
    trees,
    visible,
)

FOOTNOTE = re.compile(r"\[[0-9]+\]")
PICTURES = {"a": "data:image/png;base64,iVBORw0KGgo=", "b": "https://example.org/tracker.png"}


def said(root: Any) -> str:
    return FOOTNOTE.sub("", squeezed("".join(root.itertext())))


@given(trees())
def test_any_narrative_at_all_is_harmless_and_keeps_its_words(top: Element) -> None:
    div = to_xhtml(top, "s1-", around(top), media=PICTURES.get)
    expected = visible(top) if top.get("revised") != "delete" else ""
    if div is None:
        assert expected == ""
    else:
        assert said(harmless(div)) == expected


@given(trees())
def test_any_part_of_a_narrative_is_harmless(top: Element) -> None:
    for part in top.iter(*(H + name for name in STRUCDOC)):
        if (div := block(part, "s1-", media=PICTURES.get)) is not None:
            harmless(div)


@given(trees())
def test_any_narrative_comes_back_with_its_words(top: Element) -> None:
    div = to_xhtml(top, "s1-", around(top))
    if div is None:
        return
    back = from_xhtml(div)
    assert list(fits(back)) == []
    assert FOOTNOTE.sub("", visible(back)) == visible(top)
    again = to_xhtml(grown(back), "", around(grown(back)))
    assert again is not None
    assert FOOTNOTE.sub("", visible(from_xhtml(again))) == visible(top)


# What is written, and what of it may be left.
ATTACKS = {
    "script": ("<script>alert(1)</script>", " alert(1) "),
    "script in another namespace": ('<script xmlns="http://www.w3.org/1999/xhtml">alert(1)</script>', " alert(1) "),
    "svg": ('<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><text>t</text></svg>', "  t  "),
    "style": ("<style>@import 'http://x'</style>", " @import 'http://x' "),
    "event": ('<content onclick="alert(1)" ONMOUSEOVER="x">t</content>', "<span>t</span>"),
    "style attribute": ('<paragraph style="background:url(http://x)">t</paragraph>', "<p>t</p>"),
    "style code": ('<content styleCode="Bold &quot;>&lt;script>">t</content>', '<span class="bold">t</span>'),
    "ID": ('<content ID="a&quot; onclick=&quot;x">t</content>', '<span id="s1-a&quot;_onclick=&quot;x">t</span>'),
    "language": ('<content language="en&quot; x=&quot;">t</content>', "<span>t</span>"),
    "span": ('<table><tr><td colspan="2&quot; x=&quot;" rowspan="-1" scope="x">t</td></tr></table>',
             "<table><tr><td>t</td></tr></table>"),
    "escaped markup": ("&lt;script>alert(1)&lt;/script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
    "CDATA": ("<![CDATA[<script>alert(1)</script>]]>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
    "comment": ("a<!-- <script>alert(1)</script> -->b", "ab"),
    "processing instruction": ("a<?xml-stylesheet href='http://x'?>b", "ab"),
    "image": ('<img src="https://example.org/t.png" onerror="x"/>t', "  t"),
    "foreign table": ('<x:td xmlns:x="urn:x">t</x:td>', " t "),
    "braces": ("{{constructor.constructor('x')()}}", "{{constructor.constructor('x')()}}"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_leaves_its_text(attack: str) -> None:
    written, left = ATTACKS[attack]
    doc = document(written)
    div = to_xhtml(text_of(doc), "s1-", context(doc))
    assert div == f'<div xmlns="http://www.w3.org/1999/xhtml">{left}</div>'
    harmless(div)


@pytest.mark.parametrize(
    "href",
    [
        "javascript:alert(1)", "JavaScript:alert(1)", " javascript:alert(1)", "java&#10;script:alert(1)",
        "java&#9;script:alert(1)", "&#106;avascript:alert(1)", "vbscript:x", "data:text/html,x", "DATA:text/html,x",
        "data:image/svg+xml,x", "file:///etc/passwd", "//example.org", "/x", "x.pdf", "ftp://example.org", "blob:x",
        "https://example.org/&quot;onclick=&quot;x", "https://example.org/ x", "http:javascript:x", "mailto:", "#gone",
        "https:&#x2028;//example.org", "https://example.org/&lt;script>", "urn:x", "",
    ],
)  # fmt: skip
def test_a_link_that_is_not_known_to_be_harmless_is_text(href: str) -> None:
    doc = document(f'<linkHtml href="{href}">t</linkHtml>')
    assert to_xhtml(text_of(doc), "s1-", context(doc)) == '<div xmlns="http://www.w3.org/1999/xhtml"><a>t</a></div>'


def test_a_link_to_what_no_id_is_written_of_leads_nowhere() -> None:
    doc = document('<linkHtml href="#b">t</linkHtml><br ID="b"/>')
    div = to_xhtml(text_of(doc), "s1-", context(doc))
    assert div == '<div xmlns="http://www.w3.org/1999/xhtml"><a>t</a><br/></div>'


@pytest.mark.parametrize(
    "href", ["https://example.org/a?b=c", "HTTP://example.org", "mailto:a@example.org", " http://x "]
)
def test_links_to_the_web_and_to_mail_stay(href: str) -> None:
    doc = document(f'<linkHtml href="{href}">t</linkHtml>')
    div = to_xhtml(text_of(doc), "s1-", context(doc))
    assert div is not None
    assert f'<a href="{href.strip()}">t</a>' in div


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/x.png", "data:image/svg+xml;base64,PHN2Zy8+", "data:text/html,x", "javascript:alert(1)",
        "Binary/../x", 'Binary/1" onerror="x', "data:image/png;base64,x'", "//example.org/x.png", "",
    ],
)  # fmt: skip
def test_a_picture_comes_from_the_document_only(url: str) -> None:
    doc = document('<renderMultiMedia referencedObject="m"><caption>Chest</caption></renderMultiMedia>')
    ctx = context(doc)
    div = to_xhtml(text_of(doc), "s1-", ctx, media={"m": url}.get)
    assert div == '<div xmlns="http://www.w3.org/1999/xhtml"><span><div>Chest</div></span></div>'
    assert [each.code for each in ctx.issues] == ["extra-value"]


def test_deep_narratives_neither_overflow_nor_outgrow_their_readers() -> None:
    for name in ("content", "item", "td", "list", "x"):
        doc = document(f"<{name}>" * 250 + "deep" + f"</{name}>" * 250)
        div = to_xhtml(text_of(doc), "s1-", context(doc))
        assert div is not None
        assert said(harmless(div)) == "deep"
        assert visible(from_xhtml(div)) == "deep"


def test_a_hand_made_tree_can_hold_no_character_that_xml_forbids() -> None:
    """Why no text is searched for them: lxml takes them from nobody."""
    made = etree.Element("x")
    for code in (0, 1, 8, 11, 12, 31, 0xD800, 0xFFFE, 0xFFFF):
        with pytest.raises(ValueError, match=r"XML compatible|surrogates"):
            made.text = chr(code)
