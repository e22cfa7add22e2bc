"""Narratives as XHTML, as words, and back: CDA R2 §4.3.5, FHIR R4 §2.4.0."""

import os
from pathlib import Path

import pytest
from lxml import etree

from mappings.cda.document import Document, parse
from mappings.cda.element import Element
from mappings.cda.errors import UnreadableDocument
from mappings.cda.narrative import NO_NARRATIVE, Headers, anchor, block, from_xhtml, plain_text, table, to_xhtml
from mappings.cda.narrative.elements import CONTEXTS, FROM_XHTML, ROWS, STYLES, around
from mappings.fhir.narrative import ALLOWED, narrative_fault
from mappings.fhir.narrative import XHTML as XHTML_NAMESPACE
from mappings.xml_parser import parser
from tests.mappings.cda.documents import wrapped
from tests.mappings.cda.narratives import H, context, document, fits, grown, squeezed, text_of, visible

ROOT = Path(__file__).parents[3]
CORPUS = Path(os.environ.get("CHARTBRIDGE_CORPUS", ROOT.parent / "shared/corpus")) / "cda"
FILES = sorted(path for path in CORPUS.rglob("*") if path.suffix.lower() == ".xml")

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">'
TEXT = '<text xmlns="urn:hl7-org:v3">'


def shown(body: str, prefix: str = "s1-") -> str | None:
    """What is in the `div` of a narrative."""
    doc = document(body)
    div = to_xhtml(text_of(doc), prefix, context(doc))
    if div is None:
        return None
    assert narrative_fault(div) is None
    return div.removeprefix(DIV).removesuffix("</div>")


CASES = {
    "content": ('<content styleCode="Bold">a</content>b', '<span class="bold">a</span>b'),
    "paragraph": ("<paragraph>a</paragraph><paragraph>b</paragraph>", "<p>a</p><p>b</p>"),
    "white space stays": ("<paragraph> a\n b </paragraph>", "<p> a\n b </p>"),
    "paragraph with a list": (
        "<paragraph>a<list><item>b</item></list></paragraph>", "<div>a<ul><li>b</li></ul></div>"),
    "paragraph with a caption": ("<paragraph><caption>C</caption>a</paragraph>", "<div><div>C</div>a</div>"),
    "unordered list": ("<list><item>a</item><item>b</item></list>", "<ul><li>a</li><li>b</li></ul>"),
    "ordered list": (
        '<list listType="ordered" styleCode="LittleRoman"><item>a</item></list>',
        '<ol class="little-roman"><li>a</li></ol>'),
    "caption of a list": (
        '<list ID="l"> <caption>C</caption><item>a</item></list>', '<div>C</div><ul id="s1-l"><li>a</li></ul>'),
    "list in a list": (
        "<list><item>a<list><caption>C</caption><item>b</item></list></item></list>",
        "<ul><li>a<div>C</div><ul><li>b</li></ul></li></ul>"),
    "table": (
        "<table border='1' width='100%'><caption>C</caption><colgroup><col width='9'/></colgroup><thead><tr>"
        "<th scope='col' colspan='2' align='left'>H</th></tr></thead><tfoot><tr><td>F</td></tr></tfoot><tbody>"
        "<tr ID='r'> <td rowspan='2' styleCode='Lrule Botrule'>a</td> <td/></tr></tbody></table>",
        '<table><caption>C</caption><thead><tr><th scope="col" colspan="2">H</th></tr></thead><tfoot><tr>'
        '<td>F</td></tr></tfoot><tbody><tr id="s1-r"><td rowspan="2" class="border-left border-bottom">a</td><td></td>'
        "</tr></tbody></table>"),
    "line break": ("a<br/>b", "a<br/>b"),
    "sub and sup": ("H<sub>2</sub>O<sup>3</sup>", "H<sub>2</sub>O<sup>3</sup>"),
    "footnote": (
        'a<footnoteRef IDREF="f2"/>b<footnote ID="f1">x</footnote><footnote ID="f2">y</footnote>',
        'a<a href="#s1-f2">[2]</a>b<span id="s1-f1">[1] x</span><span id="s1-f2">[2] y</span>'),
    "link to a later part": (
        '<linkHtml href="#c">a</linkHtml><content ID="c">b</content>',
        '<a href="#s1-c">a</a><span id="s1-c">b</span>'),
    "language": ('<content language="de-CH">a</content>', '<span lang="de-CH">a</span>'),
    "inserted by a revision": ('<content revised="insert">a</content>', "<span>a</span>"),
    "deleted by a revision": ('a<content revised="delete">b<br/></content>c', "ac"),
    "an ID twice": ('<content ID="x">a</content><content ID="x">b</content>',
                    '<span id="s1-x">a</span><span>b</span>'),
    "unknown style codes": ('<content styleCode="xRed bold BOLD Emphasis">a</content>',
                            '<span class="bold italics">a</span>'),
    "HTML within a word": ("1<b>0</b> mg", "10 mg"),
    "HTML between words": ("5<div>10 mg</div>6", "5 10 mg 6"),
    "text in a table": ("<table>a<tr>b<td>c</td></tr></table>",
                        "<table><tr><td>a</td></tr><tr><td>b</td><td>c</td></tr></table>"),
    "paragraph in a row": ("<table><tr><paragraph>a</paragraph></tr></table>",
                           "<table><tr><td><p>a</p></td></tr></table>"),
    "cell in a table": ("<table><td>a</td></table>", "<table><tr><td>a</td></tr></table>"),
    "cell in a group": ("<table><tbody><td>a</td></tbody></table>",
                        "<table><tbody><tr><td>a</td></tr></tbody></table>"),
    "item without a list": ("<item>a</item>", "<ul><li>a</li></ul>"),
    "text in a list": ("<list>a<item>b</item>c</list>", "<ul><li>a</li><li>b</li><li>c</li></ul>"),
    "an unknown element in a table": ("<table><x><tr><td>a</td></tr></x></table>",
                                      "<table><tr><td>a</td></tr></table>"),
    "text in a line break": ("<br>a</br>b", "<br/>ab"),
    "other prefix": ('<v:paragraph xmlns:v="urn:hl7-org:v3">a</v:paragraph>', "<p>a</p>"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_element_has_its_place_in_xhtml(case: str) -> None:
    written, expected = CASES[case]
    assert shown(written) == expected


def test_the_text_itself_may_have_an_id_and_a_language() -> None:
    doc = document("a")
    text_of(doc).attrib = {"ID": "t", "language": "fi"}
    assert to_xhtml(text_of(doc), "s1-", context(doc)) == f'{DIV[:-1]} id="s1-t" lang="fi">a</div>'


@pytest.mark.parametrize(
    "body", ["", " \n ", "\u00a0", "<list/>", "<br/>", '<content revised="delete">a</content>', "<!-- a -->"]
)
def test_nothing_to_read_is_no_narrative(body: str) -> None:
    assert shown(body) is None
    assert narrative_fault(NO_NARRATIVE) is None


def test_a_picture_alone_is_a_narrative() -> None:
    doc = document('<renderMultiMedia referencedObject="m n" ID="x"/>')
    pictures = {"m": "data:image/png;base64,iVBORw0KGgo=", "n": "Binary/n1"}
    div = to_xhtml(text_of(doc), "s1-", context(doc), media=pictures.get)
    assert div is not None
    assert narrative_fault(div) is None
    assert (
        '<span id="s1-x"><img src="data:image/png;base64,iVBORw0KGgo=" alt=""/><img src="Binary/n1" alt=""/></span>'
        in div
    )


# Body, what follows its section, the issues of it.
REFERENCES = {
    "to nothing": ('<linkHtml href="#x">a</linkHtml>', "", ["dangling-reference"]),
    "footnote that is none": ('a<footnoteRef IDREF="x"/>', "", ["dangling-reference"]),
    "media that are none": ('a<renderMultiMedia referencedObject="x"/>', "", ["dangling-reference"]),
    "to another section": (
        '<linkHtml href="#x">a</linkHtml>', '<component><section ID="x"><text/></section></component>', []),
    "to what was deleted": ('<linkHtml href="#x">a</linkHtml><content ID="x" revised="delete">b</content>', "",
                            ["extra-value"]),
    "to a file": ('<linkHtml href="x.pdf">a</linkHtml>', "", ["extra-value"]),
    "markup that is none": ("<x>a</x><y>b</y>", "", ["extra-value"]),
    "widths of columns": ("<table><col width='9'/><tr><td>a</td></tr></table>", "", []),
}  # fmt: skip


@pytest.mark.parametrize("case", REFERENCES)
def test_what_leads_nowhere_or_was_left_out_is_told(case: str) -> None:
    body, more, codes = REFERENCES[case]
    doc = document(body, more)
    ctx = context(doc)
    div = to_xhtml(text_of(doc), "s1-", ctx)
    assert div is not None
    assert "href" not in div
    assert [each.code for each in ctx.issues] == codes


def test_a_link_to_another_section_leads_to_its_prefix() -> None:
    doc = document('<linkHtml href="#x">a</linkHtml>', '<component><section ID="x"><text/></section></component>')
    other = doc.ids["x"]
    div = to_xhtml(text_of(doc), "s1-", context(doc), elsewhere=lambda found: "s2-x" if found is other else None)
    assert div == f'{DIV}<a href="#s2-x">a</a></div>'


def test_a_table_is_read_once_whoever_points_at_its_rows() -> None:
    """Many statements point at rows of one table; read anew for each, a long one would take minutes."""
    rows = "".join(f'<tr ID="r{n}"><td ID="c{n}">{n}</td><td>x</td></tr>' for n in range(3))
    doc = document(f"<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody>{rows}</tbody></table>")
    ctx = context(doc)
    assert ctx.narrative("#r0") == "A: 0; B: x"
    (first, _) = doc.every(f"{H}th")
    first.text = "changed since"
    assert ctx.narrative("#r1") == "A: 1; B: x"
    div = block(doc.ids["c2"], "", headers=ctx.headers)
    assert div is not None
    assert "<th>A</th>" in div, "in its form, too"
    assert context(doc).narrative("#r1") == "changed since: 1; B: x", "of another document nothing is known"


def test_a_document_of_dangling_links_is_told_of_in_few_issues() -> None:
    doc = document('<linkHtml href="#x">a</linkHtml>' * 1000)
    ctx = context(doc)
    assert to_xhtml(text_of(doc), "s1-", ctx) is not None
    assert 0 < len(ctx.issues) < 100


def test_an_anchor_is_the_id_in_the_narrative() -> None:
    assert f'id="{anchor("s3-", " a  b ")}"' in str(shown('<content ID="a  b">x</content>', "s3-"))


# --- words

TABLE = """<table><thead><tr><th>Substance</th><th>Reaction</th></tr></thead><tbody>
  <tr ID="row"><td ID="cell">Penicillin <content ID="part">G</content></td><td>Hives,<br/>rash</td></tr>
  </tbody></table>"""
WORDS = {
    "a part": (TABLE, "part", "G"),
    "a cell brings its header": (TABLE, "cell", "Substance: Penicillin G"),
    "a row brings its headers": (TABLE, "row", "Substance: Penicillin G; Reaction: Hives, rash"),
    "white space is one blank": ('<content ID="x"> a \n\t b\u00a0c </content>', "x", "a b c"),
    "words of blocks stay apart": ('<list ID="x"><item>a</item><item>b</item></list>', "x", "a b"),
    "parts of a word stay together": ('<content ID="x">H<sub>2</sub>O</content>', "x", "H2O"),
    "the rest of a line is not in it": ('<content ID="x">a</content>b', "x", "a"),
    "deleted": ('<content ID="x">a<content revised="delete">b</content>c</content>', "x", "ac"),
    "in what was deleted": ('<content revised="delete"><content ID="x">a</content></content>', "x", None),
    "nothing": ('<content ID="x"> </content>', "x", None),
    "headers in the first row": (
        '<table><tr><th>H</th></tr><tr><td ID="x">a</td></tr></table>', "x", "H: a"),
    "a first row that is no header": (
        '<table><tr><th>H</th><td>b</td></tr><tr><td ID="x">a</td></tr></table>', "x", "a"),
    "a header has none": (
        '<table><thead><tr><th ID="x">H</th></tr></thead><tbody><tr><td>a</td></tr></tbody></table>', "x", "H"),
    "a cell after one of two columns": (
        '<table><thead><tr><th>A</th><th>B</th><th>C</th></tr></thead><tbody><tr><td colspan="2">a</td>'
        '<td ID="x">c</td></tr></tbody></table>', "x", "C: c"),
    "a cell of two columns": (
        '<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td colspan="2" ID="x">a</td></tr></tbody>'
        "</table>", "x", "A B: a"),
    "a cell beside one of two rows": (
        '<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td rowspan="2">a</td><td>b</td></tr>'
        '<tr><td ID="x">c</td></tr></tbody></table>', "x", "B: c"),
    "a cell beside one of three rows": (
        '<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td rowspan="3">a</td><td>b</td></tr><tr>'
        '<td>c</td></tr><tr><td ID="x">d</td></tr></tbody></table>', "x", "B: d"),
    "a cell below one of two rows": (
        '<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td rowspan="2">a</td><td>b</td></tr><tr>'
        '<td>c</td></tr><tr><td ID="x">d</td></tr></tbody></table>', "x", "A: d"),
    "headers over headers": (
        '<table><thead><tr><th rowspan="2">A</th><th colspan="2">B</th></tr><tr><th>B1</th><th>B2</th></tr></thead>'
        '<tbody><tr ID="x"><td>a</td><td>b</td><td>c</td></tr></tbody></table>', "x", "A: a; B B1: b; B B2: c"),
    "empty cells are nothing": (
        '<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr ID="x"><td/><td>b</td></tr></tbody></table>',
        "x", "B: b"),
    "a header with its colon": (
        '<table><thead><tr><th>A:</th></tr></thead><tbody><tr ID="x"><td>a</td></tr></tbody></table>', "x", "A: a"),
    "a cell that repeats its header": (
        '<table><thead><tr><th>A</th></tr></thead><tbody><tr><td ID="x">A</td></tr></tbody></table>', "x", "A"),
    "no header": ('<table><tbody><tr ID="x"><td>a</td><td>b</td></tr></tbody></table>', "x", "a; b"),
    "a row without cells": ('<table><tr ID="x">a<x>b</x></tr></table>', "x", "a b"),
    "a table in a cell": (
        '<table><thead><tr><th>A</th></tr></thead><tbody><tr><td><table><tr><td ID="x">a</td></tr></table></td></tr>'
        "</tbody></table>", "x", "a"),
    "a header below the body": (
        '<table><tbody><tr><td ID="x">a</td></tr></tbody><thead><tr><th>A</th></tr></thead></table>', "x", "A: a"),
    "a cell far to the right": (
        "<table><thead><tr>" + "<th>H</th>" * 200 + "</tr></thead><tbody><tr>" + "<td>a</td>" * 150
        + '<td ID="x">b</td></tr></tbody></table>', "x", "b"),
    "a long span": (
        '<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td rowspan="200">a</td><td>b</td></tr>'
        + "<tr><td>b</td></tr>" * 150 + '<tr><td ID="x">c</td></tr></tbody></table>', "x", "B: c"),
    "a cell beside one of all rows": (
        '<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody><tr><td rowspan="0">a</td><td>b</td></tr>'
        + "<tr><td>b</td></tr>" * 9 + '<tr><td ID="x">c</td></tr></tbody></table>', "x", "B: c"),
    "an essay as a header": (
        f"<table><thead><tr><th>{'a ' * 500}</th></tr></thead>"
        '<tbody><tr><td ID="x">b</td></tr></tbody></table>', "x", "b"),
    "a cell without a row": ('<td ID="x">a</td>', "x", "a"),
    "absurd spans": (
        '<table><thead><tr><th>A</th></tr></thead><tbody><tr><td colspan="99999999" rowspan="x">a</td><td ID="x">b</td>'
        "</tr></tbody></table>", "x", "b"),
}  # fmt: skip


@pytest.mark.parametrize("case", WORDS)
def test_a_reference_stands_for_its_words(case: str) -> None:
    body, name, expected = WORDS[case]
    doc = document(body)
    assert plain_text(doc.ids[name]) == expected


def test_the_words_of_a_cell_can_do_without_its_header() -> None:
    doc = document(TABLE)
    assert plain_text(doc.ids["cell"], header=False) == "Penicillin G"
    assert plain_text(doc.ids["row"], header=False) == "Penicillin G Hives, rash"


def test_all_cells_of_a_long_table_are_read_in_one_pass() -> None:
    """Each table once: 3,000 rows that are read again for each of their rows would take minutes."""
    rows = "".join(f'<tr ID="r{n}"><td rowspan="2" ID="c{n}">{n}</td><td>x</td></tr>' for n in range(3000))
    doc = document(f"<table><thead><tr><th>A</th><th>B</th></tr></thead><tbody>{rows}</tbody></table>")
    headers = Headers()
    words = [plain_text(doc.ids[f"r{n}"], headers=headers) for n in range(3000)]
    assert words[:2] == ["A: 0; B: x", "B: 1; x"]
    assert words == [plain_text(doc.ids["r0"]), *words[1:]]
    assert plain_text(doc.ids["c2998"], headers=headers) == "A: 2998"


BLOCKS = {
    "part": "<span id=\"e1-part\">G</span>",
    "cell": "<table><thead><tr><th>Substance</th></tr></thead><tbody><tr>"
            '<td id="e1-cell">Penicillin <span id="e1-part">G</span></td></tr></tbody></table>',
    "row": "<table><thead><tr><th>Substance</th><th>Reaction</th></tr></thead><tbody>"
           '<tr id="e1-row"><td id="e1-cell">Penicillin <span id="e1-part">G</span></td><td>Hives,<br/>rash</td></tr>'
           "</tbody></table>",
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKS)
def test_the_text_of_a_statement_is_the_part_it_refers_to(name: str) -> None:
    doc = document(TABLE)
    div = block(doc.ids[name], "e1-")
    assert div == f"{DIV}{BLOCKS[name]}</div>"
    assert narrative_fault(div) is None


def test_a_block_ends_where_its_part_ends() -> None:
    doc = document('<list><item ID="x">a</item>b</list><content revised="delete"><content ID="y">c</content></content>')
    assert block(doc.ids["x"], "") == f'{DIV}<ul><li id="x">a</li></ul></div>'
    assert block(doc.ids["y"], "") is None


# --- the way back

BACK = {
    "paragraph": ("<p>a</p>", "<paragraph>a</paragraph>"),
    "styles": ('<b>a</b><span class="italics x">b</span>',
               '<content styleCode="Bold">a</content><content styleCode="Italics">b</content>'),
    "struck": ("<s>a</s>b", '<content revised="delete">a</content>b'),
    "heading": ("<h2>a</h2>", '<paragraph styleCode="Bold">a</paragraph>'),
    "lists": ('<ol id="l"><li>a</li></ol><ul><li>b<ul><li>c</li></ul></li></ul>',
              '<list ID="l" listType="ordered"><item>a</item></list>'
              "<list><item>b<list><item>c</item></list></item></list>"),
    "rows without a group": ("<table><tr><td>a</td></tr><tr><td>b</td></tr></table>",
                             "<table><tbody><tr><td>a</td></tr><tr><td>b</td></tr></tbody></table>"),
    "cells": ('<table><tbody><tr><td colspan="2" style="color:red">a</td></tr></tbody></table>',
              '<table><tbody><tr><td colspan="2">a</td></tr></tbody></table>'),
    "link": ('<a href="https://example.org">a</a><a href="#x">b</a><a href="x.pdf">c</a><i id="x">d</i>',
             '<linkHtml href="https://example.org">a</linkHtml><linkHtml href="#x">b</linkHtml><linkHtml>c</linkHtml>'
             '<content ID="x" styleCode="Italics">d</content>'),
    "picture": ('<p><img src="#p" alt="Chest"/></p>', "<paragraph>Chest</paragraph>"),
    "division": ("<div>a<p>b</p>c</div>", "a<paragraph>b</paragraph>c"),
    "paragraph in a header": ("<table><tr><th><p>a</p><p>b</p></th></tr></table>",
                              "<table><tbody><tr><th>a<br/>b</th></tr></tbody></table>"),
    "table in a cell": ("<table><tr><td>x<table><tr><td>a</td><td>b</td></tr></table></td></tr></table>",
                        "<table><tbody><tr><td>x<br/>a<br/>b</td></tr></tbody></table>"),
    "bold in a link": ('<a href="https://example.org"><b>a</b></a>', '<linkHtml href="https://example.org">a</linkHtml>'),
    "definitions": ("<dl><dt>a</dt><dd>b</dd></dl>",
                    '<list><item styleCode="Bold">a</item><item>b</item></list>'),
    "an id twice": ('<p id="x">a</p><p id="x">b</p>', '<paragraph ID="x">a</paragraph><paragraph>b</paragraph>'),
    "an id that is none": ('<p id="1 x">a</p>', "<paragraph>a</paragraph>"),
}  # fmt: skip


@pytest.mark.parametrize("case", BACK)
def test_a_narrative_becomes_what_the_schema_of_cda_allows(case: str) -> None:
    written, expected = BACK[case]
    assert narrative_fault(f"{DIV}{written}</div>") is None
    assert etree.tostring(from_xhtml(f"{DIV}{written}</div>"), encoding="unicode") == f"{TEXT}{expected}</text>"


@pytest.mark.parametrize("case", CASES)
def test_what_came_from_cda_goes_back_as_cda_allows(case: str) -> None:
    doc = document(CASES[case][0])
    div = to_xhtml(text_of(doc), "", context(doc))
    assert div is not None
    back = from_xhtml(div)
    assert list(fits(back)) == []
    assert squeezed("".join(back.itertext())) == squeezed("".join(etree.fromstring(div, parser()).itertext()))


@pytest.mark.parametrize("div", ["<div", "a", "<!DOCTYPE div><div/>", "<div>&nbsp;</div>"])
def test_what_is_no_xml_is_refused_without_a_word_of_it(div: str) -> None:
    with pytest.raises(ValueError, match=r"^narrative (is not well-formed XML|has a document type declaration)$"):
        from_xhtml(div)


def test_a_table_is_written_with_ids_for_its_rows() -> None:
    text, ids = table(["Substance", "Reaction"], [["Penicillin", "<b>"], ["Nuts\x00", ""]], "allergy-")
    assert ids == ["allergy-1", "allergy-2"]
    assert etree.tostring(text, encoding="unicode") == (
        f"{TEXT}<table><thead><tr><th>Substance</th><th>Reaction</th></tr></thead><tbody>"
        '<tr ID="allergy-1"><td>Penicillin</td><td>&lt;b&gt;</td></tr><tr ID="allergy-2"><td>Nuts</td><td></td></tr>'
        "</tbody></table></text>"
    )
    assert list(fits(text)) == []
    rows = {row.get("ID"): row for row in grown(text).iter(f"{H}tr")}
    assert plain_text(rows["allergy-1"]) == "Substance: Penicillin; Reaction: <b>"
    with pytest.raises(RuntimeError):
        table(["A"], [], "x")


# --- the rows


def test_every_row_names_elements_that_narratives_may_hold() -> None:
    assert {XHTML_NAMESPACE + row.xhtml for row in ROWS.values() if row.xhtml} <= set(ALLOWED)
    assert {XHTML_NAMESPACE + name for name in FROM_XHTML} <= set(ALLOWED)
    assert {element for element, _ in FROM_XHTML.values()} <= set(ROWS)
    assert {style for _, style in FROM_XHTML.values() if style} <= set(STYLES.values())
    assert {child for row in ROWS.values() for child in row.allows} <= set(ROWS)


def test_every_kind_has_a_place_in_every_context() -> None:
    """What is put around it leads from the context to the kind, each step one that stands."""
    for context_ in CONTEXTS:
        for row in ROWS.values():
            if row.kind != "column":
                here = context_
                for name in (*around(context_, row.kind), row.element):
                    assert around(here, ROWS[name].kind) == ()
                    here = ROWS[name].holds


# --- the corpus


def sections(path: Path) -> tuple[Document, list[Element]] | None:
    raw = path.read_bytes()
    for whole in (False, True):
        try:
            doc = parse(wrapped(raw) if whole else raw)
        except (UnreadableDocument, ValueError, KeyError):
            continue
        found = [
            text
            for section in doc.root.iter(f"{H}section")
            if (text := next(section.iterchildren(f"{H}text"), None)) is not None
        ]
        return doc, found
    return None


@pytest.mark.corpus
@pytest.mark.skipif(not FILES, reason="no corpus: set CHARTBRIDGE_CORPUS")
def test_every_narrative_of_the_corpus_becomes_xhtml_with_all_its_words() -> None:
    seen = 0
    for path in FILES:
        if (read := sections(path)) is None:
            continue
        doc, texts = read
        for text in texts:
            seen += 1
            div = to_xhtml(text, "s1-", context(doc))
            if div is None:
                assert visible(text) == "", path
                continue
            assert narrative_fault(div) is None, path
            words = squeezed("".join(etree.fromstring(div, parser()).itertext()))
            assert words == visible(text), path
            back = from_xhtml(div)
            assert list(fits(back)) == [], path
            assert visible(back) == words, path
    assert seen > 200
