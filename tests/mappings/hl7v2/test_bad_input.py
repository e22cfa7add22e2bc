"""What real interfaces send, from bytes to FHIR: characters, broken text, odd separators, very large values.

Reader and charset have tests of their own, piece by piece; these ask what a patient's record holds in the end. Batches
and frames are the adapter's. Source: design chapter HL7 v2 §2, §13, §14 (trap 15); HL7 table 0211.
"""

import base64

import pytest

from mappings.convert import Conversion, UnreadableMessage, to_fhir
from mappings.fhir.validate import validate
from mappings.hl7v2.message import Limits
from tests.mappings.hl7v2.messages import bodies, default, one

MSH = "MSH|^~\\&|SYS|HOSP|CB|HOSP|20250304081500+0100||ADT^A08|ID1|P|2.5.1"
EVN = "EVN|A08|20250304081500+0100"
ORU = MSH.replace("ADT^A08", "ORU^R01")


def pid(name: str = "Demo^Ana") -> str:
    return f"PID|1||4711^^^HOSP&2.999.1.4&ISO^MR||{name}||19800101|F"


def sent(name: str, codec: str, declared: str) -> Conversion:
    """A patient of that name, in those bytes, declaring that set."""
    return to_fhir("\r".join([f"{MSH}||||||{declared}", EVN, pid(name)]).encode(codec), default())


def family(conversion: Conversion) -> str:
    return str(one(conversion, "Patient")["name"][0]["family"])


def codes(conversion: Conversion) -> set[str]:
    return {issue.code for issue in conversion.issues}


# characters -----------------------------------------------------------------------------------------------------------

RIGHT = [
    ("Müller", "iso8859-1", "8859/1"), ("Dvořák", "iso8859-2", "8859/2"), ("Ġorġ", "iso8859-3", "8859/3"),
    ("Kārlis", "iso8859-4", "8859/4"), ("Иванова", "iso8859-5", "8859/5"), ("سلام", "iso8859-6", "8859/6"),
    ("Παπαδάκη", "iso8859-7", "8859/7"), ("שלום", "iso8859-8", "8859/8"), ("Yıldız", "iso8859-9", "8859/9"),
    ("Cœur", "iso8859-15", "8859/15"), ("山田", "iso2022_jp", "~ISO IR87"), ("表能", "shift_jis", "SHIFT_JIS"),
    ("王小明", "gb18030", "GB 18030-2000"), ("Zoë山田", "utf-8", "UNICODE UTF-8"),
    ("Zoë山田", "utf-16", "UNICODE UTF-16"), ("Zoë山田", "utf-16-le", "UNICODE UTF-16"),
    ("Zoë山田", "utf-16-be", "UNICODE UTF-16"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "codec", "declared"), RIGHT)
def test_a_declared_set_reaches_the_record(name: str, codec: str, declared: str) -> None:
    conversion = sent(name, codec, declared)
    assert family(conversion) == name
    assert not codes(conversion) & {"charset-lies", "charset-guessed", "charset-invalid", "charset-unknown"}


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_needs_no_declaration(codec: str) -> None:
    assert family(sent("Zoë山田", codec, "")) == "Zoë山田"


def test_one_byte_sets_without_a_declaration_are_guessed_and_said_to_be() -> None:
    conversion = sent("Müller", "iso8859-1", "")
    assert family(conversion) == "Müller"
    assert "charset-guessed" in codes(conversion)


@pytest.mark.parametrize(
    ("name", "codec", "declared"),
    [
        ("Müller", "utf-8", "8859/1"), ("Müller", "utf-8", "ASCII"), ("Müller", "iso8859-1", "UNICODE UTF-8"),
        ("Zoë山田", "utf-8", "8859/15"), ("Müller", "iso8859-1", "ASCII"),
    ],
)  # fmt: skip
def test_a_lying_header_costs_no_letter(name: str, codec: str, declared: str) -> None:
    conversion = sent(name, codec, declared)
    assert family(conversion) == name
    assert "charset-lies" in codes(conversion)


@pytest.mark.parametrize("codec", ["iso2022_jp", "shift_jis", "gb18030"])
def test_bytes_of_no_declared_set_still_make_a_valid_patient(codec: str) -> None:
    """Nothing tells what they are: letters may be wrong, never the structure, and that is said."""
    conversion = sent("山田能", codec, "")
    assert one(conversion, "Patient")["birthDate"] == "1980-01-01"
    assert all(validate(each.body) == () for each in conversion.resources)
    if codec != "iso2022_jp":  # its bytes are plain ASCII
        assert codes(conversion) & {"charset-guessed", "charset-invalid"}


# text and lines -------------------------------------------------------------------------------------------------------


def _value(line: str, end: str = "\r") -> Conversion:
    return to_fhir(end.join([ORU, pid(), "OBR|1||F1^LAB||N^Note^LN", line]).encode(), default())


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_a_line_end_inside_text_continues_the_text(end: str) -> None:
    conversion = _value(f"OBX|1|TX|N^Note^LN||first half{end}second half||||||F", end)
    assert one(conversion, "Observation")["valueString"] == "first half\nsecond half"
    assert "continuation-line" in codes(conversion)


def test_control_characters_in_text_are_taken_out_and_named() -> None:
    conversion = _value("OBX|1|TX|N^Note^LN||be\x0bfore\x1cafter\x00end||||||F")
    assert one(conversion, "Observation")["valueString"] == "beforeafterend"
    assert "control-character" in codes(conversion)


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\x0b", b"\r\n\r\n", b" \t", b"\xef\xbb\xbf\x0b\n"])
def test_what_stands_before_the_header_changes_nothing(before: bytes) -> None:
    plain = "\r".join([MSH, EVN, pid()]).encode()
    assert one(to_fhir(before + plain, default()), "Patient") == one(to_fhir(plain, default()), "Patient")


def test_segments_in_small_letters_are_read() -> None:
    conversion = to_fhir("\r".join([MSH, EVN, pid().replace("PID", "pid"), "al1|1|DA|PEN"]).encode(), default())
    assert family(conversion) == "Demo"
    assert len(bodies(conversion, "AllergyIntolerance")) == 1
    assert "segment-case" in codes(conversion)


def test_trailing_empties_say_nothing() -> None:
    plain = to_fhir("\r".join([MSH, EVN, pid()]).encode(), default())
    padded = to_fhir("\r".join([MSH, EVN + "||||", pid() + "^^^|||~~|&&|||^~&|", ""]).encode(), default())
    assert one(padded, "Patient") == one(plain, "Patient")


@pytest.mark.parametrize(
    ("characters", "name"), [("^~\\&#", "Demo^Ana"), ("$~\\&", "Demo$Ana"), ("^~\\&@", "Demo^Ana"), ("^", "Demo^Ana")]
)
def test_separators_are_the_senders(characters: str, name: str) -> None:
    head = MSH.replace("^~\\&", characters).replace("ADT^A08", f"ADT{characters[0]}A08")
    plain = f"PID|1||4711||{name}||19800101|F"
    patient = one(to_fhir("\r".join([head, EVN, plain]).encode(), default()), "Patient")
    assert patient["name"][0] == {"family": "Demo", "given": ["Ana"]}


def test_a_value_that_was_cut_short_says_so() -> None:
    head = MSH.replace("^~\\&", "^~\\&#")
    conversion = to_fhir("\r".join([head, EVN, pid("Demo#^Ana")]).encode(), default())
    assert "truncated-value" in codes(conversion)


# sizes ----------------------------------------------------------------------------------------------------------------


def test_a_document_of_16_mb_arrives_whole() -> None:
    raw = bytes(range(256)) * (16 * 4096)
    written = base64.b64encode(raw).decode()
    head = MSH.replace("ADT^A08", "MDM^T02")
    lines = [
        head,
        pid(),
        "TXA|1|DS||||||||||D-1",
        f"OBX|1|ED|L^Letter^99TXT||S^Application^PDF^Base64^{written}||||||F",
    ]
    conversion = to_fhir("\r".join(lines).encode(), default())
    assert base64.b64decode(one(conversion, "Binary")["data"]) == raw
    assert one(conversion, "DocumentReference")["content"][0]["attachment"]["size"] == len(raw)


def test_ten_thousand_lines_are_ten_thousand_observations() -> None:
    lines = [f"OBX|{n}|NM|C{n}^Count^99LAB||{n}|1|||||F" for n in range(10_000)]
    conversion = to_fhir("\r".join([ORU, pid(), "OBR|1||F1^LAB||P^Panel^99LAB", *lines]).encode(), default())
    assert len(bodies(conversion, "Observation")) == 10_000
    assert len(one(conversion, "DiagnosticReport")["result"]) == 10_000


def test_beyond_a_limit_the_message_is_refused_by_our_error() -> None:
    lines = "\r".join([MSH, EVN, pid(), *["NTE|1"] * 70_000])
    with pytest.raises(UnreadableMessage) as refused:
        to_fhir(lines.encode(), default())
    assert refused.value.code == "over-limit"
    assert Limits().segments < 70_000


def test_an_event_over_two_lines_is_a_code_all_the_same() -> None:
    """Found by fuzzing: a line of MSH that goes on put a line feed into MSH-9."""
    conversion = to_fhir(b'MSH:":::::::"!\r !', default())
    for mapped in conversion.resources:
        assert validate(mapped.body) == ()
    assert "not-a-code" in [issue.code for issue in conversion.issues]
