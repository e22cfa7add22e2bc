"""Where to find someone: AD, TEL.

Source: HL7 v3 datatypes R1, AD, TEL; FHIR R4 Address, ContactPoint. `mappings/cda/datatypes/contacts.py` reads them.
"""

from mappings.cda.element import V3
from mappings.cda.out.writers.identifiers import flavor_of
from mappings.cda.out.writers.names import uses, valid_of
from mappings.cda.out.writing import Out, Writer, element
from mappings.fhir.fhirpath import Node
from mappings.fhir.values import CENSUS_TRACT, DATA_ABSENT_REASON
from mappings.outbound.reading import Json
from mappings.xml_parser import Element

_PARTS = (("city", "city"), ("district", "county"), ("state", "state"), ("postalCode", "postalCode"),
          ("country", "country"))  # fmt: skip
_SCHEMES = {"phone": "tel:", "pager": "tel:", "fax": "fax:", "email": "mailto:", "sms": "sms:"}
_TYPES = {"postal": ("PST",), "physical": ("PHYS",), "both": ("PST", "PHYS")}


def ad(node: Node, tag: str, out: Out) -> Element | None:
    """An Address: its parts; without any its text."""
    found: Json = node[1]
    kinds = _TYPES.get(out.text(found, "type"), ())
    use = " ".join(filter(None, [uses(found, "cda-address-use.address-use", out), *kinds]))
    made = element(tag, use=use)
    for line in found.get("line", ()):
        out.mark(line)
        if line:
            made.append(element(f"{{{V3}}}streetAddressLine", str(line)))
    for name, part in _PARTS:
        if text := out.text(found, name):
            made.append(element(f"{{{V3}}}{part}", text))
    if tract := out.text(out.extension(found, CENSUS_TRACT), "valueString"):
        made.append(element(f"{{{V3}}}censusTract", tract))
    text = out.text(found, "text")
    if not len(made) and text:
        made.text = element(tag, text).text
    valid_of(found, made, out)
    return made if len(made) or made.text else _absent(found, tag, out)


def tel(node: Node, tag: str, out: Out) -> Element | None:
    """A ContactPoint as a URL; a number has no blanks there."""
    found: Json = node[1]
    value, system = out.text(found, "value"), out.text(found, "system")
    if not value:
        return _absent(found, tag, out)
    use = uses(found, "cda-telecom-use.contact-point-use", out)
    if system == "pager":
        use = f"{use} PG".strip()
    scheme = _SCHEMES.get(system, "")
    made = element(tag, value=scheme + (value.replace("%", "%25") if scheme else value), use=use)
    valid_of(found, made, out)
    return made


def _absent(found: Json, tag: str, out: Out) -> Element | None:
    reason = out.text(out.extension(found, DATA_ABSENT_REASON), "valueCode")
    return element(tag, nullFlavor=flavor_of(reason)) if reason else None


WRITERS: dict[str, Writer] = {"AD": ad, "TEL": tel}
