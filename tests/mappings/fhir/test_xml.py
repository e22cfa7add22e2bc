"""XML of resources: JSON → XML → JSON gives equal trees with equal lexemes; what is hostile, out of order or unknown is
refused with its place. FHIR R4 §2.6.1; fhir chapter §3."""

import copy
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from mappings.fhir.codec import MIB, RESOURCE, BytesError, Json, Limits, check_bytes, decode, encode
from mappings.fhir.validate import validate
from mappings.fhir.xml import Unwritable, from_xml, to_xml
from mappings.xml_parser import parser, tree
from tests.mappings.fhir import r4_package
from tests.mappings.fhir.samples import RESOURCES

NS = 'xmlns="http://hl7.org/fhir"'
DEFINITIONS = ("CodeSystem-", "ConceptMap-", "SearchParameter-", "StructureDefinition-", "ValueSet-")
XHTML = "http://www.w3.org/1999/xhtml"


def canonical(value: Any, name: str = "") -> Any:
    """A tree whose narratives are in canonical XML."""
    if isinstance(value, dict):
        return {key: canonical(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [canonical(item, name) for item in value]
    if name == "div" and isinstance(value, str):
        return etree.tostring(etree.fromstring(value, parser()), method="c14n").decode()
    return value


def same(one: Json, other: Json) -> bool:
    """Equal members, and equal lexemes: the canonical bytes keep them."""
    return encode(canonical(one)) == encode(canonical(other))


def refused(data: str | bytes, limits: Limits = RESOURCE) -> set[tuple[str, str]]:
    """Each fault as (expression, text). None of them quotes the document, nor does what stands behind the error."""
    with pytest.raises(BytesError) as caught:
        from_xml(data.encode() if isinstance(data, str) else data, limits)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return {(fault.expression, fault.text) for fault in caught.value.faults}


# there and back


@pytest.mark.parametrize("name", RESOURCES)
@pytest.mark.parametrize("pretty", [False, True])
def test_our_samples_come_back_as_they_were(name: str, pretty: bool) -> None:
    resource = RESOURCES[name]
    assert encode(from_xml(to_xml(resource, pretty=pretty))) == encode(resource)


@pytest.mark.node
def test_every_published_example_comes_back_as_it_was() -> None:
    limits, changed = Limits(max_bytes=64 * MIB), []
    for name, data in r4_package.examples().items():
        if len(data) > 100_000 or name.startswith(DEFINITIONS):
            continue  # many, and all alike
        try:
            resource = check_bytes(data, limits)
        except BytesError:
            continue
        if not validate(resource) and not same(resource, from_xml(to_xml(resource), limits)):
            changed.append(name)
    assert changed == []


TEXT = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff") | st.sampled_from("\t\r\n&<>\"'"),
    min_size=1,
    max_size=12,
)
LEXEMES = st.from_regex(r"-?(0|[1-9][0-9]{0,8})(\.[0-9]{1,8})?([eE][+-]?[0-9]{1,2})?", fullmatch=True).filter(
    lambda text: float(text) or text == "0"
)
EXTENSIONS = st.builds(lambda url: {"extension": [{"url": "urn:" + url, "valueBoolean": False}]}, st.text("abc"))
ITEMS = st.lists(st.tuples(TEXT | st.none(), EXTENSIONS | st.none()).filter(any), min_size=1, max_size=4)


@settings(max_examples=60)
@given(TEXT, LEXEMES, ITEMS)
def test_any_text_number_and_array_comes_back_as_it_was(text: str, lexeme: str, items: list[tuple[Any, Any]]) -> None:
    """Strings with all that XML has a meaning for, numbers as they are written, items without value or extension."""
    values, beside = [value for value, _ in items], [extension for _, extension in items]
    name: Json = {"text": text}
    if any(value is not None for value in values):
        name["given"] = values
    if any(extension is not None for extension in beside):
        name["_given"] = beside
    data = {"resourceType": "Patient", "contact": [{"name": name}], "extension": [{"url": "urn:n", "valueDecimal": 0}]}
    written = json.dumps(data).replace('"valueDecimal": 0', f'"valueDecimal": {lexeme}')
    resource = decode(written)
    assert encode(from_xml(to_xml(resource))) == encode(resource)


def test_elements_stand_in_the_order_of_the_standard_with_ids_and_urls_as_attributes() -> None:
    resource = decode(
        b"""{"resourceType": "Patient", "birthDate": "1970-05", "active": true, "id": "p",
        "name": [{"given": ["A", null],
        "_given": [null, {"id": "g2", "extension": [{"url": "urn:x", "valueInteger": 3}]}], "family": "<B & \\"C\\">",
        "id": "n1"}], "_birthDate": {"extension": [{"url": "urn:y", "valueDecimal": 1.50}]},
        "text": {"status": "generated", "div": "<div xmlns=\\"http://www.w3.org/1999/xhtml\\">a<br/>b</div>"}}"""
    )
    assert to_xml(resource).decode() == (
        f'<?xml version="1.0" encoding="UTF-8"?><Patient {NS}><id value="p"/>'
        f'<text><status value="generated"/><div xmlns="{XHTML}">a<br/>b</div></text><active value="true"/>'
        '<name id="n1"><family value="&lt;B &amp; &quot;C&quot;&gt;"/><given value="A"/><given id="g2">'
        '<extension url="urn:x"><valueInteger value="3"/></extension></given></name><birthDate value="1970-05">'
        '<extension url="urn:y"><valueDecimal value="1.50"/></extension></birthDate></Patient>'
    )


def test_a_pretty_answer_leaves_the_narrative_alone() -> None:
    div = f'<div xmlns="{XHTML}"><p>a <b>b</b></p></div>'
    resource: Json = {"resourceType": "Basic", "text": {"status": "generated", "div": div}, "code": {"text": "x"}}
    pretty = to_xml(resource, pretty=True).decode()
    assert div in pretty
    assert '\n  <code>\n    <text value="x"/>\n  </code>\n</Basic>' in pretty


@pytest.mark.parametrize("text", ["\x01", "\x00", "\ufffe", "\x1f"])
def test_a_character_that_xml_has_not_is_not_written(text: str) -> None:
    with pytest.raises(Unwritable):
        to_xml({"resourceType": "Patient", "implicitRules": f"urn:{text}"})


@pytest.mark.parametrize(
    "div",
    [
        '<?xml version="1.0"?><div xmlns="http://www.w3.org/1999/xhtml">a</div>',
        '<!-- x --><div xmlns="http://www.w3.org/1999/xhtml">a</div><!-- y -->',
    ],
)
def test_what_stands_around_a_narrative_does_not_break_the_document(div: str) -> None:
    resource = {"resourceType": "Basic", "text": {"status": "generated", "div": div}}
    assert from_xml(to_xml(resource))["text"]["div"] == '<div xmlns="http://www.w3.org/1999/xhtml">a</div>'


def test_a_narrative_that_is_no_xml_cannot_add_elements() -> None:
    div = '<div xmlns="http://www.w3.org/1999/xhtml"/></text><active value="false"/><text><div></div>'
    with pytest.raises(Unwritable):
        to_xml({"resourceType": "Patient", "text": {"status": "generated", "div": div}})


# read


def test_prefixes_comments_instructions_and_white_space_do_not_matter() -> None:
    data = """<?xml version="1.0"?><?xml-stylesheet href="x.xsl"?><!-- a --><f:Patient xmlns:f="http://hl7.org/fhir"
      xmlns:h="http://www.w3.org/1999/xhtml"> <!-- b --><f:text><f:status value="generated"/><h:div>a<!-- c --><h:td/>
      </h:div></f:text><f:active value="true"><!-- d --></f:active></f:Patient>"""
    found = from_xml(b"\xef\xbb\xbf" + data.encode())
    div = tree(found["text"].pop("div").encode())
    assert found == {"resourceType": "Patient", "text": {"status": "generated"}, "active": True}
    assert (div.tag, div.nsmap, div.text) == (f"{{{XHTML}}}div", {"h": XHTML}, "a")


def test_an_empty_element_of_a_narrative_keeps_its_end_tag_but_for_those_that_have_none() -> None:
    div = f'<div xmlns="{XHTML}"><p/><br/><img src="#a" alt="x"/><a name="b"></a></div>'
    found = from_xml(f'<Basic {NS}><text><status value="generated"/>{div}</text></Basic>'.encode())
    assert found["text"]["div"] == (f'<div xmlns="{XHTML}"><p></p><br/><img src="#a" alt="x"/><a name="b"></a></div>')


FAULTS = {
    "unknown element": (
        "<active value='true'/><nickname value='SECRET'/>",
        ("Patient.nickname", "is not an element of this type"),
    ),
    "unknown, and no name": ("<n.o value='x'/>", ("Patient", "is not an element of this type")),
    "other namespace": ("<active xmlns='urn:x' value='true'/>", ("Patient.active", "is not an element of this type")),
    "no namespace": ("<active xmlns='' value='true'/>", ("Patient.active", "is not an element of this type")),
    "wrong order": (
        "<gender value='female'/><active value='true'/>",
        ("Patient.active", "is out of order"),
    ),
    "a list in two places": (
        "<name><text value='a'/></name><gender value='male'/><name><text value='b'/></name>",
        ("Patient.name[1]", "is out of order"),
    ),
    "twice": ("<gender value='male'/><gender value='male'/>", ("Patient.gender", "stands more than once")),
    "text": ("<name>SECRET<text value='a'/></name>", ("Patient.name[0]", "has text between its elements")),
    "text after": ("<active value='true'/>SECRET", ("Patient", "has text between its elements")),
    "text in a primitive": (
        "<active value='true'>SECRET</active>",
        ("Patient.active", "has text between its elements"),
    ),
    "CDATA": ("<name><![CDATA[SECRET]]></name>", ("Patient.name[0]", "has text between its elements")),
    "attribute": (
        "<name use='official'><text value='a'/></name>",
        ("Patient.name[0]", "has an attribute that is none of this type"),
    ),
    "attribute of a primitive": (
        "<active value='true' url='SECRET'/>",
        ("Patient.active", "has an attribute that is none of this type"),
    ),
    "empty primitive": ("<active/>", ("Patient.active", "has neither a value nor extensions")),
    "no boolean": ("<active value='TRUE'/>", ("Patient.active", "is not boolean")),
    "no integer": ("<multipleBirthInteger value='1.0'/>", ("Patient.multipleBirth.ofType(integer)", "is not integer")),
    "leading zero": (
        "<multipleBirthInteger value='01'/>",
        ("Patient.multipleBirth.ofType(integer)", "is not integer"),
    ),
    "no decimal": (
        "<extension url='urn:x'><valueDecimal value='1,5'/></extension>",
        ("Patient.extension[0].value.ofType(decimal)", "is not decimal"),
    ),
    "extension of a primitive": (
        "<name><given value='a'/><given><extension url='urn:x'><valueBoolean value='no'/></extension></given></name>",
        ("Patient.name[0].given[1].extension[0].value.ofType(boolean)", "is not boolean"),
    ),
    "child of a primitive": (
        "<active value='true'><x/></active>",
        ("Patient.active.x", "is not an element of this type"),
    ),
    "empty contained": ("<contained/>", ("Patient.contained[0]", "does not hold one resource")),
    "two contained": (
        "<contained><Basic/><Basic/></contained>",
        ("Patient.contained[0]", "does not hold one resource"),
    ),
    "contained in two": (
        "<contained><Basic/></contained><contained><Basic><author value='x'/></Basic></contained>",
        ("Patient.contained[1].author", "has an attribute that is none of this type"),
    ),
    "contained nothing known": (
        "<contained><SECRET/></contained>",
        ("Patient.contained[0]", "is not a resource type of R4 in the namespace of FHIR"),
    ),
    "abstract type": (
        "<contained><DomainResource/></contained>",
        ("Patient.contained[0]", "is not a resource type of R4 in the namespace of FHIR"),
    ),
}


@pytest.mark.parametrize(("content", "expected"), FAULTS.values(), ids=list(FAULTS))
def test_what_does_not_fit_is_refused_where_it_is(content: str, expected: tuple[str, str]) -> None:
    assert expected in refused(f"<Patient {NS}>{content}</Patient>")


def test_the_place_inside_a_bundle_is_told_as_the_validator_tells_it() -> None:
    data = (
        f"<Bundle {NS}><entry/><entry><resource><Patient><name/><name><x/></name></Patient></resource></entry></Bundle>"
    )
    assert refused(data) == {("Bundle.entry[1].resource.name[1].x", "is not an element of this type")}


def test_all_faults_are_told_at_once_and_no_more_than_a_hundred() -> None:
    faults = refused(f"<Patient {NS}><a/><b/><active value='x'/></Patient>")
    assert {place for place, _ in faults} == {"Patient.a", "Patient.b", "Patient.active"}
    assert len(refused(f"<Patient {NS}>{''.join(f'<a{n}/>' for n in range(500))}</Patient>")) == 100


@pytest.mark.parametrize(
    "root",
    ["<Patient/>", "<Patient xmlns='urn:x'/>", f"<SECRET {NS}/>", f"<HumanName {NS}/>", "<a><b/></a>"],
)
def test_another_root_is_refused(root: str) -> None:
    assert refused(root) == {("Resource", "is not a resource type of R4 in the namespace of FHIR")}


# hostile


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE x>",
        "<!DOCTYPE x SYSTEM '{url}'>",
        "<!DOCTYPE x [<!ENTITY e SYSTEM '{url}'>]>",
        "<!DOCTYPE x [<!ENTITY % e SYSTEM '{url}'> %e;]>",
        "<!DOCTYPE x [<!ENTITY e 'SECRET'>]>",
    ],
)
@pytest.mark.parametrize("used", ["", "<active value='&e;'/>", "<name>&e;</name>"])
def test_a_doctype_is_refused_and_nothing_is_read_from_disk(doctype: str, used: str, tmp_path: Path) -> None:
    stolen = tmp_path / "stolen"
    stolen.write_text("SECRET that is no DTD")
    ((place, text),) = refused(doctype.format(url=stolen.as_uri()) + f"<Patient {NS}>{used}</Patient>")
    assert place == "Resource"
    assert text.startswith(("has a document type declaration", "is not XML"))


BOMB = (
    "<!DOCTYPE x [<!ENTITY e0 'SECRET'>"
    + "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 10))
    + "]>"
)


@pytest.mark.parametrize("content", ["<active value='&e9;'/>", "<name>&e9;</name>"])
def test_an_entity_bomb_is_refused(content: str) -> None:
    ((place, _),) = refused(f"{BOMB}<Patient {NS}>{content}</Patient>")
    assert place == "Resource"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"SECRET",
        b'{"resourceType":"Patient"}',
        f"<Patient {NS}>".encode(),
        f"<Patient {NS}/><Patient {NS}/>".encode(),
        f"<Patient {NS}><active value='true' value='false'/></Patient>".encode(),
        f"<Patient {NS}><name><text value='&nbsp;SECRET'/></name></Patient>".encode(),
        f"<Patient {NS}><name><text value='\xfc'/></name></Patient>".encode("latin-1"),
        f'<?xml version="1.0" encoding="ISO-8859-1"?><Patient {NS}><id value="\xfc"/></Patient>'.encode("latin-1"),
        f"<Patient {NS}/>".encode("utf-16"),
        f"<Patient {NS}/>".encode("utf-32"),
    ],
)
def test_what_is_no_xml_in_utf8_is_refused(data: bytes) -> None:
    ((place, text),) = refused(data)
    assert place == "Resource"
    assert text.startswith("is not XML: line ")


ITEM = '<item><linkId value="x"/>'


@pytest.mark.parametrize(
    ("data", "limits"),
    [
        ("<a>" + "x" * 1_000 + "</a>", Limits(max_bytes=1_000)),
        (f"<Basic {NS}>{'<a/>' * 1_100_000}</Basic>", RESOURCE),
        (f"<Questionnaire {NS}>{ITEM * 40}{'</item>' * 40}</Questionnaire>", RESOURCE),
        (f"<Questionnaire {NS}>{ITEM * 240}{'</item>' * 240}</Questionnaire>", RESOURCE),
        (f"<Questionnaire {NS}>{ITEM * 5_000}{'</item>' * 5_000}</Questionnaire>", RESOURCE),
        (f"<Basic {NS}><implicitRules value='{'!' * (MIB + 1)}'/></Basic>", RESOURCE),
        (f"<Basic {NS}><extension url='u'><valueDecimal value='{'1' * 65}'/></extension></Basic>", RESOURCE),
        (f"<Basic {NS}><extension url='u'><valueDecimal value='1e9999'/></extension></Basic>", RESOURCE),
    ],
    ids=["bytes", "elements", "depth 80", "depth 240", "depth 5,000", "string", "number", "exponent"],
)
def test_what_is_too_much_is_refused(data: str, limits: Limits) -> None:
    assert len(refused(data, limits)) == 1


def test_an_attachment_may_be_as_long_as_in_json() -> None:
    data = "QUJD" * (MIB // 2)
    found = from_xml(f'<Binary {NS}><contentType value="a/b"/><data value="{data}"/></Binary>'.encode())
    assert found["data"] == data


@given(st.binary(max_size=300))
def test_any_bytes_are_a_resource_or_our_error(data: bytes) -> None:
    whole = to_xml(RESOURCES["panel"])
    for candidate in (data, whole[: len(data) * 9] + data, whole.replace(b"value", data[:3] or b"v", 2)):
        with suppress(BytesError):
            assert from_xml(candidate)["resourceType"]


@given(st.data())
def test_a_tree_with_one_element_moved_is_refused_or_the_same(data: st.DataObject) -> None:
    """Order is part of XML: of two neighbours changed about, either they were of one list or it is a fault."""
    root = tree(to_xml(RESOURCES["observation"]))
    parents = [el for el in root.iter() if len(el) > 1]
    parent = data.draw(st.sampled_from(parents))
    first, second = data.draw(st.permutations(range(len(parent))))[:2]
    one, other = copy.copy(parent[first]), copy.copy(parent[second])
    parent[first], parent[second] = other, one
    changed = etree.tostring(root)
    if one.tag == other.tag:
        from_xml(changed)
    else:
        assert any(text == "is out of order" for _, text in refused(changed))
