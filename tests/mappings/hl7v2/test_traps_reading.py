"""More of the places where converters are known to go wrong: statuses whole, times, bytes from the wire, silence.

Source: design chapter HL7 v2 §14, numbers 3, 12, 15 and 16.
"""

import string
from pathlib import Path
from typing import Any

import pytest

from adapter.inbound.ack import outcome, render
from adapter.inbound.mllp import Frame, FrameReader, frame
from mappings.convert import Issue, Profile, load_profile, to_fhir
from mappings.errors import MappingError
from mappings.fhir.validate import validate
from mappings.hl7v2.message import peek
from mappings.terminology import tables
from tests.mappings.hl7v2.messages import MR, SAMPLES, adt, convert, header, message, obr, obx, one, oru


def profile(folder: Path, text: str) -> Profile:
    folder.mkdir(exist_ok=True)
    (folder / "profile.toml").write_text(f'name = "p"\nextends = "default"\nnamespace = "urn:oid:2.999.1"\n{text}')
    return load_profile(folder)


# 3
def test_every_obx11_and_obr25_code_has_a_status() -> None:
    """Every code of tables 0085 and 0123, none at all, and codes of no table: valid, with a status, and no other than
    the store's own may stand behind `U`."""
    lines = {code: one(oru(obr(), obx(f11=code)), "Observation") for code in (*tables.codes("0085"), "", "?", "Q")}
    assert {code for code, line in lines.items() if line.get("status") not in STATUSES} == set()
    assert all(validate(line) == () for line in lines.values())
    reasons = {code: lines[code]["dataAbsentReason"]["coding"][0]["code"] for code in ("X", "N")}
    assert reasons == {"X": "not-performed", "N": "not-asked"}
    reports = {code: one(oru(obr(status=code), obx()), "DiagnosticReport") for code in (*tables.codes("0123"), "", "?")}
    assert {code for code, report in reports.items() if report.get("status") not in REPORT_STATUSES} == set()
    assert all(validate(report) == () for report in reports.values())


STATUSES = {"registered", "preliminary", "final", "amended", "corrected", "cancelled", "entered-in-error", "unknown"}
REPORT_STATUSES = STATUSES | {"partial", "appended"}


# 12
def effective(lexeme: str, loaded: Profile, at: str = "20250304120000") -> Any:
    made = convert(header("ORU^R01", at), f"PID|1||4711{MR}", obr(f7=""), obx(f14=lexeme), profile=loaded)
    return one(made, "Observation").get("effectiveDateTime")


def test_partial_dates_and_zones(tmp_path: Path) -> None:
    vienna = profile(tmp_path / "vienna", 'zone = "Europe/Vienna"')
    nowhere = load_profile("default")
    told = {
        "2025": "2025", "202501": "2025-01", "20250102": "2025-01-02",
        "2025010203": "2025-01-02T03:00:00+01:00", "202501020304": "2025-01-02T03:04:00+01:00",
        "20250102030405": "2025-01-02T03:04:05+01:00", "20250102030405.1200": "2025-01-02T03:04:05.1200+01:00",
        "20250702030405": "2025-07-02T03:04:05+02:00",  # summer time in a winter message
        "20250102030405-0500": "2025-01-02T03:04:05-05:00",  # its own offset wins
        "20250330023000": "2025-03-30T02:30:00+01:00",  # in the gap: the offset before the change
        "20251026023000": "2025-10-26T02:30:00+02:00",  # twice that night: the first
        "202501022400": "2025-01-03T00:00:00+01:00",
        "00000101": None, "99991231": None, "20250230": None, "2025010299": None,
    }  # fmt: skip
    assert {lexeme: effective(lexeme, vienna) for lexeme in told} == told
    assert effective("20250702030405", vienna, "20250304120000-0500") == "2025-07-02T03:04:05-05:00", "MSH-7 disagrees"
    assert effective("20250102030405", nowhere, "20250304120000+0100") == "2025-01-02T03:04:05+01:00", "MSH-7 alone"
    assert effective("20250102030405", nowhere) == "2025-01-02", "no zone is known: cut to its day, never the server's"
    born = one(adt("A08"), "Patient")
    assert "birthDate" not in born
    born = one(convert(header("ADT^A08", "20250304120000+0100"), f"PID|1||4711{MR}||||198001012345"), "Patient")
    assert (born["birthDate"], born["_birthDate"]["extension"][0]["valueDateTime"]) == (
        "1980-01-01", "1980-01-01T23:45:00+01:00",
    )  # fmt: skip


# 15
SECOND_BYTES = {  # letters whose second byte is one of the separators
    "shift_jis": ("ISO IR14", "ソ表ポ貼"), "gb18030": ("GB 18030-2000", "錧亅盶"), "big5": ("BIG-5", "功許蓋"),
}  # fmt: skip
NAMES = {
    "utf_8": ("UNICODE UTF-8", "Ångström Zoë"),
    "iso8859_1": ("8859/1", "Müßig"),
    "iso8859_15": ("8859/15", "Žofie €"),
}


def over_the_wire(data: bytes) -> list[bytes]:
    """What the listener's reader makes of bytes that come one by one."""
    reader, found = FrameReader(1 << 20, 1 << 16), []
    for start in range(len(data)):
        reader.receive_data(data[start : start + 1])
        while isinstance(event := reader.next_event(), Frame):
            found.append(bytes(event.data))
    return found


def family(data: bytes) -> str:
    return str(one(to_fhir(data, load_profile("default")), "Patient")["name"][0]["family"])


def test_framing_charsets_and_separators() -> None:
    for codec, (declared, letters) in (SECOND_BYTES | NAMES).items():
        text = "\r".join([f"{header('ADT^A08')}||||||{declared}", f"PID|1||4711{MR}||{letters}^Ana"])
        (received,) = over_the_wire(b"\x0b" + text.encode(codec) + b"\x1c\r")
        assert family(received) == letters, codec
    lying = "\r".join([f"{header('ADT^A08')}||||||8859/1", f"PID|1||4711{MR}||Müßig"]).encode("utf-8")
    assert family(lying) == "Müßig"
    assert family(b"\xef\xbb\xbf" + lying) == "Müßig"
    escaped = message(f"{header('ADT^A08')}||||||UNICODE UTF-8", f"PID|1||4711{MR}||M\\XC3BC\\ßig".encode().decode())
    assert family(escaped) == "Müßig", "one letter of two escaped bytes"
    five = f"MSH|^~\\&#|S|H|C|H|20250304||ADT^A08|1|P|2.5.1\rPID|1||4711{MR}||Demo^Ana".encode()
    odd = b"MSH!@;%*!S!H!C!H!20250304!!ADT@A08!1!P!2.5.1\rPID!1!!4711@@@HOSP*2.999.1.4*ISO@MR!!Demo@Ana"
    ends = [five.replace(b"\r", end) for end in (b"\n", b"\r\n")]
    assert {family(each) for each in (five, odd, *ends)} == {"Demo"}
    inside = frame(five.replace(b"Demo", b"De\x0bmo").replace(b"Ana", b"A\x1cna"))
    assert len(over_the_wire(inside + frame(five))) == 2, "VT and FS inside are data; two frames in one read"


# 16
def test_no_value_in_any_issue_ack_or_log(caplog: pytest.LogCaptureFixture) -> None:
    """What leaves a conversion beside FHIR: places, codes and fixed phrases, for every sample."""
    for sample in SAMPLES:
        data = sample.read_bytes()
        kept = words(data.split(b"\r")[0].split(b"\n")[0])  # an acknowledgment answers to the header it was sent with
        held = {word for word in words(data) if len(word) > 6} - kept
        issues, said = told(data)
        assert not held & words(said.encode()), sample.stem
        for issue in issues:
            place = str(issue.place or "")
            assert not held & words(f"{issue.detail} {issue.row} {place}".encode()), sample.stem
            answer = outcome("main", "quarantined", issue.code, place, "CB1", "NOW", "")
            assert not held & words(render(peek(data), answer)), sample.stem
    assert caplog.text == ""


def told(data: bytes) -> tuple[tuple[Issue, ...], str]:
    """The issues of a message; or none, and what the error says that it cannot be read."""
    try:
        return to_fhir(data, load_profile("default")).issues, ""
    except MappingError as exc:
        return (), str(exc)


def words(data: bytes) -> set[str]:
    return set(data.decode("utf-8", "replace").translate(SPLIT).split())


SPLIT = str.maketrans(dict.fromkeys(string.punctuation + "\r\n", " "))
