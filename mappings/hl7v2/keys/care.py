"""What identifies problems, goals, pathways and those who care for them.

Source: design chapter HL7 v2 §6, the key table: PRB-4, GOL-4, PTH-3.
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.parts import Key, code, entity, key, patient_id, position
from mappings.hl7v2.message import Segment
from mappings.rows.runtime import NULL, text

_OF = {"PRB": "Condition", "GOL": "Goal", "PTH": "CarePlan"}


@key("problem")
def problem(segment: Segment, ctx: Assembly) -> Key | None:
    """PRB-4; else patient + code or text + date of the onset, else of the first mention."""
    return _instance(segment, ctx, 4, 3, (16, 7))


@key("goal")
def goal(segment: Segment, ctx: Assembly) -> Key | None:
    """GOL-4; else patient + goal + date when it was set."""
    return _instance(segment, ctx, 4, 3, (7,))


@key("pathway")
def pathway(segment: Segment, ctx: Assembly) -> Key | None:
    """PTH-3; else patient + pathway + date when it was established."""
    return _instance(segment, ctx, 3, 2, (4,))


def _instance(segment: Segment, ctx: Assembly, number: int, what: int, dates: tuple[int, ...]) -> Key | None:
    """The number of an instance is its sender's; a site that sends none lists each thing once."""
    if (found := entity(segment.field(number), ctx)) is not None:
        return (segment.name, *found)
    named = code(segment.field(what), ctx)
    if named is None:
        return None if segment.field(what) == NULL else position(segment, ctx)
    day = next((said for field in dates if (said := text(segment.field(field), ctx.rep, ctx.comp))), "")
    return (segment.name, patient_id(ctx), *named, day)


@key("roles")
def roles(segment: Segment, ctx: Assembly) -> Key | None:
    """CareTeam of the ROL below a problem, goal or pathway: that statement."""
    found = ctx.made_near(_OF[segment.name])
    return ("roles", found.id) if found is not None and found.segment is segment else None
