"""What identifies appointments, their orders, and blocked or opened time.

Source: design chapter HL7 v2 §6, the key table; HL7 v2.9 chapter 10, SCH-1 to SCH-5.
"""

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.keys.parts import Key, code, components, entity, key, position
from mappings.hl7v2.message import Segment
from mappings.rows.runtime import text

_RESOURCES = frozenset({"AIG", "AIL", "AIP"})


@key("appointment")
def appointment(segment: Segment, ctx: Assembly) -> Key:
    """SCH-2 · SCH-1, and the occurrence (SCH-3) of a series that has one number."""
    occurrence = text(segment.field(3), ctx.rep, ctx.comp)
    for side, number in (("filler", 2), ("placer", 1)):
        if (found := entity(segment.field(number), ctx)) is not None:
            return (side, *found, *((occurrence,) if occurrence else ()))
    return position(segment, ctx)


def order_index(segment: Segment, ctx: Assembly) -> int | None:
    """Which number of SCH-26 and SCH-27 is an AIS's: its own, or the only one."""
    sch = ctx.near("SCH")
    if sch is None:
        return None
    numbers = max(len(sch.reps(26)), len(sch.reps(27)))
    if numbers == 1:
        return 0
    return segment.nth - 1 if segment.nth <= numbers else None


@key("appointment_order")
def appointment_order(segment: Segment, ctx: Assembly) -> Key | None:
    """As the order's own message names it: placer's or filler's number and service. None where it is not known whose
    order it is."""
    sch, index = ctx.near("SCH"), order_index(segment, ctx)
    patients = sum(each.name == "PID" for each in ctx.message.segments)
    if sch is None or index is None or patients != 1:
        return None
    service = code(segment.field(3), ctx) or ("", "")
    for side, number in (("placer", 26), ("filler", 27)):
        numbers = sch.reps(number)
        if index < len(numbers) and (found := entity(numbers[index], ctx)) is not None:
            return (side, *found, *service)
    return None


@key("schedule")
def schedule(segment: Segment, ctx: Assembly) -> Key | None:
    """The resource that AIG, AIL, AIP names; SCH-5 where none does."""
    if segment.name == "SCH":
        if any(each.name in _RESOURCES for each in ctx.message.segments):
            return None
        named = code(segment.field(5), ctx)
        return ("SCH-5", ctx.feed, *named) if named is not None else position(segment, ctx)
    found = tuple(each for each in components(segment.field(3), ctx) if each)
    return (segment.name, ctx.feed, *found) if found else position(segment, ctx)


@key("slot")
def slot(segment: Segment, ctx: Assembly) -> Key | None:
    """The schedule and the times as they were sent, which S24 repeats to open what S23 blocked."""
    whose = schedule(segment, ctx)
    sch, tq1 = ctx.near("SCH"), ctx.near("TQ1")
    if whose is None or sch is None:
        return None
    first = {"AIG": 8, "AIL": 6, "AIP": 6}.get(segment.name)
    times = [segment.field(number) for number in range(first, first + 5)] if first else []
    times += [sch.field(number) for number in (9, 10, 11)]
    times += [tq1.field(number) for number in (7, 8)] if tq1 is not None else []
    return (*whose, *times)
