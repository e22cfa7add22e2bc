"""Coded values: CD, CE, CV, CO, CS, CR.

The primary code first, then its translations at every depth in their order, each (system, code) once. A null primary
with a translation keeps the translation. A row's vocabulary map adds the mapped coding before what was sent. A system
comes from its OID by `systems.csv`, then from the profile, else it is the OID itself; a name that no one registered is
the feed's own. A code that HL7's system of that name does not have is the feed's own. What a concept is called in
other languages stands beside its display: European documents send the target language outside, an English pivot in a
translation, the national original inside of that. Qualifiers narrow the term and are kept as extensions, since FHIR's
concepts have none.
Source: HL7 v3 datatypes R1, CD, CE, CV, CO, CS, CR; FHIR R4 CodeableConcept, Coding; eHDSI CDA guides (pivot and
friendly documents).
"""

from typing import TYPE_CHECKING, Any, Final

from mappings.cda.datatypes.nulls import absence, absent_primitive
from mappings.cda.datatypes.registry import Json, datatype
from mappings.cda.datatypes.text import ed_text, folded, tidy_code
from mappings.fhir import values
from mappings.fhir.codec import number
from mappings.terminology.concept_map import ConceptMap
from mappings.terminology.hl7_codes import TABLE, lacks, own_name
from mappings.terminology.systems import is_absolute, is_oid, is_uuid, registered, system_named

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

_READS: Final = frozenset({
    "@code", "@codeSystem", "@codeSystemName", "@codeSystemVersion", "@displayName", "@nullFlavor", "@value",
    "originalText", "translation", "qualifier",
})  # fmt: skip
_LATERALITY: Final = "272741003"  # SNOMED CT, the attribute Laterality
_EHDSI: Final = "1.3.6.1.4.1.12559.11.10.1.3.1.1."  # roots of eHDSI's document templates
_PIVOT: Final = "en"  # the language into which a European country translates what it sends
_UNDETERMINED: Final = "und"  # RFC 5646 §4.1: CDA does not say which language a designation is in
_LONGEST_NAME: Final = 256  # of a code system
_MOST_TRANSLATIONS: Final = 64  # of one value; real documents have three


class Coded:
    """A coded value as read, before it takes one of FHIR's shapes."""

    __slots__ = ("codings", "mapped", "missed", "text")

    def __init__(self, codings: list[Json], mapped: Json | None, missed: bool, text: str | None) -> None:
        self.codings = codings  # as sent
        self.mapped = mapped  # through the row's vocabulary
        self.missed = missed  # it has codes, and the vocabulary knows none of them
        self.text = text

    @property
    def shaped(self) -> list[Json]:
        """What a concept holds: the mapped coding, then those sent."""
        if self.mapped is None or any(_same(self.mapped, coding) for coding in self.codings):
            return self.codings
        return [self.mapped, *self.codings]


# Reading -------------------------------------------------------------------------------------------------------------


def read(node: "Element | str", ctx: "Context", vocab: ConceptMap | None) -> Coded:
    """All that an element of the CD family says; an attribute's text is a code without a system."""
    codings: list[Json] = []
    if isinstance(node, str):
        code = tidy_code(node, ctx)
        codings = [{"code": code}] if code else []
        text = None
    else:
        text = _read_element(node, codings, ctx)
    if vocab is None:
        return Coded(codings, None, False, text)
    mapped, known = _through(vocab, codings, "" if isinstance(node, str) or codings else node.get("nullFlavor", ""))
    missed = bool(codings) and mapped is None and not known
    if missed:
        ctx.issue("vocab-miss", None if isinstance(node, str) else node)
    return Coded(codings, mapped, missed, text)


def _read_element(node: "Element", codings: list[Json], ctx: "Context") -> str | None:
    """Fills `codings`; gives the text."""
    written, said = node.get("code"), None
    code = tidy_code(written, ctx) if written else None
    if code:
        coding, said = _coding(node, code, ctx)
        codings.append(coding)
        if ctx.profile.codes:
            codings += _standard(node, code, ctx)
    if not len(node):
        return said if code else folded(node.get("displayName"), ctx)
    children = node.kids
    original = ed_text(children["originalText"][0], ctx) if "originalText" in children else None
    if not code:
        said = folded(node.get("displayName"), ctx)
    if "translation" in children:
        said = _translations(node, codings, said, ctx)
    return original or said


def _coding(node: "Element", code: str, ctx: "Context") -> tuple[Json, str | None]:
    """A coding, and its display where that is text: the words of HL7's own systems are HL7's to choose."""
    system = _system_of(node, ctx)
    if system is not None and lacks(system, code):
        system = _own_system(system, node, ctx)
    shown = node.get("displayName")
    found: Json = {"code": code} if system is None else {"system": system, "code": code}
    version = node.get("codeSystemVersion")
    if version is not None and (version := folded(version, ctx)):
        found["version"] = version
    order = node.get("value")
    if order is not None:
        _keep_order(found, order)
    if shown is None or (shown := folded(shown, ctx)) is None:
        return found, None
    if system is not None and system.startswith(values.HL7_SYSTEMS):
        return found, shown
    found["display"] = shown
    return found, None


def _keep_order(coding: Json, written: str) -> None:
    """The place of an ordinal (CO) among its kind."""
    read_ = values.number_lexeme(written.strip())
    if read_ is not None and read_[0] is None:
        coding["extension"] = [values.extension(values.ORDINAL_VALUE, "Decimal", number(read_[1]))]


def _translations(node: "Element", codings: list[Json], said: str | None, ctx: "Context") -> str | None:
    """Adds what the translations say, in their order; gives the text that is no coding's display."""
    waiting = [(each, 1) for each in reversed(node.kids["translation"])]
    european = _is_european(ctx)
    deepest, original = (0 if european else 1), None
    for _ in range(_MOST_TRANSLATIONS):
        if not waiting:
            break
        each, depth = waiting.pop()
        children = each.kids if len(each) else {}
        inner = children.get("translation", [])
        waiting += [(one, depth + 1) for one in reversed(inner)]
        written = each.get("code")
        code = tidy_code(written, ctx) if written else None
        shown = folded(each.get("displayName"), ctx)
        if shown is None and "originalText" in children:
            shown = ed_text(children["originalText"][0], ctx)
        lang = _PIVOT if european and depth == 1 and inner else _UNDETERMINED
        if code is None:
            said = _designate(codings, codings[-1] if codings else None, shown, lang, said)
            continue
        coding, aside = _coding(each, code, ctx)
        known = next((one for one in codings if _same(one, coding)), None)
        if known is not None:
            said = _designate(codings, known, shown, lang, said)
            continue
        if aside is not None:
            said = said or aside
        elif shown is not None:
            coding["display"] = shown
        codings.append(coding)
        if depth > deepest:
            deepest, original = depth, coding
    else:
        ctx.issue("over-limit", node, "translations")
    if original is not None and len(codings) > 1:
        original["userSelected"] = True
    return said


def _designate(codings: list[Json], coding: Json | None, shown: str | None, lang: str, said: str | None) -> str | None:
    """What a coding is called besides its display; without any coding, the text."""
    if shown is None or shown == said:
        return said
    if coding is None:
        return said or shown
    known = coding.get("display")
    if known is None and not str(coding.get("system", "")).startswith(values.HL7_SYSTEMS):
        coding["display"] = shown
    elif known != shown:
        values.translate(coding, lang, shown)
    return said


def _is_european(ctx: "Context") -> bool:
    """Whether the document is one of eHDSI's, whose translations have a fixed order of languages."""
    templates = ctx.doc.root.named("templateId")
    return any(each.get("root", "").startswith(_EHDSI) for each in templates)


def _same(one: Json, other: Json) -> bool:
    return one.get("code") == other.get("code") and one.get("system") == other.get("system")


def _through(vocab: ConceptMap, codings: list[Json], flavor: str) -> tuple[Json | None, bool]:
    """The first coding that the map knows a target for, and whether it knows any of them; without a coding, the map may
    have a row for the null flavor."""
    source = vocab.source
    known = False
    for coding in codings or ([{"code": flavor}] if flavor else []):
        if source is not None and coding.get("system", source) != source:
            continue
        hit = vocab.concepts.get(coding["code"])
        if hit is not None:
            return values.coding(hit.system or None, hit.code, hit.display), True
        known = known or coding["code"] in vocab.known
    return None, known


# Systems -------------------------------------------------------------------------------------------------------------


def _system_of(node: "Element", ctx: "Context") -> str | None:
    oid = node.get("codeSystem")
    if oid:
        return registered().get(oid) or system_of(oid, node.get("codeSystemName"), ctx)
    name = node.get("codeSystemName")
    return _named(name, ctx) if name else None


def _own_system(lacking: str, node: "Element", ctx: "Context") -> str:
    """Whose a code is that HL7's system lacks: what the profile says of the name it was sent under, else the feed's."""
    for written in (node.get("codeSystem", ""), node.get("codeSystemName", "")):
        name = written.strip()
        if (known := ctx.profile.cda.oids.get(name)) is not None:
            return str(known)
        if (site := ctx.profile.codes.get(name)) is not None:
            return str(site["system"])
    kind, tail = own_name(lacking)
    if kind != TABLE:
        ctx.issue("not-in-system", node)
    return values.scoped(ctx.profile.namespace, kind, tail)


def system_of(written: str, name: str | None, ctx: "Context") -> str | None:
    """The URI of a codeSystem: registered, the profile's, the OID itself; for what is no OID, whatever it is."""
    if len(written) > _LONGEST_NAME:
        ctx.issue("over-long")
        return None
    bare = "".join(written.split())
    if (known := registered().get(bare)) is not None:
        return known
    if (known := ctx.profile.cda.oids.get(bare)) is not None:
        return str(known)
    if bare in ctx.profile.codes:
        return str(ctx.profile.codes[bare]["system"])
    if name and (site := ctx.profile.codes.get(" ".join(name.split()))) is not None:
        return str(site["system"])
    if is_oid(bare):
        return f"urn:oid:{bare}"
    if is_uuid(bare):
        return f"urn:uuid:{bare.lower()}"
    if is_absolute(bare):
        return registered().get(bare.removeprefix("urn:oid:")) or bare
    return _named(written, ctx)


def _named(name: str, ctx: "Context") -> str | None:
    """The system of a codeSystemName: registered, the profile's, else the feed's own."""
    tidy = " ".join(name.split())
    if not tidy or len(tidy) > _LONGEST_NAME:
        return None
    if (known := system_named(tidy)) is not None:
        return known
    if (site := ctx.profile.codes.get(tidy)) is not None:
        return str(site["system"])
    return values.scoped(ctx.profile.namespace, "codes", tidy)


def _standard(node: "Element", code: str, ctx: "Context") -> list[Json]:
    """The standard codings that a profile's map gives for a local code."""
    for name in (node.get("codeSystem"), node.get("codeSystemName")):
        site = ctx.profile.codes.get(name.strip()) if name else None
        if site is not None and (table := site.get("table")):
            return [dict(coding) for coding in table.get(code, ())]
    return []


# Qualifiers ----------------------------------------------------------------------------------------------------------


def _qualifiers(node: "Element", ctx: "Context") -> list[tuple["Element | None", "Element"]]:
    """(name, value) of each qualifier that has a value."""
    if not len(node):
        return []
    found: list[tuple[Element | None, Element]] = []
    for each in node.named("qualifier"):
        parts = each.kids
        if "value" in parts:
            found.append((parts["name"][0] if "name" in parts else None, parts["value"][0]))
    return found


def laterality(node: "Element", ctx: "Context") -> Json | None:
    """The side that a qualifier of a site names."""
    for name, value in _qualifiers(node, ctx):
        if name is not None and name.get("code", "").strip() == _LATERALITY:
            return _plain(value, ctx)
    return None


def _plain(node: "Element", ctx: "Context") -> Json | None:
    """A concept without its own qualifiers."""
    found = read(node, ctx, None)
    return values.concept(found.codings, found.text)


def _qualify(concept: Json, node: "Element", ctx: "Context") -> None:
    """Adds qualifiers as extensions and, where no one wrote a text, to the text: `femur (Laterality: Left)`."""
    kept: list[Json] = []
    words: list[str] = []
    for name, value in _qualifiers(node, ctx):
        narrowed = _plain(value, ctx)
        if narrowed is None:
            continue
        how = None if name is None else _plain(name, ctx)
        kept.append(values.qualifier(how, narrowed))
        if shown := shown_of(narrowed):
            words.append(f"{label}: {shown}" if (label := shown_of(how or {})) else shown)
    if not kept:
        return
    term = shown_of({"coding": concept.get("coding", ())})
    if "text" not in concept and term and words:
        concept["text"] = f"{term} ({', '.join(words)})"
    concept["extension"] = kept


def shown_of(concept: Json) -> str | None:
    """What a person would read of a concept."""
    text = concept.get("text")
    if text is not None:
        return str(text)
    return next((coding["display"] for coding in concept.get("coding", ()) if "display" in coding), None)


# Shapes --------------------------------------------------------------------------------------------------------------

_FAMILY: Final = ("CD", "CE", "CV", "CO", "CS", "CR")


def _names(shape: str) -> tuple[str, ...]:
    return tuple(f"{name}[{shape}]" for name in _FAMILY)


@datatype(*_names("CodeableConcept"), gives="CodeableConcept", reads=_READS)
def cd_concept(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """Everything that was said, the mapped coding first; for a value that says only why it is absent, that."""
    if vocab is None and not isinstance(node, str) and not len(node):
        return _leaf(node, ctx)
    found = read(node, ctx, vocab)
    codings = found.codings if found.mapped is None else found.shaped
    made: Json = {}
    if codings:
        made["coding"] = codings
    if found.text is not None:
        made["text"] = found.text
    if isinstance(node, str):
        return made or None
    if not made:
        return absence(node, ctx)
    if len(node):
        _qualify(made, node, ctx)
    return made


def _leaf(node: "Element", ctx: "Context") -> Json | None:
    """The usual case: attributes only."""
    written = node.get("code")
    code = tidy_code(written, ctx) if written else None
    if code is None:
        text = folded(node.get("displayName"), ctx)
        return absence(node, ctx) if text is None else {"text": text}
    coding, said = _coding(node, code, ctx)
    codings = [coding, *_standard(node, code, ctx)] if ctx.profile.codes else [coding]
    return {"coding": codings} if said is None else {"coding": codings, "text": said}


@datatype(*_names("Coding"), gives="Coding", reads=_READS)
def cd_coding(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """One coding: the mapped one, else the first sent. A text alone becomes its display."""
    found = read(node, ctx, vocab)
    if found.mapped is not None:
        return found.mapped
    if found.codings:
        if len(found.codings) > 1:
            ctx.issue("extra-value", detail="one coding of several")
        return found.codings[0]
    if found.text is not None:
        return {"display": found.text}
    return None if isinstance(node, str) else absence(node, ctx)


@datatype(*_names("code"), gives="code", reads=_READS)
def cd_code(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    """A bare code through the row's map; without a map the code as sent. What has no code goes to the sibling."""
    if vocab is None:
        written = node if isinstance(node, str) else node.get("code")
        code = tidy_code(written, ctx) if written else None
        if code is not None or isinstance(node, str):
            return code
        return absent_primitive(node, ctx)
    found = read(node, ctx, vocab)
    if found.mapped is not None:
        return found.mapped["code"]
    if found.codings and not found.missed:
        ctx.issue("vocab-miss", None if isinstance(node, str) else node)
    concept = values.concept(found.codings, found.text)
    if concept is not None:
        return None, values.alternate(concept)
    return None if isinstance(node, str) else absent_primitive(node, ctx)


@datatype(*_names("string"), gives="string", reads=_READS)
def cd_string(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> str | None:
    """The text a person would read: original text, a display, the code."""
    found = read(node, ctx, None)
    return found.text or shown_of({"coding": found.codings}) or next((each["code"] for each in found.codings), None)


@datatype(*_names("Annotation"), gives="Annotation", reads=_READS)
def cd_annotation(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    return values.annotation(cd_string(node, ctx))


@datatype("CD[laterality]", gives="CodeableConcept", reads={"qualifier"})
def cd_laterality(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """The side of a targetSiteCode."""
    return None if isinstance(node, str) else laterality(node, ctx)
