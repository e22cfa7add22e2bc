"""What holds for every CDA datatype function: no element raises, and what comes of any element R4 takes."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.cda.datatypes import FUNCTIONS
from mappings.fhir.schema import schema
from mappings.terminology.concept_map import load
from tests.mappings.cda.contexts import EHDSI, collecting, context, element, on

# those of the datatypes; what domains and parties register needs the walk over a document, and has tests of its own
NAMES = sorted(n for n, each in FUNCTIONS.items() if each.call.__module__.startswith("mappings.cda.datatypes."))
GENDER = load("v2-0001.administrative-gender")
TYPES = (
    "CD", "CE", "CO", "CS", "PQ", "INT", "REAL", "MO", "IVL_PQ", "IVL_INT", "RTO", "RTO_PQ_PQ", "TS", "IVL_TS", "II",
    "PIVL_TS", "EIVL_TS", "SXPR_TS", "ED", "ST", "SC", "BL", "BN", "TEL", "AD", "PN", "ON", "GLIST_PQ", "Nonsense",
)  # fmt: skip
PRIMITIVES = frozenset(
    "string code id markdown uri url boolean decimal integer positiveInt unsignedInt date dateTime instant time".split()
)

_ATTRIBUTES = (
    "value", "unit", "nullFlavor", "code", "codeSystem", "codeSystemName", "codeSystemVersion", "displayName", "root",
    "extension", "assigningAuthorityName", "inclusive", "mediaType", "representation", "compression", "language",
    "currency", "operator", "use", "qualifier", "xsi:type", "v3:code",
)  # fmt: skip
_CHILDREN = (
    "originalText", "translation", "qualifier", "name", "value", "low", "high", "center", "width", "numerator",
    "denominator", "reference", "thumbnail", "given", "family", "streetAddressLine", "sdtc:x", "unknown",
)  # fmt: skip
_TEXTS = st.one_of(
    st.sampled_from([
        "", " ", "5", "1.030", "-5", "<5", "1e3", "1e9999", "NaN", "9" * 70, "mg", "lbs", "{x", "1", "true", "M", "UNK",
        "MSK", "NINF", "PINF", "NI", "20240101", "2.16.840.1.113883.6.1", "2.16.840.1.113883.4.6", "2.999.1", "2.999",
        "2.16.840.1.113883.4.873", "11111111-2222-4333-8444-555555555555", "urn:oid:2.999.1", "urn:oid:", "https://e.org/7",
        "a:b", "://", "B64", "DF", "GZ", "JVBERi0xLjc=", "AAAA", "text/plain", "application/pdf", "a/b", "EUR", "de-AT",
        "false", "#t1", "t1", "#none", "272741003", "a\r\nb", "a  b", "]]>", "<script>", '"{}', "\u202eevil", "\u0085",
        "\u00a0", "\u2028", "é中𝄞", "x" * 3000, *(f"q:{kind}" for kind in TYPES), *TYPES,
    ]),
    st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=12),
)  # fmt: skip


def escaped(text: str) -> str:
    for sign, name in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("\r", "&#13;"), ("\n", "&#10;")):
        text = text.replace(sign, name)
    return text


def written(parts: tuple[str, dict[str, str], str, list[str], str]) -> str:
    name, attributes, text, children, tail = parts
    listed = "".join(f' {key}="{escaped(each)}"' for key, each in attributes.items())
    return f"<{name}{listed}>{escaped(text)}{''.join(children)}</{name}>{escaped(tail)}"


def _element(children: st.SearchStrategy[list[str]]) -> st.SearchStrategy[str]:
    attributes = st.dictionaries(st.sampled_from(_ATTRIBUTES), _TEXTS, max_size=5)
    return st.tuples(st.sampled_from(_CHILDREN), attributes, _TEXTS, children, _TEXTS).map(written)


_LEAF = _element(st.just([]))
_MIDDLE = _element(st.lists(_LEAF, max_size=3))
ELEMENTS = _element(st.lists(st.one_of(_LEAF, _MIDDLE), max_size=4))
NARRATIVE = '<content ID="t1">said <br/> so</content>'


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=20, deadline=None)
@given(fragment=ELEMENTS, header=st.sampled_from(["", EHDSI]))
def test_any_element_gives_nothing_or_what_r4_takes(name: str, fragment: str, header: str) -> None:
    ctx = context(fragment, narrative=NARRATIVE, header=header)
    collecting(ctx)
    on(name, element(ctx), ctx)


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=20, deadline=None)
@given(fragment=ELEMENTS)
def test_any_value_of_any_type_gives_nothing_or_what_r4_takes(kind: str, fragment: str) -> None:
    ctx = context(fragment, narrative=NARRATIVE)
    here = element(ctx)
    here.attrib = {**here.attrib, "{http://www.w3.org/2001/XMLSchema-instance}type": kind}
    on("ANY[value]", element(ctx), ctx)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(text=_TEXTS)
def test_any_attribute_gives_nothing_or_what_r4_takes(name: str, text: str) -> None:
    if FUNCTIONS[name].takes == "one":
        on(name, text, context("<x/>"))


@settings(max_examples=100, deadline=None)
@given(fragment=ELEMENTS, name=st.sampled_from([name for name in NAMES if name.startswith(("CD[", "CS[", "ANY["))]))
def test_a_vocabulary_changes_none_of_that(fragment: str, name: str) -> None:
    ctx = context(fragment, narrative=NARRATIVE)
    on(name, element(ctx), ctx, GENDER)


@pytest.mark.parametrize("name", NAMES)
def test_every_function_gives_a_type_that_r4_has(name: str) -> None:
    gives = FUNCTIONS[name].fhir_type
    assert gives in PRIMITIVES or gives.endswith("[x]") or schema().children(gives)


FULL = (
    '<value code="1" codeSystem="2.999.1" displayName="A" value="5" unit="mg" root="2.999.2" extension="7">words'
    '<translation code="2"/><low value="1"/><high value="2"/></value>'
)


@pytest.mark.parametrize("name", NAMES)
def test_results_are_fresh_so_that_bodies_may_change(name: str) -> None:
    ctx = context(FULL)
    first = on(name, element(ctx), ctx).value
    before = json.dumps(first, default=str)
    spoil(first)
    assert json.dumps(on(name, element(ctx), ctx).value, default=str) == before


def spoil(value: Any) -> None:
    if isinstance(value, dict):
        for child in list(value.values()):
            spoil(child)
        value["changed"] = True
    elif isinstance(value, list | tuple):
        for child in value:
            spoil(child)
