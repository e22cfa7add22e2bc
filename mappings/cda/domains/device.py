"""Devices: what was supplied or implanted is a Device and its use, what is to be supplied a DeviceRequest.

A device is known by its number, among them the unique device identifier, which is taken apart (`udi.py`) and completed
by the UDI organizer beside it. One number on two kinds of device is two devices. What stands in a section of devices is
in use; a procedure there that put one in makes its use known, too. A device that nobody has is a use of none.
Source: C-CDA R2.1 (non-medicinal supply activity, planned supply, product instance, medical equipment organizer, UDI
organizer and its observations); eHDSI medical devices; FHIR R4 Device.udiCarrier; IPS 2.0 (devices).
"""

from collections.abc import Iterable
from typing import Any, Final

from mappings.cda import udi
from mappings.cda.absence import Absence, absence_of, no_known
from mappings.cda.assemble import Made, number_in
from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.registry import datatype
from mappings.cda.datatypes.text import ed_text
from mappings.cda.datatypes.times import bound
from mappings.cda.domains import product
from mappings.cda.element import Element
from mappings.cda.handlers import HANDLERS, handles
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of, is_valued, parse_paths, reader
from mappings.cda.walk import Walk
from mappings.fhir import temporal, values
from mappings.terminology.concept_map import ConceptMap

Json = dict[str, Any]
Key = tuple[str, ...]

FDA: Final = "2.16.840.1.113883.3.3719"
_USE, _NONE, _IMPLANT = (
    "device.DeviceUseStatement",
    "device.DeviceUseStatement-none",
    "device.DeviceUseStatement-implant",
)
_INTENDED: Final = frozenset({"INT", "RQO", "ARQ", "PRMS", "PRP"})
_GENERIC: Final = frozenset({"40388003", "49062001", "63653004"})  # implant, device, biomedical device: SNOMED CT
_NO_KNOWN: Final = "787483001"
_NOTHING: Final = frozenset({"NI", "NASK", "NAV", "NA", "UNK"})
_NOT_PUT_IN: Final = frozenset({"not-done", "stopped", "preparation", "entered-in-error"})
_AGENCIES: Final = {"1.3.160": udi.GS1}  # root of an issuing agency -> its name in FHIR
_RULE: Final = 2013  # of the FDA, that made these identifiers: a year near all of them, for a document without a time

(_roles,) = (reader(ref) for ref in parse_paths("participant[@typeCode='DEV|PRD']/participantRole"))
(_codes,) = (reader(ref) for ref in parse_paths("participant/participantRole/playingDevice/code"))
_organizers = tuple(
    reader(ref)
    for ref in parse_paths(
        "entryRelationship/organizer[tid='2.16.840.1.113883.10.20.22.4.311']"
        "|entryRelationship/organizer[code='74711-3']"
    )
)


@handles("device", "supply", negation=True)
def supply(walk: Walk, el: Element) -> None:
    """One supply."""
    named = coded(el, walk)
    absence = absence_of([*el.named("code"), *named], walk)
    specific = _names_one(el, walk)
    if absence is not None:
        absent(walk, el, absence)
    elif not named and product.is_specific(el, walk):
        _medicine(walk, el)
    elif walk.negated and specific:
        walk.refuse(el, "negated")
    elif walk.negated:
        none_known(walk, el)
    elif not specific and named and all(_is_absent(each) for each in named):
        walk.nothing_known(el)
    elif el.get("moodCode") in _INTENDED:
        walk.state("device.DeviceRequest", el)
    else:
        walk.state(_USE, el)


def _medicine(walk: Walk, el: Element) -> None:
    """A drug among the devices."""
    found = HANDLERS.get("supply")
    if found is None or walk.negated:
        walk.refuse(el, "negated" if walk.negated else "")
        return
    walk.domain = "supply"
    found.call(walk, el)


def _names_one(el: Element, ctx: Walk) -> bool:
    """Whether it says what device it is: by a code, by a number, without any in words."""
    codes = [each for each in (*coded(el, ctx), *_own_codes(el, ctx)) if is_valued(each)]
    if any(is_specific(each) for each in codes) or numbered(el, ctx):
        return True
    return not codes and not coded(el, ctx) and any(is_valued(each) for each in el.named("text"))


def _own_codes(el: Element, ctx: Walk) -> list[Element]:
    return list(el.named("code"))


def _is_absent(code: Element) -> bool:
    return code.get("nullFlavor") in _NOTHING and not is_valued(code)


def coded(el: Element, ctx: Walk) -> list[Element]:
    """What codes of devices a statement holds, null ones too."""
    return _codes(el, ctx)


def is_specific(code: Element) -> bool:
    """Whether it says what device it is, and not only that it is one."""
    return is_valued(code) and code_of(code) not in _GENERIC


def numbered(el: Element, ctx: Walk) -> bool:
    """Whether a device of a statement has a number."""
    return any(_number(role, ctx) is not None for role in _roles(el, ctx))


# absence --------------------------------------------------------------------------------------------------------------


def absent(walk: Walk, el: Element, absence: Absence) -> None:
    """What a code says of absence."""
    if absence.said == "known":
        none_known(walk, el)
    else:
        walk.nothing_known(el)


def none_known(walk: Walk, el: Element) -> None:
    """There are no devices: said as the use of none."""
    walk.state(_NONE, el)


def none_of(nodes: Iterable[Element], domain: str, code: str, ctx: Walk) -> Json:
    """A known absence as a concept: its code, then the codings and words that were sent for it."""
    coding = dict(no_known(domain, code))
    for each in nodes:
        if absence_of([each], ctx) is not None:
            found = cd_concept(each, ctx) or {}
            same = [known for known in found.get("coding", ()) if known.get("code") != coding["code"]]
            return {**found, "coding": [coding, *same]}
    return {"coding": [coding]}


@resolver("no-known-device")
def no_known_device(ctx: Walk) -> Json | None:
    """A device that is SNOMED CT's code of their absence, inside the use of it."""
    el = ctx.at_hand
    kind = none_of([*_own_codes(el, ctx), *coded(el, ctx)], "device", _NO_KNOWN, ctx)
    return values.reference(ctx.contained({"resourceType": "Device", "type": kind}))


# the device -----------------------------------------------------------------------------------------------------------


def _number(role: Element, ctx: Walk) -> Key | None:
    """What numbers a device: its UDI, else its first number."""
    found: Key | None = None
    for each in role.named("id"):
        root, extension = number_in(each)
        if each.get("nullFlavor") or not root or not (extension or "-" in root):
            continue
        if root == FDA:
            return root, extension
        found = found or (root, extension)
    return found


def device_of(role: Element, ctx: Walk) -> Made | None:
    """The device of a role: by its number and kind, without a number by the statement it stands in."""
    number = _number(role, ctx)
    about = next(
        (text for each in role.named("playingDevice") if (text := _about(each, ctx))),
        "",
    )
    if number is None and not about:
        return None
    key: Key = (ctx.subject.id, "device", *(number or ("", "")), about)
    if number is None:
        key = (*key, *ctx.own_id(ctx.at_hand), *_start(ctx.at_hand, ctx))
    made: Made = ctx.place_one("Device", key, "state", role)
    if "patient" not in made.body:
        ctx.fill("device.Device", role, made, also=lambda body: _identified(role, ctx, body))
    return made


def _about(playing: Element, ctx: Walk) -> str:
    kids = playing.kids
    names = ("code", "manufacturerModelName", "softwareName")
    found = (ctx.identifying(each) for name in names for each in kids.get(name, ()))
    return next((str(text) for text in found if text), "")


def _start(el: Element, ctx: Walk) -> Key:
    return tuple(
        each.get("value") or ""
        for time in el.named("effectiveTime")
        for each in (time, *time.named("low"))
        if each.get("value")
    )


def _identified(role: Element, ctx: Walk, body: Json) -> None:
    """What the UDI organizer beside a device tells of it, which says more than what its identifier was read as."""
    el = ctx.statement
    found = next((organizers for read in _organizers if (organizers := read(el, ctx))), [])
    alone = len(_roles(el, ctx)) == 1
    numbers = {number_in(each) for each in role.named("id")}
    for organizer in found:
        if not alone and not numbers & {number_in(each) for each in organizer.named("id")}:
            continue
        more: Json = {}
        ctx.read.add(organizer)
        ctx.run("device.Device-udi", organizer, more)
        _complete(body, more)


def _complete(body: Json, more: Json) -> None:
    for name, value in more.items():
        if name == "udiCarrier" and name in body:
            for carrier in value:
                same = [each for each in body[name] if _same(each, carrier)]
                for each in same:
                    each |= {part: said for part, said in carrier.items() if part not in each}
                body[name] += [] if same else [carrier]
        else:
            body[name] = value


def _same(one: Json, other: Json) -> bool:
    """Whether two carriers are of one label."""
    return all(one[name] == other[name] for name in ("carrierHRF", "deviceIdentifier") if name in one and name in other)


@datatype("DEVICE[Reference(Device)]", gives="Reference")
def device_reference(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> Json | None:
    """A device, by its role; by a statement that has none, the thing that its code or words name."""
    if isinstance(node, str) or ctx.patient is None:
        return None
    if node.short != "participantRole":
        return _named_only(node, ctx)
    made = device_of(node, ctx)
    if made is None:
        return None
    shown = made.body.get("deviceName", [{}])[0].get("name") or _shown(made.body.get("type"))
    return values.reference(made.ref, shown)


def _shown(kind: Json | None) -> str | None:
    if not kind:
        return None
    return kind.get("text") or next((each["display"] for each in kind.get("coding", ()) if "display" in each), None)


def _named_only(el: Element, ctx: Walk) -> Json | None:
    kids = el.kids
    coded = (cd_concept(each, ctx) for each in kids.get("code", ()))
    told = ({"text": text} for each in kids.get("text", ()) if (text := ed_text(each, ctx)))
    kind = next((each for each in (*coded, *told) if each and each.keys() & {"coding", "text"}), None)
    if kind is None:
        return None
    return values.reference(ctx.contained({"resourceType": "Device", "type": kind}), _shown(kind))


# its use --------------------------------------------------------------------------------------------------------------


def implanted(walk: Walk, el: Element, procedure: Made) -> None:
    """In a section of devices: a procedure that put a device in tells of its use."""
    row = walk.section_row
    if row is None or row.domain != "device" or walk.negated or procedure.body.get("status") in _NOT_PUT_IN:
        return
    for role in _roles(el, walk):
        device = device_of(role, walk)
        if device is None:
            continue
        made = walk.place_one("DeviceUseStatement", ("implant", device.id, procedure.id), "state", el)
        if "device" in made.body:
            continue
        made.body["device"] = {"reference": device.ref}
        made.body["derivedFrom"] = [{"reference": procedure.ref}]
        walk.fill(_IMPLANT, el, made)
        if device.body.get("status") == "inactive":
            made.body["status"] = "completed"
        if made.ref not in walk.section_made:
            walk.section_made.append(made.ref)


def _ends(el: Element, ctx: Walk) -> tuple[bool, str | None]:
    """Whether a beginning is told, and the end of a time."""
    begins, end = False, None
    told, ctx.issues = ctx.issues, []
    for time in el.named("effectiveTime"):
        begins = begins or any(is_valued(each) for each in time.named("low"))
        for high in time.named("high"):
            found = bound(high, ctx, end=True)
            end = found.value if found is not None and found.value else end
    ctx.issues = told
    return begins, end


@flag("supplied-at")
def supplied_at(el: Element, ctx: Walk) -> bool:
    """Whether an end without a beginning stands there: it says when the device was supplied, not until when."""
    begins, end = _ends(el, ctx)
    return bool(end) and not begins


@flag("use-over")
def use_over(el: Element, ctx: Walk) -> bool:
    """Whether the time of use had ended when the document was made."""
    begins, end = _ends(el, ctx)
    if not begins or not end or not ctx.at:
        return False
    return temporal.compare(end, ctx.at[: len(end)]) in (-1, 0)


# the identifier -------------------------------------------------------------------------------------------------------


def _parsed(node: Element | str, ctx: Walk) -> udi.Udi:
    written = node if isinstance(node, str) else node.get("extension") or ""
    return udi.parse(written, int(ctx.at[:4]) if ctx.at else _RULE)


@datatype("UDI[device]", gives="string", reads={"@extension"})
def udi_device(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> str | None:
    """The device identifier: what maker and model it is."""
    found = _parsed(node, ctx)
    if found.bad_date:
        ctx.issue("not-a-date")
    return found.device or None


@datatype("UDI[issuer]", gives="uri", reads={"@extension"})
def udi_issuer(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> str | None:
    return _parsed(node, ctx).issuer or None


@datatype("UDI[agency]", gives="uri")
def udi_agency(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> str | None:
    """Who issues the identifiers under a root."""
    return _AGENCIES.get(node) if isinstance(node, str) else None


@datatype("UDI[lot]", gives="string", reads={"@extension"})
def udi_lot(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> str | None:
    return _parsed(node, ctx).lot or None


@datatype("UDI[serial]", gives="string", reads={"@extension"})
def udi_serial(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> str | None:
    return _parsed(node, ctx).serial or None


@datatype("UDI[distinct]", gives="string", reads={"@extension"})
def udi_distinct(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> str | None:
    """The code that tells a human cell or tissue product apart."""
    return _parsed(node, ctx).distinct or None


@datatype("UDI[made]", gives="dateTime", reads={"@extension"})
def udi_made(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> str | None:
    return _parsed(node, ctx).made or None


@datatype("UDI[expires]", gives="dateTime", reads={"@extension"})
def udi_expires(node: Element | str, ctx: Walk, vocab: ConceptMap | None = None) -> str | None:
    return _parsed(node, ctx).expires or None
