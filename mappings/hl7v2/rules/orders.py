"""Orders as results name them.

Statuses are rows (tables 0038 and 0119); a request to cancel or hold leaves a business event and no status, for the
filler has not agreed. What an order replaces is said here.

Source: design chapter HL7 v2 §9, orders.
"""

from mappings.hl7v2 import keys
from mappings.hl7v2.assemble import Assembly, Builder
from mappings.hl7v2.rules import finish


@finish("replaces")
def replaces(ctx: Assembly, builder: Builder) -> None:
    """ORC-1 = RO with numbers of both sides: the new order replaces the placer's old one."""
    orc, obr = ctx.near("ORC"), builder.segment
    if orc is None or obr is None or orc.field(1).strip() != "RO":
        return
    placer = keys.entity(obr.field(2), ctx) or keys.entity(orc.field(2), ctx)
    service = keys.code(obr.field(4), ctx) or ("", "")
    if placer is None:
        return
    old = ctx.identities.make("ServiceRequest", ("placer", *placer, *service))
    if old != builder.id:
        identifier = {"system": placer[0], "value": placer[1]}
        builder.body["replaces"] = [{"type": "ServiceRequest", "identifier": identifier}]
