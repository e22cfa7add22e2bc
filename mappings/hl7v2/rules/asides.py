"""Observations that inform an order and are no result of it.

An OBX that answers a question of the order (OBX-29 QST) or tells of its surroundings (SCI), and one that stands before
its OBR, is a document or fact the order came with: `ServiceRequest.supportingInfo`, and no line of the report.

Source: HL7 v2.9 §7.4.2.29, table 0936; v2-to-FHIR guide, ORU_R01; design chapter HL7 v2 §4.
"""

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.rules import Json, after

QUESTIONS = frozenset({"QST", "SCI"})
_WORD = "asides"


def set_aside(ctx: Assembly, builder: Builder) -> None:
    """Remembers a line until all are made."""
    ctx.shared.setdefault(_WORD, []).append(builder)


@after("asides", "OBX")
def asides(ctx: Assembly) -> None:
    """Out of the reports, into the orders; in one pass, for a message may hold thousands."""
    told_aside: list[Builder] = ctx.shared.get(_WORD, [])
    moved: set[str] = set()
    for line in told_aside:
        if line.group is None or ctx.by_ref.get(line.ref) is not line:
            continue
        ctx.group = line.group
        order = ctx.made_near("ServiceRequest")
        if order is None:
            continue
        told: list[Json] = order.body.setdefault("supportingInfo", [])
        if not told or told[-1] != {"reference": line.ref}:
            told.append({"reference": line.ref})
        line.body.pop("basedOn", None)
        moved.add(line.ref)
    if moved:
        _leave_reports(ctx, moved)


def _leave_reports(ctx: Assembly, moved: set[str]) -> None:
    for report in ctx.made:
        if report.type == "DiagnosticReport" and "result" in report.body:
            report.body["result"] = [each for each in report.body["result"] if each["reference"] not in moved]
            if not report.body["result"]:
                del report.body["result"]
