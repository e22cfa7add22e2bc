"""Acknowledgements: codes, places, forms by version, and nothing of the message. Source: hl7v2 chapter §11."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.inbound.ack import (
    APPLICATION_CONDITIONS,
    CONDITIONS,
    REASONS,
    WAITS,
    Answer,
    Reason,
    Rules,
    application_due,
    code_for,
    fingerprint,
    is_due,
    judge,
    outcome,
    refusal,
    render,
    timestamp,
    wanted,
)
from mappings.hl7v2.message import Header, peek
from mappings.issues import CODES
from tests.adapter.inbound.site import message

TIME = "20240501101530+0200"
OWN = "CB00000000004711"
KEPT_ONLY = Rules(kept=lambda header: header.message_code == "MCF", unsupported="reject")


def header_of(data: bytes) -> Header:
    header = peek(data)
    assert header is not None
    return header


def judged(data: bytes, rules: Rules) -> Reason | None:
    return judge(peek(data), data, rules)


@pytest.mark.parametrize(
    ("data", "rules", "issue", "condition"),
    [
        (b"", Rules(), "no-header", "100"),
        (b"PID|1||4711\r", Rules(), "no-header", "100"),
        (b"GET / HTTP/1.1\r\n", Rules(), "no-header", "100"),
        (b"\xff\xfe\x00", Rules(), "no-header", "100"),
        (b"FHS|^~\\&|A\rBHS|^~\\&|A\rMSH|^~\\&|A\r", Rules(), "batch", "100"),
        (message(msh9=""), Rules(), "no-type", "101"),
        (message(msh9="^A01"), Rules(), "no-type", "101"),
        (message(msh12=""), Rules(), "version-id", "203"),
        (message(msh12="3.0"), Rules(), "version-id", "203"),
        (message(msh12="2.x"), Rules(), "version-id", "203"),
        (message(msh9="QRY^A19"), Rules(), "query", "200"),
        (message(msh9="qbp^Q22^QBP_Q21"), Rules(), "query", "200"),
        (message(msh11="T"), Rules(), "processing-id", "202"),
        (message(msh11=""), Rules(), "processing-id", "202"),
        (message(msh9="MCF^Q01"), KEPT_ONLY, "unsupported-structure", "201"),
    ],
)
def test_what_cannot_be_accepted_has_its_reason(data: bytes, rules: Rules, issue: str, condition: str) -> None:
    reason = judged(data, rules)
    assert reason is not None
    assert (reason.issue, reason.condition, reason.letter) == (issue, condition, "R")


@pytest.mark.parametrize(
    ("data", "rules"),
    [
        (message(), Rules()),
        (message(msh12="2"), Rules()),
        (message(msh12="2.1"), Rules()),
        (message(msh12="2.9.1^AUT"), Rules()),
        (message(msh11="P^T"), Rules()),
        (message(msh11="D"), Rules(processing=frozenset({"P", "D"}))),
        (message(msh9="XYZ^Z99"), Rules()),
        (message(msh9="MCF^Q01"), Rules(kept=KEPT_ONLY.kept)),
        (message(control=""), Rules()),
        (message(msh18="NO SUCH SET"), Rules()),
        (message(msh7="yesterday"), Rules()),
    ],
)
def test_bad_values_are_no_reason_to_refuse(data: bytes, rules: Rules) -> None:
    assert judged(data, rules) is None


@pytest.mark.parametrize(
    ("fields", "mode", "code"),
    [
        ({}, "auto", "AA"),
        ({"msh15": "AL"}, "auto", "CA"),
        ({"msh16": "AL"}, "auto", "CA"),
        ({"msh15": "NE", "msh16": "NE"}, "auto", "CA"),
        ({}, "enhanced", "CA"),
        ({"msh15": "AL"}, "original", "AA"),
    ],
)
def test_msh_15_and_msh_16_choose_the_mode(fields: dict[str, str], mode: str, code: str) -> None:
    rules = {"auto": Rules(), "enhanced": Rules(mode="enhanced"), "original": Rules(mode="original")}[mode]
    assert code_for(peek(message(**fields)), "A", rules) == code


@pytest.mark.parametrize(
    ("accept_ack", "heard"),
    [("AL", "CA CR CE"), ("", "CA CR CE"), ("NE", ""), ("ER", "CR CE"), ("SU", "CA"), ("??", "CA CR CE")],
)
def test_msh_15_says_which_commit_answers_are_wanted(accept_ack: str, heard: str) -> None:
    header = header_of(message(msh15=accept_ack, msh16="AL"))
    assert [code for code in ("CA", "CR", "CE") if wanted(header, code)] == heard.split()
    assert wanted(header, "AR")


def refused(data: bytes, issue: str = "processing-id") -> bytes:
    return render(peek(data), refusal("main", "AR", OWN, TIME, REASONS[issue]))


def test_an_acceptance_names_both_sides_and_nothing_more() -> None:
    assert render(header_of(message("MSG00042")), Answer("AA", OWN, TIME)) == (
        b"MSH|^~\\&|CHARTBRIDGE|HOSP|LABSYS|LAB|20240501101530+0200||ACK^A01^ACK|CB00000000004711|P|2.5.1\r"
        b"MSA|AA|MSG00042\r"
    )


def test_a_refusal_says_where_what_and_why() -> None:
    print_of = fingerprint("main", "receive", "processing-id", "MSH-11")
    text = "this listener does not take this processing id"
    assert (
        refused(message("MSG00042", msh11="T", msh9="ORU^R01"))
        == (
            "MSH|^~\\&|CHARTBRIDGE|HOSP|LABSYS|LAB|20240501101530+0200||ACK^R01^ACK|CB00000000004711|T|2.5.1\r"
            f"MSA|AR|MSG00042|{text}\r"
            f"ERR||MSH^1^11^1|202^Unsupported processing id^HL70357|E|processing-id||{print_of}|{text}\r"
        ).encode()
    )


@pytest.mark.parametrize(
    ("version", "message_type", "msa_3", "err"),
    [
        ("2.1", "ACK", True, "ERR|MSH^1^11^202&Unsupported processing id&HL70357"),
        ("2.2", "ACK^A01", True, "ERR|MSH^1^11^202&Unsupported processing id&HL70357"),
        ("2.3", "ACK^A01", True, "ERR|MSH^1^11^202&Unsupported processing id&HL70357"),
        ("2.3.1", "ACK^A01^ACK", True, "ERR|MSH^1^11^202&Unsupported processing id&HL70357"),
        ("2.4", "ACK^A01^ACK", True, "ERR|MSH^1^11^202&Unsupported processing id&HL70357"),
        ("2.5", "ACK^A01^ACK", True, "ERR||MSH^1^11^1|202^Unsupported processing id^HL70357|E|"),
        ("2.6", "ACK^A01^ACK", True, "ERR||MSH^1^11^1|202^Unsupported processing id^HL70357|E|"),
        ("2.7", "ACK^A01^ACK", False, "ERR||MSH^1^11^1|202^Unsupported processing id^HL70357|E|"),
        ("2.9.1", "ACK^A01^ACK", False, "ERR||MSH^1^11^1|202^Unsupported processing id^HL70357|E|"),
    ],
)
def test_each_version_gets_its_own_form(version: str, message_type: str, msa_3: bool, err: str) -> None:
    msh, msa, error = refused(message(msh12=version)).decode().split("\r")[:3]
    assert msh.split("|")[8] == message_type
    assert msh.split("|")[11] == version
    assert (len(msa.split("|")) > 3) is msa_3
    assert error.startswith(err)


def test_no_event_means_a_bare_ack() -> None:
    assert b"||ACK|CB" in render(header_of(message(msh9="ADT")), Answer("AA", OWN, TIME))


@pytest.mark.parametrize("control", [b"", b"  7 ", b"\xe9\xff", "Ж1".encode(), b"A^B&C~D\\E", b"0" * 300])
def test_msa_2_is_msh_10_byte_for_byte(control: bytes) -> None:
    data = message("@@@").replace(b"@@@", control)
    assert b"\rMSA|AA|" + control + b"\r" in render(header_of(data), Answer("AA", OWN, TIME))


def test_the_senders_separators_come_back() -> None:
    data = b"MSH$%*!@$APP$FAC$CB$H$20240501$$ADT%A01$77$T$2.4\rPID$1\r"
    assert refused(data) == (
        b"MSH$%*!@$CB$H$APP$FAC$20240501101530+0200$$ACK%A01%ACK$CB00000000004711$T$2.4\r"
        b"MSA$AR$77$this listener does not take this processing id\r"
        b"ERR$MSH%1%11%202@Unsupported processing id@HL70357\r"
    )


def test_without_a_subcomponent_separator_err_1_is_the_bare_code() -> None:
    assert refused(b"MSH|^~|A|B|C|D|2024||ADT^A01|7|T|2.3\r").endswith(b"\rERR|MSH^1^11^202\r")


def test_our_phrases_never_break_the_senders_segments() -> None:
    ack = refused(b"MSH|-~\\&|A|B|C|D|2024||ADT-A01|7|T|2.5\r")
    assert b"|processing id|" in ack


def test_the_answer_is_in_the_senders_character_set() -> None:
    data = message(msh3="LABÖR", msh18="8859/1")
    ack = render(header_of(data), Answer("AA", OWN, TIME))
    assert "|CHARTBRIDGE|HOSP|LABÖR|LAB|".encode("latin-1") in ack
    assert ack.split(b"\r")[0].endswith(b"|P|2.5.1||||||8859/1")


def test_a_wide_sender_gets_a_wide_answer() -> None:
    data = message("77", msh18="UNICODE UTF-16").decode().encode("utf-16-le")
    ack = render(header_of(data), Answer("AA", OWN, TIME))
    assert ack.decode("utf-16-le").endswith("MSA|AA|77\r")


def test_without_a_header_the_answer_is_plain() -> None:
    ack = refused(b"PID|1||98765\r", "no-header")
    assert ack.startswith(b"MSH|^~\\&|CHARTBRIDGE||||20240501101530+0200||ACK|CB00000000004711|P|2.5.1\rMSA|AR||")
    assert b"\rERR||MSH^1|100^Segment sequence error^HL70357|E|no-header||" in ack
    assert b"98765" not in ack


@pytest.mark.parametrize("issue", sorted(REASONS))
@pytest.mark.parametrize("version", ["2.1", "2.3", "2.5.1", "2.8"])
def test_no_value_of_the_message_stands_in_a_refusal(issue: str, version: str) -> None:
    planted = message(
        "MSG1", "PATIENT4711", "^Secret", msh8="HIDDEN", msh13="77123", msh12=version, msh9="QZZ^Z88^PLANTED"
    )
    ack = render(peek(planted), refusal("main", "AR", OWN, TIME, REASONS[issue]))
    for value in (b"PATIENT4711", b"Secret", b"HIDDEN", b"77123", b"PLANTED", b"Demo", b"QZZ"):
        assert value not in ack


def test_every_issue_is_of_the_closed_list() -> None:
    assert set(REASONS) <= set(CODES)
    assert {"torn-frame", "wrong-sender", "control-id-missing", "control-id-reused", "junk-between-frames"} <= set(
        CODES
    )


def test_every_condition_has_its_text() -> None:
    assert {reason.condition for reason in REASONS.values()} <= set(CONDITIONS)


def test_a_fingerprint_groups_by_feed_issue_and_place() -> None:
    one = fingerprint("main", "receive", "processing-id", "MSH-11")
    assert one == fingerprint("main", "receive", "processing-id", "MSH-11")
    assert one != fingerprint("other", "receive", "processing-id", "MSH-11")
    assert len(one) == 12


def test_the_time_carries_its_offset() -> None:
    at = datetime(2024, 5, 1, 8, 15, 30, tzinfo=UTC)
    assert timestamp(at, timezone(timedelta(hours=2))) == TIME


def test_what_is_stored_of_an_answer_gives_it_back() -> None:
    answer = Answer("CA", OWN, TIME)
    assert Answer.from_stored(answer.stored) == answer


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_get_an_answer(noise: bytes) -> None:
    for data in (noise, b"MSH" + noise, b"MSH|^~\\&" + noise):
        header = peek(data)
        reason = judge(header, data, Rules())
        code = code_for(header, reason.letter if reason else "A", Rules())
        answer = refusal("main", code, OWN, TIME, reason) if reason else Answer(code, OWN, TIME)
        assert b"MSA" in render(header, answer).replace(b"\0", b"")


# The application's answer ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "rules", "due"),
    [
        ({}, Rules(), "NE"),
        ({}, Rules(after="mapped"), "AL"),
        ({"msh15": "AL"}, Rules(after="mapped"), "NE"),
        ({"msh15": "AL", "msh16": "AL"}, Rules(), "AL"),
        ({"msh16": "ER"}, Rules(), "ER"),
        ({"msh16": "su"}, Rules(after="mapped"), "SU"),
        ({"msh16": "NE"}, Rules(after="mapped"), "NE"),
        ({"msh16": "??"}, Rules(), "NE"),
        ({"msh16": "AL"}, Rules(mode="original"), "NE"),
        ({"msh16": "AL"}, Rules(mode="original", after="mapped"), "AL"),
        ({}, Rules(mode="enhanced", after="mapped"), "NE"),
        ({"msh9": "ACK^A01"}, Rules(after="mapped"), "NE"),
        ({"msh9": "ACK", "msh16": "AL"}, Rules(), "NE"),
    ],
)
def test_who_hears_of_the_outcome(fields: dict[str, str], rules: Rules, due: str) -> None:
    assert application_due(header_of(message(**fields)), rules) == due


def test_each_mode_of_msh_16_wants_its_answers() -> None:
    wants = {due: (is_due(due, "AA"), is_due(due, "AE")) for due in ("AL", "ER", "SU", "NE")}
    assert wants == {"AL": (True, True), "ER": (False, True), "SU": (True, False), "NE": (False, False)}


def became(state: str, issue: str = "", place: str = "") -> Answer:
    return outcome("main", state, issue, place, "CM00000000000007", TIME, "f00d")


def test_what_took_effect_or_was_filtered_out_is_accepted_and_all_else_an_error() -> None:
    assert {state: became(state).code for state in ("mapped", "filtered", *WAITS)} == {
        "mapped": "AA", "filtered": "AA", "quarantined": "AE", "held": "AE", "discarded": "AE",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("issue", "place", "version", "err"),
    [
        ("unprocessable", "PID-7", "2.5.1",
         "ERR||PID^1^7^1|102^Data type error^HL70357|E|unprocessable||f00d|"),
        ("vocab-miss", "OBX[2]-5.1", "2.7", "ERR||OBX^1^5^1|103^Table value not found^HL70357|E|vocab-miss||f00d|"),
        ("conversion-died", "", "2.5", "ERR|||207^Application internal error^HL70357|E|conversion-died||f00d|"),
        ("wrong-sender", "MSH", "2.5", "ERR||MSH^1|207^Application internal error^HL70357|E|wrong-sender||f00d|"),
        ("unprocessable", "Patient.birthDate", "2.6", "ERR|||102^Data type error^HL70357|E|unprocessable||f00d|"),
        ("unprocessable", "PID-7", "2.4", "ERR|PID^1^7^102&Data type error&HL70357"),
        ("vocab-miss", "", "2.1", "ERR|^^^103&Table value not found&HL70357"),
    ],
)  # fmt: skip
def test_what_waits_for_a_person_says_which_error_and_where(issue: str, place: str, version: str, err: str) -> None:
    said = render(header_of(message(msh12=version)), became("quarantined", issue, place)).decode()
    assert f"\r{err}" in said
    assert "\rMSA|AE|MSG1" in said
    assert "4711" not in said


def test_an_answer_that_goes_to_an_address_asks_for_one_and_keeps_msh_18_in_its_place() -> None:
    answer = replace(became("mapped"), accept="AL")
    for fields, expected in (({"msh18": "8859/1"}, ["", "", "AL", "NE", "", "8859/1"]), ({}, ["", "", "AL", "NE"])):
        header = render(header_of(message(**fields)), answer).decode().split("\r")[0].split("|")
        assert header[12:] == expected
    plain = render(header_of(message(msh18="8859/1")), became("mapped")).decode().split("\r")[0].split("|")
    assert plain[12:] == ["", "", "", "", "", "8859/1"]


def test_every_application_condition_has_its_text() -> None:
    assert set(APPLICATION_CONDITIONS.values()) <= set(CONDITIONS)
