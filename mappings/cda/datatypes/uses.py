"""`use` of names, addresses and telecoms: several codes in CDA, one in FHIR.

What is out of use says so, whatever else it is; what moves with a person is mobile, at home and at work; else the first
code counts. What FHIR's one code does not say stays beside it, in `source-code`.
Source: HL7 v3 datatypes R1, EN.use, AD.use, TEL.use; FHIR R4 HumanName.use, Address.use, ContactPoint.use.
"""

from typing import TYPE_CHECKING, Final

from mappings.cda.datatypes.registry import Json
from mappings.fhir import values
from mappings.terminology.concept_map import load

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

_SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/"
_FIRST: Final = ("old", "mobile", "temp")
_MOST_USES: Final = 8  # of one value
_LONGEST_USE: Final = 32  # characters


def uses_of(node: "Element", ctx: "Context") -> list[str]:
    """The codes of @use, each once."""
    written = node.get("use")
    if not written:
        return []
    codes = list(dict.fromkeys(code for code in written.split() if len(code) <= _LONGEST_USE))
    if len(codes) > _MOST_USES:
        ctx.issue("extra-value", node)
    return codes[:_MOST_USES]


def set_use(
    made: Json,
    codes: list[str],
    vocab: str,
    system: str,
    node: "Element",
    ctx: "Context",
    *,
    said: frozenset[str] = frozenset(),
) -> None:
    """Set `use` by a map; `said` are codes that another element of the value says."""
    known = load(vocab)
    targets = {code: found.code for code in codes if (found := known.concepts.get(code)) is not None}
    use = next((use for use in _FIRST if use in targets.values()), next(iter(targets.values()), None))
    if use is not None:
        made["use"] = use
    for code in codes:
        if code in said or (use is not None and targets.get(code) == use):
            continue
        coding = {"system": _SYSTEM + system, "code": code}
        if code not in known.known:
            ctx.issue("vocab-miss", node)
            del coding["system"]
        made.setdefault("extension", []).append(values.extension(values.SOURCE_CODE, "Coding", coding))
