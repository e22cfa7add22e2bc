"""Who takes part: persons, organizations, devices, relatives and places of the roles that participations hold.

    party(participation, ctx, PROVIDERS)    a reference to who stands behind it, of the kinds that its element may name;
                                            people where nothing is said, since no element that takes them refuses one

- what has a number that names it is a resource of its own, created where nothing is stored: an NPI, else the first id
- what has none is contained in what speaks of it: no two people may become one by their names
- a person with an organization or a code is a PractitionerRole
- a role that only has a number is whoever the document describes under that number elsewhere
- the patient's own number: the patient. A relative is a RelatedPerson of the patient
- a role that is nothing but a null flavour is nobody

Source: CDA R2 §4.2.2 (participants), §4.2.3 (roles, entities); C-CDA on FHIR, participations; eHDSI header.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from mappings.cda.assemble import Holder
from mappings.cda.datatypes.identifiers import ii_identifier
from mappings.cda.datatypes.registry import datatype
from mappings.cda.element import Element, alike
from mappings.cda.paths import code_of, is_valued
from mappings.fhir import values
from mappings.fhir.contained import strings
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]
Key = tuple[str, ...]

PROFESSIONALS: Final[frozenset[str]] = frozenset({"Practitioner", "PractitionerRole"})
PROVIDERS: Final[frozenset[str]] = PROFESSIONALS | {"Organization"}
HELPERS: Final[frozenset[str]] = PROFESSIONALS | {"RelatedPerson"}
PEOPLE: Final[frozenset[str]] = HELPERS | {"Patient"}
SIGNERS: Final[frozenset[str]] = PEOPLE | {"Organization"}
ANYONE: Final[frozenset[str]] = SIGNERS | {"Device"}

_ROLES: Final = (
    "assignedAuthor", "assignedEntity", "assignedCustodian", "relatedEntity", "associatedEntity", "intendedRecipient",
    "participantRole",
)  # fmt: skip
_PERSONS: Final = ("assignedPerson", "associatedPerson", "relatedPerson", "informationRecipient", "guardianPerson")
_ORGANIZATIONS: Final = (
    "representedOrganization", "scopingOrganization", "receivedOrganization", "representedCustodianOrganization",
)  # fmt: skip
_DEVICES: Final = ("assignedAuthoringDevice", "playingDevice")
_SOMEBODY: Final = (*_PERSONS, *_DEVICES)
# HL7 v3 RoleClass: who is something to the patient, and nobody's employee
RELATIVES: Final = frozenset({"AGNT", "CAREGIVER", "ECON", "GUAR", "GUARD", "NOK", "PRS"})
_SELF: Final = frozenset({"ONESELF", "SELF"})  # HL7 v3 RoleCode
_IN_ROLE: Final = frozenset({"PractitionerRole", ""})  # no element's kinds
_PERSON: Final = frozenset({"Practitioner", ""})
_ORGANIZATION: Final = frozenset({"Organization", ""})
_NPI: Final = "http://hl7.org/fhir/sid/us-npi"
_DEEPEST: Final = 4  # organizations that are part of each other


class Told:
    """Who was found: the reference, and what it needs in the resource that holds it."""

    __slots__ = ("inside", "quiet", "reference")

    def __init__(self, reference: Json | None, inside: list[Json], quiet: bool) -> None:
        self.reference = reference
        self.inside = inside
        self.quiet = quiet  # nothing was to be told of; an issue has a place of its own


class Known:
    """What is known of the roles of one document: who is described under which number, and who was made of which."""

    def __init__(self) -> None:
        self.patient: frozenset[Key] = frozenset()  # her numbers
        self.described: dict[Key, Element] | None = None
        self.made: dict[tuple[Element, frozenset[str]], Told] = {}  # by role, or the first that says the same
        self.alike: dict[Key, list[Element]] = {}  # roles of one number, each the first that says what it says
        self.firsts: dict[Element, Element] = {}


# participations -------------------------------------------------------------------------------------------------------


def latest(authors: Collection[Element], ctx: "Walk") -> Element | None:
    """The author whose time is the last; the first of those without."""
    return next(iter(by_time(authors, ctx)), None)


def by_time(authors: Collection[Element], ctx: "Walk") -> list[Element]:
    """Authors, the last to write first."""
    if len(authors) < 2:
        return list(authors)
    return sorted(authors, key=lambda each: _time_of(each, ctx), reverse=True)


def _time_of(participation: Element, ctx: "Walk") -> str:
    return next((each.get("value") or "" for each in participation.named("time")), "")


def role_of(participation: Element, ctx: "Walk") -> Element | None:
    """The role that a participation holds; a role itself."""
    if participation.short in _ROLES:
        return participation
    return _first(participation, _ROLES, ctx)


def party(participation: Element, ctx: "Walk", allowed: Collection[str] = PEOPLE) -> Json | None:
    """Who takes part, as a reference to one of these kinds; None for nobody, and for nobody of them."""
    role = role_of(participation, ctx)
    return of_role(role, ctx, allowed) if role is not None else None


def first_party(participations: Iterable[Element], ctx: "Walk", allowed: Collection[str] = PEOPLE) -> Json | None:
    """The first of several that is anybody."""
    for each in participations:
        found = party(each, ctx, allowed)
        if found is not None:
            return found
    return None


def of_role(role: Element, ctx: "Walk", allowed: Collection[str] = PEOPLE) -> Json | None:
    """The same of a role."""
    kinds = frozenset(allowed)
    return _once(role, kinds, ctx, lambda: _nearest(role, ctx, kinds))


def _first_like(el: Element, ctx: "Walk") -> Element:
    """The first role of the document that says all the same: an author of many statements is written again at each.
    Itself where what stands around it counts, too: a relative has the time of her participation, a trace tells of
    places."""
    known = known_of(ctx)
    found = known.firsts.get(el)
    if found is None:
        found = el
        tag = el.short
        if tag in _ROLES and ctx.patient is not None and ctx.trace is None and not is_relative(el, ctx):
            numbers = el.named("id")
            look = (tag, *((numbers[0].get("root") or "", numbers[0].get("extension") or "") if numbers else ()))
            told = known.alike.setdefault(look, [])
            for each in told:
                if alike(each, el):
                    found = each
                    break
            else:
                told.append(el)
        known.firsts[el] = found
    return found


def _once(el: Element, what: frozenset[str], ctx: "Walk", find: Callable[[], Json | None]) -> Json | None:
    """What `find` gives for an element, found once: a header names the same few people again and again. What it put
    into the resource that speaks of them goes into the next one, too."""
    known = known_of(ctx).made
    told = known.get((el, what))
    first = el
    if told is None:
        first = _first_like(el, ctx)
        if first is not el and (other := known.get((first, what))) is not None and other.quiet:
            told = other
    if told is None:
        outer, inner = ctx.builder, Holder({})
        ctx.builder = inner
        issues = len(ctx.issues)
        reference = find()
        inside = inner.body.get("contained", [])
        ctx.builder = outer
        told = known[el, what] = Told(reference, inside, len(ctx.issues) == issues)
    for each in told.inside:
        ctx.hold(each, each["id"])
    return dict(told.reference) if told.reference is not None else None


def known_of(ctx: "Walk") -> Known:
    """The document's roles."""
    found: Known | None = ctx.parties
    if found is None:
        found = ctx.parties = Known()
    return found


def _nearest(role: Element, ctx: "Walk", allowed: frozenset[str]) -> Json | None:
    """Whoever a role may be, the nearest first."""
    herself = is_patient(role, ctx)
    if herself and "Patient" in allowed:
        return {"reference": ctx.subject.ref}
    role = _described(role, ctx)
    person = _first(role, _PERSONS, ctx)
    device = _first(role, _DEVICES, ctx)
    found: Json | None = None
    if device is not None and "Device" in allowed and is_valued(device):
        found = _device(role, ctx)
    if found is None and "RelatedPerson" in allowed and person is not None and is_relative(role, ctx):
        found = relative(role, ctx)
    if found is not None:
        return found
    organization = _first(role, _ORGANIZATIONS, ctx)
    named = person is not None or (organization is None and device is None)
    if named and not herself and not is_relative(role, ctx) and not allowed.isdisjoint(PROFESSIONALS):
        found = _professional(role, organization, ctx, allowed)
    if found is None and organization is not None and "Organization" in allowed:
        found = organization_of(organization, ctx)
    return found


def _first(role: Element, names: tuple[str, ...], ctx: "Walk") -> Element | None:
    for name in names:
        if (found := role.first(name)) is not None:
            return found
    return None


# numbers --------------------------------------------------------------------------------------------------------------


def number_of(el: Element, ctx: "Walk") -> Key | None:
    """(system, number) of an element: its NPI, else its first id; None where none of them names it.

    A root alone names what it is the number of only if it is a UUID: an OID alone is whoever's numbers it scopes.
    """
    found: Key | None = None
    for each in el.named("id"):
        key = key_of(each, ctx)
        if key is not None and (key[0] == _NPI or found is None):
            found = key
            if key[0] == _NPI:
                break
    return found


def key_of(id_: Element, ctx: "Walk") -> Key | None:
    """(system, number) of one id; None where it names nothing."""
    if id_.get("nullFlavor") or not (id_.get("root") or id_.get("assigningAuthorityName") or "").strip():
        return None  # a number whose nobody says is whoever's
    body = ii_identifier(id_, ctx)
    if body is None or "value" not in body:
        return None
    if not (id_.get("extension") or "").strip() and not body["value"].startswith("urn:uuid:"):
        return None
    return body.get("system", ""), body["value"]


def raw_keys(el: Element, ctx: "Walk") -> frozenset[Key]:
    """The numbers of an element as they are written, for comparing within the document."""
    found: list[Key] = []
    for each in el.named("id"):
        root = each.get("root", "").strip().lower()
        extension = each.get("extension", "").strip()
        if root and (extension or "-" in root):
            found.append((root, extension))
    return frozenset(found)


def is_patient(role: Element, ctx: "Walk") -> bool:
    """Whether a role is the patient's own: her number, or said so."""
    if ctx.patient is None:
        return False
    if not known_of(ctx).patient.isdisjoint(raw_keys(role, ctx)):
        return True
    return any(code_of(each) in _SELF for each in role.named("code"))


def _described(role: Element, ctx: "Walk") -> Element:
    """The role that says who this one is: another of the document with its number, where it has the number only."""
    if _says_who(role, ctx):
        return role
    known = known_of(ctx)
    if known.described is None:
        known.described = {}
        for name in ("assignedAuthor", "assignedEntity"):
            for each in ctx.doc.every(f"{{urn:hl7-org:v3}}{name}"):
                if _says_who(each, ctx):
                    for key in raw_keys(each, ctx):
                        known.described.setdefault(key, each)
    return next((known.described[key] for key in sorted(raw_keys(role, ctx)) if key in known.described), role)


def _says_who(role: Element, ctx: "Walk") -> bool:
    for name in _SOMEBODY:
        if (found := role.first(name)) is not None and is_valued(found):
            return True
    return False


# professionals --------------------------------------------------------------------------------------------------------


def _professional(role: Element, organization: Element | None, ctx: "Walk", allowed: frozenset[str]) -> Json | None:
    """A person, in a role where one is told."""
    if "PractitionerRole" not in allowed:
        return _practitioner(role, ctx)
    return _once(role, _IN_ROLE, ctx, lambda: _in_role(role, organization, ctx))


def _in_role(role: Element, organization: Element | None, ctx: "Walk") -> Json | None:
    person = _practitioner(role, ctx)
    if person is None:
        return None
    codes = [each for each in role.named("code") if is_valued(each)]
    place = organization_of(organization, ctx) if organization is not None else None
    if place is None and not codes:
        return person
    body: Json = {"resourceType": "PractitionerRole", "practitioner": {"reference": person["reference"]}}
    _run("party.PractitionerRole", role, body, ctx)
    if place is not None:
        body["organization"] = place
    key = ("role", person["reference"], place["reference"] if place else "", *map(ctx.identifying, codes[:1]))
    inside = _is_inside(person) or _is_inside(place)
    return _placed(body, None if inside else key, person.get("display"), ctx)


def _is_inside(reference: Json | None) -> bool:
    return reference is not None and reference["reference"].startswith("#")


def _practitioner(role: Element, ctx: "Walk") -> Json | None:
    return _once(role, _PERSON, ctx, lambda: _person(role, ctx))


def _person(role: Element, ctx: "Walk") -> Json | None:
    body: Json = {"resourceType": "Practitioner"}
    _run("party.Practitioner", role, body, ctx)
    key = number_of(role, ctx)
    if key is None and "name" not in body:
        return None
    return _placed(body, key, _named(body) or _number(key), ctx)


def _placed(body: Json, key: Key | None, shown: str | None, ctx: "Walk") -> Json | None:
    """A resource of its own where a number names it, else one inside what speaks of it."""
    if key is None:
        target = ctx.contained(body)
    else:
        target = ctx.make(body["resourceType"], key, _bare(body))
        _take_in(body, ctx.by_ref.get(target or ""), ctx)
    return values.reference(target, shown) if target is not None else None


def _run(name: str, el: Element, body: Json, ctx: "Walk") -> None:
    """Rows into a party; what is under construction around it stays the place of what comes next."""
    node, row = ctx.node, ctx.row
    ctx.run(name, el, body)
    ctx.node, ctx.row = node, row


def _read(name: str, el: Element, body: Json, key: Key | None, ctx: "Walk") -> None:
    """Rows into a party. What they contain goes into it where it is a resource of its own, else beside it into what
    speaks of both: nothing contained contains anything."""
    if key is None:
        _run(name, el, body, ctx)
        return
    outer, ctx.builder = ctx.builder, Holder(body)
    _run(name, el, body, ctx)
    ctx.builder = outer


def _take_in(body: Json, made: Any, ctx: "Walk") -> None:
    """Of what a party contains, as much as the resource, told of before maybe, refers to."""
    if made is None or "contained" not in body:
        return
    named = set(strings({name: value for name, value in made.body.items() if name != "contained"}))
    inside = made.body.get("contained", [])
    held = {each["id"] for each in inside}
    more = [each for each in body["contained"] if f"#{each['id']}" in named and each["id"] not in held]
    if ctx.trace is not None:
        for index, each in enumerate(more, len(inside)):
            ctx.trace.contain(each["id"], {}, made.ref, index)
    if inside or more:
        made.body["contained"] = [*inside, *more]


def _number(key: Key | None) -> str | None:
    return key[1] if key is not None else None


def _bare(body: Json) -> Json:
    return {name: value for name, value in body.items() if name not in ("resourceType", "contained")}


def _named(body: Json) -> str | None:
    return values.name_line(body["name"][0]) if body.get("name") else None


# organizations, devices, places ---------------------------------------------------------------------------------------


def organization_of(el: Element, ctx: "Walk") -> Json | None:
    """An organization, by its own element."""
    return _once(el, _ORGANIZATION, ctx, lambda: _organization(el, ctx))


def _organization(el: Element, ctx: "Walk") -> Json | None:
    body: Json = {"resourceType": "Organization"}
    key = number_of(el, ctx)
    _read("party.Organization", el, body, key, ctx)
    if "name" not in body and "identifier" not in body:
        return None
    return _placed(body, key, body.get("name") or _number(key), ctx)


def _device(role: Element, ctx: "Walk") -> Json | None:
    body: Json = {"resourceType": "Device"}
    key = number_of(role, ctx)
    _read("party.Device", role, body, key, ctx)
    names = body.get("deviceName", ())
    shown = names[0].get("name") if names else None
    return _placed(body, key, shown or _number(key), ctx) if len(body) > 1 else None


def place_of(el: Element, ctx: "Walk") -> Json | None:
    """A facility, by the role that it plays."""
    body: Json = {"resourceType": "Location"}
    key = number_of(el, ctx)
    _read("party.Location", el, body, key, ctx)
    if len(body) == 1:
        return None
    body["mode"] = "instance"
    return _placed(body, key, body.get("name") or _number(key), ctx)


# relatives ------------------------------------------------------------------------------------------------------------


def is_relative(role: Element, ctx: "Walk") -> bool:
    """Whether a role is somebody of the patient's own circle."""
    tag = role.short
    if tag == "relatedEntity" or (tag == "associatedEntity" and role.get("classCode") in RELATIVES):
        return True
    person = _first(role, _PERSONS, ctx)
    return person is not None and "sdtc:asPatientRelationship" in person.kids


def relative(role: Element, ctx: "Walk") -> Json | None:
    """A RelatedPerson of the patient: by number, else by name and relationship."""
    if ctx.patient is None:
        return None
    body: Json = {"resourceType": "RelatedPerson"}
    _run("party.RelatedPerson", role, body, ctx)
    shown = _named(body)
    number = number_of(role, ctx)
    if shown is None and number is None and "telecom" not in body:
        return None
    kind = next((ctx.identifying(each) for each in role.named("code") if is_valued(each)), "")
    named = number if number is not None else (" ".join((shown or "").split()).casefold(), kind)
    if shown is None and number is None:
        named = (repr(body["telecom"]), kind)
    body["patient"] = {"reference": ctx.subject.ref}
    reference = _placed(body, ("related", ctx.subject.id, *named), shown, ctx)
    if reference is not None and reference["reference"] in ctx.by_ref:
        ctx.by_ref[reference["reference"]].mode = "update"  # what the newest document says of her counts
    return reference


# what rows call -------------------------------------------------------------------------------------------------------

_READS: Final = frozenset({"*"})
# row name -> who may stand there; the name says one kind of them, which the row's target must take
_KINDS: Final = {
    "PARTY[Reference(Practitioner)]": PROFESSIONALS,
    "PARTY[Reference(Practitioner)-provider]": PROVIDERS,
    "PARTY[Reference(RelatedPerson)]": HELPERS,
    "PARTY[Reference(Patient)]": PEOPLE,
    "PARTY[Reference(Patient)-signer]": SIGNERS,
    "PARTY[Reference(Device)]": ANYONE,
    "PARTY[Reference(Organization)]": frozenset({"Organization"}),
}


def _registered(name: str, allowed: frozenset[str]) -> None:
    def call(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
        return None if isinstance(node, str) else party(node, ctx, allowed)

    call.__doc__ = f"Who takes part: one of {', '.join(sorted(allowed))}."
    datatype(name, gives="Reference", reads=_READS)(call)


for _name, _allowed in _KINDS.items():
    _registered(_name, _allowed)


@datatype("ORG[Reference(Organization)]", gives="Reference", reads=_READS)
def org_reference(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """An organization by its own element; parts of parts of organizations end somewhere."""
    if isinstance(node, str) or sum(1 for _ in _wholes(node)) > _DEEPEST:
        return None
    return organization_of(node, ctx)


def _wholes(el: Element) -> Iterator[Element]:
    """The organizations an element is told to be the whole of."""
    here: Element | None = el
    while here is not None:
        if here.short == "wholeOrganization":
            yield here
        here = here.parent


@datatype("PLACE[Reference(Location)]", gives="Reference", reads=_READS)
def place_reference(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """A facility: healthCareFacility, or the role of a place that takes part."""
    if isinstance(node, str):
        return None
    role = role_of(node, ctx)
    return place_of(node if role is None else role, ctx)
