"""A decoded resource as XML: elements in the schema's order, primitives as `value`, ids and an extension's url as
attributes, the narrative as XHTML.

Each path of the schema becomes a table of small functions when it is first met, so that one resource is one walk over
its members. What comes in has passed `validate.py`; a member that no schema knows is an error of ours, and a character
that XML 1.0 has no place for is `Unwritable`.

Source: FHIR R4 4.0.1 §2.6.1 (XML); XML 1.0 §2.2 (characters), §3.3.3 (white space in attributes).
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec
from lxml import etree

from mappings.errors import MappingError
from mappings.fhir.codec import Json, lexeme
from mappings.fhir.primitives import PRIMITIVES
from mappings.fhir.schema import Element, Schema, schema
from mappings.xml_parser import tree

FHIR = "http://hl7.org/fhir"
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
STEP = "  "

_ESCAPES = {
    **{ord(letter): f"&#{ord(letter)};" for letter in "\t\n\r"},  # an attribute's own would be read as blanks
    **{ord("&"): "&amp;", ord("<"): "&lt;", ord(">"): "&gt;", ord('"'): "&quot;"},
}
_SPECIAL = re.compile('[&<>"\t\n\r]')
_NO_CHARACTER = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Put = Callable[[list[str], Json, Any, str], None]  # (what is written, the object, the member's value, the margin)


class Unwritable(MappingError):
    """A resource that XML cannot hold: JSON has characters that XML 1.0 has not."""

    status_hint = 406


def to_xml(resource: Json, *, pretty: bool = False) -> bytes:
    """The XML of a valid resource, in UTF-8. Raises Unwritable."""
    out = [DECLARATION]
    margin = "\n" if pretty else ""
    _tables.resource(out, resource, margin, f' xmlns="{FHIR}"')
    text = "".join(out)
    if not text.isprintable() and _NO_CHARACTER.search(text):
        raise Unwritable("a value holds a character that XML cannot hold")
    return text.encode()


class _Tables:
    """What to do with each member of each path, made when the path is first met."""

    def __init__(self, source: Schema) -> None:
        self._schema = source
        self._made: dict[str, _Table] = {}

    def resource(self, out: list[str], node: Json, margin: str, declared: str = "") -> None:
        name = node["resourceType"]
        out.append(f"{margin}<{name}{declared}>")
        self.of(name).members(out, node, margin and margin + STEP)
        out.append(f"{margin}</{name}>")

    def of(self, path: str) -> "_Table":
        """The table of a path; its functions ask for those of other paths when they run, for paths refer in circles."""
        made = self._made.get(path)
        if made is None:
            elements = self._schema.children(path).values()
            made = self._made.setdefault(path, _Table(self, elements, path in self._schema.resource_types))
        return made


class _Table:
    """One path: the place of each member among its siblings, and how it is written."""

    def __init__(self, tables: _Tables, elements: Any, is_resource: bool) -> None:
        self._places: dict[str, int] = {"resourceType": 0}
        self._puts: dict[str, Put] = {"resourceType": _nothing}
        self._attributes: list[str] = []
        for element in elements:
            if element.xml_attribute and not is_resource:
                self._attributes.append(element.name)
                self._add(element.name, _nothing)
                continue
            for name, kind in element.names.items():
                self._add(name, _put(tables, name, kind, element))
                if kind in PRIMITIVES:
                    self._add(f"_{name}", _put_unvalued(tables, name, element))

    def _add(self, name: str, put: Put) -> None:
        self._places[name] = len(self._places)
        self._puts[name] = put

    def members(self, out: list[str], node: Json, margin: str) -> None:
        """The child elements of an object."""
        puts = self._puts
        for name in sorted(node, key=self._places.__getitem__) if len(node) > 1 else node:
            puts[name](out, node, node[name], margin)

    def attributes(self, node: Json) -> str:
        """Those of its members that XML writes into the start tag."""
        return "".join([f' {name}="{_text(node[name])}"' for name in self._attributes if name in node])

    def element(self, out: list[str], name: str, node: Json, margin: str) -> None:
        """An object as an element of this name."""
        out.append(f"{margin}<{name}{self.attributes(node)}>")
        self.members(out, node, margin and margin + STEP)
        out.append(f"{margin}</{name}>")


def _nothing(out: list[str], node: Json, value: Any, margin: str) -> None:
    """A member that is written elsewhere."""


def _put(tables: _Tables, name: str, kind: str, element: Element) -> Put:
    """How a member is written."""
    if kind == "xhtml":
        return _narrative
    if kind in PRIMITIVES:
        return _primitives(tables, name) if element.many else _primitive(tables, name)
    return _resources(tables, name, element) if kind == "Resource" else _objects(tables, name, kind, element)


def _objects(tables: _Tables, name: str, kind: str, element: Element) -> Put:
    def put_one(out: list[str], node: Json, value: Any, margin: str) -> None:
        tables.of(kind).element(out, name, value, margin)

    def put_many(out: list[str], node: Json, value: Any, margin: str) -> None:
        table = tables.of(kind)
        for item in value:
            table.element(out, name, item, margin)

    return put_many if element.many else put_one


def _resources(tables: _Tables, name: str, element: Element) -> Put:
    """`contained`, and the entries of a Bundle: each resource in an element of its own."""

    def put(out: list[str], node: Json, value: Any, margin: str) -> None:
        for item in value if element.many else (value,):
            out.append(f"{margin}<{name}>")
            tables.resource(out, item, margin and margin + STEP)
            out.append(f"{margin}</{name}>")

    return put


def _primitive(tables: _Tables, name: str) -> Put:
    start, extended = f'<{name} value="', f"_{name}"

    def put(out: list[str], node: Json, value: Any, margin: str) -> None:
        if extended in node:
            _extended(tables, out, name, value, node[extended], margin)
        else:
            out.append(f'{margin}{start}{_text(value)}"/>')

    return put


def _primitives(tables: _Tables, name: str) -> Put:
    extended = f"_{name}"

    def put(out: list[str], node: Json, value: Any, margin: str) -> None:
        beside = node.get(extended, ())
        for index in range(max(len(value), len(beside))):
            item = value[index] if index < len(value) else None
            extension = beside[index] if index < len(beside) else None
            _extended(tables, out, name, item, extension, margin)

    return put


def _put_unvalued(tables: _Tables, name: str, element: Element) -> Put:
    """`_name`, where no `name` stands beside it."""

    def put(out: list[str], node: Json, value: Any, margin: str) -> None:
        if name not in node:
            for extension in value if element.many else (value,):
                _extended(tables, out, name, None, extension, margin)

    return put


def _extended(tables: _Tables, out: list[str], name: str, value: Any, extension: Json | None, margin: str) -> None:
    """A primitive with its id and extensions, where it has them."""
    valued = "" if value is None else f' value="{_text(value)}"'
    if extension is None:
        out.append(f"{margin}<{name}{valued}/>")
        return
    table = tables.of("Element")
    out.append(f"{margin}<{name}{table.attributes(extension)}{valued}>")
    table.members(out, extension, margin and margin + STEP)
    out.append(f"{margin}</{name}>")


def _narrative(out: list[str], node: Json, value: Any, margin: str) -> None:
    """XHTML as it is, once it is sure to be one element: a declaration or comments around it would break the whole."""
    try:
        root = tree(value.encode(), "UTF-8")
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        raise Unwritable("the narrative is no XML")
    alone = value.startswith("<div") and value.endswith("</div>")
    out.append(margin + (value if alone else etree.tostring(root, encoding="unicode", with_tail=False)))


def _text(value: Any) -> str:
    """A primitive as the content of an attribute."""
    if value.__class__ is str:
        return value.translate(_ESCAPES) if _SPECIAL.search(value) else value
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, msgspec.Raw):
        return lexeme(value)
    return str(value)


_tables = _Tables(schema())
