"""A parsed document: its elements by short names, the narrative by ID, and where everything stands.

Source: CDA R2 §4.3.5 (ID of the narrative), HL7 v3 data types (xsi:type); XML 1.0 §4.3.3 (encodings).
"""

import codecs
import gc
import hashlib
import os
import sys
import time
from pathlib import Path

import pytest
from lxml import etree

from mappings.cda.document import XSI_TYPE, Document, parse, type_of
from mappings.cda.element import SDTC, V3, Element, short
from mappings.cda.errors import UnreadableDocument
from mappings.cda.place import XmlPlace
from mappings.xml_parser import parser
from tests.mappings.cda.documents import DECLARED, in_section, minimal, wrapped

ENTRY = "<entry><observation><code code='c'/><value value='1'/></observation></entry>"


def read(content: str) -> Document:
    return parse(f"<ClinicalDocument{DECLARED}>{content}</ClinicalDocument>".encode())


def only(document: Document, tag: str) -> Element:
    (found,) = document.root.iter(f"{{{V3}}}{tag}")
    return found


# bytes ----------------------------------------------------------------------------------------------------------------


def test_the_bytes_are_kept_as_received_and_hashed() -> None:
    data = codecs.BOM_UTF8 + b'<?xml-stylesheet href="x.xsl"?>' + minimal() + b"\r\n"
    document = parse(data)
    assert (document.raw, document.digest) == (data, hashlib.sha256(data).digest())


@pytest.mark.parametrize(
    ("declared", "codec", "title", "encoding", "issues"),
    [
        ("", "utf-8", "Žofie “é”", "UTF-8", []),
        ("UTF-8", "utf-8", "Žofie “é”", "UTF-8", []),
        ("utf-8", "utf-8-sig", "Žofie “é”", "UTF-8", []),
        ("", "utf-16", "Žofie “é”", "UTF-16", []),
        ("UTF-16", "utf-16", "Žofie “é”", "UTF-16", []),
        ("utf-8", "utf-16", "Žofie “é”", "UTF-16", []),  # the byte order mark is believed
        ("UTF-16", "utf-16-le", "Žofie “é”", "UTF-16", []),
        ("UTF-16", "utf-16-be", "Žofie “é”", "UTF-16", []),
        ("US-ASCII", "ascii", "Zofie", "US-ASCII", []),
        ("ISO-8859-1", "latin-1", "Größl ½", "ISO-8859-1", []),
        ("ISO-8859-2", "iso8859-2", "Žofie", "ISO-8859-2", []),
        ("ISO-8859-15", "iso8859-15", "Žofie €", "ISO-8859-15", []),
        ("windows-1250", "cp1250", "Žofie “é”", "windows-1250", []),
        ("windows-1253", "cp1253", "Ζωή", "windows-1253", []),
        ("ISO-8859-1", "cp1252", "Žofie “é”", "windows-1252", ["charset-lies"]),
        ("", "cp1252", "Žofie “é”", "windows-1252", ["charset-guessed"]),
        ("", "latin-1", "Größl ½", "windows-1252", ["charset-guessed"]),
    ],
)
def test_every_encoding_that_records_come_in(
    declared: str, codec: str, title: str, encoding: str, issues: list[str]
) -> None:
    declaration = f'<?xml version="1.0" encoding="{declared}"?>' if declared else ""
    text = f"{declaration}<ClinicalDocument{DECLARED}><title>{title}</title></ClinicalDocument>"
    document = parse(text.encode(codec))
    assert (document.root[0].text, document.encoding.upper()) == (title, encoding.upper())
    assert [issue.code for issue in document.issues] == issues


def test_bytes_that_are_not_in_the_declared_utf_8_are_not_guessed_at() -> None:
    data = f'<?xml version="1.0" encoding="UTF-8"?><ClinicalDocument{DECLARED}>é</ClinicalDocument>'.encode("latin-1")
    with pytest.raises(UnreadableDocument, match="ERR_INVALID_ENCODING"):
        parse(data)


def test_comments_and_cdata_do_not_cut_a_text() -> None:
    assert read("<title>a<!-- x -->b<![CDATA[<c>]]></title>").root[0].text == "ab<c>"


# names ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        (f"{{{V3}}}value", "value"),
        (f"{{{SDTC}}}raceCode", "sdtc:raceCode"),
        ("{urn:hl7-org:pharm}asContent", "pharm:asContent"),
        ("{urn:epsos-org:ep:medication}asContent", "pharm:asContent"),
        ("{urn:other}value", "{urn:other}value"),
        ("value", "value"),  # of no namespace at all
    ],
)
def test_short_names(tag: str, expected: str) -> None:
    assert short(tag) == expected == short(tag)


def test_invented_names_are_not_remembered_for_good() -> None:
    from mappings.cda import element

    for number in range(10_000):
        assert short(f"{{urn:stranger}}n{number}") == f"{{urn:stranger}}n{number}"
    assert len(element._TAGS) <= 4_096


@pytest.mark.parametrize(
    ("written", "expected"),
    [("PQ", "PQ"), ("ns1:PQ", "PQ"), ("epsos:IVL_TS", "IVL_TS"), (" PQ ", "PQ"), ("", ""), ("x:", "")],
)
def test_a_type_is_read_by_its_local_name(written: str, expected: str) -> None:
    assert type_of(read(f'<value xsi:type="{written}"/>').root[0]) == expected


def test_a_type_may_be_missing() -> None:
    assert type_of(read("<value type='PQ'/>").root[0]) == ""
    assert XSI_TYPE == "{http://www.w3.org/2001/XMLSchema-instance}type"


def test_other_prefixes_change_nothing() -> None:
    plain = parse(minimal(in_section(ENTRY, "30954-2")))
    text = minimal(in_section(ENTRY, "30954-2")).decode()
    prefixed = text.replace("</", "</a:").replace("<", "<a:").replace("<a:/a:", "</a:").replace("xmlns=", "xmlns:a=")
    other = parse(prefixed.encode())
    assert [plain.place(el) for el in plain.root.iter()] == [other.place(el) for el in other.root.iter()]


# children -------------------------------------------------------------------------------------------------------------


def test_children_are_found_by_short_name_in_their_order() -> None:
    document = read("<a/><sdtc:a/><a n='2'><b/></a><c/>")
    kids = document.root.kids
    assert list(kids) == ["a", "sdtc:a", "c"]
    assert [el.get("n") for el in kids["a"]] == [None, "2"]
    assert kids["a"][1] is document.root[2]
    assert "b" in kids["a"][1].kids
    assert kids["c"][0].kids == {}


def test_elements_stay_the_same_objects() -> None:
    document = read("<a><b/></a>")
    before = id(document.root[0]), id(document.root[0][0])
    gc.collect()  # lxml would let go of elements that nobody holds, and make others
    assert (id(document.root[0]), id(document.root[0][0])) == before
    assert document.root[0][0].getparent() is document.root[0]


def test_a_document_goes_with_the_last_who_holds_it() -> None:
    """Elements name each other; without a collector's help nothing of a document stays."""
    gc.disable()
    try:
        document = read("<a><b/></a>")
        inner = document.root[0][0]
        held = sys.getrefcount(inner)
        del document
        assert (inner.getparent(), sys.getrefcount(inner)) == (None, held - 3)  # nothing around it, and in no list
    finally:
        gc.enable()


# narrative ------------------------------------------------------------------------------------------------------------


def test_narrative_is_found_by_its_id() -> None:
    text = '<text><table><tbody><tr ID="r1"><td ID=" c1 ">x</td></tr></tbody></table></text>'
    document = parse(minimal(in_section(text + '<entry><act id="no"/></entry>')))
    assert {name: short(str(el.tag)) for name, el in document.ids.items()} == {"r1": "tr", "c1": "td"}
    assert document.issues == []


def test_the_first_of_two_with_one_id_wins_and_the_other_is_told_of() -> None:
    text = '<text><content ID="a">first</content><content ID="a">second</content><content ID="a">third</content></text>'
    document = parse(minimal(in_section(text, "48765-2")))
    assert document.ids["a"].text == "first"
    assert [(issue.code, str(issue.place)) for issue in document.issues] == [
        ("duplicate-id", f"section[48765-2]/text/content[2] line {document.ids['a'].sourceline}")
    ]


def test_narrative_wins_over_what_is_none() -> None:
    document = parse(
        minimal('<component><section ID="a"><text><content ID="a">x</content></text></section></component>')
    )
    assert document.ids["a"].text == "x"
    assert [issue.code for issue in document.issues] == ["duplicate-id"]


# places ---------------------------------------------------------------------------------------------------------------

HEADER = "<patient><name><given>a</given><given>b</given></name></patient>"
NESTED = in_section(ENTRY + in_section(ENTRY + ENTRY, "8709-8"), "29545-1")
CONCERN = """<entry><act><entryRelationship><observation/></entryRelationship><entryRelationship><observation>
  <value/></observation></entryRelationship></act></entry>"""


@pytest.mark.parametrize(
    ("document", "path", "tag", "nth"),
    [
        (minimal(), "ClinicalDocument", "ClinicalDocument", 0),
        (minimal(), "effectiveTime", "effectiveTime", 0),
        (wrapped(f"<recordTarget><patientRole>{HEADER}</patientRole></recordTarget>"), "recordTarget/patientRole/patient/name/given[2]", "given", 1),  # noqa: E501
        (minimal(author="<author/><author><time/></author>"), "author[2]/time", "time", 0),
        (minimal(in_section(ENTRY, "30954-2")), "section[30954-2]", "section", 0),
        (minimal(in_section(ENTRY, "30954-2")), "section[30954-2]/entry[1]/observation/value", "value", 0),
        (minimal(in_section(CONCERN, "48765-2")), "section[48765-2]/entry[1]/act/entryRelationship[2]/observation/value", "value", 0),  # noqa: E501
        (minimal(NESTED), "section[29545-1]/section[8709-8]/entry[2]/observation/value", "value", 2),
        (minimal(in_section("<entry><organizer><component><act/></component></organizer></entry>", "8716-3")), "section[8716-3]/entry[1]/organizer/component/act", "act", 0),  # noqa: E501
        (minimal(in_section(ENTRY) + in_section(ENTRY)), "section[2]/entry[1]/observation", "observation", 1),
        (minimal(in_section(ENTRY, "8716-3") * 2), "section[8716-3][2]/entry[1]/observation", "observation", 1),
        (minimal(in_section(ENTRY, "Smith 1970")), "section[1]/entry[1]/observation", "observation", 0),
        (minimal(in_section("<text><table/><table/></text>", "8716-3")), "section[8716-3]/text/table[2]", "table", 1),
        (wrapped("<component><nonXMLBody><text/></nonXMLBody></component>"), "component/nonXMLBody/text", "text", 0),
    ],
)  # fmt: skip
def test_a_place_is_the_path_from_the_section_or_the_header(document: bytes, path: str, tag: str, nth: int) -> None:
    parsed = parse(document)
    element = list(parsed.root.iter(f"{{{V3}}}{tag}"))[nth]
    assert parsed.place(element) == XmlPlace(path, element.sourceline or 0)


def test_a_place_says_the_line_and_the_attribute() -> None:
    document = parse(minimal(in_section("\n" * 400 + ENTRY, "8716-3")))
    place = document.place(only(document, "value"), "nullFlavor")
    assert place.line > 400
    assert str(place) == f"section[8716-3]/entry[1]/observation/value/@nullFlavor line {place.line}"
    assert document.place(only(document, "value"), XSI_TYPE).path.endswith("value/@type")


def test_a_place_holds_no_code_that_a_sender_made_up() -> None:
    """A section's code may be anything, and places are shown in reports: only what is shaped like LOINC is shown."""
    document = parse(minimal(in_section(ENTRY, "Jan Novak, 1970-01-01")))
    assert "Novak" not in document.place(only(document, "value")).path


def test_the_kind_of_a_place_has_no_numbers() -> None:
    document = parse(minimal(in_section(CONCERN, "48765-2")))
    assert (
        document.place(only(document, "value")).kind == "section[48765-2]/entry/act/entryRelationship/observation/value"
    )


def test_a_foreign_name_is_no_longer_in_a_path_than_a_name_of_cda() -> None:
    document = read(f'<x:{"n" * 5_000} xmlns:x="urn:x"/>')
    assert document.place(document.root[0]).path == "n" * 64


def test_no_two_elements_share_a_place() -> None:
    document = parse(minimal(NESTED + in_section(ENTRY) + in_section(ENTRY * 3, "8716-3") * 2))
    every = list(document.root.iter())
    assert len({document.place(el).path for el in every}) == len(every)


def test_many_siblings_are_numbered_once() -> None:
    """Counting the siblings before each anew would take 20,000² / 2 steps."""
    document = parse(minimal(in_section(ENTRY * 20_000, "8716-3")))
    started = time.monotonic()
    places = [document.place(el) for el in document.root.iter(f"{{{V3}}}observation")]
    assert places[-1].path == "section[8716-3]/entry[20000]/observation"
    assert time.monotonic() - started < 2


# the corpus -----------------------------------------------------------------------------------------------------------


ROOT = Path(__file__).parents[3]
CORPUS = Path(os.environ.get("CHARTBRIDGE_CORPUS", ROOT.parent / "shared/corpus")) / "cda"
FILES = sorted(path for path in CORPUS.rglob("*") if path.suffix.lower() == ".xml")
needs_corpus = pytest.mark.skipif(not FILES, reason="no corpus: set CHARTBRIDGE_CORPUS")

MALFORMED = "Basic Occupation Observation Example.xml"  # as published: an end tag is missing


def document_or_fragment(data: bytes) -> Document:
    try:
        return parse(data)
    except UnreadableDocument:
        return parse(wrapped(data))


@pytest.mark.corpus
@needs_corpus
def test_every_document_and_fragment_of_the_corpus_is_read() -> None:
    refused = []
    for path in FILES:
        try:
            document = document_or_fragment(path.read_bytes())
        except UnreadableDocument as error:
            refused.append((path.name, error.code))
            continue
        every = list(document.root.iter())
        assert len({document.place(el).path for el in every}) == len(every), path
    assert refused == [(MALFORMED, "not-xml")]


@pytest.mark.corpus
@needs_corpus
def test_the_guard_costs_little_beside_the_parse() -> None:
    """5 ms for 1,500 elements beyond the bare parse where nothing is compiled; several times that here, for the machine
    is shared."""
    (path,) = (path for path in FILES if path.name == "L3_PS_ReferenceTestData_W3.xml")
    data = path.read_bytes()

    def best(times: int, bare: bool) -> float:
        taken = []
        for _ in range(times):
            started = time.process_time()
            if bare:
                etree.fromstring(data, parser())
            else:
                parse(data)
            taken.append(time.process_time() - started)
        return min(taken)

    assert best(30, bare=False) - best(30, bare=True) < 0.03
