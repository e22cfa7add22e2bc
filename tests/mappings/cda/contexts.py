"""Contexts for testing one CDA datatype function at a time, and whether R4 takes what it gives."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from mappings.cda.context import Context
from mappings.cda.datatypes import FUNCTIONS
from mappings.cda.document import parse
from mappings.cda.element import Element
from mappings.fhir.values import DATA_ABSENT_REASON
from mappings.issues import CODES
from mappings.terminology.concept_map import ConceptMap
from tests.mappings.cda.datatypes.elements import fits

Json = dict[str, Any]

FEED = "urn:chartbridge:tests"
NAMESPACES = (
    'xmlns="urn:hl7-org:v3" xmlns:v3="urn:hl7-org:v3" xmlns:sdtc="urn:hl7-org:sdtc" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
)
EHDSI = '<templateId root="1.3.6.1.4.1.12559.11.10.1.3.1.1.3"/>'  # a patient summary's
NULL_FLAVORS = (
    "NI", "INV", "DER", "OTH", "NINF", "PINF", "UNC", "MSK", "NA", "UNK", "ASKU", "NAV", "NASK", "NAVU", "QS", "TRC",
    "NP",
)  # fmt: skip
SAY_MORE = {
    "MSK": "masked",
    "NA": "not-applicable",
    "ASKU": "asked-unknown",
    "NAV": "temp-unknown",
    "NASK": "not-asked",
}


@dataclass
class Settings:
    """As much of a profile's table `[cda]` as datatype functions read."""

    zero_offset: str = "verify"
    oids: dict[str, str] = field(default_factory=dict)


@dataclass
class Profile:
    """As much of a profile as datatype functions read."""

    namespace: str = FEED
    zone: ZoneInfo | None = None
    authorities: dict[str, str] = field(default_factory=dict)
    codes: dict[str, Any] = field(default_factory=dict)
    policy: dict[str, Any] = field(default_factory=dict)
    cda: Settings = field(default_factory=Settings)


@dataclass
class Made:
    """What a function handed to `ctx.make` and `ctx.contained`."""

    resources: list[tuple[str, tuple[str, ...], Json]] = field(default_factory=list)
    contained: list[Json] = field(default_factory=list)

    def make(self, kind: str, key: tuple[str, ...], body: Json) -> str:
        self.resources.append((kind, key, body))
        return f"{kind}/{len(self.resources)}"

    def contain(self, body: Json) -> str:
        self.contained.append(body)
        return f"#{len(self.contained)}"


class Reading(NamedTuple):
    """What a function gave, the codes of the issues it told, and where it stood."""

    value: Any
    codes: list[str]
    ctx: Context


def context(fragment: str = "", *, narrative: str = "", header: str = "", **profile: Any) -> Context:
    """A context standing in the first element of a fragment of an entry."""
    body = f"<text>{narrative}</text><entry><observation>{fragment}</observation></entry>"
    xml = f"<ClinicalDocument {NAMESPACES}>{header}<component><section>{body}</section></component></ClinicalDocument>"
    ctx = Context(parse(xml.encode()), Profile(**profile))
    ctx.statement = ctx.node = next(ctx.doc.root.iter("{urn:hl7-org:v3}observation"))
    if len(ctx.statement):
        ctx.node = ctx.statement[0]
    return ctx


def element(ctx: Context) -> Element:
    """The element that a context stands in."""
    assert ctx.node is not None
    return ctx.node


def collecting(ctx: Context) -> Made:
    """Let a context make resources, and keep them."""
    made = Made()
    ctx.make, ctx.contained = made.make, made.contain
    return made


def codes(ctx: Context) -> list[str]:
    """The codes of the issues so far."""
    return [issue.code for issue in ctx.issues]


def read(name: str, fragment: str, vocab: ConceptMap | None = None, **settings: Any) -> Reading:
    """The function on the first element of a fragment, as compiled rows call it. What it gives must fit R4 and hold no
    empty text, list or object; its issues must be known and quote nothing."""
    ctx = context(fragment, **settings)
    return on(name, element(ctx), ctx, vocab)


def on(name: str, node: Element | str, ctx: Context, vocab: ConceptMap | None = None) -> Reading:
    """The same on any element, or on the text of an attribute."""
    function = FUNCTIONS[name]
    value = function.call([node] if function.takes == "all" else node, ctx, vocab)
    assert set(codes(ctx)) <= CODES.keys()
    assert not empty(value), (name, value)
    plain = value
    if function.fhir_type == "value[x]" and value is not None and "valueAttachment" in value:
        assert value.keys() == {"valueAttachment"}
        assert fits("Attachment", value["valueAttachment"])
    else:
        assert fits(function.fhir_type, plain), (name, value)
    return Reading(value, codes(ctx), ctx)


def empty(value: Any) -> bool:
    """Whether a result holds "" or an empty list or object anywhere."""
    if isinstance(value, dict):
        return not value or any(empty(child) for child in value.values())
    if isinstance(value, list):
        return not value or any(empty(child) for child in value)
    if isinstance(value, tuple):
        return value == (None, None) or any(empty(child) for child in value if child is not None)
    return isinstance(value, str) and not value


def why(reason: str) -> Json:
    """An element, or the sibling of a primitive, that says only why nothing is there."""
    return {"extension": [{"url": DATA_ABSENT_REASON, "valueCode": reason}]}
