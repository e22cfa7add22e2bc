"""What no single row can see: parts that are right by themselves and together are no FHIR. Put right once all is made.

- a Period that ends before it begins (per-1): clocks of two systems write them every day. The start stands, the end's
  text stays beside it
- a condition that is over before it began: two elements of FHIR, else the same
- an amount with a comparator where FHIR holds plain amounts only (sqty-1): its text stays
- details of an order that does not say what it orders (prr-1): what it orders is absent, for a reason
- an organization's address or telephone at home (org-2, org-3): whose it is says no use
- one end of an appointment without the other (app-2): that is absent, for a reason
- a choice that two segments fill in two types (`asNeeded[x]`): the later one stands
- a contained resource that a later field took the place of (dom-3): it goes

- an element that R4 requires and that nothing told of, or all of several of which it requires one (app-1, imm-1, mad-1,
  obs-3, org-1, pat-1, ppc-1): absent, for a reason, as `??` of a row has it; what is stored already stands
  (`Builder.filled`)

All but the last leave an issue; none changes what keeps the rules.
Source: FHIR R4 datatypes, and the constraints named.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from mappings.fhir import values
from mappings.fhir.codec import decimal
from mappings.fhir.contained import strings
from mappings.fhir.primitives import PRIMITIVES
from mappings.fhir.schema import Element, schema
from mappings.hl7v2.periods import reversed_, straighten
from mappings.issues import issue

_SHAPES: Final = 8_192  # remembered, a kind and its members' names; a feed's rows make a few dozen of each

Json = dict[str, Any]
Mend = Callable[[Json], bool]  # whether there was something to tell of
Within = tuple[tuple[str, Mend], ...]  # names, and what to do with what stands there; of a member itself the name ""


def finish(assembly: Any) -> None:
    """Every resource of a message."""
    for builder in assembly.made:
        body = builder.body
        plan = _plans.get((builder.type, *body)) or _plan(builder.type, body)
        if plan.by_values and _fits(plan.looks, body):
            continue
        told = len(builder.filled)
        codes = _put_right(builder.type, builder.body, builder.filled)
        if "contained" in builder.body:
            for inner in builder.body["contained"]:
                codes += _put_right(inner["resourceType"], inner, [])
            if _without_orphans(builder.body):
                codes.append("contradiction")
        if codes:
            assembly.issues.extend(issue(code, assembly.place_of(builder)) for code in codes)
        if assembly.trace is not None:
            for name in builder.filled[told:]:
                assembly.trace.rule("finishing", builder.ref, name)


def _fits(looks: "tuple[_Look, ...]", body: Json) -> bool:
    """Whether nothing that is looked at needs mending: so it is of nearly every resource."""
    for look in looks:
        value, complete = body[look.name], look.complete
        for item in value if value.__class__ is list else (value,):
            if complete is not None and (not item.keys() >= look.required or None in item.values()):
                return False
            for name, mark, _ in look.within:
                held = item.get(name) if name else item
                if held is not None and mark in held:
                    return False
    return True


def _put_right(kind: str, body: Json, filled: list[str]) -> list[str]:
    """One resource; the codes of what there is to tell, and into `filled` the names of what is now absent."""
    codes: list[str] = []
    looks, superseded, lacking, _ = _plan(kind, body)
    for name in superseded:
        body.pop(name)
        codes.append("contradiction")
    for look in looks:
        value = body[look.name]
        for item in value if value.__class__ is list else (value,):
            if look.complete is not None and (not item.keys() >= look.required or None in item.values()):
                look.complete(item)
            for name, mark, mend in look.within:
                held = item.get(name) if name else item
                if held is not None and mark in held and mend(held):
                    codes.append(_CODES[mend])
    for needed in lacking:
        if needed.missing(body):
            filled.append(needed.fill(body))
    if kind == "ServiceRequest" and "orderDetail" in body and "code" not in body:
        body["code"] = values.absent("unknown")
        filled.append("code")
    if kind == "Appointment" and (one_end := _other_end(body)):
        body[f"_{one_end}"] = values.absent("unknown")
        filled.append(one_end)
    if kind == "Organization" and _nobodys_home(body):
        codes.append("contradiction")
    if kind == "Condition" and _over_first(body):
        codes.append("contradiction")
    return codes


class _Look(NamedTuple):
    """A member of a resource that may need mending: what tells that it does, and what to do then."""

    name: str
    required: frozenset[str]  # all of these: nothing absent
    complete: Mend | None
    within: tuple[tuple[str, str, Mend], ...]  # a name, the member without which all is well there, and what to do


class _Plan(NamedTuple):
    """By the names of a resource's members: which to look at, which to leave out, and what R4 requires that none is."""

    looks: tuple[_Look, ...]
    superseded: tuple[str, ...]
    lacking: "tuple[_Needed, ...]"
    by_values: bool  # whether the values of `looks` alone can be wrong


# With one of these members more is asked of a resource than its names tell.
_MORE: Final[Mapping[str, frozenset[str]]] = {
    "Appointment": frozenset({"resourceType"}),
    "Condition": frozenset({"abatementDateTime", "abatementPeriod"}),
    "Organization": frozenset({"telecom", "address"}),
    "ServiceRequest": frozenset({"orderDetail"}),
}
_plans: dict[tuple[str, ...], _Plan] = {}


def _plan(kind: str, body: Json) -> _Plan:
    shape = (kind, *body)
    found = _plans.get(shape)
    if found is None:
        lacking = tuple(needed for needed in _required(kind) if needed.names[0] not in body)
        superseded = tuple(_second_types(kind, body))
        more = _MORE.get(kind, frozenset()) & {*body, "resourceType"} or "contained" in body
        found = _Plan(tuple(_look(kind, body)), superseded, lacking, not (superseded or lacking or more))
        if len(_plans) < _SHAPES:
            _plans[shape] = found
    return found


def _second_types(kind: str, body: Json) -> Iterator[str]:
    """Of a choice that two segments have filled in two types, all names but the last type's: the later word counts."""
    for element in schema().children(kind).values():
        said = [name for name in body if element.choice and name.removeprefix("_") in element.names]
        yield from (name for name in said if name.removeprefix("_") != said[-1].removeprefix("_"))


def _look(kind: str, body: Json) -> Iterator[_Look]:
    places = _places(kind)
    left_out = frozenset(_second_types(kind, body))
    for name in body:
        if name in places and name not in left_out:
            child = schema().members(kind)[name].names[name]
            needed = _required(child) if "." in child or child in _LOOKED_INTO else ()
            complete = next((mend for inner, mend in places[name] if mend not in _ODD), None)
            within = tuple((inner, _ODD[mend], mend) for inner, mend in places[name] if mend in _ODD)
            yield _Look(name, frozenset(one.names[0] for one in needed), complete, within)


def _plain(quantity: Json) -> bool:
    """Leaves of an amount with a comparator what was written: without it, `<5` would be 5."""
    if "comparator" not in quantity:
        return False
    parts = quantity["comparator"], str(decimal(quantity["value"])) if "value" in quantity else "", quantity.get("unit")
    quantity.clear()
    quantity["extension"] = [values.lexeme(" ".join(part for part in parts if part))]
    return True


# Of these R4 requires one; the last is what is then said to be absent.
_ONE_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "Appointment.participant": ("actor", "type"),
    "Consent": ("policy", "policyRule"),
    "Immunization.education": ("reference", "documentType"),
    "MedicationAdministration.dosage": ("rateQuantity", "rateRatio", "dose"),
    "Observation.referenceRange": ("low", "high", "text"),
    "Organization": ("identifier", "name"),
    "Patient.contact": ("telecom", "address", "organization", "name"),
}
_LOOKED_INTO: Final = frozenset({"Identifier", "Annotation"})  # besides elements with children of their own
_ODD: Final[Mapping[Mend, str]] = {straighten: "end", _plain: "comparator"}  # the member without which all is well
_CODES: Final[Mapping[Mend, str]] = {straighten: "contradiction", _plain: "bad-value"}


def _other_end(body: Json) -> str:
    """The end of an appointment that is not there while the other is (app-2)."""
    there = [name in body or f"_{name}" in body for name in ("start", "end")]
    return "" if there[0] == there[1] else "start" if there[1] else "end"


def _nobodys_home(body: Json) -> bool:
    at_home = [each for name in ("telecom", "address") for each in body.get(name, ()) if each.get("use") == "home"]
    for each in at_home:
        del each["use"]
    return bool(at_home)


def _over_first(body: Json) -> bool:
    """Takes the end out of a condition that ends before it begins, and leaves its text beside; whether it had to."""
    start = body.get("onsetDateTime") or body.get("onsetPeriod", {}).get("start")
    holder, name = (
        (body, "abatementDateTime") if "abatementDateTime" in body else (body.get("abatementPeriod", {}), "end")
    )
    end = holder.get(name)
    if not start or not end or not reversed_(start, end):
        return False
    del holder[name]
    if f"_{name}" not in holder:
        values.put(holder, name, None, values.lexeme(end))
    return True


def _without_orphans(body: Json) -> bool:
    """Takes out what is contained and that nothing refers to, but for what another orphan says."""
    inside = body["contained"]
    kept: list[Json] = [inner for inner in inside if "#" in strings(inner)]
    named = _local({name: value for name, value in body.items() if name != "contained"}) | _local(kept)
    while more := [inner for inner in inside if inner not in kept and f"#{inner.get('id')}" in named]:
        kept += more
        named |= _local(more)
    if len(kept) == len(inside):
        return False
    body["contained"] = [inner for inner in inside if inner in kept]
    if not kept:
        del body["contained"]
    return True


def _local(value: Any) -> set[str]:
    return {text for text in strings(value) if text.startswith("#")}


@cache
def _places(kind: str) -> Mapping[str, Within]:
    """Members of a resource that may need mending, or hold what may, one level down."""
    found: dict[str, Within] = {}
    for element in schema().children(kind).values():
        for name, child in element.names.items():
            if (mend := _mend(element, child)) is not None:
                found[name] = (("", mend),)
            elif "." in child or child in _LOOKED_INTO:
                whole = (("", _complete(child)),) if _required(child) else ()
                if inner := (*whole, *_inner(child)):
                    found[name] = inner
    return found


def _inner(path: str) -> Iterator[tuple[str, Mend]]:
    for element in schema().children(path).values():
        for name, child in element.names.items():
            if not element.many and (mend := _mend(element, child)) is not None:
                yield name, mend


def _mend(element: Element, kind: str) -> Mend | None:
    if kind == "Period":
        return straighten
    simple = kind == "Quantity" and any(constraint.key == "sqty-1" for constraint in element.constraints)
    return _plain if simple else None


class _Needed(NamedTuple):
    """An element that has to be there: all names it can have, and what says that it is absent."""

    names: tuple[str, ...]
    filled: str
    value: Callable[[], Any]

    def missing(self, holder: Json) -> bool:
        return all(holder.get(name) is None for name in self.names)

    def fill(self, holder: Json) -> str:
        """Say that it is absent; the name of the element."""
        for name in self.names:
            holder.pop(name, None)
        holder[self.filled] = self.value()
        return self.filled.removeprefix("_")


def _complete(path: str) -> Mend:
    """What R4 requires within one element."""
    required = _required(path)

    def complete(holder: Json) -> bool:
        for needed in required:
            if needed.missing(holder):
                needed.fill(holder)
        return False  # nothing to tell of: what told nothing has no place

    return complete


@cache
def _required(path: str) -> tuple[_Needed, ...]:
    """What R4 requires of a type, or within an element."""
    elements = schema().children(path).values()
    found = [_needed(element) for element in elements if element.min and "xhtml" not in element.types]
    if one_of := _ONE_OF.get(path):
        filled = _needed(schema().children(path)[one_of[-1]])
        found.append(filled._replace(names=tuple(prefix + name for name in one_of for prefix in ("", "_"))))
    return tuple(found)


def _needed(element: Element) -> _Needed:
    """A concept or a code can be unknown; of anything else an extension says that it is absent."""
    chosen = next(
        (name for name, kind in element.names.items() if kind == "CodeableConcept"), next(iter(element.names))
    )
    kind = element.names[chosen]
    names = tuple(prefix + name for name in element.names for prefix in ("", "_"))
    if kind not in PRIMITIVES:
        return _Needed(names, chosen, lambda: [_absent(kind)] if element.many else _absent(kind))
    known = schema().valueset(element.valueset) if element.valueset else None
    if known is not None and any("unknown" in codes for codes in known.values()):
        return _Needed(names, chosen, lambda: "unknown")
    return _Needed(names, f"_{chosen}", lambda: [_absent(kind)] if element.many else _absent(kind))


def _absent(kind: str) -> Json:
    """An element that is there and says nothing but that: what it requires itself is absent."""
    required = _required(kind) if "." in kind else ()
    found: Json = {}
    for needed in required:
        needed.fill(found)
    return found or values.absent("unknown")
