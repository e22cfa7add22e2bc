"""The header: whose document it is, which encounter it is about, and who else it names.

`read_header` makes the patient and what the body refers to, before the body is walked; what the document is as a whole
is `compose.py`'s. The facts are rows (`entries/header.*.csv`).

The patient's key is that of HL7 v2 (`hl7v2/keys/persons.py`): (URI of the issuer, number). A feed of messages and one
of documents that name her by one number name one patient.
Source: CDA R2 §4.2 (document header); C-CDA R2.1, US realm header; C-CDA on FHIR, patient and participations; eHDSI
header.
"""

from typing import TYPE_CHECKING, Any, Final

from mappings.cda import labels, parties
from mappings.cda.datatypes.coded import cd_concept, cd_string, read
from mappings.cda.datatypes.identifiers import ii_identifier
from mappings.cda.datatypes.registry import datatype
from mappings.cda.datatypes.text import bl_boolean, folded
from mappings.cda.datatypes.times import ts_datetime
from mappings.cda.element import Element
from mappings.cda.errors import UnreadableDocument
from mappings.cda.named import flag
from mappings.cda.paths import code_of, is_valued
from mappings.fhir import values
from mappings.fhir.primitives import is_code
from mappings.merge import event_time
from mappings.moments import moment_of
from mappings.terminology.concept_map import ConceptMap, load

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]
Key = tuple[str, ...]

_AHEAD_MS: Final = 86_400_000  # a day: a date of a zone that is ahead, a clock that is fast
_DAY: Final = len("2026-03-01")
_CARE: Final = "PCPR"  # HL7 v3 ActClass: the provision of care
_POLICY_ROLES: Final = frozenset({"POLHOLD", "COVPTY"})  # HL7 v3 RoleClass
_US_CORE: Final = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-"
_CDC: Final = "urn:oid:2.16.840.1.113883.6.238"  # CDC race and ethnicity
_ACT_CODES: Final = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
_NULL_FLAVORS: Final = "http://terminology.hl7.org/CodeSystem/v3-NullFlavor"
_TAGS: Final = "urn:ietf:bcp:47"
# of the five races and two ethnicities of the US Office of Management and Budget; US Core, value sets of both
_OMB: Final = frozenset({"1002-5", "2028-9", "2054-5", "2076-8", "2106-3", "2135-2", "2186-5"})


def read_header(walk: "Walk") -> None:
    """The patient and what else the body refers to; raises UnreadableDocument where no patient can be known."""
    root = walk.doc.root
    walk.at = _time_of(walk, root)
    role = patient_role(walk)
    key = patient_key(role, walk)
    if identity(role, walk) is None:
        walk.issue("no-identity", role)
    walk.patient = walk.place_one("Patient", key, "update" if leads(walk) else "stub", role)
    parties.known_of(walk).patient = parties.raw_keys(role, walk)
    walk.fill("header.Patient", role, walk.patient)
    labels.find_annotations(walk)
    _encounter(walk)
    _others(walk)


def _time_of(walk: "Walk", root: Element) -> str:
    """When the document was made; `walk.at`, its receipt, where it does not say so, and where it says a time to come:
    a document of the year 2206 would else outrank every newer one for ever."""
    times = root.named("effectiveTime")
    found = ts_datetime(times[0], walk, None) if times else None
    stated: str = (found[0] if isinstance(found, tuple) else found) or ""
    if not stated:
        walk.issue("undated", times[0] if times else root)
    if stated and walk.at and event_time(stated) > event_time(walk.at) + _AHEAD_MS:
        walk.issue("dated-ahead", times[0])
        stated = ""
    return stated or walk.at


def instant(walk: "Walk") -> str:
    """When the document was made, as an instant; "" where nobody can know. Of a day it is the first moment, where the
    zone of the document, its author or its profile is known: UTC is never invented."""
    at: str = walk.at
    if len(at) != _DAY:
        return at if len(at) > _DAY else ""
    for el in (walk.doc.root, *walk.doc.root.named("author")):
        first = moment_of(f"{at.replace('-', '')}000000", walk.zone.at(el)).value or ""
        if len(first) > _DAY:
            return first
    return ""


def leads(walk: "Walk") -> bool:
    """Whether this feed states demographics: by default a document follows, for it is no registry."""
    return bool(walk.profile.demographics == "lead")


# the patient ----------------------------------------------------------------------------------------------------------


def patient_role(walk: "Walk") -> Element:
    """The one patientRole of the document."""
    targets = walk.doc.root.named("recordTarget")
    roles = [role for each in targets for role in each.named("patientRole")]
    if not roles:
        raise UnreadableDocument("no-patient", walk.doc.place(walk.doc.root), "no recordTarget/patientRole")
    if len(roles) > 1:
        raise UnreadableDocument("several-patients", walk.doc.place(roles[1]), "more than one recordTarget")
    found: Element = roles[0]
    return found


def patient_key(role: Element, walk: "Walk") -> Key:
    """What identifies the patient: a number, else this document; raises UnreadableDocument where nobody is named."""
    if (key := identity(role, walk)) is not None:
        return key
    if not _is_somebody(role, walk):
        raise UnreadableDocument("no-patient", walk.doc.place(role), "no number, name or birth")
    return "document", walk.profile.namespace, walk.doc.digest.hex()


def identity(role: Element, walk: "Walk") -> Key | None:
    """By `patient.identity`, each wish in turn: an OID, a system, `MR@HOSP`, of which CDA has the authority alone; by
    default the first id with root and extension."""
    found = [(each, key) for each in role.named("id") if (key := parties.key_of(each, walk)) is not None]
    if not found:
        return None
    for wish in walk.profile.identity:
        kind, mark, where = wish.partition("@")
        for each, key in found:
            if _is_of(each, key, where if mark else kind, walk):
                return key
    whole = (key for each, key in found if (each.get("extension") or "").strip())
    return next(whole, found[0][1])


def _is_of(id_: Element, key: Key, wanted: str, walk: "Walk") -> bool:
    """Whether an authority, as a profile names it, gave out a number."""
    bare = wanted.removeprefix("urn:oid:")
    if not bare:
        return False
    known = walk.profile.authorities.get(wanted)
    names = (id_.get("root", "").strip(), key[0], (id_.get("assigningAuthorityName") or "").strip())
    return bare in names or wanted in names or (known is not None and known == key[0])


def _is_somebody(role: Element, walk: "Walk") -> bool:
    """Whether a name or a birth is told."""
    said = ("name", "birthTime")
    return any(is_valued(each) for patient in role.named("patient") for name in said for each in patient.named(name))


# the encounter, and who else is named ---------------------------------------------------------------------------------


def encounter_key(id_: Element, walk: "Walk") -> Key:
    """What identifies an encounter with a number, wherever the document speaks of it."""
    root, extension = (id_.get("root") or "").strip().lower(), (id_.get("extension") or "").strip()
    return walk.subject.id, "encounter", root, extension


def _encounter(walk: "Walk") -> None:
    """The encounter that the document is about, if it says anything of one."""
    for component in walk.doc.root.named("componentOf"):
        for el in component.named("encompassingEncounter"):
            key = _key_of_encounter(el, walk)
            if key is not None and walk.encounter is None:
                walk.encounter = walk.place_one("Encounter", key, "update", el)
                walk.fill("header.Encounter", el, walk.encounter)


def _key_of_encounter(el: Element, walk: "Walk") -> Key | None:
    """By number; without one by what it is and when it began."""
    for each in el.named("id"):
        if (each.get("root") or "").strip():
            return encounter_key(each, walk)
    told = _about(el, walk)
    return (walk.subject.id, "encounter", "", "", *told) if told is not None else None


def _others(walk: "Walk") -> None:
    """Relatives, cover, the care team."""
    root = walk.doc.root
    for participant in root.named("participant"):
        for role in participant.named("associatedEntity"):
            if is_cover(participant, role):
                _coverage(participant, role, walk)
            elif parties.is_relative(role, walk):
                parties.party(participant, walk, parties.HELPERS)
    for documentation in root.named("documentationOf"):
        for event in documentation.named("serviceEvent"):
            _care_team(event, walk)


def is_cover(participant: Element, role: Element) -> bool:
    """Whether a participant is one by insurance: holder of a policy, or covered by one."""
    return participant.get("typeCode") in ("HLD", "COV") or role.get("classCode") in _POLICY_ROLES


def _coverage(participant: Element, role: Element, walk: "Walk") -> None:
    number = parties.number_of(role, walk)
    payers = [each for each in role.named("scopingOrganization") if is_valued(each)]
    if number is None and not payers:
        return
    payer = next((parties.number_of(each, walk) for each in payers), None)
    named = payer or tuple(walk.identifying(name) for each in payers for name in each.named("name"))
    key = (walk.subject.id, "coverage", *(number or ("", "")), *named)
    walk.fill("header.Coverage", participant, walk.place_one("Coverage", key, "update", participant))


def _care_team(event: Element, walk: "Walk") -> None:
    """Those who perform what is documented. Of care as such there is one team, the newest document's; of another event
    its own."""
    if not any(parties.role_of(each, walk) is not None for each in event.named("performer")):
        return
    key: Key = (walk.subject.id, "careteam", walk.feed, event.get("classCode") or _CARE)
    if key[-1] != _CARE:
        key = (*key, *(parties.number_of(event, walk) or _about(event, walk) or ("", walk.doc.digest.hex())))
    walk.fill("header.CareTeam", event, walk.place_one("CareTeam", key, "state", event))


def _about(el: Element, walk: "Walk") -> Key | None:
    """What an act without a number is known by: what it is and when it began."""
    code = next((walk.identifying(each) for each in el.named("code")), "")
    start = ""
    for time in el.named("effectiveTime"):
        low = time.named("low")
        start = (low[0].get("value") if low else time.get("value")) or ""
    return (code, start) if code or start else None


@flag("over")
def is_over(el: Element, ctx: "Walk") -> bool:
    """Whether an encounter has ended by the time of the document, where that is known; a discharge says so."""
    if any(is_valued(each) for each in el.named("dischargeDispositionCode")):
        return True
    ends = [(high.get("value") or "").strip() for time in el.named("effectiveTime") for high in time.named("high")]
    now: str = ctx.at[:10].replace("-", "")
    return bool(now) and any(end and end[:8] <= now for end in ends)


# what rows call -------------------------------------------------------------------------------------------------------


@datatype("CS[bcp47]", gives="code", reads={"@code"})
def language_tag(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> str | None:
    """A language as BCP 47 writes it: `eng` is `en`, `PT_pt` is `pt-PT`. None for what is no language tag."""
    written = node if isinstance(node, str) else node.get("code")
    found = folded(written, ctx) if written else None
    if found is None:
        return None
    first, *rest = found.replace("_", "-").split("-")
    known = load("v2-0296.bcp-47").get(first.lower())
    tag = "-".join([known.code if known is not None else first.lower(), *map(_subtag, rest)])
    if known is None or not all(part.isascii() and part.isalnum() and len(part) <= 8 for part in rest):
        ctx.issue("vocab-miss", None if isinstance(node, str) else node)
        return None
    return tag if is_code(tag) else None


def _subtag(part: str) -> str:
    """RFC 5646 §2.1.1: regions in capitals, scripts capitalised."""
    return part.upper() if len(part) == 2 else part.title() if len(part) == 4 else part


@datatype("CS[language]", gives="CodeableConcept", reads={"@code", "@displayName", "@nullFlavor"})
def language(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """The tag, and the name where one was sent; of a code that is no tag its text."""
    tag = language_tag(node, ctx, vocab)
    if tag is not None:
        shown = None if isinstance(node, str) else folded(node.get("displayName"), ctx)
        return values.concept([{"system": _TAGS, "code": tag}], shown)
    text = cd_string(node, ctx)
    return values.concept([], text) if text else None


@datatype("DEATH[deceased]", gives="deceased[x]", takes="all", reads={"@value", "@nullFlavor"})
def deceased(nodes: list[Element], ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """The time of death says more than the flag; a time that cannot be read must not lose the death."""
    times = [each for each in nodes if str(each.tag).endswith("}deceasedTime")]
    flags = [bl_boolean(each, ctx) for each in nodes if each not in times]
    made: Json = {}
    for each in times:
        said = ts_datetime(each, ctx)
        value, beside = said if isinstance(said, tuple) else (said, {})
        if value is not None:
            values.put(made, "deceasedDateTime", value, *beside.get("extension", ()))
            return made
    if any(said is True for said in flags) or any((each.get("value") or "").strip() for each in times):
        return {"deceasedBoolean": True}
    return {"deceasedBoolean": False} if any(said is False for said in flags) else None


def _us_core(kind: str, nodes: list[Element], ctx: "Walk") -> Json | None:
    """One extension of all codes of CDC's system, text joined by comma; other systems' codes are none of US Core's."""
    codings: list[Json] = []
    shown: list[str] = []
    for node in nodes:
        if node.get("nullFlavor") == "ASKU":
            codings.append({"system": _NULL_FLAVORS, "code": "ASKU", "display": "asked but unknown"})
            shown.append("asked but unknown")
        found = read(node, ctx, None)
        held = {each["code"] for each in codings}
        fresh = [each for each in found.codings if each.get("system") == _CDC and each["code"] not in held]
        codings += fresh
        if fresh:
            shown.append(found.text or fresh[0].get("display") or fresh[0]["code"])
    if not codings:
        return None
    inner = []
    for coding in codings:
        omb = coding.get("code") in _OMB or coding["system"] == _NULL_FLAVORS
        inner.append(values.extension("ombCategory" if omb else "detailed", "Coding", coding))
    inner.append(values.extension("text", "String", ", ".join(dict.fromkeys(shown))))
    return {"url": _US_CORE + kind, "extension": inner}


@datatype("CD[us-core-race]", gives="Extension", takes="all")
def race(nodes: list[Element], ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """Race, of which the first is the broad one; the others are detail."""
    return _us_core("race", nodes, ctx)


@datatype("CD[us-core-ethnicity]", gives="Extension", takes="all")
def ethnicity(nodes: list[Element], ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """Ethnicity in the same form."""
    return _us_core("ethnicity", nodes, ctx)


@datatype("CD[not-cdc]", gives="CodeableConcept")
def not_cdc(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """What US Core has no place for: a code of another system, or a text."""
    if isinstance(node, str) or not is_valued(node):
        return None
    found = cd_concept(node, ctx)
    here = [each.get("system") == _CDC for each in (found or {}).get("coding", ())]
    return None if any(here) else found


@datatype("ALT[Identifier]", gives="Identifier")
def alternate_identifier(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """A number of another kind: `sdtc:alternateIdentification`, whose code says the kind."""
    if isinstance(node, str):
        return None
    kids = node.kids
    for each in kids.get("sdtc:id", ()):
        found = ii_identifier(each, ctx)
        if found is not None:
            kind = next((cd_concept(code, ctx) for code in kids.get("sdtc:code", ())), None)
            return found if kind is None else {"type": kind, **found}
    return None


@datatype("CD[stay-class]", gives="Coding", reads={"@code", "@codeSystem", "translation"})
def stay_class(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """The class of an encounter: a code of v3-ActCode, wherever it stands among the translations."""
    if isinstance(node, str):
        return None
    told, ctx.issues = ctx.issues, []  # its type, of the same code, tells of it
    codings = read(node, ctx, None).codings
    ctx.issues = told
    return next((each for each in codings if each.get("system") == _ACT_CODES), None)


@datatype("CD[stay-type]", gives="CodeableConcept")
def stay_type(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """The type of an encounter: what else its code says than the class."""
    if isinstance(node, str) or (found := cd_concept(node, ctx)) is None:
        return None
    sent = found.get("coding", [])
    codings = [each for each in sent if each.get("system") != _ACT_CODES]
    if len(codings) == len(sent):
        return found
    if not node.kids.get("originalText"):
        found.pop("text", None)  # what the class is called
    return {**found, "coding": codings} if codings else None


def _numbered(node: Element | str, kind: str, ctx: "Walk") -> Json | None:
    """A thing outside of the document that only its number names, and what it is called."""
    found = None if isinstance(node, str) else ii_identifier(node, ctx)
    if found is None or isinstance(node, str) or "value" not in found:
        return None
    above = node.parent
    codes = above.named("code") if above is not None else ()
    shown = next((cd_string(each, ctx) for each in codes if is_valued(each)), None)
    return values.present(type=kind, identifier=found, display=shown)


@datatype("II[Reference-order]", gives="Reference", reads={"@root", "@extension"})
def order_reference(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """An order that the document fulfils."""
    return _numbered(node, "ServiceRequest", ctx)


@datatype("II[Reference-consent]", gives="Reference", reads={"@root", "@extension"})
def consent_reference(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """A consent under which the document was made: named, and never read as one that permits anything here."""
    return _numbered(node, "Consent", ctx)


@datatype("SUBSCRIBER[Reference(Patient)]", gives="Reference")
def subscriber(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """Who holds the policy: the patient where the role's code says so, else the person in it, inside the cover."""
    if isinstance(node, str):
        return None
    if any(code_of(each) in ("SELF", "ONESELF") for each in node.named("code")):
        return {"reference": ctx.subject.ref}
    body: Json = {"resourceType": "RelatedPerson", "patient": {"reference": ctx.subject.ref}}
    if not any(is_valued(each) for each in node.named("associatedPerson")):
        return None
    ctx.run("header.RelatedPerson-holder", node, body)
    return values.reference(ctx.contained(body)) if "name" in body else None
