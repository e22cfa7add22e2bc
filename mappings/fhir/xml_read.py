"""XML from outside as the tree that `codec.py` makes of the same resource in JSON, or all that is wrong with it.

1. Bounded before the parser runs: bytes and elements. Parsed as UTF-8, with neither DTD nor entity nor network; libxml2
   bounds depth and text. A DOCTYPE is refused.
2. The root, and every resource inside, is a type of R4 in FHIR's namespace.
3. Elements stand in the schema's order, once where it says once; nothing unknown, no text between them.
4. Primitives: `value`, `id` and extensions, no more. Numbers keep their lexemes; what is no number or boolean is told.
5. The limits of the bytes layer hold for the tree as they do for JSON: depth, strings, integers.

Every fault has its FHIRPath, which is only worked out once there is one. No text of the document enters a fault.

Source: FHIR R4 4.0.1 §2.6.1 (XML); XML 1.0 §2.8; fhir chapter §3.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lxml import etree

from mappings.fhir.checks import MAX_FAULTS, NAME
from mappings.fhir.codec import BOM, RESOURCE, BytesError, Fault, Json, Limits, measure, read_number
from mappings.fhir.primitives import JSON_TYPE_OF, PRIMITIVES
from mappings.fhir.schema import Schema, schema
from mappings.fhir.xml_write import FHIR
from mappings.xml_parser import BEYOND, parser, tree

XHTML = "http://www.w3.org/1999/xhtml"
BYTES_AN_ELEMENT = 16  # no resource is denser; a stranger's `<a/>` would take 40 times its bytes of memory
BLANK = " \t\r\n"  # white space of XML

_VOID = frozenset(f"{{{XHTML}}}{name}" for name in ("br", "col", "hr", "img"))
_EXTENSION = f"{{{FHIR}}}extension"
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
_INTEGER = re.compile(r"0|[-+]?[1-9][0-9]*", re.ASCII)
_BOOLEAN = {"true": True, "false": False}


def from_xml(data: bytes, limits: Limits = RESOURCE) -> Json:
    """The resource in these bytes. Raises BytesError."""
    data = data.removeprefix(BOM)
    if len(data) > limits.max_bytes:  # 1
        raise _refuse("too-long", f"is longer than {limits.max_bytes} bytes")
    if len(data) > limits.max_string and data.count(b"<") - data.count(b"</") > limits.max_bytes // BYTES_AN_ELEMENT:
        raise _refuse("too-long", "has too many elements")
    root = _parsed(data)
    if root.getroottree().docinfo.doctype:
        raise _refuse("structure", "has a document type declaration")
    reader = _Reader(limits)
    found = reader.resource(root)
    if reader.faults:
        raise BytesError(tuple(reader.faults))
    measure(found, limits, long=len(data) > limits.max_string)  # 5
    return found


def _parsed(data: bytes) -> etree._Element:
    """The root, or a BytesError that is raised outside of libxml2's, whose text quotes the document."""
    try:
        return tree(data, "UTF-8")
    except etree.XMLSyntaxError as error:
        code, (line, column) = error.code, error.position
    if code in BEYOND:
        raise _refuse("too-long", "is too deep, or too much of it stands in one place")
    raise _refuse("structure", f"is not XML: line {line}, column {column}")


def _refuse(code: str, text: str) -> BytesError:
    return BytesError((Fault("error", code, "Resource", text),))


class Slot(NamedTuple):
    """What a child element becomes: the JSON member, its type, its place among the siblings, and its FHIRPath."""

    name: str
    kind: str
    place: int
    many: bool
    primitive: bool
    text: bool  # a primitive that JSON has as one string
    segment: str


class _Slots:
    """The children of each path by tag, made when the path is first met."""

    def __init__(self, source: Schema) -> None:
        self._schema = source
        self._made: dict[str, Mapping[Any, Slot]] = {}  # by lxml's tag, which is a string of an element
        self.resources: dict[Any, str] = {f"{{{FHIR}}}{name}": name for name in source.resource_types}
        self.attributes = {path: self._attributes(path) for path in source.paths()}

    def _attributes(self, path: str) -> frozenset[str]:
        if path in self._schema.resource_types:
            return frozenset()
        return frozenset(element.name for element in self._schema.children(path).values() if element.xml_attribute)

    def of(self, path: str) -> Mapping[Any, Slot]:
        made = self._made.get(path)
        if made is None:
            made = self._made.setdefault(path, self._make(path))
        return made

    def _make(self, path: str) -> Mapping[Any, Slot]:
        slots, attributes = {}, self.attributes[path]
        for place, element in enumerate(self._schema.children(path).values()):
            if element.name in attributes:
                continue
            for name, kind in element.names.items():
                segment = f".{element.stem}.ofType({kind})" if element.choice else f".{name}"
                tag = f"{{{XHTML if kind == 'xhtml' else FHIR}}}{name}"
                primitive = kind in PRIMITIVES and kind != "xhtml"
                text = primitive and kind not in JSON_TYPE_OF and not element.many
                slots[tag] = Slot(name, kind, place, element.many, kind in PRIMITIVES, text, segment)
        return slots


class _Reader:
    """One document: its elements as members, and what is wrong with them."""

    def __init__(self, limits: Limits) -> None:
        self.faults: list[Fault] = []
        self._limits = limits

    def resource(self, el: etree._Element) -> Json:
        name = _slots.resources.get(el.tag)
        if name is None:
            self._fault(el, "structure", "is not a resource type of R4 in the namespace of FHIR")
            return {}
        node: Json = {"resourceType": name}
        self._members(el, name, node)
        return node

    def _object(self, el: etree._Element, path: str) -> Json:
        node: Json = {}
        self._members(el, path, node)
        return node

    def _members(self, el: etree._Element, path: str, node: Json) -> None:
        """Attributes and child elements of one path, into `node`. The hot loop."""
        if attributes := el.items():
            self._attributes(el, path, attributes, node)
        if (blank := el.text) is not None:
            self._check_text(el, blank)
        slots, last = _slots.of(path), -1
        for child in el:
            if (blank := child.tail) is not None:
                self._check_text(el, blank)
            slot = slots.get(child.tag)
            if slot is None:
                self._fault(child, "structure", "is not an element of this type")
                continue
            name, kind, place, many, primitive, text, _ = slot
            if place > last:
                last = place
            elif place < last or not many:
                self._fault(child, "structure", "is out of order" if place < last else "stands more than once")
            if text:
                found = child.items()
                if len(found) == 1 and found[0][0] == "value" and child.text is None and not len(child):
                    node[name] = found[0][1]  # a value and nothing else, as most are
                    continue
            if primitive:
                self._primitive(child, slot, node)
                continue
            if kind == "Resource":
                value = self._inner(child)
            else:
                value = {}
                self._members(child, kind, value)
            if not many:
                node[name] = value
            elif name in node:
                node[name].append(value)
            else:
                node[name] = [value]

    def _attributes(self, el: etree._Element, path: str, attributes: Iterable[tuple[str, str]], node: Json) -> None:
        allowed = _slots.attributes[path]
        for name, value in attributes:
            if name in allowed:
                node[name] = value
            else:
                self._fault(el, "structure", "has an attribute that is none of this type")

    def _inner(self, el: etree._Element) -> Json:
        """The resource that stands alone in `contained` or `resource`."""
        self._check_text(el, el.text)
        if len(el) != 1 or el.attrib:
            self._fault(el, "structure", "does not hold one resource")
            return {}
        self._check_text(el, el[0].tail)
        return self.resource(el[0])

    def _primitive(self, el: etree._Element, slot: Slot, node: Json) -> None:
        """`name`, and `_name` where there is an id or an extension."""
        if slot.kind == "xhtml":
            node[slot.name] = _narrative(el)
            return
        attributes = el.items()
        extended: Json | None = None
        if len(attributes) != 1 or attributes[0][0] != "value" or len(el):
            extended = self._extended(el)
        text = el.get("value")
        if el.text is not None:
            self._check_text(el, el.text)
        if text is None and not extended:
            self._fault(el, "structure", "has neither a value nor extensions")
        value = None if text is None else self._value(el, slot.kind, text)
        if slot.many:
            _repeat(node, slot.name, value, extended or None)
            return
        if value is not None:
            node[slot.name] = value
        if extended:
            node[f"_{slot.name}"] = extended

    def _extended(self, el: etree._Element) -> Json:
        """What stands beside a value: an id, extensions."""
        node: Json = {}
        for attribute, text in el.items():
            if attribute == "id":
                node["id"] = text
            elif attribute != "value":
                self._fault(el, "structure", "has an attribute that is none of this type")
        for child in el:
            self._check_text(el, child.tail)
            if child.tag == _EXTENSION:
                node.setdefault("extension", []).append(self._object(child, "Extension"))
            else:
                self._fault(child, "structure", "is not an element of this type")
        return node

    def _value(self, el: etree._Element, kind: str, text: str) -> Any:
        """A primitive as JSON has it."""
        expected = JSON_TYPE_OF.get(kind)
        if expected is None:
            return text
        if kind == "boolean":
            if text in _BOOLEAN:
                return _BOOLEAN[text]
        elif kind == "decimal":
            if _NUMBER.fullmatch(text):
                return self._number(el, text)
        elif text.isascii() and text.isdigit() and text[0] != "0" and len(text) < 10:
            return int(text)
        elif _INTEGER.fullmatch(text):
            return self._number(el, text.removeprefix("+"))
        self._fault(el, "value", f"is not {kind}")
        return text

    def _number(self, el: etree._Element, text: str) -> Any:
        try:
            return read_number(text, self._limits)
        except BytesError as error:
            self._fault(el, error.faults[0].code, error.faults[0].text)
            return 0

    def _check_text(self, el: etree._Element, text: str | None) -> None:
        if text and text.strip(BLANK):
            self._fault(el, "structure", "has text between its elements")

    def _fault(self, el: etree._Element, code: str, text: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(Fault("error", code, _expression(el), text))


def _repeat(node: Json, name: str, value: Any, extended: Json | None) -> None:
    """One more of a primitive that repeats: the two arrays stand side by side, null for what an item has not."""
    values, beside = node.get(name), node.get(f"_{name}")
    count = len(values or beside or ())
    if value is not None or values is not None:
        node.setdefault(name, [None] * count).append(value)
    if extended is not None or beside is not None:
        node.setdefault(f"_{name}", [None] * count).append(extended)


def _narrative(el: etree._Element) -> str:
    """The div as a string that needs no namespace of what stood around it, and that HTML reads as XHTML does."""
    above = el.getparent()
    if above is not None and set(above.nsmap) - {None}:
        alone = etree.tostring(el, method="c14n", exclusive=True)
        el = etree.fromstring(alone, parser(encoding="UTF-8"))
    for node in el.iter():
        if node.text is None and not len(node) and node.tag not in _VOID:
            node.text = ""  # so that it is written as `<td></td>`: for HTML, `<td/>` would not end there
    return etree.tostring(el, encoding="unicode", with_tail=False)


def _expression(el: etree._Element) -> str:
    """The FHIRPath of an element, by the way down to it. An unknown one is named if it can be a name of FHIR's."""
    way = [el, *el.iterancestors()][::-1]
    kind = _slots.resources.get(way[0].tag)
    expression = kind or "Resource"
    for child in way[1:]:
        if kind is None:
            break
        if kind == "Resource":  # what stands inside is the resource itself
            kind = _slots.resources.get(child.tag)
            continue
        slot = _slots.of(kind if kind in _slots.attributes else "Element").get(child.tag)
        if slot is None:
            name = str(child.tag).rpartition("}")[2]
            return f"{expression}.{name}" if NAME.fullmatch(name) else expression
        expression += slot.segment
        if slot.many:
            expression += f"[{len(list(child.itersiblings(str(child.tag), preceding=True)))}]"
        kind = slot.kind
    return expression


_slots = _Slots(schema())
