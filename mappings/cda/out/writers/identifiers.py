"""Identifiers: II.

An issuer goes out as its OID; a URI that has none as a whole URI under the OID of URIs, where reading takes it apart
again. UUIDs are written in capitals. What FHIR says of a resource's id is `OWN`: the organisation's root and the id; an
id that is a UUID is unique by itself.
Source: HL7 v3 datatypes R1, II; FHIR R4 Identifier. `mappings/cda/datatypes/identifiers.py` reads them.
"""

from uuid import NAMESPACE_URL, uuid5

from mappings.cda.datatypes.identifiers import URIS
from mappings.cda.datatypes.nulls import flavors
from mappings.cda.out.settings import bare
from mappings.cda.out.writing import Out, Writer, element
from mappings.fhir.fhirpath import Node
from mappings.fhir.values import DATA_ABSENT_REASON
from mappings.outbound.reading import Json
from mappings.terminology.systems import is_absolute, is_uuid
from mappings.xml_parser import Element

OF_URIS = "2.16.840.1.113883.4.873"  # hl7.terminology.r4 7.0.1, NamingSystem uri: its extensions are whole URIs

_FDA = "2.16.840.1.113883.3.3719"  # C-CDA R2.1, product instance: device identifiers of the FDA
_USUAL = {"unknown": "UNK", "unsupported": "OTH"}  # where several flavors mean one reason


def ii(node: Node, tag: str, out: Out) -> Element | None:
    """An Identifier; for one without a number, whose it would be and why it is missing."""
    found: Json = node[1]
    value, system = out.text(found, "value"), out.text(found, "system")
    assigner = out.text(found.get("assigner"), "display")
    root = out.writing.oid(system) if system else ""
    if not value:
        return _missing(found, root, tag, assigner, out)
    if system == URIS:
        return _uri(value, tag, assigner)
    if not system or root:
        return element(tag, root=root, extension=value, assigningAuthorityName=assigner)
    if is_absolute(system) and not {"/", ":"} & set(value) and not system.endswith("/"):
        return element(tag, root=OF_URIS, extension=f"{system}/{value}", assigningAuthorityName=assigner)
    out.issue("system-unnamed", "a number")
    return element(tag, extension=value, assigningAuthorityName=assigner)


def _uri(value: str, tag: str, assigner: str) -> Element:
    if root := bare(value):
        return element(tag, root=root, assigningAuthorityName=assigner)
    return element(tag, root=OF_URIS, extension=value, assigningAuthorityName=assigner)


def _missing(found: Json, root: str, tag: str, assigner: str, out: Out) -> Element | None:
    reason = out.text(out.extension(found.get("_value"), DATA_ABSENT_REASON), "valueCode")
    if not reason:
        return None
    return element(tag, root=root, assigningAuthorityName=assigner, nullFlavor=flavor_of(reason))


def flavor_of(reason: str) -> str:
    """The null flavor of a code of data-absent-reason."""
    if reason in _USUAL:
        return _USUAL[reason]
    return next((flavor for flavor, said in flavors().items() if said.reason == reason), "NI")


def is_flavored(reason: str) -> bool:
    """Whether a null flavor says just that."""
    return any(said.reason == reason for said in flavors().values())


def own(node: Node, tag: str, out: Out) -> Element | None:
    """The id of a resource under the organisation's root."""
    resource: Json = node[1]
    id_ = str(resource.get("id", ""))
    if not id_:
        return None
    if is_uuid(id_.lower()):
        return element(tag, root=id_.upper())
    if out.writing.root:
        return element(tag, root=out.writing.root, extension=id_)
    made = uuid5(NAMESPACE_URL, f"{out.writing.namespace}/{resource.get('resourceType')}/{id_}")
    return element(tag, root=str(made).upper())


def concern(node: Node, tag: str, out: Out) -> Element | None:
    """The id of the act around a statement, which is none of the statement's own."""
    resource: Json = node[1]
    made = uuid5(NAMESPACE_URL, f"{out.writing.namespace}/{resource.get('resourceType')}/{resource.get('id')}/concern")
    return element(tag, root=str(made).upper())


def udi(node: Node, tag: str, out: Out) -> Element | None:
    """A device's unique identifier, as people read it."""
    whole = out.text(node[1], "carrierHRF")
    return element(tag, root=_FDA, extension=whole, assigningAuthorityName="FDA") if whole else None


WRITERS: dict[str, Writer] = {"II": ii, "II.own": own, "II.concern": concern, "II.udi": udi}
