"""Results that are corrected, taken back and sent again: which statement stands.

Ranks: 0 unknown, 1 registered, 2 preliminary and partial, 3 final, amended, corrected, appended, cancelled. Only a
drop from 3 to less is held (`result-downgrade`); within 3 the newest statement wins. A changed value under `final`
after a final one is a correction that the sender did not mark; an equal one keeps the stored status. After
entered-in-error a newer 2 or 3 reinstates.

Source: design chapter HL7 v2 §9, corrections.
"""

from typing import TYPE_CHECKING, Any

from mappings.issues import Issue, issue

if TYPE_CHECKING:
    from mappings.convert import Mapped

Json = dict[str, Any]

RESULTS = frozenset({"Observation", "DiagnosticReport"})
RANK = {
    "unknown": 0,
    "registered": 1,
    "preliminary": 2,
    "partial": 2,
    **dict.fromkeys(("final", "amended", "corrected", "appended", "cancelled"), 3),
}
DONE = 3
ERROR = "entered-in-error"
ENDED = frozenset({"inactive", "remission", "resolved"})  # clinical statuses of what may have an end
# what a fact is about: the left hip and a hip are two facts, and neither says more of the other
ABOUT = frozenset({"bodySite", "focus", "modifierExtension", "site"})
_OF_A_VALUE = ABOUT | {"interpretation", "referenceRange"}  # nothing of another value
_VALUE = ("component", "dataAbsentReason", "conclusion", "conclusionCode", "presentedForm")


def replace(old: Json, mapped: "Mapped") -> tuple[Json | None, tuple[Issue, ...]]:
    """(body to store, what was noticed); None where the stored one stands."""
    new = mapped.body
    was, now = str(old.get("status", "unknown")), str(new.get("status", "unknown"))
    if was == ERROR:
        return _after_error(new, now)
    if now == ERROR:
        return _withdrawn(old, new), ()
    if RANK.get(was, 0) == DONE and RANK.get(now, 0) < DONE and not mapped.downgrade:
        return None, (issue("result-downgrade"),)
    if now == "final" and was in ("final", "corrected", "amended", "appended"):
        if value(old) == value(new):
            return {**new, "status": was}, ()
        if old["resourceType"] == "Observation":
            return {**new, "status": "corrected"}, (issue("unmarked-correction"),)
        if was != "final":
            return {**new, "status": was}, ()
    return new, ()


def _after_error(new: Json, now: str) -> tuple[Json | None, tuple[Issue, ...]]:
    if now == ERROR:
        return new, ()
    if RANK.get(now, 0) < 2:
        return None, (issue("result-downgrade"),)
    return new, (issue("reinstated"),)


def _withdrawn(old: Json, new: Json) -> Json:
    """Entered in error: what was said stays readable, for someone may have acted on it."""
    return {**old, **new} if not value(new) else new


def value(body: Json) -> Json:
    """What a result says: its value, components or reason for none; a report's lines are results of their own."""
    return {name: each for name, each in body.items() if name.startswith(("value", "_value")) or name in _VALUE}


def held_late(old: Json, mapped: "Mapped") -> Json | None:
    """A late statement fills what the stored result does not say; its value and status never come back."""
    fixed = old.keys() | value(mapped.body).keys() | _OF_A_VALUE
    missing = {
        name: each
        for name, each in mapped.body.items()
        if name not in fixed and not name.startswith(("effective", "_"))
    }
    return {**old, **missing} if missing else None


def judged(body: Json, new: Json, *, late: bool = False) -> Json:
    """A condition or an allergy after an update: what is in error has no clinical status (con-5, ait-2), what is active
    no end (con-4). A newer statement that gives a status takes the error back; an older one neither says how it stands
    nor that it is over.
    """
    gone: set[str] = set()
    if "clinicalStatus" in body and ERROR in _codes_of(body, "verificationStatus"):
        gone.add("clinicalStatus" if late or "verificationStatus" in new else "verificationStatus")
    if late and body["resourceType"] == "Condition" and not _codes_of(body, "clinicalStatus") & ENDED:
        gone |= {name for name in body if name.removeprefix("_").startswith("abatement")}
    return {name: value for name, value in body.items() if name not in gone} if gone else body


def _codes_of(body: Json, element: str) -> set[str]:
    return {coding.get("code", "") for coding in body.get(element, {}).get("coding", ())}
