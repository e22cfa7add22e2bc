"""Inside a resource stands only what it refers to (dom-3).

A field that is stated twice, by a repeated PD1 say, leaves behind what its first statement had put inside; and a party
that a rule takes out of an element is spoken of no more.

Source: FHIR R4 DomainResource, dom-3.
"""

from typing import Any

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.rules import after


@after("contained")
def contained(ctx: Assembly) -> None:
    """Takes out of every resource what nothing in it points to."""
    for builder in ctx.made:
        inside = builder.body.get("contained")
        if inside is None:
            continue
        used: set[str] = set()
        _local({name: value for name, value in builder.body.items() if name != "contained"}, used)
        known = -1
        while known < len(used):  # what is pointed to may point to another
            known = len(used)
            _local([each for each in inside if each["id"] in used], used)
        kept = [each for each in inside if each["id"] in used]
        if kept:
            builder.body["contained"] = kept
        else:
            del builder.body["contained"]


def _local(value: Any, used: set[str]) -> None:
    """The ids that local references name."""
    if isinstance(value, dict):
        reference = value.get("reference")
        if isinstance(reference, str) and reference.startswith("#"):
            used.add(reference[1:])
        for inner in value.values():
            _local(inner, used)
    elif isinstance(value, list):
        for inner in value:
            _local(inner, used)
