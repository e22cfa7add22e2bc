"""Names inside a resource, replaced: references, `uri` and `url` elements, and the links of a narrative.

A transaction gives its resources names that hold only inside it (`urn:uuid:…`); here they become the names that the
server gives. `canonical` elements are left as they are, and so are `oid` and `uuid` ones, which could hold no other
name. What is not in `names` stays. `loose_ends` tells of references that still have such a name.

Source: FHIR R4 §3.1.0.11.2 (transaction processing rules), §2.36.4.1 (resolving references in Bundles).
"""

import re
from collections.abc import Container, Iterator, Mapping
from typing import Any

from mappings.fhir.codec import Json, encode
from mappings.fhir.schema import schema

LINKS = frozenset({"uri", "url"})
LOCAL_NAMES = ("urn:uuid:", "urn:oid:")
FEW = 32  # names that are looked for before a walk; of more, some will be there
_RESTFUL = re.compile(r"(https?://\S+)/([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/[A-Za-z0-9.-]{1,64})?")
_RELATIVE = re.compile(r"([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?=/_history/[A-Za-z0-9.-]{1,64}\Z|\Z)")
_ATTRIBUTE = re.compile(r"""(\s(?:href|src)\s*=\s*)("[^"]*"|'[^']*')""")


def relinked(resource: Json, names: Mapping[str, str]) -> Json:
    """A copy under the new names; the resource itself where it holds none of the old ones."""
    if len(names) <= FEW:
        text = encode(resource)
        if not any(name.encode() in text for name in names):
            return resource
    kind = resource.get("resourceType")
    return _object(resource, kind if isinstance(kind, str) else "", names)


def _object(node: Json, path: str, names: Mapping[str, str]) -> Json:
    inner = node.get("resourceType")
    path = inner if isinstance(inner, str) else path
    known = schema().members(path) if schema().has_children(path) else {}
    copy: Json = {}
    for name, value in node.items():
        element = known.get(name)
        kind = element.names[name] if element is not None else ""
        copy[name] = _value(value, "Reference.reference" if (path, name) == ("Reference", "reference") else kind, names)
    return copy


def _value(value: Any, kind: str, names: Mapping[str, str]) -> Any:
    if type(value) is dict:
        return _object(value, kind, names)
    if type(value) is list:
        return [_value(item, kind, names) for item in value]
    if type(value) is not str:
        return value
    if kind == "Reference.reference":
        name, slash, version = value.partition("/_history/")
        return names[name] + (slash + version if not _is_local(name) else "") if name in names else value
    if kind in LINKS:
        return names.get(value, value)
    return _ATTRIBUTE.sub(lambda found: _attribute(found, names), value) if kind == "xhtml" else value


def _attribute(found: re.Match[str], names: Mapping[str, str]) -> str:
    quote, target = found[2][0], found[2][1:-1]
    return f"{found[1]}{quote}{names.get(target, target)}{quote}"


def _is_local(name: str) -> bool:
    return name.startswith(LOCAL_NAMES)


def base_of(full_url: str) -> str:
    """The server that a `fullUrl` speaks of: `https://a.example/fhir` of `https://a.example/fhir/Patient/1`; "" for one
    of another form."""
    found = _RESTFUL.fullmatch(full_url)
    return found[1] if found is not None and found[2] in schema().resource_types else ""


def relative(resource: Json, kind: str) -> Iterator[tuple[str, str]]:
    """The relative references of a resource, without a version, each with its place."""
    for place, reference in references(resource, kind):
        if (found := _RELATIVE.match(reference)) is not None and found[1] in schema().resource_types:
            yield place, found[0]


def loose_ends(node: Any, place: str, stood: Container[str] = ()) -> Iterator[str]:
    """The places of references that only a transaction could have given a meaning, and did not. `stood`: those that
    stood there before it.
    """
    for at, reference in references(node, place):
        if _is_local(reference) and reference not in stood:
            yield at


def references(node: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every `Reference.reference` with its place."""
    if type(node) is dict:
        if type(reference := node.get("reference")) is str:
            yield f"{place}.reference", reference
        for name, value in node.items():
            yield from references(value, f"{place}.{name}")
    elif type(node) is list:
        for number, item in enumerate(node):
            yield from references(item, f"{place}[{number}]")
