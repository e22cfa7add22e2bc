"""What an observation says: an answer to a question, that something is so or is not so, or nothing.

`ASSERTION` as a code says that the value was found. Older documents assert smoking and pregnancy too, where newer ones
ask: what is asked is then in the template. A statement that is null as a whole asserts nothing.
Source: CDA R2 §4.3.6; C-CDA R1.1 to R5, smoking status, tobacco use, pregnancy; C-CDA on FHIR, social history.
"""

from typing import TYPE_CHECKING, Any, Final

from mappings import vitals
from mappings.cda.element import Element
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of, is_valued

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]

INTENTION: Final = "86645-9"  # LOINC, pregnancy intention: an observation, though C-CDA R3 gives it the mood of a plan
_ASSERTION: Final = "ASSERTION"  # HL7 v3 ActCode: the value is what is asserted
_PREGNANCY: Final = "82810-3"  # LOINC, pregnancy status
_PREGNANT: Final = "77386006"  # SNOMED CT
# C-CDA templates of assertions → LOINC code of what they answer
_QUESTIONS: Final = {
    "2.16.840.1.113883.10.20.22.4.78": ("72166-2", "Tobacco smoking status"),
    "2.16.840.1.113883.10.20.22.4.511": ("72166-2", "Tobacco smoking status"),
    "2.16.840.1.113883.10.20.22.4.85": ("11367-0", "History of tobacco use"),
    "2.16.840.1.113883.10.20.15.3.8": (_PREGNANCY, "Pregnancy status"),
}


def codes_of(el: Element, ctx: "Walk") -> list[str]:
    """The codes of what a statement is, not their translations."""
    return [code_of(each) for each in el.named("code")]


def asserts(el: Element, ctx: "Walk") -> bool:
    """Whether the code only says that its value was found."""
    return codes_of(el, ctx)[:1] == [_ASSERTION]


def says_nothing(el: Element, ctx: "Walk") -> bool:
    """A statement that is null as a whole, and names nothing."""
    if el.get("nullFlavor") is None:
        return False
    return not any(is_valued(each) for tag in ("code", "value", "text") for each in el.named(tag))


def _question(el: Element, ctx: "Walk") -> tuple[str, str] | None:
    """What an assertion answers, where its template says so; a denial answers nothing but of a pregnancy."""
    if not asserts(el, ctx):
        return None
    roots = [(each.get("root") or "").strip() for each in el.named("templateId")]
    found = next((_QUESTIONS[root] for root in roots if root in _QUESTIONS), None)
    asserted = [code_of(each) for each in el.named("value")]
    if found is None and asserted[:1] == [_PREGNANT]:
        found = _PREGNANCY, "Pregnancy status"
    if ctx.negated and not (found and found[0] == _PREGNANCY and asserted[:1] == [_PREGNANT]):
        return None
    return found


@flag("question")
def is_question(el: Element, ctx: "Walk") -> bool:
    """Whether it asserts the answer to a question that only its template names."""
    return _question(el, ctx) is not None


@resolver("question")
def question(ctx: "Walk") -> Json | None:
    """That question."""
    found = _question(ctx.at_hand, ctx)
    if found is None:
        return None
    return {"coding": [{"system": vitals.LOINC, "code": found[0], "display": found[1]}]}


@flag("assertion")
def is_assertion(el: Element, ctx: "Walk") -> bool:
    """Whether the value says what was found, and the code only that it was."""
    if not asserts(el, ctx) or is_question(el, ctx):
        return False
    return any(is_valued(each) for each in el.named("value"))


@flag("pregnancy")
def is_pregnancy(el: Element, ctx: "Walk") -> bool:
    """Whether it says if the patient is pregnant."""
    asked = _question(el, ctx)
    return _PREGNANCY in codes_of(el, ctx) or (asked is not None and asked[0] == _PREGNANCY)


@flag("denied-pregnancy")
def denied_pregnancy(el: Element, ctx: "Walk") -> bool:
    """A pregnancy that is asserted not to be."""
    return bool(ctx.negated) and is_pregnancy(el, ctx) and asserts(el, ctx)


def deniable(el: Element, ctx: "Walk") -> bool:
    """Whether a denial says that something is not so: of an assertion, if it is not null as a whole."""
    return (is_assertion(el, ctx) or denied_pregnancy(el, ctx)) and not unsaid(el, ctx)


@flag("unknown-answer")
def unknown_answer(el: Element, ctx: "Walk") -> bool:
    """Of a pregnancy, or the wish for one: that nobody knows is an answer."""
    if not (is_pregnancy(el, ctx) or INTENTION in codes_of(el, ctx)):
        return False
    flavors = [el.get("nullFlavor"), *(each.get("nullFlavor") for each in el.named("value"))]
    return "UNK" in flavors


@flag("unsaid")
def unsaid(el: Element, ctx: "Walk") -> bool:
    """Whether the statement as a whole is null: an assertion then asserts nothing."""
    if el.get("nullFlavor") is None:
        return False
    return asserts(el, ctx) or not any(is_valued(each) for each in el.named("value"))


@flag("several-values")
def several_values(el: Element, ctx: "Walk") -> bool:
    return len([each for each in el.named("value") if is_valued(each)]) > 1


@resolver("is-so")
def is_so(ctx: "Walk") -> bool:
    """Of an assertion: whether it is so."""
    return not ctx.negated
