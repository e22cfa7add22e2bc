"""Documents: content, status, what becomes of the one before, labels; consents only where the profile asks for them.

Source: design chapter HL7 v2 §4 (text under TXA), §5 (ED RP), §9 (Document), §10 (TXA-18); HL7 v2.9 chapter 9.
"""

import base64
import hashlib
from pathlib import Path

import pytest

from mappings.convert import Conversion, Profile, bundle, load_profile
from mappings.fhir.validate import validate
from mappings.hl7v2 import explain
from mappings.merge import settle
from tests.mappings.hl7v2.messages import MR, SAMPLES, Json, bodies, convert, header, mapped, one, segment

NUMBER, OLD = "D-2^TEXTSYS^2.999.8.1^ISO", "D-1^TEXTSYS^2.999.8.1^ISO"
PID = f"PID|1||4711{MR}"
LETTER = "LET^Letter^99TXT"
LEYLA = "77^Kaya^Leyla^^^^^^HOSP&2.999.1.5&ISO"


def mdm(
    *segments: str, event: str = "T02", at: str = "20250304081500+0100", before: str = "", **txa: str
) -> Conversion:
    """A document of one patient; `f17` and the like are fields of TXA, `before` stands behind PID."""
    fields = {"f1": "1", "f2": "DS", "f12": NUMBER} | txa
    known = [header(f"MDM^{event}", at), PID, *([before] if before else []), segment("TXA", **fields)]
    return convert(*known, *segments)


def line(value: str, kind: str = "TX", code: str = LETTER, status: str = "F") -> str:
    return f"OBX|1|{kind}|{code}||{value}||||||{status}"


def document(*segments: str, event: str = "T02", **txa: str) -> Json:
    conversion = mdm(*segments, event=event, **txa)
    assert all(validate(each.body) == () for each in conversion.resources)
    return next(each for each in bodies(conversion, "DocumentReference") if _number(each) == "D-2")


def _number(body: Json) -> str:
    return str(body["masterIdentifier"]["value"])


def text_of(body: Json, index: int = 0) -> str:
    return base64.b64decode(body["content"][index]["attachment"]["data"]).decode()


# content --------------------------------------------------------------------------------------------------------------


def test_text_lines_are_one_text_and_no_observations() -> None:
    conversion = mdm(line("First~and half"), line(""), line("Ümlaut", "FT"), line("Last", "ST"))
    body = one(conversion, "DocumentReference")
    assert text_of(body) == "First\nand half\n\nÜmlaut\nLast"
    assert body["content"][0]["attachment"]["contentType"] == "text/plain"
    assert body["content"][0]["attachment"]["title"] == "Letter"
    assert bodies(conversion, "Observation") == []


def test_parts_of_a_text_are_headed_where_the_code_changes() -> None:
    body = document(line("a", code="H^History"), line("b", code="H^History"), line("c", code="T^Therapy"))
    assert text_of(body) == "History\na\nb\n\nTherapy\nc"
    assert len(body["content"]) == 1


def test_a_value_that_is_no_text_is_a_line_that_names_itself() -> None:
    body = document(line("Seen."), "OBX|2|NM|W^Weight||68.5|kg|||||F", "OBX|3|CE|C^Course||G^good^99TXT")
    assert text_of(body) == "Seen.\nWeight: 68.5 kg\nCourse: good"


@pytest.mark.parametrize("status", ["D", "W"])
def test_a_line_that_was_sent_in_error_is_not_in_the_text(status: str) -> None:
    assert text_of(document(line("kept"), line("wrong", status=status))) == "kept"


def test_a_file_and_a_pointer_are_one_content_each() -> None:
    pdf = base64.b64encode(b"%PDF-1.4").decode()
    body = document(
        line("See the files."), line(f"SYS^Application^PDF^Base64^{pdf}", "ED"),
        line("https://x.example.org/1^SYS^Image^JPEG~file7^SYS^Image^JPEG", "RP"),
    )  # fmt: skip
    kinds = [each["attachment"]["contentType"] for each in body["content"]]
    assert kinds == ["text/plain", "application/pdf", "image/jpeg", "image/jpeg"]
    assert base64.b64decode(body["content"][1]["attachment"]["data"]) == b"%PDF-1.4"
    assert body["content"][2]["attachment"]["url"] == "https://x.example.org/1"
    assert "url" not in body["content"][3]["attachment"]


def test_a_cda_document_inside_stays_a_file_with_its_type() -> None:
    cda = base64.b64encode(b"<ClinicalDocument/>").decode()
    body = document(line(f"SYS^multipart^x-hl7-cda-level-one^Base64^{cda}", "ED"))
    assert body["content"][0]["attachment"]["contentType"] == "text/xml"


def test_data_that_is_not_what_it_says_is_named_and_leaves_no_empty_content() -> None:
    conversion = mdm(line("SYS^Application^PDF^Base64^***", "ED"))
    assert "bad-encoding" in {issue.code for issue in conversion.issues}
    assert "data" not in one(conversion, "DocumentReference")["content"][0]["attachment"]


def test_data_of_an_unnamed_type_says_so_for_att1_asks_for_a_type() -> None:
    found = document(line(f"SYS^^^Base64^{base64.b64encode(b'x').decode()}", "ED"))["content"][0]["attachment"]
    assert found["contentType"] == "application/octet-stream"
    named = document(line(f"SYS^^^Base64^{base64.b64encode(b'x').decode()}", "ED"), f3="TX")["content"][0]["attachment"]
    assert named["contentType"] == "text/plain"


@pytest.mark.parametrize(("size", "apart"), [(32 * 1024, False), (32 * 1024 + 1, True)])
def test_more_than_32_kib_is_a_binary_ruled_as_its_document(size: int, apart: bool) -> None:
    raw = bytes(index % 251 for index in range(size))
    conversion = mdm(line(f"SYS^Application^PDF^Base64^{base64.b64encode(raw).decode()}", "ED"), f18="R")
    body = one(conversion, "DocumentReference")
    attachment = body["content"][0]["attachment"]
    assert ("data" in attachment) is not apart
    assert attachment["size"] == size
    if apart:
        binary = one(conversion, "Binary")
        assert base64.b64decode(binary["data"]) == raw
        assert attachment["url"] == f"Binary/{binary['id']}"
        assert attachment["hash"] == base64.b64encode(hashlib.sha1(raw, usedforsecurity=False).digest()).decode()
        assert binary["securityContext"]["reference"] == f"DocumentReference/{body['id']}"
        assert binary["meta"]["security"] == body["meta"]["security"]
        assert mapped(conversion, "Binary").mode == "state"


def test_a_bundle_points_at_the_binary_it_carries() -> None:
    data = base64.b64encode(b"x" * 40_000).decode()
    found = bundle(mdm(line(f"SYS^Application^PDF^Base64^{data}", "ED")))
    urls = {entry["resource"]["resourceType"]: entry["fullUrl"] for entry in found["entry"]}
    body = next(e["resource"] for e in found["entry"] if e["resource"]["resourceType"] == "DocumentReference")
    assert body["content"][0]["attachment"]["url"] == urls["Binary"]


# status ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("AU", "final"), ("LA", "final"), ("DI", "preliminary"), ("DO", "preliminary"), ("IN", "preliminary"),
        ("IP", "preliminary"), ("PA", "preliminary"),
    ],
)  # fmt: skip
def test_only_an_authenticated_document_is_final(code: str, status: str) -> None:
    assert document(f17=code)["docStatus"] == status


@pytest.mark.parametrize(
    ("code", "status"),
    [("AV", "current"), ("CA", "entered-in-error"), ("OB", "superseded"), ("UN", "current"), ("", "current")],
)
def test_txa19_is_the_status_of_the_reference(code: str, status: str) -> None:
    body = document(f19=code)
    assert body["status"] == status
    assert ("_status" in body) is (code in ("CA", "OB", "UN"))


def test_a_cancelled_document_was_an_error_whatever_txa19_says() -> None:
    assert document(event="T11", f19="AV")["status"] == "entered-in-error"


def test_a_notification_leaves_the_stored_content() -> None:
    stored = document(line("The letter."))
    told = mapped(mdm(event="T03", at="20250305081500+0100", f17="LA"), "DocumentReference")
    body = settle(stored, told, {}).body
    assert body is not None
    assert (body["docStatus"], text_of(body)) == ("final", "The letter.")


def test_an_edit_replaces_content_and_keeps_what_the_document_relates_to() -> None:
    stored = document(line("Old."), event="T06", f13=OLD)
    edited = mapped(mdm(line("New."), event="T08", at="20250305081500+0100"), "DocumentReference")
    body = settle(stored, edited, {}).body
    assert body is not None
    assert (text_of(body), body["relatesTo"]) == ("New.", stored["relatesTo"])


# what becomes of the document before ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "code", "status", "mode"),
    [
        ("T05", "appends", "current", "stub"), ("T06", "appends", "current", "stub"),
        ("T09", "replaces", "superseded", "update"), ("T10", "replaces", "superseded", "update"),
    ],
)  # fmt: skip
def test_an_addendum_appends_and_a_replacement_supersedes(event: str, code: str, status: str, mode: str) -> None:
    conversion = mdm(event=event, f13=OLD)
    new, old = sorted(bodies(conversion, "DocumentReference"), key=_number, reverse=True)
    target = {"reference": f"DocumentReference/{old['id']}", "identifier": old["masterIdentifier"]}
    assert new["relatesTo"] == [{"code": code, "target": target}]
    assert (_number(old), old["status"], new["status"]) == ("D-1", status, "current")
    assert {each.mode for each in conversion.resources if each.body["id"] == old["id"]} == {mode}


def test_superseding_changes_the_status_and_nothing_else() -> None:
    stored = next(iter(bodies(mdm(line("Old letter."), f12=OLD, f17="AU"), "DocumentReference")))
    replaced = mdm(line("New letter."), event="T10", at="20250305081500+0100", f13=OLD)
    told = next(each for each in replaced.resources if each.body["id"] == stored["id"])
    body = settle(stored, told, {}).body
    assert body == stored | {"status": "superseded"}


def test_a_document_that_comes_behind_its_replacement_still_brings_its_content() -> None:
    replaced = mdm(line("New letter."), event="T10", at="20250305081500+0100", f13=OLD)
    original = mapped(mdm(line("Old letter."), f12=OLD), "DocumentReference")
    first = next(each for each in replaced.resources if each.body["id"] == original.body["id"])
    placed = settle(None, first, {})
    late = settle(placed.body, original, placed.clock)
    assert late.body is not None
    assert (late.body["status"], text_of(late.body)) == ("superseded", "Old letter.")


@pytest.mark.parametrize("event", ["T01", "T02", "T04", "T08"])
def test_a_parent_of_no_named_kind_is_related(event: str) -> None:
    (reference,) = document(event=event, f13=OLD)["context"]["related"]
    assert (reference["type"], reference["identifier"]["value"]) == ("DocumentReference", "D-1")


def test_a_replacement_of_nothing_is_named() -> None:
    assert "no-target" in {issue.code for issue in mdm(event="T10").issues}
    assert "relatesTo" not in document(event="T10", f13=NUMBER)


# context, signatures --------------------------------------------------------------------------------------------------


def test_a_document_is_about_its_stay_and_the_orders_of_its_message() -> None:
    order = "ORC|RE|OP-1^ORDERS^2.999.3.2^ISO\rOBR|1|OP-1^ORDERS^2.999.3.2^ISO||COLO"
    conversion = mdm(before=f"PV1|1|I|MED||||||||||||||||V1\r{order}", f14="OP-1^ORDERS^2.999.3.2^ISO", f15="OF-9")
    context = one(conversion, "DocumentReference")["context"]
    assert context["encounter"] == [{"reference": f"Encounter/{one(conversion, 'Encounter')['id']}"}]
    literal, logical = context["related"]
    assert literal == {"reference": f"ServiceRequest/{one(conversion, 'ServiceRequest')['id']}"}
    assert logical["identifier"]["value"] == "OF-9"


def test_who_signed_wins_over_who_was_to_sign() -> None:
    assert document(f10=LEYLA)["authenticator"]["display"] == "Leyla Kaya"
    assert document(f10=LEYLA, f22="78^Berg^Tom")["authenticator"]["display"] == "Tom Berg"


@pytest.mark.parametrize(("status", "role"), [("LA", "legal"), ("AU", "attester")])
def test_everyone_who_had_a_hand_in_it_stands_in_the_provenance(status: str, role: str) -> None:
    agents = one(mdm(f9=LEYLA, f11="79^Type^Rosa", f17=status, f22="78^Berg^Tom", f23="80^Copy^Emil"), "Provenance")[
        "agent"
    ]
    roles = [each["type"]["coding"][0]["code"] for each in agents if "type" in each]
    assert roles == ["author", "author", "enterer", role]
    assert agents[-1]["role"][0]["coding"][0]["code"] == "IRCP"


def test_a_day_of_origin_is_no_instant() -> None:
    body = document(f6="20250304")
    assert "date" not in body
    assert body["_date"]["extension"][0]["valueString"] == "20250304"
    assert document(line("x"), f6="20250304")["content"][0]["attachment"]["creation"] == "2025-03-04"


# labels ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("V", "V"), ("VR", "V"), ("R", "R"), ("RE", "R"), ("1", "R"), ("2", "R"), ("3", "R"), ("U", "N"), ("UC", "N"),
        ("SECRET", "R"),
    ],
)  # fmt: skip
def test_txa18_labels_the_document_and_an_unknown_code_closes_it(code: str, label: str) -> None:
    security = document(line("x"), f18=code)["meta"]["security"]
    assert security[0]["code"] == label
    assert (len(security) > 1) is (code == "SECRET")


def test_a_protected_stay_labels_its_documents() -> None:
    visit = segment("PV1", f2="I", f3="MED", f16="VIP", f19="V1")
    assert one(mdm(before=visit), "DocumentReference")["meta"]["security"][0]["code"] == "CEL"


# consents -------------------------------------------------------------------------------------------------------------

CON = segment(
    "CON", f1="1", f2="002", f4="C-1^SYS^2.999.8.2^ISO", f11="A", f13="20250303", f24="Demo^Karl", f25="2^Parent^99HOSP"
)


@pytest.fixture
def asking(tmp_path: Path) -> Profile:
    (tmp_path / "profile.toml").write_text(
        'name = "consents"\nnamespace = "urn:oid:2.999.1"\npolicy = { con = "map" }\n'
    )
    return load_profile(tmp_path)


def test_con_makes_no_consent_unless_the_profile_asks() -> None:
    conversion = mdm(CON)
    assert bodies(conversion, "Consent") == []
    assert "unsupported-structure" in {issue.code for issue in conversion.issues}


@pytest.mark.parametrize("type_", ["ADT^A08", "SIU^S12", "REF^I12"])
def test_con_stands_in_other_structures_too(type_: str, asking: Profile) -> None:
    lines = [header(type_), *(["SCH||F-1"] if type_.startswith("SIU") else []), PID, CON]
    assert one(convert(*lines, profile=asking), "Consent")["status"] == "active"
    assert bodies(convert(*lines), "Consent") == []


def test_pd1_makes_no_consent(asking: Profile) -> None:
    assert bodies(convert(header("ADT^A08"), PID, "PD1|||||||I||Y||||Y", profile=asking), "Consent") == []


def test_con_makes_a_consent_that_rules_no_access(asking: Profile) -> None:
    conversion = convert(header("MDM^T02"), PID, segment("TXA", f1="1", f2="DS", f12=NUMBER), CON, profile=asking)
    body = one(conversion, "Consent")
    assert validate(body) == ()
    assert (body["status"], body["dateTime"]) == ("active", "2025-03-03")
    assert body["scope"]["coding"][0]["code"] == "treatment"  # never patient-privacy: no rule can be read from CON
    (person,) = body["contained"]
    assert (person["name"][0]["family"], person["relationship"][0]["coding"][0]["code"]) == ("Demo", "2")


@pytest.mark.parametrize(
    ("code", "status"),
    [("A", "active"), ("L", "active"), ("P", "proposed"), ("R", "rejected"), ("B", "rejected"), ("X", "inactive")],
)
def test_every_consent_status_has_its_code(code: str, status: str, asking: Profile) -> None:
    lines = [header("MDM^T02"), PID, segment("TXA", f1="1", f2="DS", f12=NUMBER), segment("CON", f2="002", f11=code)]
    assert one(convert(*lines, profile=asking), "Consent")["status"] == status


def test_every_row_of_con_is_fired_where_it_is_asked_for(asking: Profile) -> None:
    sample = next(path for path in SAMPLES if path.stem == "mdm-t02-consent")
    silent = explain.coverage([sample.read_bytes()], asking).silent
    assert [row.id for row in silent if row.map == "CON.Consent"] == []
