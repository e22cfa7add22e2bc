"""Which order a segment belongs to, where the family's groups alone cannot say it.

A family names the rules it wants (`pairing` in `messages/*.toml`); each is tried on a few segments, before the groups
are asked. One that returns a group has placed the segment; one that returns None may have moved the open group, and
leaves the rest to the automaton of `structure.py`.

- in every family: ORC, and what else opens an order, belongs to the next OBR. One OBR joins the order that waits for
  it, a second opens one of its own, and an OBR without ORC opens an order
- `orc-behind` (OUL_R22, R23, R24): ORC belongs to the OBR before it
- `results-after-specimen` (ORU): OBX after SPM describes the specimen, unless the order has no OBX before its SPM
- `results-after-container` (OUL_R24): OBX after SPM describes the specimen if a container follows; behind SAC or INV,
  or where there is neither, they are the order's results
- `order-document` (ORU, OUL): OBX that stand directly before a TXA are the document's and no results
- `prior` (ORM, OML, OMG, OMI): after the first order a PID, PV1 or AL1, or an ORC that says PR, opens the results of an
  earlier order; an ORC that says anything else opens the next order, unless those segments still wait for theirs

Source: HL7 v2.9 §4.4 (ORM, OML, OMG), §7.3 (ORU, OUL); design chapter HL7 v2 §4, pairing.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from mappings.hl7v2.message import Segment
from mappings.issues import issue

if TYPE_CHECKING:
    from mappings.hl7v2.structure import Group, Grouper

Rule = Callable[["Grouper", Segment], "Group | None"]

PRIOR, ORC_BEHIND = "PRIOR", "orc-behind"
PAIRINGS = frozenset({ORC_BEHIND, "order-document", "results-after-specimen", "results-after-container", "prior"})
_PREVIOUS = "PR"  # table 0119, ORC-1: previous results with new order
_HEADS_OF_PRIOR = ("PID", "PV1", "AL1")


def rules_of(pairing: tuple[str, ...]) -> dict[str, tuple[Rule, ...]]:
    """Segment name → the rules tried on it."""
    found: dict[str, tuple[Rule, ...]] = {"ORC": (_orc,), "OBR": (_obr,)}
    if ORC_BEHIND in pairing:
        found["ORC"] = (_orc_behind,)
    if "results-after-specimen" in pairing:
        found["OBX"] = (_results_after_specimen,)
    if "results-after-container" in pairing:
        found["OBX"] = (_results_after_container,)
    if "order-document" in pairing:
        found["OBX"] = (_order_document, *found.get("OBX", ()))
    if "prior" in pairing:
        found |= dict.fromkeys(_HEADS_OF_PRIOR, (_prior_head,))
        found["ORC"] = (_prior_order, *found["ORC"])
        found["OBR"] = (_ordered, *found["OBR"])
    return found


def rules_in(rules: dict[str, tuple[Rule, ...]], present: frozenset[str]) -> dict[str, tuple[Rule, ...]]:
    """The rules that have something to do in a message; `present`: those of `DECISIVE` that it holds."""
    met = present | {""}
    return {name: tuple(rule for rule in each if _NEEDS.get(rule, "") in met) for name, each in rules.items()}


def names(group: "Group") -> list[str]:
    return [segment.name for segment in group.segments]


# an order and its ORC -------------------------------------------------------------------------------------------------


def _obr(grouper: "Grouper", segment: Segment) -> "Group | None":
    """It joins the order that waits for it."""
    order = grouper.order()
    if order is None or not order.segments or "OBR" in names(order):
        return None
    return grouper.join(order, segment)


def _orc(grouper: "Grouper", segment: Segment) -> "Group | None":
    """A container may open an order before its ORC does (OUL_R21)."""
    order = grouper.order()
    if order is None or not order.segments:
        return None
    held = names(order)
    return None if "OBR" in held or "ORC" in held else grouper.join(order, segment)


def _orc_behind(grouper: "Grouper", segment: Segment) -> "Group | None":
    """It joins the OBR before it, wherever in that order it stands."""
    order = grouper.order()
    return None if order is None or "ORC" in names(order) else grouper.join(order, segment)


# specimens and results ------------------------------------------------------------------------------------------------


def _results_after_specimen(grouper: "Grouper", segment: Segment) -> None:
    """Out of the specimen into its order, if that has no results yet."""
    specimen = grouper.open
    for held in specimen.segments:
        if held.name == "SPM":
            break
    else:
        return
    if specimen.name == grouper.root.name:
        return
    order = grouper.order()
    if order is None or any("OBX" in names(group) for group in order.walk()):
        return
    grouper.issues.append(issue("results-after-specimen", segment.place()))
    grouper.open = order


def _results_after_container(grouper: "Grouper", segment: Segment) -> None:
    """Out of specimen and container into the order, unless this OBX stands between SPM and its container."""
    specimen = next((group for group in grouper.enclosing() if "SPM" in names(group)), None)
    order = grouper.order()
    if order is None or (specimen is None and "SAC" not in names(grouper.open)):
        return
    if specimen is None or _container_came(grouper, specimen) or not _container_comes(grouper, specimen):
        grouper.open = order


def _container_came(grouper: "Grouper", specimen: "Group") -> bool:
    return any(name in ("SAC", "INV") for group in specimen.walk() for name in names(group))


def _container_comes(grouper: "Grouper", specimen: "Group") -> bool:
    """Whether SAC or INV follows before the next order or specimen: looked up once a specimen."""
    at = specimen.segments[0].ordinal
    if at not in grouper.known:
        behind = (segment.name for segment in grouper.message.segments[at + 1 :])
        grouper.known[at] = next((n for n in behind if n in ("SAC", "INV", "OBR", "SPM")), "") in ("SAC", "INV")
    return grouper.known[at]


# documents of an order ------------------------------------------------------------------------------------------------

_DOCUMENT, _LOOKED = "ORDER_DOCUMENT", -1  # ordinals are never negative


def _order_document(grouper: "Grouper", segment: Segment) -> "Group | None":
    """Into the document of its order, which the first of these OBX opens."""
    if _LOOKED not in grouper.known:
        _look_for_documents(grouper)
    order = grouper.order()
    if not grouper.known[_LOOKED] or order is None or ~segment.ordinal - 1 not in grouper.known:
        return None
    group = grouper.open if grouper.open.name == _DOCUMENT else grouper.make(_DOCUMENT)
    return grouper.join(group, segment)


def _look_for_documents(grouper: "Grouper") -> None:
    """What stands before each TXA, by its ordinal turned negative: once a message, for it may hold thousands of OBX."""
    known, before = grouper.known, False
    known[_LOOKED] = False
    for segment in reversed(grouper.message.segments):
        before = segment.name == "TXA" or (before and segment.name in ("OBX", "NTE", "PRT"))
        if before:
            known[_LOOKED] = known[~segment.ordinal - 1] = True


# results of earlier orders --------------------------------------------------------------------------------------------


def _prior_head(grouper: "Grouper", segment: Segment) -> None:
    """PID, PV1, AL1 after an order: one set of them before each earlier order."""
    if grouper.ordered and (grouper.prior is None or grouper.prior.groups):
        _open_prior(grouper)


def _prior_order(grouper: "Grouper", segment: Segment) -> None:
    """ORC: of an earlier order, or of the next one."""
    control = segment.field(1).split(segment.sep.comp, 1)[0].strip()
    if grouper.prior is not None:
        if control not in ("", _PREVIOUS) and grouper.prior.groups:
            grouper.leave_prior()
    elif control == _PREVIOUS and grouper.ordered:
        _open_prior(grouper)
    grouper.ordered = True


def _ordered(grouper: "Grouper", segment: Segment) -> None:
    grouper.ordered = True


def _open_prior(grouper: "Grouper") -> None:
    """A new group beside the order at hand, which stays where it was until the earlier results are told."""
    if grouper.prior is not None:
        grouper.leave_prior()
    grouper.before = grouper.open
    grouper.prior = grouper.make(PRIOR)


# without such a segment the rule does nothing, and is not asked of thousands of OBX
_NEEDS: dict[Rule, str] = {_results_after_specimen: "SPM", _order_document: "TXA"}
DECISIVE = frozenset(_NEEDS.values())
