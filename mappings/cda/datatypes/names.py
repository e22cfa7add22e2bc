"""Names of people and organizations: PN, EN, TN, ON.

A name is its parts in the order they stand; one without parts is its text, and text between the parts is kept beside
them. A voorvoegsel belongs to the family name that follows. Several family names are one in FHIR: a birth name beside
another is an extension of it, Dutch and Spanish double names are joined as they are written.
Source: HL7 v3 datatypes R1, EN, ENXP, EntityNamePartQualifier; FHIR R4 HumanName and its extensions.
"""

from typing import TYPE_CHECKING, Any, Final

from mappings.cda.datatypes.nulls import absence, absent_primitive
from mappings.cda.datatypes.registry import Json, datatype
from mappings.cda.datatypes.text import folded, inline
from mappings.cda.datatypes.times import period_of, span_of
from mappings.cda.datatypes.uses import set_use, uses_of
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

_EN: Final = frozenset(
    {"#text", "@use", "@nullFlavor", "given", "family", "prefix", "suffix", "delimiter", "validTime"}
)
_USES: Final = "cda-entity-name-use.name-use"
_SYSTEM: Final = "v3-EntityNameUse"
_REPRESENTATION: Final = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_REPRESENTATIONS: Final = frozenset({"ABC", "IDE", "SYL"})
_QUALIFIER: Final = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-qualifier"
_QUALIFIERS: Final = frozenset("LS AC NB PR HON BR AD SP MID CL IN PFX SFX".split())  # R4 value set name-part-qualifier
_PLAIN: Final = frozenset({"TITLE", "VV"})  # of v3-EntityNamePartQualifier: the part's place says them
_OWN_PREFIX: Final = values.STRUCTURE + "humanname-own-prefix"
_OWN_NAME: Final = values.STRUCTURE + "humanname-own-name"
_PARTNER_PREFIX: Final = values.STRUCTURE + "humanname-partner-prefix"
_PARTNER_NAME: Final = values.STRUCTURE + "humanname-partner-name"


class Part:
    """One part: its text, its qualifiers, and for a family name the voorvoegsel before it."""

    __slots__ = ("joint", "prefix", "qualifiers", "text")

    def __init__(self, text: str, qualifiers: tuple[str, ...], prefix: str = "", joint: str = " ") -> None:
        self.text = text
        self.qualifiers = qualifiers
        self.prefix = prefix
        self.joint = joint  # what stands between it and the family name before

    @property
    def whole(self) -> str:
        glue = "" if self.prefix.endswith(("'", "’")) else " "
        return f"{self.prefix}{glue}{self.text}" if self.prefix else self.text


@datatype("PN[HumanName]", "EN[HumanName]", "TN[HumanName]", "ON[HumanName]", gives="HumanName", reads=_EN)
def en_name(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    if isinstance(node, str):
        found = folded(node, ctx)
        return {"text": found} if found else None
    made = _parts(node, ctx) if len(node) else {}
    if text := loose_text(node, ctx):
        made["text"] = text
    if not made:
        return absence(node, ctx)
    _use(made, node, ctx)
    if len(node) and (valid := node.kids.get("validTime")) and (period := period_of(span_of(valid[0], ctx))):
        made["period"] = period
    return made


@datatype("PN[string]", "EN[string]", "TN[string]", "ON[string]", gives="string", reads=_EN)
def en_string(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Any:
    """A name as one line."""
    if isinstance(node, str):
        return folded(node, ctx)
    found = loose_text(node, ctx) or (values.name_line(_parts(node, ctx)) if len(node) else None)
    return absent_primitive(node, ctx) if found is None else found


def loose_text(node: "Element", ctx: "Context") -> str | None:
    """All text of a name or address, where words stand between its parts; commas and hyphens do not count."""
    texts = (node.text, *(part.tail for part in node))
    if any(letter.isalnum() for text in texts if text and not text.isspace() for letter in text):
        return folded(" ".join(str(text) for text in node.itertext()), ctx)
    return None


def _parts(node: "Element", ctx: "Context") -> Json:
    """Given names, prefixes and suffixes in order, and the family name."""
    lists: dict[str, list[Part]] = {"prefix": [], "given": [], "suffix": []}
    families: list[Part] = []
    prefix, joint = "", " "
    for each in node:
        kind = each.short
        text = folded(inline(each), ctx)
        if text is None:
            continue
        qualifiers = _qualifiers(each, ctx)
        if kind == "delimiter":
            joint = _joint(inline(each))
        elif kind == "family" and "VV" not in qualifiers:
            families.append(Part(text, qualifiers, prefix, joint))
            prefix, joint = "", " "
        elif kind in ("prefix", "family") and "VV" in qualifiers:
            prefix = f"{prefix} {text}".strip()
        elif kind in lists:
            lists[kind].append(Part(text, qualifiers))
    if prefix:
        lists["prefix"].append(Part(prefix, ()))
    made: Json = {}
    for kind, parts in lists.items():
        _add(made, kind, parts)
    if families:
        _family(made, families)
    return made


def _joint(text: str) -> str:
    """A hyphen joins without blanks; a comma keeps one behind it."""
    found = " ".join(text.split())
    return found if found in ("-", "–") else f"{found} "


def _qualifiers(node: "Element", ctx: "Context") -> tuple[str, ...]:
    written = node.get("qualifier")
    if not written:
        return ()
    known, others = [], False
    for code in dict.fromkeys(written.split()):
        if code in _QUALIFIERS or code in _PLAIN:
            known.append(code)
        else:
            others = True
    if others:
        ctx.issue("vocab-miss", node)
    return tuple(known)


def _extensions(part: Part) -> list[Json]:
    return [values.extension(_QUALIFIER, "Code", code) for code in part.qualifiers if code in _QUALIFIERS]


def _add(made: Json, kind: str, parts: list[Part]) -> None:
    if not parts:
        return
    made[kind] = [part.text for part in parts]
    extensions = [_extensions(part) for part in parts]
    if any(extensions):
        made[f"_{kind}"] = [{"extension": found} if found else None for found in extensions]


def _family(made: Json, families: list[Part]) -> None:
    """One string of all; where one is the name in use, a birth name beside it is told and not joined."""
    in_use = [part for part in families if "BR" not in part.qualifiers] or families
    if all("SP" in part.qualifiers for part in in_use):
        in_use = families  # own and spouse's name make one
    whole = in_use[0].whole + "".join(part.joint + part.whole for part in in_use[1:])
    extensions: list[Json] = []
    for part in families:
        owner = _owner(part, families)
        if owner is not None:
            if part.prefix:
                extensions.append(values.extension(owner[0], "String", part.prefix))
            extensions.append(values.extension(owner[1], "String", part.text))
        if len(families) == 1:
            extensions += _extensions(part)
    values.put(made, "family", whole, *extensions)
    if all("BR" in part.qualifiers for part in families):
        made["use"] = "maiden"  # unless the name says what else it is


def _owner(part: Part, families: list[Part]) -> tuple[str, str] | None:
    """The extensions that tell a person's own family name from the partner's; None where nothing is to be told."""
    if "SP" in part.qualifiers and (part.prefix or len(families) > 1):
        return _PARTNER_PREFIX, _PARTNER_NAME
    if part.prefix or ("BR" in part.qualifiers and len(families) > 1):
        return _OWN_PREFIX, _OWN_NAME
    return None


def _use(made: Json, node: "Element", ctx: "Context") -> None:
    codes = uses_of(node, ctx)
    if codes:
        set_use(made, codes, _USES, _SYSTEM, node, ctx, said=_REPRESENTATIONS)
        for code in codes:
            if code in _REPRESENTATIONS:
                made.setdefault("extension", []).append(values.extension(_REPRESENTATION, "Code", code))
