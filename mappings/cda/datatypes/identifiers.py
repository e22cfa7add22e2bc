"""Identifiers: II.

A root that FHIR knows as an issuer of numbers is a URI, any other OID or UUID stands for itself. A root alone is the
identifier; an extension alone has no system. A number that is withheld or unknown leaves its system and the reason.
Source: HL7 v3 datatypes R1, II; FHIR R4 Identifier; C-CDA on FHIR, CDA id and FHIR identifier.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mappings.cda.datatypes.nulls import flavor_of
from mappings.cda.datatypes.registry import Json, datatype
from mappings.cda.datatypes.text import folded
from mappings.fhir import values
from mappings.terminology.concept_map import ConceptMap
from mappings.terminology.systems import is_absolute, is_oid, is_uuid, issuer_uri

if TYPE_CHECKING:
    from mappings.cda.context import Context
    from mappings.cda.element import Element

URIS: Final = "urn:ietf:rfc:3986"
_OF_URIS: Final = "2.16.840.1.113883.4.873"  # hl7.terminology.r4 7.0.1, NamingSystem uri: its extensions are whole URIs
_READS: Final = frozenset({"@root", "@extension", "@assigningAuthorityName", "@nullFlavor"})
_LONGEST_ROOT: Final = 1024  # characters


def first_number(nodes: "Iterable[Element]", ctx: "Context") -> Json | None:
    """The first of several ids that is a number."""
    for each in nodes:
        found = ii_identifier(each, ctx)
        if found and "value" in found:
            return found
    return None


def root_uri(root: str, ctx: "Context") -> str | None:
    """The URI of a root: the profile's, a registered issuer's, the OID or UUID itself; the feed's own for others."""
    if len(root) > _LONGEST_ROOT:
        ctx.issue("over-long")
        return None
    known = known_root(root)
    if not known.bare:
        return None
    for entries in (ctx.profile.authorities, ctx.profile.cda.oids):
        if entries and (entry := entries.get(known.bare)) is not None:
            return str(entry)
    return known.issuer or values.scoped(ctx.profile.namespace, "authority", known.bare)


class Root(NamedTuple):
    """What a root is by itself."""

    bare: str  # without blanks
    issuer: str | None  # whose numbers: an OID, a UUID or a URI; None for anything else
    itself: str | None  # as an identifier; anything else is its own text
    scheme: bool  # FHIR knows it as an issuer, so that alone it identifies nothing
    names: bool  # `itself` is a URI
    uuid: bool


@lru_cache(4096)
def known_root(root: str) -> Root:
    bare = "".join(root.split()).removeprefix("urn:oid:").removeprefix("urn:uuid:")
    if is_oid(bare):
        issuer, own = issuer_uri(bare), f"urn:oid:{bare}"
        return Root(bare, issuer, own, issuer != own, True, False)
    if is_uuid(bare):
        urn = f"urn:uuid:{bare.lower()}"
        return Root(bare, urn, urn, False, True, True)
    if is_absolute(bare):
        return Root(bare, bare, bare, False, True, False)
    return Root(bare, None, bare or None, False, False, False)


def itself(root: str, ctx: "Context") -> str | None:
    """A root that is the identifier: `urn:oid:`, `urn:uuid:`, a URI; for anything else its text."""
    if len(root) > _LONGEST_ROOT:
        ctx.issue("over-long")
        return None
    return known_root(root).itself


@datatype("II[Identifier]", gives="Identifier", reads=_READS)
def ii_identifier(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    if isinstance(node, str):
        value = folded(node, ctx)
        return {"value": value} if value else None
    root, written = node.get("root"), node.get("extension")
    value = folded(written, ctx) if written else None
    name = node.get("assigningAuthorityName")
    assigner = folded(name, ctx) if name else None
    if value is None:
        return _without_extension(node, root or "", assigner, ctx)
    if not root:
        return values.identifier(value, assigner=assigner)
    if root == _OF_URIS:
        return _split(value, assigner)
    system = root_uri(root, ctx)
    if assigner is None:
        return {"system": system, "value": value} if system else {"value": value}
    return values.identifier(value, system, assigner=assigner)


def _split(uri: str, assigner: str | None) -> Json | None:
    """A whole URI: its system ends before the last slash or colon."""
    cut = max(uri.rfind("/"), uri.rfind(":"))
    if not is_absolute(uri):
        return values.identifier(uri, assigner=assigner)
    system, value = uri[:cut], uri[cut + 1 :]
    if uri.startswith(("urn:oid:", "urn:uuid:")) or system.endswith("/") or not is_absolute(system) or not value:
        return values.identifier(uri, URIS, assigner=assigner)  # nothing to split: it names one thing
    return values.identifier(value, system, assigner=assigner)


def _without_extension(node: "Element", root: str, assigner: str | None, ctx: "Context") -> Json | None:
    """A root that identifies by itself; or the reason why there is no number, and whose number it would be."""
    flavor = flavor_of(node, ctx)
    if len(root) > _LONGEST_ROOT:
        ctx.issue("over-long")
        root = ""
    known = known_root(root)
    if flavor is None and not known.scheme:
        return values.identifier(known.itself, URIS if known.names else None, assigner=assigner)
    uri = None if known.uuid else root_uri(root, ctx)  # a UUID names one thing: it issues no numbers
    if uri is None and (flavor is None or not flavor.says_more):
        return None
    found = values.present(system=uri, assigner={"display": assigner} if assigner else None) or {}
    found["_value"] = values.absent("unknown" if flavor is None else flavor.reason)
    return found


@datatype("II[string]", gives="string", reads=_READS)
def ii_string(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> str | None:
    """The number as a person would read it."""
    if isinstance(node, str):
        return folded(node, ctx)
    written = node.get("extension")
    return (folded(written, ctx) if written else None) or itself(node.get("root", ""), ctx)


@datatype("II[uri]", gives="uri", reads=_READS)
def ii_uri(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> str | None:
    """An identifier that is a URI: a root alone, or a whole URI under the OID of URIs. A number with an issuer is none,
    and no rule makes one of it."""
    root = node if isinstance(node, str) else node.get("root", "")
    written = None if isinstance(node, str) else node.get("extension")
    value = folded(written, ctx) if written else None
    if value is not None:
        return value if root.strip() == _OF_URIS and is_absolute(value) else None
    found = itself(root, ctx)
    return found if found is not None and known_root(root).names else None


@datatype("II[system]", gives="uri", reads={"@root"})
def ii_system(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> str | None:
    """Whose numbers: the URI of a root."""
    root = node if isinstance(node, str) else node.get("root", "")
    return root_uri(root, ctx) if root else None


@datatype("II[Reference]", gives="Reference", reads=_READS)
def ii_reference(node: "Element | str", ctx: "Context", vocab: ConceptMap | None = None) -> Json | None:
    """Something outside of the document that only its number names."""
    found: Any = ii_identifier(node, ctx)
    return {"identifier": found} if found else None
