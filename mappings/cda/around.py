"""What stands around a statement and rows name by `@`: the patient, the encounter, who wrote it down and when.

The nearest word counts: the statement's own, its wrapper's, its section's, the header's.
Source: CDA R2 §4.4 (context conduction).
"""

from collections.abc import Iterator
from typing import Any

from mappings.cda.document import Element
from mappings.cda.named import resolver

Json = dict[str, Any]


def outwards(el: Element | None) -> Iterator[Element]:
    """The element, and each one around it up to the document."""
    while el is not None:
        yield el
        el = el.getparent()


def nearest(name: str, ctx: Any) -> list[Element]:
    """The participations of that name that hold for the statement at hand."""
    for here in outwards(ctx.statement if ctx.statement is not None else ctx.section):
        if found := ctx.kids[here].get(name):
            return list(found)
    return list(ctx.kids[ctx.doc.root].get(name, ()))


@resolver("patient")
def patient(ctx: Any) -> Json | None:
    """The patient of the document."""
    return {"reference": ctx.patient.ref} if ctx.patient is not None else None


@resolver("encounter")
def encounter(ctx: Any) -> Json | None:
    """The encounter that the document is about, if it names one."""
    return {"reference": ctx.encounter.ref} if ctx.encounter is not None else None


@resolver("author")
def author(ctx: Any) -> Json | None:
    """Who wrote the statement down last."""
    from mappings.cda.parties import latest, party

    found = latest(nearest("author", ctx), ctx)
    return party(found, ctx) if found is not None else None


@resolver("author-time")
def author_time(ctx: Any) -> Any:
    """When it was first written down: the earliest time of its own authors, never the document's."""
    from mappings.cda.datatypes.times import ts_datetime

    for here in outwards(ctx.statement):
        if here is ctx.section:
            return None
        if found := ctx.kids[here].get("author"):
            times = [time for each in found for time in ctx.kids[each].get("time", ())]
            times.sort(key=lambda time: time.get("value") or "9")
            return ts_datetime(times[0], ctx, None) if times else None
    return None


@resolver("performer")
def performer(ctx: Any) -> Json | None:
    """Who did it: the statement's own performer, else its wrapper's; never the author of the document."""
    from mappings.cda.parties import party

    for here in outwards(ctx.statement):
        if here is ctx.section:
            return None
        for each in ctx.kids[here].get("performer", ()):
            if (found := party(each, ctx)) is not None:
                return found
    return None
