"""A resource made shorter: `_summary` and `_elements`.

`shortened` gives a copy with fewer elements and the tag SUBSETTED, so that nobody takes it for the whole; the resource
itself is left as it is. What is required is kept, so that the short form is still read; what can change the meaning of
the rest (modifiers) is kept too, but for `_summary=text`, which the standard lists element by element.
Source: FHIR R4 search.html §3.1.1.5.8 (_summary), §3.1.1.5.9 (_elements); the flags of the compiled schema.
"""

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, Final

from mappings.fhir.codec import Json
from mappings.fhir.schema import Element, schema

SUBSETTED: Final = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}
ALWAYS: Final = frozenset({"id", "meta"})
SHORTER: Final = frozenset({"true", "text", "data"})

Keep = Callable[[Element], bool]


def shortened(resource: Json, summary: str | None, elements: Collection[str]) -> Json:
    """What `_summary` (true, text or data) or else `_elements` leaves; with neither, all of it."""
    type_ = resource["resourceType"]
    if summary == "true":
        return _tagged(_summarised(type_, resource))
    if summary == "text":
        return _tagged(_top(resource, lambda element: element.name == "text" or element.min > 0))
    if summary == "data":
        return _tagged(_top(resource, lambda element: element.name != "text"))
    wanted = elements_of(type_, elements)
    if not wanted:
        return resource
    return _tagged(_top(resource, lambda element: element.stem in wanted or element.min > 0 or element.modifier))


def elements_of(type_: str, elements: Collection[str]) -> frozenset[str]:
    """The names that `_elements` asks of a type, by their stem (`value` for `valueQuantity`)."""
    stems = _stems(type_)
    return frozenset(stems[bare] for name in elements if (bare := name.removeprefix(f"{type_}.")) in stems)


def is_element(type_: str, name: str) -> bool:
    """Whether `_elements` can name this: an element of the type, or `Type.element` of any."""
    head, dot, rest = name.partition(".")
    if dot:
        return head in schema().resource_types and rest in _stems(head)
    return name in _stems(type_)


@cache
def _stems(type_: str) -> Mapping[str, str]:
    """Every name of an element to its name without a type."""
    members = schema().members(type_)
    return {name: element.stem for name, element in members.items()} | {e.stem: e.stem for e in members.values()}


def _top(resource: Json, keep: Keep) -> Json:
    """The members of the elements to keep."""
    members = schema().members(resource["resourceType"])
    return {
        name: value
        for name, value in resource.items()
        if name == "resourceType" or (stem := name.removeprefix("_")) in ALWAYS or keep(members[stem])
    }


def _summarised(path: str, item: Json) -> Json:
    """The elements of the summary, and of each of these again those of its own."""
    members, found = schema().members(path), {}
    for name, value in item.items():
        if name == "resourceType":
            found[name] = value
            continue
        element = members.get(name.removeprefix("_"))
        if element is None or not (element.summary or element.modifier or element.min > 0):
            continue
        inner = element.names[name.removeprefix("_")]
        short = value if name.startswith("_") else _each(inner, value)
        if short not in ({}, []):
            found[name] = short
    return found


def _each(path: str, value: Any) -> Any:
    if isinstance(value, list):
        return [short for one in value if (short := _each(path, one)) != {}]
    if not isinstance(value, dict):
        return value
    inside = value.get("resourceType", path)
    return _summarised(inside, value) if schema().has_children(inside) else value


def _tagged(resource: Json) -> Json:
    meta = resource.get("meta", {})
    tags = [tag for tag in meta.get("tag", ()) if tag.get("code") != SUBSETTED["code"]]
    return resource | {"meta": meta | {"tag": [*tags, SUBSETTED]}}
