"""Accounts and charges: what an event makes of an account, what is no charge, what a charge is for.

Source: HL7 v2.9 chapter 6 (events P01 to P12, table 0017); FHIR R4 Account, ChargeItem.
"""

from typing import Any

from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules import Json, after, finish, function
from mappings.issues import issue
from mappings.rows.runtime import NULL
from mappings.terminology.concept_map import ConceptMap

_PURGED, _ENDED = "P02", "P06"
_NO_CHARGE = ("PY", "AJ", "CO")  # table 0017: payment, adjustment, what the patient pays herself


@function("FT1[Coding]", "Coding")
def procedure_code(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """FT1-25 where FT1-7 does not name the same code of the same system."""
    coding = FUNCTIONS["CWE[Coding]"].call
    found: Json | None = coding(raw, ctx, None)
    field, ctx.field = ctx.field, 7
    tariff: Json = coding(ctx.seg.field(7).split(ctx.rep, 1)[0], ctx, None) or {}
    ctx.field = field
    same = found is not None and all(found.get(name) == tariff.get(name) for name in ("system", "code"))
    return None if same else found


@finish("charged_for")
def charged_for(ctx: Assembly, builder: Builder) -> None:
    """The orders that stand below a charge."""
    below = {id(each) for each in builder.group.groups} if builder.group is not None else set()
    for other in ctx.made:
        if other.type == "ServiceRequest" and id(other.group) in below:
            builder.body.setdefault("supportingInformation", []).append({"reference": other.ref})


@finish("charged_order")
def charged_order(ctx: Assembly, builder: Builder) -> None:
    """The order around a charge, beside what the charge names itself."""
    if (order := ctx.made_near("ServiceRequest")) is not None:
        builder.body.setdefault("supportingInformation", []).append({"reference": order.ref})


@finish("account_event")
def account_event(ctx: Assembly, builder: Builder) -> None:
    """BAR^P06 ends an account, P02 purges it: nothing can be charged to it any more."""
    if ctx.event not in (_ENDED, _PURGED) or ctx.message.code != "BAR":
        return
    builder.body["status"] = "inactive"
    builder.own.append("status")
    builder.filled[:] = [path for path in builder.filled if path != "status"]
    evn = ctx.message.first("EVN")
    raw = (evn.field(6) or evn.field(2)) if evn is not None and ctx.event == _ENDED else ""
    if raw and raw != NULL and evn is not None:
        ctx.seg, ctx.field = evn, 6 if evn.field(6) else 2
        ended = FUNCTIONS["DTM[dateTime]"].call(raw, ctx, None)
        if isinstance(ended, str):
            builder.body["servicePeriod"] = {"end": ended}
            builder.own.append("servicePeriod")


@after("not_charged")
def not_charged(ctx: Assembly) -> None:
    """Payments, adjustments and shares of the patient's: named, for R4 has no resource that one of them fills."""
    for segment in ctx.message.segments:
        if segment.name == "FT1" and segment.field(6).split(ctx.comp, 1)[0].strip() in _NO_CHARGE:
            ctx.issues.append(issue("kind-unmapped", Place("FT1", segment.nth, 6), row="@not_charged"))
