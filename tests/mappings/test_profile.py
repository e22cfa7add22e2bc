"""Profiles: what is checked when one is loaded, and how layers lie over each other.

Source: design chapter HL7 v2 §3, §12.
"""

import re
from pathlib import Path

import pytest

from mappings import profile as profiles
from mappings.cda import settings
from mappings.convert import to_fhir
from mappings.hl7v2.message import parse, peek
from mappings.hl7v2.place import Place
from mappings.profile import Profile, ProfileError, load_profile
from mappings.rows.errors import RowsError
from mappings.rows.table import COLUMNS
from tests.mappings.hl7v2.messages import MR, bodies, header, message, obr, obx, one

HEADER = "id,source,when,target,type,vocab,value,note\n"


def write(folder: Path, toml: str = "", **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.toml").write_text(f'name = "{folder.name}"\nnamespace = "urn:oid:2.999.8"\n{toml}')
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_csv", ".csv")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def converted(profile: Profile, *segments: str) -> list[dict[str, object]]:
    return [mapped.body for mapped in to_fhir(message(*segments), profile).resources]


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        ('nmae = "x"', "did you mean name"),
        ('policy.nk2 = "guide"', "unknown key policy.nk2; did you mean policy.nk1|did you mean nk1"),
        ('policy.nk1 = "sometimes"', "policy.nk1 is one of guide, contact, related"),
        ('zone = "Europe/Wien"', "not an IANA time zone"),
        ('null = "keep"', "null is one of delete, ignore"),
        ('ack.mode = "loud"', "ack.mode is one of"),
        ('charset.trust = "blind"', "charset.trust"),
        ('match = { msh99 = "x" }', "unknown key match.msh99"),
        ("limits.segmets = 3", "did you mean segments"),
        ('codes.99LAB = { systm = "x" }', "codes.99LAB takes system and map"),
        ('codes.99LAB = { system = "urn:x:y", map = "codes/none.csv" }', "no file"),
        ('filter = [{ id = "x", when = "event of A01" }]', "filter"),
        ('extends = "nobody"', "no profile nobody"),
        ("policy = 3", "policy is not a table"),
        ("zone = 1", "zone: expected `str`, got `int`"),
        ("codes = 3", "codes: expected `object`, got `int`"),
        ('codes.LN = { system = "urn:x:y", map = 3 }', "codes\\[...\\]\\[...\\]"),
        ("segments.ZAB = 3", "expected `object`, got `int`"),
        ("filter = 3", "filter: expected `array`"),
        ("match.msh3 = 3", "expected `str`, got `int`"),
        ("patient.identity = 3", "expected `array`, got `int`"),
        ("ack.processing = 3", "expected `str | array`, got `int`"),
        ('limits.segments = "many"', "got `str`"),
        ("authorities.A = 3", "expected `str`, got `int`"),
        ("name = ", "not TOML"),
    ],
)
def test_a_faulty_profile_is_refused_with_the_nearest_known_word(tmp_path: Path, toml: str, fault: str) -> None:
    with pytest.raises(ProfileError, match=fault):
        load_profile(write(tmp_path / "site", toml))


@pytest.mark.parametrize(
    ("file", "content", "fault"),
    [
        (
            "segments/PID.Patient.csv",
            HEADER.encode() + b"PID.Patient:X,PID-5,,name[],XPN[HumanName],,,f\xfcr\n",
            "not UTF-8",
        ),
        ("codes/local.csv", b"code,target\nK,f\xfcr\n", "codes/local.csv is not UTF-8"),
        ("messages/oru.toml", b"# f\xfcr\n", "messages/oru.toml is not UTF-8"),
        ("messages/oru.toml", b"in = ", "messages/oru.toml is not TOML"),
    ],
)
def test_a_file_that_cannot_be_read_is_a_fault_of_its_profile(
    tmp_path: Path, file: str, content: bytes, fault: str
) -> None:
    folder = write(tmp_path / "site", 'codes.LN = { system = "urn:x:y", map = "codes/local.csv" }')
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_bytes(content)
    with pytest.raises(ProfileError, match=fault):
        load_profile(folder)


def test_a_name_that_is_no_profile_offers_the_nearest() -> None:
    with pytest.raises(ProfileError, match="did you mean default"):
        load_profile("defualt")


def test_a_profile_needs_a_name_and_a_namespace(tmp_path: Path) -> None:
    (tmp_path / "profile.toml").write_text('namespace = "nowhere"')
    with pytest.raises(ProfileError, match="name is missing"):
        load_profile(tmp_path)


def test_a_profile_may_not_extend_itself(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="extends itself"):
        load_profile(write(tmp_path / "loop", 'extends = "loop"'))


def test_equal_rows_are_compiled_once(tmp_path: Path) -> None:
    assert load_profile("default").maps is load_profile("default").maps
    assert load_profile(write(tmp_path / "ours", 'policy.nk1 = "contact"')).maps is not load_profile("default").maps


def test_the_layers_lie_over_each_other_by_row_id(tmp_path: Path) -> None:
    write(
        tmp_path / "country",
        segments__PID_Patient_csv=HEADER
        + "PID.Patient:8a,PID-8,never,gender,CWE[code],,,\nPID.Patient:90,PID-38,,text.div,X,,,\n",
    )
    (tmp_path / "country/segments/PID_Patient.csv").rename(tmp_path / "country/segments/PID.Patient.csv")
    site = write(
        tmp_path / "site",
        'extends = "country"',
        segments__x_csv="",
    )
    (site / "segments/x.csv").unlink()
    (site / "segments/PID.Patient.csv").write_text(
        HEADER + "PID.Patient:90,PID-38,,extension(urn:oid:2.999.8.1).valueString,CWE[string],,,a class of the site\n"
    )
    profile = load_profile(site)
    (patient,) = [
        b
        for b in converted(profile, header(), f"PID|1||1{MR}|||||F||||||||||||||||||||||||||||||VET")
        if b["resourceType"] == "Patient"
    ]
    assert "gender" not in patient
    assert patient["extension"] == [{"url": "urn:oid:2.999.8.1", "valueString": "VET"}]
    assert profile.maps.table["PID.Patient:90"].overlay == "site"


def test_a_z_segment_hangs_where_the_profile_says(tmp_path: Path) -> None:
    site = write(tmp_path / "zsite", 'segments.ZPV = { group = "VISIT" }', segments__a_csv="")
    (site / "segments/a.csv").unlink()
    (site / "segments/ZPV.Encounter.csv").write_text(
        HEADER + "ZPV.Encounter:2,ZPV-2,,extension(urn:oid:2.999.7).valueString,ST[string],,,\n"
    )
    stay = "PV1|1|I|MED" + "|" * 16 + "V1^^^HOSP"
    conversion = to_fhir(message(header(), f"PID|1||1{MR}", stay, "ZPV|1|blue"), load_profile(site))
    assert one(conversion, "Encounter")["extension"] == [{"url": "urn:oid:2.999.7", "valueString": "blue"}]
    places = [issue.place for issue in conversion.issues if isinstance(issue.place, Place)]
    assert not [place for place in places if place.segment == "ZPV" and place.field == 2]


def test_rows_of_a_profile_are_checked_like_ours(tmp_path: Path) -> None:
    site = write(tmp_path / "bad", segments__a_csv="")
    (site / "segments/a.csv").unlink()
    (site / "segments/PID.Patient.csv").write_text(HEADER + "PID.Patient:90,PID-27,,sex,CWE[code],,,\n")
    with pytest.raises(RowsError, match=r"segments/PID.Patient.csv:2.*no element sex"):
        load_profile(site)


def test_wiring_of_a_profile_is_checked_like_ours(tmp_path: Path) -> None:
    site = write(tmp_path / "wired")
    (site / "messages").mkdir()
    (site / "messages/oru.toml").write_text(
        '[group.A]\nin = "B"\nopens = ["PID"]\ncolour = "red"\n'
        '[[make]]\ngroup = "A"\nmap = "PID.Patient"\nkey = "who"\n'
        '[[make]]\ngroup = "A"\nmap = "OBX.Observation"\nkey = "observation"\nafter = 1\n'
    )
    with pytest.raises(RowsError) as caught:
        load_profile(site)
    told = " ".join(caught.value.faults)
    for words in (
        "no key function who",
        "group A lies in B",
        "unknown key colour",
        "group A never holds OBX",
        "unknown key after",
    ):
        assert words in told


def test_policies_change_what_rows_do(tmp_path: Path) -> None:
    relatives = (header(), f"PID|1||1{MR}", "NK1|1|Muster^Max|SPO")
    for policy, kinds in (("related", 1), ("contact", 0)):
        profile = load_profile(write(tmp_path / policy, f'policy.nk1 = "{policy}"'))
        found = to_fhir(message(*relatives), profile)
        assert len(bodies(found, "RelatedPerson")) == kinds
        assert ("contact" in one(found, "Patient")) == (kinds == 0)


def test_split_results_are_lines_of_their_own(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path / "split", 'policy.obx5_repeat = "split"'))
    found = to_fhir(message(header("ORU^R01"), f"PID|1||1{MR}", obr(), obx("60~120")), profile)
    assert [body["valueQuantity"]["value"] for body in bodies(found, "Observation")] == [60, 120]
    assert len(one(found, "DiagnosticReport")["result"]) == 2


def test_identities_follow_the_profile(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path / "pi", 'patient.identity = ["PI@WEST", "MR"]'))
    data = "PID|1||1^^^HOSP^MR~9^^^WEST^PI~9^^^EAST^PI"
    first = one(to_fhir(message(header(), data), profile), "Patient")["id"]
    assert first == one(to_fhir(message(header(), "PID|1||9^^^WEST^PI"), profile), "Patient")["id"]


def test_authorities_and_codes_of_the_site(tmp_path: Path) -> None:
    site = write(
        tmp_path / "codes",
        'authorities = { HOSP = "urn:oid:2.999.8.4" }\n'
        'codes.99LAB = { system = "urn:oid:2.999.8.6", map = "codes/lab.csv" }',
    )
    (site / "codes").mkdir()
    (site / "codes/lab.csv").write_text(
        "code,target,system,display,equivalence,note,source\nGLU,2345-7,http://loinc.org,,equivalent,,our own\n"
    )
    found = to_fhir(
        message(header("ORU^R01"), "PID|1||1^^^HOSP^MR", obr(), obx(code="GLU^Zucker^99LAB")), load_profile(site)
    )
    assert one(found, "Patient")["identifier"][0]["system"] == "urn:oid:2.999.8.4"
    codings = one(found, "Observation")["code"]["coding"]
    assert {(each["system"], each["code"]) for each in codings} == {
        ("urn:oid:2.999.8.6", "GLU"),
        ("http://loinc.org", "2345-7"),
    }


def test_a_filter_takes_messages_out(tmp_path: Path) -> None:
    profile = load_profile(
        write(tmp_path / "filtered", 'filter = [{ id = "no-billing", when = "event in (P03,P11)" }]')
    )
    found = to_fhir(message(header("DFT^P03"), f"PID|1||1{MR}"), profile)
    assert (found.filtered, found.resources) == ("no-billing", ())
    assert to_fhir(message(header(), f"PID|1||1{MR}"), profile).filtered == ""


def test_who_may_send_is_a_glob_on_the_header(tmp_path: Path) -> None:
    profile = load_profile(write(tmp_path / "match", 'match = { msh3 = "LAB*", msh12 = "2.5*" }'))
    known, other = (peek(message(header().replace("SYS", name))) for name in ("LABSYS", "ADTSYS"))
    assert profile.matches(known)
    assert not profile.matches(other)


def test_equal_text_is_remembered_under_equal_separators_only() -> None:
    profile = load_profile("default")
    plain = parse(message(header()))
    other = parse(b"MSH#*!\\%#SYS#HOSP")
    assert profile.cache_of(plain.sep, plain.charset) is profile.cache_of(plain.sep, plain.charset)
    assert profile.cache_of(plain.sep, plain.charset) is not profile.cache_of(other.sep, other.charset)
    for number in range(20):
        profile.cache_of(number)
    assert len(profile.cache) <= 8


def test_every_key_of_a_profile_is_documented_and_every_documented_key_exists() -> None:
    page = (Path(__file__).parents[2] / "docs/profiles.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    told = {key for row in rows for key in re.findall(r"`([a-z0-9_.]+)`", row)} - set(COLUMNS)
    plain = {key for key in profiles._KEYS if key not in profiles._TABLES} - {"cda"}
    of_documents = {*settings._CHOICES, "sections", "oids", "root", *(f"limits.{key}" for key in settings._LIMITS)}
    tables = {**profiles._TABLES, "cda": tuple(of_documents)}
    assert told == plain | {f"{table}.{key}" for table, keys in tables.items() for key in keys}
