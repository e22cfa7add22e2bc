"""One datatype function on one fragment of a document, and whether FHIR R4 would take what it gives."""

from types import SimpleNamespace
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from mappings.cda.context import Context
from mappings.cda.datatypes.registry import FUNCTIONS
from mappings.cda.document import parse
from mappings.cda.element import Element
from mappings.fhir.validate import validate
from mappings.fhir.values import DATA_ABSENT_REASON, SOURCE_LEXEME
from mappings.issues import CODES

VIENNA = ZoneInfo("Europe/Vienna")
Json = dict[str, Any]

_NAMESPACES = (
    'xmlns="urn:hl7-org:v3" xmlns:v3="urn:hl7-org:v3" xmlns:sdtc="urn:hl7-org:sdtc" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)


class Reading(NamedTuple):
    """What a function gave, and the issues it told."""

    value: Any
    codes: list[str]
    ctx: Context


def context(fragment: str, zone: ZoneInfo | None = VIENNA) -> tuple[Context, list[Element]]:
    """A context of the fragment's statement, and the elements of the fragment."""
    body = f"<entry><act>{fragment}</act></entry>"
    xml = f"<ClinicalDocument {_NAMESPACES}><component><section>{body}</section></component></ClinicalDocument>"
    ctx = Context(parse(xml.encode()), SimpleNamespace(zone=zone, policy={}, cda=SimpleNamespace(zero_offset="verify")))
    act = next(ctx.doc.root.iter("{urn:hl7-org:v3}act"))
    nodes = list(act)
    ctx.statement, ctx.node = act, nodes[0] if nodes else act
    return ctx, nodes


def read(name: str, fragment: str, zone: ZoneInfo | None = VIENNA) -> Reading:
    """The function called as a compiled row calls it; what it gives must fit R4, and its issues be known."""
    ctx, nodes = context(fragment, zone)
    function = FUNCTIONS[name]
    value = function.call(nodes if function.takes == "all" else nodes[0], ctx, None)
    told = [each.code for each in ctx.issues]
    assert set(told) <= CODES.keys()
    assert fits(function.fhir_type, value), (name, value)
    return Reading(value, told, ctx)


def fits(fhir_type: str, value: Any) -> bool:
    """Whether the R4 schema takes a result of that type; None always fits."""
    if value is None:
        return True
    extension: Json = {"url": "urn:test"}
    if fhir_type.endswith("[x]"):
        stem = fhir_type[:-3]
        if not value:
            return False
        extension |= {key.replace(stem, "value", 1): each for key, each in value.items()}
    else:
        name = "value" + fhir_type[0].upper() + fhir_type[1:]
        plain, sibling = value if isinstance(value, tuple) else (value, None)
        extension |= {name: plain} if plain is not None else {}
        extension |= {f"_{name}": sibling} if sibling is not None else {}
    code = {"text": "test"}
    return not validate({"resourceType": "Basic", "code": code, "extension": [extension]})


def lexeme(sent: str) -> Json:
    """The sibling that keeps what was sent."""
    return {"extension": [{"url": SOURCE_LEXEME, "valueString": sent}]}


def reason(code: str) -> Json:
    """The sibling that says why nothing is there."""
    return {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": code}]}


# Any element at all, biased to what the functions look for ----------------------------------------------------------

_WORDS = (
    "value", "low", "high", "center", "width", "period", "phase", "event", "offset", "comp", "effectiveTime", "given",
    "family", "prefix", "suffix", "delimiter", "validTime", "streetAddressLine", "city", "county", "country", "state",
    "postalCode", "houseNumber", "streetName", "useablePeriod", "sdtc:x", "v3:low", "precinct", "unknownThing",
)  # fmt: skip
_ATTRIBUTES = (
    "value", "unit", "nullFlavor", "operator", "use", "code", "qualifier", "institutionSpecified", "inclusive",
    "alignment", "xsi:type", "v3:value", "representation", "partType",
)  # fmt: skip
_TEXTS = st.one_of(
    st.sampled_from(
        [
            "", " ", "20240501", "20240501101530+0200", "202405011015", "00", "-99", "2400", "0000", "99991231", "6",
            "h", "d", "1.5", "-5", "1e9999", "9" * 40, "A", "I", "UNK", "MSK", "HP", "WP MC", "H HV BAD", "CM",
            "ACM", "IC", "HS", "true", "false", "tel:+1(555)555-1212", "mailto:a@example.org", "x@example.org",
            "http://example.org/a b", "Ida", "AT", "US", "CL", "BR AC", "PIVL_TS", "v3:IVL_TS", "x:EIVL_TS", "SXPR_TS",
            "]]>", "<script>alert(1)</script>", "\u202eevil", "\u0085", "null", "é中𝄞",
        ]
    ),
    st.text(
        alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=20
    ),
)  # fmt: skip


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _written(parts: tuple[str, dict[str, str], str, list[str], str]) -> str:
    name, attributes, text, children, tail = parts
    listed = "".join(f' {key}="{_escaped(each)}"' for key, each in attributes.items())
    return f"<{name}{listed}>{_escaped(text)}{''.join(children)}</{name}>{_escaped(tail)}"


def _element(children: st.SearchStrategy[list[str]]) -> st.SearchStrategy[str]:
    attributes = st.dictionaries(st.sampled_from(_ATTRIBUTES), _TEXTS, max_size=4)
    return st.tuples(st.sampled_from(_WORDS), attributes, _TEXTS, children, _TEXTS).map(_written)


def elements() -> st.SearchStrategy[str]:
    """XML of one element, up to three levels deep."""
    leaf = _element(st.just([]))
    middle = _element(st.lists(leaf, max_size=3))
    return _element(st.lists(st.one_of(leaf, middle), max_size=5))
