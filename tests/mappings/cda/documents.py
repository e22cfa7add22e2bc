"""CDA documents for tests: the least a document needs, and a whole document around any fragment of one.

Every name is invented. Source: CDA R2, POCD_MT000040 (order of the header's elements).
"""

import re

NAMESPACES = {
    "xmlns": "urn:hl7-org:v3",
    "xmlns:sdtc": "urn:hl7-org:sdtc",
    "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
}
DECLARED = "".join(f' {name}="{uri}"' for name, uri in NAMESPACES.items())

HEADER = (
    "realmCode", "typeId", "templateId", "id", "code", "title", "effectiveTime", "confidentialityCode", "languageCode",
    "setId", "versionNumber", "copyTime", "recordTarget", "author", "dataEnterer", "informant", "custodian",
    "informationRecipient", "legalAuthenticator", "authenticator", "participant", "inFulfillmentOf", "documentationOf",
    "relatedDocument", "authorization", "componentOf",
)  # fmt: skip

LEAST = {
    "typeId": '<typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>',
    "id": '<id root="2.999.1" extension="D1"/>',
    "code": '<code code="34133-9" codeSystem="2.16.840.1.113883.6.1"/>',
    "effectiveTime": '<effectiveTime value="20260301120000+0100"/>',
    "confidentialityCode": '<confidentialityCode code="N" codeSystem="2.16.840.1.113883.5.25"/>',
    "recordTarget": """<recordTarget><patientRole><id root="2.999.2" extension="P1"/>
      <patient><name><given>Ida</given><family>Example</family></name><birthTime value="19700101"/></patient>
      </patientRole></recordTarget>""",
    "author": """<author><time value="20260301120000+0100"/>
      <assignedAuthor><id root="2.999.3" extension="A1"/></assignedAuthor></author>""",
    "custodian": """<custodian><assignedCustodian><representedCustodianOrganization>
      <id root="2.999.4" extension="O1"/><name>Example Hospital</name>
      </representedCustodianOrganization></assignedCustodian></custodian>""",
}

# root of a fragment -> the elements around it, from the header or from `entry` on
_AROUND = {
    "entryRelationship": "entry/act",
    "externalDocument": "entry/act/reference",
    "participantRole": "entry/act/participant",
    "relatedSubject": "entry/observation/subject",
    "criterion": "entry/substanceAdministration/precondition",
    "manufacturedProduct": "entry/substanceAdministration/consumable",
    **dict.fromkeys(
        ("act", "encounter", "observation", "organizer", "procedure", "substanceAdministration", "supply"), "entry"
    ),
    "addr": "recordTarget/patientRole",
    "assignedAuthor": "author",
    "encounterParticipant": "componentOf/encompassingEncounter",
    "performer": "documentationOf/serviceEvent",
    "serviceEvent": "documentationOf",
    "sdtc:signatureText": "legalAuthenticator",
}
_START = re.compile(r"(?:\s|<!--.*?-->|<\?.*?\?>)*<([\w:.-]+)([^>]*?)/?>", re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_DECLARATION = re.compile(r"\s*<\?xml\s.*?\?>", re.DOTALL)


def minimal(body: str = "", **header: str) -> bytes:
    """A ClinicalDocument: `body` is what stands in its structuredBody, a keyword an element of the header; "" none."""
    parts = LEAST | header
    unknown = set(header) - set(HEADER)
    if unknown:
        raise ValueError(f"not in a header: {sorted(unknown)}")
    written = "\n  ".join(parts[name] for name in HEADER if parts.get(name))
    inside = f"<component><structuredBody>{body}</structuredBody></component>" if body else ""
    return f"<ClinicalDocument{DECLARED}>\n  {written}\n  {inside}\n</ClinicalDocument>".encode()


def in_section(content: str, code: str | None = None) -> str:
    """A section of a structuredBody."""
    coded = f'<code code="{code}" codeSystem="2.16.840.1.113883.6.1"/>' if code else ""
    return f"<component><section>{coded}{content}</section></component>"


def wrapped(fragment: str | bytes, section: str | None = None) -> bytes:
    """A document around a fragment as guides publish them: a section, an entry, a statement, part of one or of the
    header, or a ClinicalDocument without its namespaces. `section` is the LOINC code of the section around an entry."""
    text = fragment.decode("utf-8-sig") if isinstance(fragment, bytes) else fragment
    text = _DECLARATION.sub("", text, count=1) if _DECLARATION.match(text) else text
    start = _START.match(text)
    if start is None:
        raise ValueError("no element in the fragment")
    root, attributes = start[1], start[2]
    if root == "ClinicalDocument":
        missing = "".join(f' {name}="{uri}"' for name, uri in NAMESPACES.items() if f"{name}=" not in attributes)
        whose = "" if "<recordTarget" in text else LEAST["recordTarget"]
        return (
            text[: start.start(2)] + missing + text[start.start(2) : start.end()] + whose + text[start.end() :]
        ).encode()
    if root == "participant" and "<participantRole" in text:
        return wrapped(_nested(text, "entry/act"), section)
    if root == "component":
        return _component(text, text[start.end() :], section)
    if root == "section":
        return minimal(f"<component>{text}</component>")
    if root == "entry":
        return minimal(in_section(text, section))
    if root in HEADER:
        return minimal(**{root: text})
    if root == "addr":
        text = '<id root="2.999.2" extension="P1"/>' + text  # whose address it is
    return wrapped(_nested(text, _AROUND[root]), section)


def _component(text: str, inside: str, section: str | None) -> bytes:
    """A component holds a body, a section, or a statement of an organizer."""
    held = re.search(r"<(structuredBody|nonXMLBody|section|act|observation|procedure|\w+)\b", _COMMENT.sub("", inside))
    if held is not None and held[1] in ("structuredBody", "nonXMLBody"):
        return minimal().replace(b"</ClinicalDocument>", text.encode() + b"</ClinicalDocument>")
    if held is not None and held[1] == "section":
        return minimal(text)
    return minimal(in_section(_nested(text, "entry/organizer"), section))


def _nested(text: str, path: str) -> str:
    for name in reversed(path.split("/")):
        text = f"<{name}>{text}</{name}>"
    return text
