"""Results: an organizer is a DiagnosticReport, what it holds are its Observations.

What the organizer says for all (time, specimen, status of a panel that is not done) stands where a component says
nothing of its own. Components with equal codes stay several results.
Source: C-CDA R2.1 (result organizer, result observation); C-CDA on FHIR, results; IHE PaLM XD-LAB.
"""

from typing import Any

from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.times import ts_datetime
from mappings.cda.document import Element, short
from mappings.cda.domains.observation import observed
from mappings.cda.handlers import handles
from mappings.cda.named import flag, resolver
from mappings.cda.paths import STATEMENTS, is_valued
from mappings.cda.walk import Walk
from mappings.fhir import values

Json = dict[str, Any]

_SECTION = "http://terminology.hl7.org/CodeSystem/v2-0074"
_SERVICE = {"imaging": "RAD", "pathology": "PAT"}  # category of the section → HL7 table 0074
_LABORATORY = "LAB"


@handles("result", "organizer", "observation", negation=True)
def result(walk: Walk, el: Element) -> None:
    """A panel with its results, or a result that stands alone."""
    if short(str(el.tag)) == "observation":
        observed(walk, el)
    elif walk.negated:
        walk.refuse(el, "negated")
    else:
        made = components(walk, el)
        references = [{"reference": ref} for ref in made if ref.startswith("Observation/")]
        walk.state("result.DiagnosticReport", el, also=lambda body: body.update(result=references) if made else None)


def components(walk: Walk, el: Element) -> list[str]:
    """What an organizer holds, each as a statement of its section; the references of what was made, in order."""
    outer, walk.act = walk.act, el
    made: list[str] = []
    for component in walk.kids[el].get("component", ()):
        for child in component:
            if short(str(child.tag)) in STATEMENTS:
                walk.take(child, walk.domain)
                ref = walk.outcomes[child].resource
                if ref and ref not in made:
                    made.append(ref)
    walk.act = outer
    return made


@flag("own-time")
def own_time(el: Element, ctx: Any) -> bool:
    return any(is_valued(each) for each in ctx.kids[el].get("effectiveTime", ()))


@resolver("components-time")
def components_time(ctx: Any) -> Json | None:
    """The earliest and the latest time of the results of a panel without one."""
    told, ctx.issues = ctx.issues, []  # each is told of where it stands
    times: list[str] = []
    for component in ctx.kids[ctx.statement].get("component", ()):
        for child in ctx.kids[component].get("observation", ()):
            for time in ctx.kids[child].get("effectiveTime", ()):
                found = ts_datetime(time, ctx, None)
                value = found[0] if isinstance(found, tuple) else found
                times += [value] if value else []
    ctx.issues = told
    if not times:
        return None
    return {"start": min(times), "end": max(times)}


@resolver("report-category")
def report_category(ctx: Any) -> Json:
    """Laboratory, unless the section says imaging or pathology."""
    row = ctx.section_row
    code = _SERVICE.get(row.category if row is not None else "", _LABORATORY)
    return {"coding": [{"system": _SECTION, "code": code}]}


@resolver("section-code")
def section_code(ctx: Any) -> Json | None:
    """What a panel without a code is: what its section is."""
    codes = ctx.kids[ctx.section].get("code", ()) if ctx.section is not None else ()
    return next((found for each in codes if (found := cd_concept(each, ctx)) is not None), None) or values.concept(
        [], "results"
    )
