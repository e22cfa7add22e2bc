"""The document as a whole: Composition first, the original byte for byte, which document took the place of which.

Source: CDA R2 §4.2.3 (relatedDocument); C-CDA on FHIR, document level; FHIR R4 Composition, DocumentReference,
Provenance.
"""

import base64
import hashlib
from dataclasses import replace
from typing import Any

import pytest

from mappings.cda.document import parse
from mappings.cda.explain import explain
from mappings.convert import Conversion, to_fhir
from mappings.fhir.validate import validate
from mappings.merge import settle
from tests.mappings.cda.converted import codes, convert, default, every, of_sections, one
from tests.mappings.cda.documents import in_section, minimal
from tests.mappings.cda.test_header import SAMPLES
from tests.mappings.cda.test_parties import allergy, author, number, person

Json = dict[str, Any]
KNOWN = '<id root="2.999.10" extension="{}"/>'


def related(kind: str, inner: str) -> str:
    return f'<relatedDocument typeCode="{kind}"><parentDocument>{inner}</parentDocument></relatedDocument>'


def version(name: str, time: str = "20260301120000+0100", **header: str) -> Conversion:
    return convert(minimal(id=KNOWN.format(name), effectiveTime=f'<effectiveTime value="{time}"/>', **header))


# the whole ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        minimal(),
        minimal(in_section("<text>x</text>", "10154-3")),
        minimal(in_section(allergy("Latex"), "48765-2")),
        minimal(id="", code="", effectiveTime="", confidentialityCode="", author="", custodian="", typeId=""),
        minimal(title='<title nullFlavor="MSK"/>'),
    ],
)
def test_the_composition_comes_first_and_has_what_r4_requires(data: bytes) -> None:
    done = convert(data)
    first = done.resources[0].body
    assert first["resourceType"] == "Composition"
    assert validate(first) == ()
    assert first["status"] == "final"
    assert first["title"]
    assert first["subject"]["reference"] == f"Patient/{one(done, 'Patient')['id']}"


@pytest.mark.parametrize(
    ("title", "code", "shown"),
    [
        ("<title>Mine</title>", '<code code="34133-9" displayName="Kind"/>', "Mine"),
        ("", '<code code="34133-9" displayName="Kind"/>', "Kind"),
        ("", '<code code="34133-9"/>', "34133-9"),
        ("<title/>", '<code nullFlavor="UNK"/>', "Document"),
    ],
)
def test_a_document_always_has_a_title(title: str, code: str, shown: str) -> None:
    assert one(convert(minimal(title=title, code=code)), "Composition")["title"] == shown


def test_what_all_versions_share_and_what_each_has_of_its_own() -> None:
    done = version("D-2", setId='<setId root="2.999.11" extension="SET"/>', versionNumber='<versionNumber value="2"/>')
    composition, shown = one(done, "Composition"), one(done, "DocumentReference")
    assert composition["identifier"] == {"system": "urn:oid:2.999.11", "value": "SET"} == shown["identifier"][0]
    assert composition["extension"][0]["valueString"] == "2"
    assert shown["masterIdentifier"] == {"system": "urn:oid:2.999.10", "value": "D-2"}
    assert one(version("D-1"), "Composition")["identifier"]["value"] == "D-1"


@pytest.mark.parametrize(("signature", "attested"), [("S", True), ("", True), ("X", False), ("I", False)])
def test_only_who_has_signed_attests(signature: str, attested: bool) -> None:
    code = f'<signatureCode code="{signature}"/>' if signature else ""
    entity = f"<assignedEntity>{number('L1')}{person('Lea')}</assignedEntity>"
    done = convert(
        minimal(legalAuthenticator=f'<legalAuthenticator><time value="20260301"/>{code}{entity}</legalAuthenticator>')
    )
    attesters = one(done, "Composition").get("attester", [])
    assert [(each["mode"], each["party"]["display"]) for each in attesters] == ([("legal", "Lea")] if attested else [])
    assert ("authenticator" in one(done, "DocumentReference")) is attested


@pytest.mark.parametrize(
    "section",
    [
        '<section nullFlavor="NI"><code code="10160-0"/></section>',
        "<section><title>Only a title</title></section>",
        "<section/>",
        "<section><title>&lt;script&gt;</title><component><section/></component></section>",
    ],
)
def test_a_section_of_nothing_still_is_one(section: str) -> None:
    """cmp-1: a section has text, entries or sections."""
    composition = one(convert(minimal(f"<component>{section}</component>")), "Composition")
    for each in composition.get("section", ()):  # one that says nothing at all is none
        assert {"text", "entry", "section"} & each.keys()
        assert "<script>" not in str(each.get("text"))


# the original ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_the_original_is_kept_byte_for_byte(encoding: str) -> None:
    text = minimal(title="<title>Übersicht</title>").decode()
    data = f'<?xml version="1.0" encoding="{encoding}"?>{text}'.encode(encoding)
    done = convert(data)
    shown, binary = one(done, "DocumentReference"), one(done, "Binary")
    attachment = shown["content"][0]["attachment"]
    assert base64.b64decode(binary["data"]) == data == parse(data).raw
    assert attachment["url"] == f"Binary/{binary['id']}"
    assert attachment["size"] == len(data)
    assert base64.b64decode(attachment["hash"]) == hashlib.sha1(data, usedforsecurity=False).digest()
    assert binary["securityContext"] == {"reference": f"DocumentReference/{shown['id']}"}


@pytest.mark.parametrize(
    ("templates", "format_"),
    [
        ("", None),
        ('<templateId root="2.16.840.1.113883.10.20.22.1.1"/>', "urn:hl7-org:sdwg:ccda-structuredBody:1.1"),
        (
            '<templateId root="2.16.840.1.113883.10.20.22.1.1" extension="2015-08-01"/>'
            '<templateId root="2.16.840.1.113883.10.20.22.1.1"/>',
            "urn:hl7-org:sdwg:ccda-structuredBody:2.1",
        ),
        ('<templateId root="1.3.6.1.4.1.12559.11.10.1.3.1.1.3"/>', None),
    ],
)
def test_the_format_is_named_where_hl7_names_one(templates: str, format_: str | None) -> None:
    content = one(convert(minimal(templateId=templates)), "DocumentReference")["content"][0]
    assert content.get("format", {}).get("code") == format_


def test_one_document_is_one_reference_whoever_sends_it() -> None:
    elsewhere = replace(default(), namespace="urn:chartbridge:elsewhere")
    one_, other = (to_fhir(minimal(), each) for each in (default(), elsewhere))
    kinds = ("Composition", "DocumentReference", "Binary", "Provenance")
    for kind in kinds:
        assert one(one_, kind)["id"] == one(other, kind)["id"]


def test_the_same_id_with_other_bytes_is_the_same_document_and_keeps_both_originals() -> None:
    """`document-id-reused` is the store's to tell: only it knows what came before."""
    one_, other = version("D-1"), version("D-1", title="<title>Changed</title>")
    assert one(one_, "DocumentReference")["id"] == one(other, "DocumentReference")["id"]
    for kind in ("Composition", "Binary"):
        assert one(one_, kind)["id"] != one(other, kind)["id"]


# which took the place of which ----------------------------------------------------------------------------------------


def stored(*conversions: Conversion) -> dict[str, Json]:
    """The DocumentReferences as a store would hold them after these, in the order of arrival."""
    held: dict[str, tuple[Json, dict[str, str]]] = {}
    for conversion in conversions:
        for mapped in conversion.resources:
            if mapped.body["resourceType"] == "DocumentReference":
                old, clock = held.get(mapped.body["id"], (None, {}))
                settled = settle(old, mapped, clock)
                held[mapped.body["id"]] = (settled.body or old or {}, settled.clock)
    return {body["masterIdentifier"]["value"]: body for body, _ in held.values()}


OLD, NEW = "20260301120000+0100", "20260302120000+0100"


def test_the_reference_of_a_number_shows_its_latest_document() -> None:
    first, later = version("D-1", OLD), version("D-1", NEW, title="<title>Later</title>")
    for order in ((first, later), (later, first)):
        (shown,) = stored(*order).values()
        assert shown["content"][0]["attachment"]["url"] == f"Binary/{one(later, 'Binary')['id']}"


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [("RPLC", "replaces", "superseded"), ("APND", "appends", "current"), ("XFRM", "transforms", "current")],
)
@pytest.mark.parametrize("late", [False, True], ids=["in order", "the old one last"])
def test_what_becomes_of_the_other_document(kind: str, code: str, status: str, late: bool) -> None:
    first = version("D-1", OLD)
    second = version("D-2", NEW, relatedDocument=related(kind, KNOWN.format("D-1")))
    found = stored(*((second, first) if late else (first, second)))
    (relation,) = found["D-2"]["relatesTo"]
    assert relation["code"] == code
    assert relation["target"]["reference"] == f"DocumentReference/{found['D-1']['id']}"
    assert found["D-1"]["status"] == status
    assert found["D-2"]["status"] == "current"
    assert found["D-1"]["content"][0]["attachment"]["url"].startswith("Binary/")
    assert found["D-1"]["type"]["coding"][0]["code"] == "34133-9"
    composition = one(second, "Composition")
    assert composition["relatesTo"][0]["targetIdentifier"]["value"] == "D-1"


def test_a_document_that_never_came_is_known_to_be_replaced() -> None:
    found = stored(version("D-2", relatedDocument=related("RPLC", KNOWN.format("D-1"))))
    assert found["D-1"]["status"] == "superseded"


@pytest.mark.parametrize(
    "inner",
    [
        related("RPLC", '<id nullFlavor="UNK"/>'),
        related("RPLC", ""),
        related("OTHER", KNOWN.format("D-1")),
        related("RPLC", KNOWN.format("D-2")),  # itself
        '<relatedDocument typeCode="RPLC"/>',
    ],
)
def test_a_relation_to_nothing_is_none(inner: str) -> None:
    done = version("D-2", relatedDocument=inner)
    assert "relatesTo" not in one(done, "DocumentReference")
    assert one(done, "DocumentReference")["status"] == "current"


def test_a_replaced_document_keeps_its_own_confidentiality() -> None:
    secret = version("D-1", OLD, confidentialityCode='<confidentialityCode code="V"/>')
    found = stored(secret, version("D-2", NEW, relatedDocument=related("RPLC", KNOWN.format("D-1"))))
    assert [each["code"] for each in found["D-1"]["meta"]["security"]] == ["V"]


# who answers for what -------------------------------------------------------------------------------------------------


def signed(done: Conversion) -> dict[str, list[str]]:
    """Whom a Provenance names as author → what kinds of resources it is about."""
    found: dict[str, list[str]] = {}
    for each in every(done, "Provenance"):
        authors = [a["who"].get("display", "") for a in each["agent"] if a["type"]["coding"][0]["code"] == "author"]
        kinds = [target["reference"].partition("/")[0] for target in each["target"]]
        found[" ".join(authors)] = sorted(kinds)
    return found


def test_every_author_answers_for_what_she_wrote() -> None:
    done = of_sections(
        (
            "48765-2",
            allergy("Latex", author(number("N1") + person("Nora"), "20260101"))
            + allergy("Kiwi", author(number("N1") + person("Nora"), "20260101"))
            + allergy("Pollen", author(number("B1") + person("Bob"), "20260102"))
            + allergy("Wool"),
        ),
        author=author(number("H1") + person("Hana")),
    )
    assert signed(done) == {
        "Nora": ["AllergyIntolerance", "AllergyIntolerance"],
        "Bob": ["AllergyIntolerance"],
        "Hana": ["AllergyIntolerance", "Composition", "DocumentReference"],
    }
    document = f"DocumentReference/{one(done, 'DocumentReference')['id']}"
    for each in every(done, "Provenance"):
        assert each["entity"] == [{"role": "source", "what": {"reference": document}}]
        assert each["recorded"]


def test_a_statement_of_nobody_is_the_documents() -> None:
    done = of_sections(
        ("48765-2", allergy("Latex", author('<id nullFlavor="NI"/>'))), author=author(number("H1") + person("Hana"))
    )
    assert signed(done) == {"Hana": ["AllergyIntolerance", "Composition", "DocumentReference"]}


@pytest.mark.parametrize(
    ("time", "recorded"),
    [
        ("20260101083000+0100", "2026-01-01T08:30:00+01:00"),
        ("20260101", "2026-03-01T12:00:00+01:00"),
        ("soon", "2026-03-01T12:00:00+01:00"),
    ],
)
def test_a_day_is_no_instant(time: str, recorded: str) -> None:
    done = of_sections(("48765-2", allergy("Latex", author(number("N1") + person("Nora"), time))))
    found = next(each for each in every(done, "Provenance") if "Nora" in str(each))
    assert found["recorded"] == recorded


def test_the_same_document_gives_the_same_bytes() -> None:
    data = minimal(in_section(allergy("Latex", author(number("N1") + person("Nora"))), "48765-2"))
    assert [m.body for m in convert(data).resources] == [m.body for m in convert(data).resources]
    assert codes(convert(data)) == []


def test_every_fact_of_a_party_and_of_the_whole_has_a_row_or_a_rule() -> None:
    """But for what stands inside of another resource, which a trace cannot name."""
    data = next(path for path in SAMPLES if path.stem == "header-everything").read_bytes()
    silent = {
        (fact.resource.partition("/")[0], fact.path)
        for fact in explain(data, default()).facts
        if fact.row in ("@", "@assemble") and not fact.path.startswith(("contained", "section", "extension"))
    }
    assert silent == set()
