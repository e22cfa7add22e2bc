"""What a stranger may not do to us with a document: XML 1.0 §2.8 (DOCTYPE), §4.3.3 (encodings), §4.4 (entities), and
sizes. Each is refused by our own error, whose text has no word of the document; nothing is read from disk or network.
"""

import codecs
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.cda.document import Limits, parse
from mappings.cda.errors import UnreadableDocument
from tests.mappings.cda.documents import DECLARED, minimal

HUGE = 10_000_100  # characters: over what libxml2 takes for one text node


def holding(content: str, before: str = "") -> str:
    return f"{before}<ClinicalDocument{DECLARED}>{content}</ClinicalDocument>"


def refused(data: bytes, limits: Limits | None = None) -> str:
    """The code of the refusal. Its text is checked for the marker that every hostile document here carries."""
    with pytest.raises(UnreadableDocument) as caught:
        parse(data, limits or Limits())
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # libxml2's text is in no traceback
    return caught.value.code


def with_attributes(count: int) -> str:
    return "<a " + " ".join(f"a{n}=''" for n in range(count)) + "/>"


BOMB = (
    "<!DOCTYPE x [<!ENTITY e0 'SECRET'>"
    + "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 10))
    + "]>"
)
QUADRATIC = f"<!DOCTYPE x [<!ENTITY e '{'SECRET' * 10_000}'>]>"
LOOP = "<!DOCTYPE x [<!ENTITY a '&b;'><!ENTITY b '&a;'>]>"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-le", "iso-8859-15", "windows-1250"])
@pytest.mark.parametrize(
    "doctype", ["<!DOCTYPE x>", "<!DOCTYPE x SYSTEM 'x.dtd'>", "<!DOCTYPE x [<!ENTITY e 'SECRET'>]>"]
)
def test_a_doctype_is_refused_in_every_encoding(doctype: str, encoding: str) -> None:
    text = holding("", f'<?xml version="1.0" encoding="{encoding.removesuffix("-le")}"?>{doctype}')
    data = (codecs.BOM_UTF16_LE if encoding == "utf-16-le" else b"") + text.encode(encoding)
    assert refused(data) == "doctype-refused"


@pytest.mark.parametrize(
    ("before", "content"),
    [
        (BOMB, "&e9;"),
        (BOMB, "<a b='&e9;'/>"),
        (QUADRATIC, "&e;" * 10_000),
        (QUADRATIC, f"<a b='{'&e;' * 10_000}'/>"),
        (LOOP, "<a b='&a;'/>"),
    ],
    ids=["laughs", "laughs in an attribute", "quadratic", "quadratic in an attribute", "loop"],
)
def test_entity_bombs_are_refused_at_once(before: str, content: str) -> None:
    started = time.monotonic()
    assert refused(holding(content, before).encode()) in ("doctype-refused", "over-limit", "not-xml")
    assert time.monotonic() - started < 2


def test_an_entity_of_nobody_is_refused() -> None:
    assert refused(holding("<a>SECRET&nbsp;</a>").encode()) == "not-xml"


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE x SYSTEM '{url}'>",
        "<!DOCTYPE x PUBLIC 'p' '{url}'>",
        "<!DOCTYPE x [<!ENTITY % e SYSTEM '{url}'> %e;]>",
        "<!DOCTYPE x [<!ENTITY e SYSTEM '{url}'>]>",
    ],
)
def test_nothing_is_read_from_disk(doctype: str, tmp_path: Path) -> None:
    """The file is no DTD: had it been opened, the error would be another. `collect_ids=False` did open it."""
    stolen = tmp_path / "stolen"
    stolen.write_text("SECRET that is no DTD")
    assert refused(holding("<a>&e;</a>", doctype.format(url=stolen.as_uri())).encode()) in ("doctype-refused",)


def test_an_inclusion_stays_an_element() -> None:
    """XInclude is never processed: its element is one like any other."""
    include = '<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="/etc/passwd" parse="text"/>'
    (found,) = parse(holding(include).encode()).root
    assert found.text is None


def test_instructions_are_not_followed() -> None:
    document = parse(holding("<title>x</title>", '<?xml-stylesheet type="text/xsl" href="/x.xsl"?>').encode())
    assert [el.tag for el in document.root] == ["{urn:hl7-org:v3}title"]


@pytest.mark.parametrize(
    ("what", "data", "limits"),
    [
        ("bytes", lambda: holding("x" * 2_000).encode(), Limits(bytes=1_000)),
        ("elements", lambda: holding("<a/>" * 1_000_000).encode(), Limits()),
        ("elements that are closed", lambda: holding("<a></a>" * 600_000).encode(), Limits()),
        ("elements, few", lambda: holding("<a/>" * 10).encode(), Limits(elements=10)),
        ("attributes", lambda: holding(with_attributes(257)).encode(), Limits()),
        ("depth", lambda: holding("<a>" * 256 + "</a>" * 256).encode(), Limits()),
        ("depth, 1,000", lambda: holding("<a>" * 1_000 + "</a>" * 1_000).encode(), Limits()),
        ("depth, configured", lambda: holding("<a>" * 20 + "</a>" * 20).encode(), Limits(depth=20)),
        ("depth beside a huge text", lambda: holding("<a>" * 256 + "x" * HUGE + "</a>" * 256).encode(), Limits()),
        ("a huge text where a DOCTYPE is", lambda: holding("x" * HUGE, "<!DOCTYPE x>").encode(), Limits()),
        ("a huge text in UTF-16", lambda: holding("x" * HUGE).encode("utf-16"), Limits(bytes=30_000_000)),
        ("200 MB", lambda: b"x" * 200_000_000, Limits()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_too_much_is_refused(what: str, data: Callable[[], bytes], limits: Limits) -> None:
    assert refused(data(), limits) == "over-limit"


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        (holding("<a>" * 255 + "</a>" * 255).encode(), Limits()),
        (holding(with_attributes(256)).encode(), Limits()),
        (holding("<a/>" * 9).encode(), Limits(elements=10)),
    ],
    ids=["depth", "attributes", "elements"],
)
def test_what_is_just_enough_is_read(data: bytes, limits: Limits) -> None:
    assert parse(data, limits).raw == data


@pytest.mark.parametrize("encoding", ["utf-8", "iso-8859-1"])
def test_an_embedded_file_of_more_than_10_mb_is_read(encoding: str) -> None:
    declared = f'<?xml version="1.0" encoding="{encoding}"?>'
    document = parse(holding(f"<text>{'A' * HUGE}é</text>", declared).encode(encoding))
    assert document.root[0].text == "A" * HUGE + "é"


def test_a_document_no_longer_than_a_text_may_be_is_never_read_without_limits() -> None:
    data = holding("x" * HUGE).encode()
    assert refused(data, Limits(text=len(data))) == "over-limit"


@pytest.mark.parametrize("encoding", ["UTF-7", "cp037", "Shift_JIS", "UTF-32", "nonsense", "GB18030"])
def test_an_encoding_that_could_hide_something_is_refused(encoding: str) -> None:
    text = holding("", f'<?xml version="1.0" encoding="{encoding}"?>')
    assert refused(text.encode("ascii" if encoding == "nonsense" else encoding)) == "not-xml"


def test_an_encoding_is_refused_however_late_it_is_declared() -> None:
    late = f'<?xml version="1.0"{" " * 5_000}encoding="UTF-7"?>'
    assert refused((late + holding("")).encode()) == "not-xml"
    assert refused((late + "+ADwAIQ-DOCTYPE x+AD4-" + holding("")).encode()) == "doctype-refused"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"\x00",
        b"SECRET",
        b"%PDF-1.7 SECRET",
        b"<SECRET>",
        b"<a>SECRET</b>",
        b"<a SECRET=''><a SECRET='' SECRET=''/></a>",
        holding("<p:SECRET/>").encode(),
        holding("&#0;SECRET").encode(),
        minimal()[:-1],
        minimal() + b"SECRET",
        b'<?xml version="1.0" encoding="UTF-8"?>' + holding("SECRET\xe9").encode("latin-1"),
        holding("<" + "SECRET" * 10_000 + "/>").encode(),
    ],
)
def test_what_is_no_xml_is_refused_by_line_and_column_without_a_word_of_it(data: bytes) -> None:
    with pytest.raises(UnreadableDocument) as caught:
        parse(data)
    assert caught.value.code == "not-xml"
    assert re.fullmatch(r"not-xml at document( line [0-9]+)?: column [0-9]+, (NS_)?ERR_[A-Z0-9_]+", str(caught.value))


@pytest.mark.parametrize(
    "data",
    [
        b"<SECRET/>",
        b"<ClinicalDocument/>",
        b'<ClinicalDocument xmlns="urn:SECRET"/>',
        b'<clinicalDocument xmlns="urn:hl7-org:v3"/>',
        b'<a xmlns="urn:hl7-org:v3"><ClinicalDocument/></a>',
    ],
)
def test_another_root_is_refused(data: bytes) -> None:
    assert refused(data) == "not-a-document"


def test_five_million_elements_are_refused_before_they_are_built() -> None:
    """They would take 600 MB; the parser is not asked."""
    data = holding("<a/>" * 4_900_000).encode()
    started = time.monotonic()
    assert refused(data) == "over-limit"
    assert time.monotonic() - started < 0.5


def test_names_that_a_stranger_invents_do_not_stop_the_next_document() -> None:
    """lxml keeps the names that a thread has met, until it can learn no new one: after fourteen of these documents. Run
    in a thread, so that no other test meets what it leaves."""
    read: list[int] = []

    def feed() -> None:
        for number in range(16):
            names = (f"<n{number}_{n}_{'x' * 1_600}/>" for n in range(6_000))
            read.append(len(parse(holding("".join(names)).encode()).root))

    thread = threading.Thread(target=feed)
    thread.start()
    thread.join()
    assert read == [6_000] * 16


@given(st.binary(max_size=400))
def test_any_bytes_are_a_document_or_our_error(data: bytes) -> None:
    codes = set()
    for candidate in (data, minimal() + data, minimal()[: len(data) * 5] + data):
        try:
            parse(candidate)
        except UnreadableDocument as error:
            codes.add(error.code)
    assert codes <= {"not-xml", "not-a-document", "doctype-refused", "over-limit"}
