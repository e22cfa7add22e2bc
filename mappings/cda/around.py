"""What stands around a statement and rows name by `@`: the patient, the encounter, who said it, who wrote it and when.

    @patient                        of the document
    @encounter                      that it belongs to: one it names, one it stands in, the document's
    @author                         who wrote it down last: a professional, a relative, the patient herself
    @author-any                     the same where an organization or a device may stand, too
    @author-provider                the same where neither the patient nor a relative may stand
    @author-time                    when it was first written down
    @asserter                       who told it: the informant
    @performer                      who did it: a professional or an organization

The nearest word counts: the statement's own, its wrapper's, its section's, the header's. A statement that names an
author never gets the document's, not even where its own is nobody; what a header says of informants and performers
is about the whole document and not about each statement.
Source: CDA R2 §4.4 (context conduction).
"""

from typing import TYPE_CHECKING, Any

from mappings.cda import compose, encounters, header, parties, players  # noqa: F401 - rows name what these register
from mappings.cda.datatypes.times import ts_datetime
from mappings.cda.element import Element
from mappings.cda.named import resolver

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]


def outwards(el: Element | None) -> list[Element]:
    """The element, and each one around it up to the document."""
    found: list[Element] = []
    while el is not None:
        found.append(el)
        el = el.parent
    return found


def own(name: str, ctx: "Walk") -> list[Element]:
    """The participations of that name nearest to the statement at hand, within its section."""
    here = ctx.statement if ctx.statement is not None else ctx.section
    while here is not None and here is not ctx.doc.root:
        if found := here.named(name):
            return found
        here = here.parent
    return []


def nearest(name: str, ctx: "Walk") -> list[Element]:
    """The participations of that name that hold for the statement at hand, the header's too."""
    return own(name, ctx) or ctx.doc.root.named(name)


@resolver("patient")
def patient(ctx: "Walk") -> Json | None:
    """The patient of the document."""
    return {"reference": ctx.patient.ref} if ctx.patient is not None else None


@resolver("encounter")
def encounter(ctx: "Walk") -> Json | None:
    """The encounter that the statement belongs to; the one that the document is about."""
    return encounters.of(ctx.statement, ctx)


@resolver("author")
def author(ctx: "Walk") -> Json | None:
    """Who wrote the statement down last, of the people who did."""
    return parties.first_party(parties.by_time(nearest("author", ctx), ctx), ctx, parties.PEOPLE)


@resolver("author-any")
def author_any(ctx: "Walk") -> Json | None:
    """The same, be it a person, an organization or a device."""
    return parties.first_party(parties.by_time(nearest("author", ctx), ctx), ctx, parties.ANYONE)


@resolver("author-provider")
def author_provider(ctx: "Walk") -> Json | None:
    """The same of those who provide care: neither the patient nor a relative."""
    return parties.first_party(parties.by_time(nearest("author", ctx), ctx), ctx, parties.PROVIDERS | {"Device"})


@resolver("asserter")
def asserter(ctx: "Walk") -> Json | None:
    """Who told it."""
    return parties.first_party(own("informant", ctx), ctx, parties.PEOPLE)


@resolver("performer")
def performer(ctx: "Walk") -> Json | None:
    """Who did it."""
    return parties.first_party(own("performer", ctx), ctx, parties.PROVIDERS)


@resolver("author-time")
def author_time(ctx: "Walk") -> Any:
    """When it was first written down: the earliest time of its own authors, never the document's."""
    for here in outwards(ctx.statement):
        if here is ctx.section:
            return None
        if found := here.kids.get("author"):
            times = [time for each in found for time in each.named("time")]
            times.sort(key=lambda time: time.get("value") or "9")
            return ts_datetime(times[0], ctx, None) if times else None
    return None
