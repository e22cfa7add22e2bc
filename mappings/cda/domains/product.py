"""What is given: the product of a medication, an immunization, a supply.

A code says it all in most documents and is a CodeableConcept. What more is known of it, its form, maker, lot, package,
ingredients, the vehicle it is given in, makes it a Medication inside of what speaks of it: alone it would belong to no
patient. Both pharmacy namespaces say the same in other names: European documents name the brand in `name`, substances
with their ATC code as ingredients, and packages one around the other.
Source: CDA R2 §4.3.8 (ManufacturedProduct); C-CDA R2.1, medication and immunization medication information, drug
vehicle; eHDSI and IHE Pharmacy, medicine entry (urn:epsos-org:ep:medication, urn:hl7-org:pharm).
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from mappings.cda.datatypes.coded import cd_concept
from mappings.cda.datatypes.quantities import pq_simple, ratio
from mappings.cda.datatypes.registry import datatype
from mappings.cda.datatypes.text import folded, inline, st_string
from mappings.cda.element import Element
from mappings.cda.named import flag, resolver
from mappings.cda.paths import code_of, is_valued, parse_paths, reader
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap

if TYPE_CHECKING:
    from mappings.cda.walk import Walk

Json = dict[str, Any]

PACKAGE: Final = f"{values.CANONICAL}:package"  # type, code, name, quantity: one level of a product's packaging
_GENERIC: Final = frozenset(
    {"410942007", "763158003", "71181003", "787859002"}
)  # drug, medicinal product, vaccine: SNOMED CT
_LEVELS: Final = 8  # of packages around each other

_MATERIALS: Final = ("manufacturedMaterial", "manufacturedLabeledDrug")
_MORE: Final = tuple(
    reader(ref)
    for ref in parse_paths(
        "manufacturerOrganization/name|manufacturerOrganization/id|manufacturedMaterial/lotNumberText"
        "|manufacturedMaterial/sdtc:expirationTime|manufacturedMaterial/pharm:expirationTime"
        "|manufacturedMaterial/pharm:formCode|manufacturedMaterial/pharm:ingredient|manufacturedMaterial/pharm:asContent"
    )
)
_BESIDE: Final = tuple(
    reader(ref)
    for ref in parse_paths(
        "administrationUnitCode|participant[@typeCode='CSM']/participantRole[code='412307009']/playingEntity"
    )
)
(_kinds,) = (reader(ref) for ref in parse_paths("pharm:asSpecializedKind/*/pharm:code"))
_CONTAINERS: Final = ("pharm:containerPackagedProduct", "pharm:containerPackagedMedicine")


# which ----------------------------------------------------------------------------------------------------------------


def product_of(el: Element | None, ctx: "Walk") -> Element | None:
    """The product of a statement; a supply without one supplies that of the administration around it."""
    while el is not None and el is not ctx.section:
        for name in ("consumable", "product"):
            for holder in el.named(name):
                products: list[Element] = holder.named("manufacturedProduct")
                if products:
                    return products[0]
        if not str(el.tag).endswith(("}supply", "}entryRelationship")):
            return None
        el = el.parent
    return None


def material_of(el: Element | None, ctx: "Walk") -> Element | None:
    """What the product is made of: its code and name."""
    product = product_of(el, ctx)
    if product is not None:
        for name in _MATERIALS:
            materials: list[Element] = product.named(name)
            if materials:
                return materials[0]
    return None


def coded(el: Element, ctx: "Walk") -> Iterator[Element]:
    """The codes of a statement's product with all their translations."""
    material = material_of(el, ctx)
    waiting = list(material.named("code")) if material is not None else []
    while waiting:
        here = waiting.pop(0)
        yield here
        waiting += here.named("translation")


def is_specific(el: Element, ctx: "Walk") -> bool:
    """Whether a product is named: a code or text that is no mere "drug" or "vaccine"."""
    material = material_of(el, ctx)
    if material is None:
        return False
    codes = list(coded(el, ctx))
    if any(code_of(each) for each in codes if each.get("code")):
        return any(each.get("code") and code_of(each) not in _GENERIC for each in codes)
    kids = material.kids
    texts = [text for each in codes for text in each.named("originalText")]
    if any(is_valued(each) for each in (*texts, *kids.get("name", ()))):
        return True
    return any(
        is_valued(each) for name in ("pharm:ingredient", "pharm:asSpecializedKind") for each in kids.get(name, ())
    )


@flag("product-detailed")
def is_detailed(el: Element, ctx: "Walk") -> bool:
    """Whether more is known of the product than what it is called."""
    product = product_of(el, ctx)
    if product is not None and any(is_valued(found) for read in _MORE for found in read(product, ctx)):
        return True
    return any(is_valued(found) for read in _BESIDE for found in read(el, ctx))


@resolver("product")
def product(ctx: "Walk") -> Json | None:
    """The Medication inside of what speaks of it."""
    found = product_of(ctx.statement, ctx)
    body: Json = {"resourceType": "Medication"}
    ctx.run("product.Medication", ctx.at_hand if found is None else found, body)
    return values.reference(ctx.contained(body) if len(body) > 1 else None)


@resolver("product-code")
def product_code(ctx: "Walk") -> Json | None:
    """What the product is called."""
    material = material_of(ctx.statement, ctx)
    found = None
    if material is not None:
        ctx.node = material
        found = material_concept(material, ctx)
    return found if found is not None and found.keys() != {"extension"} else _in_words(ctx) or found


def _in_words(ctx: "Walk") -> Json | None:
    """The text of a statement whose product has no name: its own words, not the narrative that it points at."""
    for each in ctx.at_hand.named("text"):
        if text := folded(inline(each), ctx):
            return {"text": text}
    return None


# what it is called ----------------------------------------------------------------------------------------------------


@datatype("MATERIAL[CodeableConcept]", gives="CodeableConcept", reads={"code", "name", "pharm:desc"})
def material_concept(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """Code and name of a material or substance, the class it is of, the code of its package: each coding once."""
    if isinstance(node, str):
        return None
    kids = node.kids
    own = next((found for each in kids.get("code", ()) if (found := cd_concept(each, ctx))), None) or {}
    codings = list(own.get("coding", ()))
    text = own.get("text")
    for name in ("name", "pharm:desc"):
        for each in kids.get(name, ()):
            text = _joined(text, _plain(each, ctx), codings)
    for each in (*_kinds(node, ctx), *_package_codes(node, ctx)):
        more = cd_concept(each, ctx) or {}
        codings += [coding for coding in more.get("coding", ()) if not _known(coding, codings)]
        text = text or more.get("text")
    if not codings and text is None:
        return own or None
    made = values.concept(codings, text) or {}
    return {**made, **({"extension": own["extension"]} if "extension" in own else {})}


def _plain(node: Element, ctx: "Walk") -> str | None:
    found = st_string(node, ctx)
    return found if isinstance(found, str) else None


def _joined(text: str | None, more: str | None, codings: list[Json]) -> str | None:
    """Both where they differ: `Hepatitis B vaccine (Example brand)`."""
    if more is None or (text is None and any(each.get("display") == more for each in codings)):
        return text
    if text is None or text.casefold() in more.casefold():
        return more
    return text if more.casefold() in text.casefold() else f"{text} ({more})"


def _known(coding: Json, codings: list[Json]) -> bool:
    return any(
        each.get("code") == coding.get("code") and each.get("system") == coding.get("system") for each in codings
    )


# packages -------------------------------------------------------------------------------------------------------------


def _packages(material: Element, ctx: "Walk") -> Iterator[tuple[Element, Element | None]]:
    """(content, container) of each level, from the innermost out: what is inside, and what it is inside of."""
    here: Element | None = material
    for _ in range(_LEVELS):
        contents = here.named("pharm:asContent") if here is not None else ()
        if not contents:
            return
        here = next((each for name in _CONTAINERS for each in (contents[0]).named(name)), None)
        yield contents[0], here


def _package_codes(material: Element, ctx: "Walk") -> Iterator[Element]:
    for _, container in _packages(material, ctx):
        if container is not None:
            yield from container.named("code")


def _amount(content: Element, container: Element | None, ctx: "Walk") -> Json | None:
    """How much one package of a level holds."""
    held = container.named("capacityQuantity") if container is not None else ()
    for each in (*content.named("quantity"), *held):
        if (found := pq_simple(each, ctx)) is not None and "value" in found:
            return found
    return None


@datatype("PACKAGE[Ratio]", gives="Ratio", reads={"pharm:asContent"})
def package_amount(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """Medication.amount: what the innermost package of a material holds."""
    for content, container in () if isinstance(node, str) else _packages(node, ctx):
        amount = _amount(content, container, ctx)
        return values.ratio(amount, {"value": 1}) if amount is not None else None
    return None


@datatype("PACKAGES[Extension]", gives="Extension", reads={"pharm:asContent"})
def packages(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """Every level of a material's packaging, each inside of the next: its type, code, name, and what it holds."""
    outer: Json | None = None
    for content, container in reversed([] if isinstance(node, str) else list(_packages(node, ctx))):
        kids = container.kids if container is not None else {}
        inner: list[Json] = []
        for name, tag in (("type", "formCode"), ("code", "code")):
            found = next((made for each in kids.get(tag, ()) if (made := cd_concept(each, ctx))), None)
            if found is not None and ("coding" in found or "text" in found):
                inner.append(values.extension(name, "CodeableConcept", found))
        called = [text for each in kids.get("name", ()) if (text := _plain(each, ctx))]
        inner += [values.extension("name", "String", text) for text in called[:1]]
        if (amount := _amount(content, container, ctx)) is not None:
            inner.append(values.extension("quantity", "Quantity", amount))
        if outer is not None:
            inner.append(outer)
        outer = {"url": PACKAGE, "extension": inner} if inner else None
    return outer


# parts ----------------------------------------------------------------------------------------------------------------


@datatype("STRENGTH[Ratio]", gives="Ratio", reads={"pharm:quantity"})
def strength(node: Element | str, ctx: "Walk", vocab: ConceptMap | None = None) -> Json | None:
    """How much of an ingredient there is in how much of the product; an amount alone is that in one of it."""
    if isinstance(node, str):
        return None
    if "numerator" in node.kids:
        return ratio(node, ctx)
    amount = pq_simple(node, ctx)
    return values.ratio(amount, {"value": 1}) if amount is not None and "value" in amount else None
