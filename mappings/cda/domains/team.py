"""Care teams: one CareTeam an organizer, a participant each member; a member that stands alone is a team of one.

Who leads the team is told by the number of one of its members, who takes that part beside her own; a leader who is no
listed member is a participant, too. R4 has no status of a member: one who left has an end, be it unknown, and one who
was entered in error or never came is none. A negated team is nothing that FHIR could hold.
Source: C-CDA R2.1 companion guide and 5.0 (care team organizer, member act, type and schedule observations); US Core
care team.
"""

from typing import Any, Final

from mappings.cda import parties
from mappings.cda.domains import entry_reference
from mappings.cda.element import Element
from mappings.cda.handlers import handles
from mappings.cda.named import flag
from mappings.cda.paths import code_of, is_valued, parse_paths, reader
from mappings.cda.walk import Walk

Json = dict[str, Any]

_MEMBER: Final = "component/act[performer and statusCode!='nullified|cancelled' and @negationInd!='true|1']"
_PART: Final = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_LEADS: Final[Json] = {"coding": [{"system": _PART, "code": "PPRF", "display": "primary performer"}]}
_LEFT: Final = frozenset({"completed", "aborted"})

(_members,) = (reader(ref) for ref in parse_paths(_MEMBER))
(_leaders,) = (reader(ref) for ref in parse_paths("participant[@typeCode='PPRF']"))
(_roles,) = (reader(ref) for ref in parse_paths("performer/assignedEntity"))


@handles("team", "organizer", "act", negation=True)
def team(walk: Walk, el: Element) -> None:
    """A team, or one member of it."""
    if walk.negated:
        walk.refuse(el, "negated")
    elif el.short == "organizer":
        walk.state("team.CareTeam", el, also=lambda body: _led(walk, el, body))
    elif "performer" in el.kids and not _in_team(el):
        walk.state("team.CareTeam-lone", el)
    else:
        walk.tell(el, "narrative")
    entry_reference.settle(walk, el)


def _in_team(el: Element) -> bool:
    """Whether a member stands in a team, which did not take her: she is none."""
    around = el.parent
    return around is not None and around.short == "component"


def _led(walk: Walk, el: Element, body: Json) -> None:
    """Who leads it, by number among the members."""
    members = [each for each in _members(el, walk) if each in walk.read]
    for leader in _leaders(el, walk):
        role = parties.role_of(leader, walk)
        keys = parties.raw_keys(role, walk) if role is not None else frozenset()
        named = _index(members, keys, walk)
        if named is not None and len(members) == len(body.get("participant", ())):
            body["participant"][named].setdefault("role", []).append(dict(_LEADS))
        elif role is not None and (found := parties.party(leader, walk, parties.SIGNERS)) is not None:
            body.setdefault("participant", []).append({"role": [dict(_LEADS)], "member": found})


def _index(members: list[Element], keys: frozenset[Any], ctx: Walk) -> int | None:
    """The member of one of these numbers: her own, or that of her act; of an OID alone, too."""
    for index, member in enumerate(members):
        own = parties.raw_keys(member, ctx)
        for role in _roles(member, ctx):
            own |= parties.raw_keys(role, ctx)
        if own & keys:
            return index
    return None


@flag("left-the-team")
def left(el: Element, ctx: Walk) -> bool:
    """Whether a member is no longer one, since when nobody says."""
    if not any(code_of(each) in _LEFT for each in el.named("statusCode")):
        return False
    return not any(is_valued(high) for time in el.named("effectiveTime") for high in time.named("high"))
