"""What no single row can see: parts that are right by themselves and together are no FHIR. Put right once all is made.

- a Period that ends before it begins (per-1): clocks of two systems write them every day. The start stands, the end's
  text stays beside it
- an amount with a comparator where FHIR holds plain amounts only (sqty-1): its text stays
- details of an order that does not say what it orders (prr-1): what it orders is absent, for a reason
- an organization's address or telephone at home (org-2, org-3): whose it is says no use
- a contained resource that a later field took the place of (dom-3): it goes

Each leaves an issue; none changes what keeps the rules. Source: FHIR R4 datatypes, and the constraints named.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from mappings.fhir import values
from mappings.fhir.codec import decimal
from mappings.fhir.contained import strings
from mappings.fhir.schema import Element, schema
from mappings.hl7v2.issues import issue
from mappings.hl7v2.periods import reversed_
from mappings.hl7v2.place import Place

Json = dict[str, Any]
Mend = Callable[[Json], bool]  # whether there was something to mend
Within = tuple[tuple[str, Mend], ...]  # names, and what to do with what stands there; of a member itself the name ""


def finish(assembly: Any) -> None:
    """Every resource of a message."""
    for builder in assembly.made:
        body, places = builder.body, _places(builder.type)
        for name in places.keys() & body.keys():
            for code in _mended(body[name], places[name]):
                assembly.issues.append(issue(code, _place(builder)))
        if "orderDetail" in body and "code" not in body and builder.type == "ServiceRequest":
            body["code"] = values.absent("unknown")
            if assembly.trace is not None:
                assembly.trace.rule("finishing", builder.ref, "code")
        if builder.type == "Organization" and _nobodys_home(body):
            assembly.issues.append(issue("contradiction", _place(builder)))
        if "contained" in body and _without_orphans(body):
            assembly.issues.append(issue("contradiction", _place(builder)))


def _mended(value: Any, within: Within) -> Iterator[str]:
    """The codes of what was mended in one member."""
    for item in value if isinstance(value, list) else [value]:
        for name, mend in within:
            held = item.get(name) if name else item
            if held is not None and mend(held):
                yield _CODES[mend]


def _straightened(period: Json) -> bool:
    """Takes the end out of a Period that ends before it begins."""
    start, end = period.get("start"), period.get("end")
    if start is None or end is None or not reversed_(start, end):
        return False
    del period["end"]
    if "_end" not in period:
        values.put(period, "end", None, values.lexeme(end))
    return True


def _plain(quantity: Json) -> bool:
    """Leaves of an amount with a comparator what was written: without it, `<5` would be 5."""
    if "comparator" not in quantity:
        return False
    parts = quantity["comparator"], str(decimal(quantity["value"])) if "value" in quantity else "", quantity.get("unit")
    quantity.clear()
    quantity["extension"] = [values.lexeme(" ".join(part for part in parts if part))]
    return True


_CODES: Final[Mapping[Mend, str]] = {_straightened: "contradiction", _plain: "bad-value"}


def _nobodys_home(body: Json) -> bool:
    at_home = [each for name in ("telecom", "address") for each in body.get(name, ()) if each.get("use") == "home"]
    for each in at_home:
        del each["use"]
    return bool(at_home)


def _without_orphans(body: Json) -> bool:
    """Takes out what is contained and that nothing refers to."""
    named = {text for text in strings(body) if text.startswith("#")}
    kept = [inner for inner in body["contained"] if f"#{inner.get('id')}" in named or "#" in strings(inner)]
    if len(kept) == len(body["contained"]):
        return False
    body["contained"] = kept
    if not kept:
        del body["contained"]
    return True


def _place(builder: Any) -> Place:
    """The segment that states the resource."""
    return Place(builder.segment.name, builder.segment.nth) if builder.segment is not None else Place("MSH", 1)


@cache
def _places(kind: str) -> Mapping[str, Within]:
    """Members of a resource that may need mending, or hold what may, one level down."""
    found: dict[str, Within] = {}
    for element in schema().children(kind).values():
        for name, child in element.names.items():
            if (mend := _mend(element, child)) is not None:
                found[name] = (("", mend),)
            elif "." in child or child == "Identifier":
                if inner := tuple(_inner(child)):
                    found[name] = inner
    return found


def _inner(path: str) -> Iterator[tuple[str, Mend]]:
    for element in schema().children(path).values():
        for name, child in element.names.items():
            if not element.many and (mend := _mend(element, child)) is not None:
                yield name, mend


def _mend(element: Element, kind: str) -> Mend | None:
    if kind == "Period":
        return _straightened
    simple = kind == "Quantity" and any(constraint.key == "sqty-1" for constraint in element.constraints)
    return _plain if simple else None
