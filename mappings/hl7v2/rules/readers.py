"""Datatype functions that read several fields of their segment: death, performed time, payor, timing, sender.

Same contract as `datatypes/`: `f(raw, ctx, vocab)`; `ctx.seg` is the segment, `ctx.field` the field being read.
Source: design chapter HL7 v2 §5, §6; the guide's segment maps cited at each row.
"""

from datetime import datetime, timedelta
from typing import Any

from mappings.fhir import values
from mappings.hl7v2.datatypes import FUNCTIONS as DATATYPES
from mappings.hl7v2.datatypes import identifiers, numbers, observation, text, timing
from mappings.hl7v2.rules import Json, function
from mappings.rows.runtime import NULL
from mappings.terminology.concept_map import ConceptMap

_TABLE_0487 = "0487"  # specimen type; OBR-15.1 had 0070 before 2.5


@function("DEATH[value]", "deceased[x]")
def death(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """PID-29 or PID-30: a date says more than a flag, and a date that is none must not lose the death."""
    if ctx.field == 29:
        found = timing.dtm_datetime(raw, ctx)
        if isinstance(found, tuple):
            value, sibling = found
            if value is not None:
                return {"deceasedDateTime": value, "_deceasedDateTime": sibling}
            return {"deceasedBoolean": True, "_deceasedBoolean": sibling}
        return {"deceasedDateTime": found} if found else {"deceasedBoolean": True}
    flag = text.id_boolean(raw, ctx)
    return None if flag is None else {"deceasedBoolean": flag}


@function("MSG[event]", "event[x]")
def message_event(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json:
    """MSH-9.2, in table 0003."""
    found = identifiers.msg_coding(raw, ctx)
    return {"eventCoding": found or values.absent("unknown")}


@function("OBX5[value-one]", "value[x]")
def one_value(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """One repetition of OBX-5, for a component; a component holds no attachment, so a pointer is its text."""
    found = observation.obx5_value([raw], ctx)
    if found is None or "valueAttachment" not in found:
        return found
    attachment = found["valueAttachment"]
    if (said := attachment.get("url") or attachment.get("title")) is None:
        ctx.issue("bad-value", detail="several documents in one line")
    return {"valueString": said} if said else None


@function("PR1[performed]", "performed[x]")
def performed(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """PR1-5, as a period where PR1-7 gives minutes and PR1-5 a time of day."""
    found = timing.dtm_datetime(raw, ctx)
    if found is None:
        return None
    if isinstance(found, tuple):
        value, sibling = found
        return {"_performedDateTime": sibling} | ({"performedDateTime": value} if value else {})
    minutes = ctx.seg.field(7).split(ctx.comp)[0].strip()
    if minutes.isascii() and minutes.isdecimal() and len(minutes) < 7 and len(found) > 10:
        end = datetime.fromisoformat(found) + timedelta(minutes=int(minutes))
        return {"performedPeriod": {"start": found, "end": end.isoformat()}}
    return {"performedDateTime": found}


@function("SENDER[Reference(Organization)]", "Reference")
def sender(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """MSH-22, an XON, else MSH-4, an HD."""
    kind = "XON" if ctx.field == 22 else "HD"
    found: Json | None = DATATYPES[f"{kind}[Reference(Organization)]"].call(raw, ctx, None)
    return found


@function("HD[Reference(Location)]", "Reference")
def facility(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """EVN-7: a facility as a place."""
    identifier = identifiers.hd_identifier(raw, ctx)
    if identifier is None:
        return None
    name = identifiers.hd_string(raw, ctx)
    body = {"identifier": [identifier]} | ({"name": name} if name else {})
    reference = ctx.make("Location", (identifier["system"], identifier["value"]), body)
    return values.reference(reference, name)


@function("SPS[CodeableConcept]", "CodeableConcept")
def specimen_source(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> Json | None:
    """OBR-15.1 below 2.5: a CWE in subcomponents."""
    if not raw or raw == NULL:
        return None
    found: Json | None = DATATYPES["CWE[CodeableConcept]"].call(raw.replace(ctx.sub, ctx.comp), ctx, vocab)
    return found


@function("ST[positiveInt]", "positiveInt")
def st_positive(raw: str, ctx: Any, vocab: ConceptMap | None = None) -> int | None:
    return numbers.nm_positive(raw, ctx)
