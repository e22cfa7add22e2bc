"""Entry references: a statement that only points at another one of the document, by its id.

    ENTRY[Reference(Goal)]      a row's function: what the pointed-at statement became, of the kinds its name stands for

The other statement may stand in a section still to come. Until it is mapped the reference holds its number; `settle`
puts what it became in its place, several resources of a wrapper one after the other. A number that the document does
not hold stays a number, and so does one that several statements share, since nobody knows which of them is meant; what
became something that may not stand there is no reference at all. What a statement says about another one (`about`)
waits in the same way.
Source: C-CDA R2.1 (entry reference); CDA R2 §4.3.8 (act relationships).
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mappings.cda.datatypes.identifiers import first_number
from mappings.cda.datatypes.registry import datatype
from mappings.cda.element import Element
from mappings.cda.parties import raw_keys
from mappings.cda.paths import STATEMENTS, has_template
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]
Key = tuple[str, ...]

ENTRY_REFERENCE: Final = "2.16.840.1.113883.10.20.22.4.122"
_READS: Final = frozenset({"id"})
_TAGS: Final = tuple(f"{{urn:hl7-org:v3}}{name}" for name in sorted(STATEMENTS))
# name in rows → types that R4 allows there
_KINDS: Final = {
    "ENTRY[Reference(Goal)]": frozenset({"Goal"}),
    "ENTRY[Reference(Condition)]": frozenset({"Condition"}),
    "ENTRY[Reference(Condition)-goal]": frozenset(
        {"Condition", "MedicationStatement", "NutritionOrder", "Observation", "RiskAssessment", "ServiceRequest"}
    ),
    "ENTRY[Reference(Condition)-reason]": frozenset(
        {"Condition", "DiagnosticReport", "DocumentReference", "Observation"}
    ),
    "ENTRY[Reference(Condition)-appointment]": frozenset({"Condition", "Observation", "Procedure"}),
    "ENTRY[Reference(CarePlan)]": frozenset(
        {"CarePlan", "DeviceRequest", "MedicationRequest", "NutritionOrder", "ServiceRequest"}
    ),
    "ENTRY[Reference(Resource)]": frozenset[str](),
}


class _Waiting(NamedTuple):
    """A reference whose statement is not mapped yet."""

    made: Any
    held: Json
    keys: frozenset[Key]
    kinds: frozenset[str]
    keeps: bool  # the number, where nothing that it stands for may stand there


class _About(NamedTuple):
    """What is to be told of a statement, once it is mapped."""

    keys: frozenset[Key]
    kind: str
    tell: Callable[[Any], None]


class _Known:
    """What a document's statements are known by, and what waits for them."""

    def __init__(self) -> None:
        self.waiting: list[_Waiting] = []
        self.about: list[_About] = []
        self._statements: dict[Key, list[Element]] | None = None

    def statements(self, ctx: "Walk") -> dict[Key, list[Element]]:
        """By their numbers; asked for once something waits, which in most documents nothing does."""
        if self._statements is None:
            self._statements = {}
            for el in ctx.doc.every(*_TAGS):
                if not is_reference(el, ctx):
                    for key in raw_keys(el, ctx):
                        self._statements.setdefault(key, []).append(el)
        return self._statements


def _known(ctx: "Walk") -> _Known:
    found: _Known | None = ctx.entry_references
    if found is None:
        found = ctx.entry_references = _Known()
        ctx.later.append(lambda: settle(ctx))  # what stands in a section still to come
    return found


def is_reference(el: Element, ctx: "Walk") -> bool:
    """Whether a statement only points at another one."""
    return has_template(el, (ENTRY_REFERENCE,))


def _became(keys: frozenset[Key], kinds: frozenset[str], ctx: "Walk") -> list[list[str]] | None:
    """What each statement of a number was made into, of a wrapper what it holds, as far as it may stand there; None as
    long as one of them is not mapped."""
    statements = _known(ctx).statements(ctx)
    found: list[list[str]] = []
    for el in dict.fromkeys(el for key in sorted(keys) for el in statements.get(key, ())):
        if el not in ctx.outcomes:
            return None
        made = (each for each in _mapped(el, ctx) if each in ctx.by_ref)
        fitting = list(dict.fromkeys(each for each in made if not kinds or each.partition("/")[0] in kinds))
        if fitting not in found:
            found.append(fitting)
    return found or None


def _mapped(el: Element, ctx: "Walk") -> Iterator[str]:
    """What a statement became; a wrapper has no resource of its own, but the first of what it holds."""
    outcome = ctx.outcomes.get(el)
    if outcome is None or not outcome.resource:
        return
    held = [each for each in _inside(el, ctx) if each not in ctx.read and each in ctx.outcomes]
    if any(ctx.outcomes[each].resource == outcome.resource for each in held):
        for each in held:
            yield from _mapped(each, ctx)
    else:
        yield outcome.resource


def _inside(el: Element, ctx: "Walk") -> Iterator[Element]:
    for relation in ("entryRelationship", "component"):
        for each in el.named(relation):
            for tag, held in each.kids.items():
                if tag in STATEMENTS:
                    yield from held


def about(el: Element, ctx: "Walk", kind: str, tell: Callable[[Any], None]) -> None:
    """Have something told of the resource of a kind that the statement pointed at by `el` became, once it is there."""
    _known(ctx).about.append(_About(raw_keys(el, ctx), kind, tell))


def settle(ctx: "Walk", el: Element | None = None) -> None:
    """Puts into place what the statements of references have become by now; after `el` only if that was a whole entry,
    since what fails later in the same entry takes back what it has made."""
    above = el.parent if el is not None else None
    if above is not None and above.short != "entry":
        return
    known: _Known | None = ctx.entry_references
    if known is None:
        return
    known.waiting = [each for each in known.waiting if not _placed(each, ctx)]
    known.about = [each for each in known.about if not _told(each, ctx)]


def _placed(waiting: _Waiting, ctx: "Walk") -> bool:
    """Whether nothing more is to be done about a reference."""
    became = _became(waiting.keys, waiting.kinds, ctx)
    if became is None:
        return False
    own = f"{waiting.made.type}/{waiting.made.body['id']}"
    fitting = [found for each in became if (found := [ref for ref in each if ref != own])]
    if len(fitting) > 1 or (waiting.keeps and not fitting):
        return True  # one number for several: nobody knows which is meant; or the statement is another document's
    for held, name in list(_lists(waiting.made.body)):
        for index, each in enumerate(held[name]):
            if each is waiting.held:
                others = {one.get("reference") for one in held[name]}
                references = [{"reference": ref} for found in fitting for ref in found if ref not in others]
                held[name][index : index + 1] = references
                if not held[name]:
                    del held[name]
                return True
    return True


def _lists(body: Any) -> Iterator[tuple[Json, str]]:
    """The lists of a resource, each by what holds it."""
    for name, value in list(body.items()):
        if isinstance(value, list):
            yield body, name
            for each in value:
                if isinstance(each, dict):
                    yield from _lists(each)
        elif isinstance(value, dict):
            yield from _lists(value)


def _told(waiting: _About, ctx: "Walk") -> bool:
    became = _became(waiting.keys, frozenset({waiting.kind}), ctx)
    if became is None:
        return False
    fitting = [each for each in became if each]
    for ref in fitting[0] if len(fitting) == 1 else ():
        waiting.tell(ctx.by_ref[ref])
    return True


def pointing(node: Element, ctx: "Walk", kinds: frozenset[str], *, keeps: bool = False) -> Json | None:
    """A reference to the statement of a number, one of several: the number, until what states it is mapped.

    `keeps`: the number stays where nothing in the document states it as one of these kinds."""
    number = first_number(node.named("id"), ctx)
    if number is None:
        return None
    held: Json = {"identifier": number}
    if ctx.builder is not None:
        _known(ctx).waiting.append(_Waiting(ctx.builder, held, raw_keys(node, ctx), kinds, keeps))
    return held


def _registered(name: str, kinds: frozenset[str]) -> None:
    def call(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
        if isinstance(node, str):
            return None
        return pointing(node, ctx, kinds)

    call.__doc__ = f"What an entry reference points at: {', '.join(sorted(kinds)) or 'any resource'}."
    datatype(name, gives="Reference", reads=_READS)(call)


for _name, _kinds in _KINDS.items():
    _registered(_name, _kinds)
