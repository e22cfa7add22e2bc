"""Times: HL7 v2.9 §2A.3.21 DTM against FHIR R4 dateTime; the order of offsets, gaps and folds (hl7v2.md §7)."""

import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.fhir.values import SOURCE_LEXEME
from mappings.hl7v2.datatypes import FUNCTIONS
from mappings.hl7v2.time import MessageZone, moment_of, time_of, utc
from tests.mappings.hl7v2.contexts import HEADER, codes, context

VIENNA = ZoneInfo("Europe/Vienna")
NEW_YORK = ZoneInfo("America/New_York")
NOWHERE = MessageZone()

# FHIR R4 dateTime, http://hl7.org/fhir/R4/datatypes.html#dateTime
DATE_TIME = re.compile(
    r"([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)(-(0[1-9]|1[0-2])(-(0[1-9]|[1-2][0-9]|3[0-1])"
    r"(T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00)))?)?)?"
)


@pytest.mark.parametrize(
    ("lexeme", "value", "keep"),
    [
        ("2024", "2024", False),
        ("202405", "2024-05", False),
        ("20240501", "2024-05-01", False),
        ("20240501+0200", "2024-05-01", True),
        ("2024050110+0200", "2024-05-01T10:00:00+02:00", True),
        ("202405011015+0200", "2024-05-01T10:15:00+02:00", True),
        ("20240501101530+0200", "2024-05-01T10:15:30+02:00", False),
        ("20240501101530.5+0200", "2024-05-01T10:15:30.5+02:00", False),
        ("20240501101530.1234+0000", "2024-05-01T10:15:30.1234+00:00", False),
        ("20240501101530-0330", "2024-05-01T10:15:30-03:30", False),
        ("20240501101530+1400", "2024-05-01T10:15:30+14:00", False),
        ("20240501240000+0200", "2024-05-02T00:00:00+02:00", False),
        ("202405012400+0200", "2024-05-02T00:00:00+02:00", True),
        ("2024123124+0000", "2025-01-01T00:00:00+00:00", True),
        ("20240229", "2024-02-29", False),
        ("00010101", "0001-01-01", False),
        ("09990101120000+0000", "0999-01-01T12:00:00+00:00", False),
    ],
)
def test_every_precision_keeps_what_it_says(lexeme: str, value: str, keep: bool) -> None:
    moment = moment_of(lexeme, NOWHERE)
    assert (moment.value, moment.keep, moment.issues) == (value, keep, ())
    assert DATE_TIME.fullmatch(value)


@pytest.mark.parametrize(
    "lexeme",
    [
        "0000", "00000000", "00000101", "99991231", "99991231235959+0000", "20230229", "20241301", "20240001",
        "20240132", "20240100", "20240501250000+0000", "20240501240001+0000", "20240501106000+0000",
        "20240501101560+0000", "1", "24", "202", "20245", "2024050", "202405011", "20240501101530+1500",
        "20240501101530+0260", "20240501101530+02", "2024050110.5+0200", "20240501101530.+0200", "2024-05-01",
        "2024-05-01T10:15:30Z", "yesterday", "20240501 1015", "２０２４", "20240501101530+02:00", "-2024", "1" * 100,
    ],
)  # fmt: skip
def test_what_is_no_date_stays_a_lexeme(lexeme: str) -> None:
    assert moment_of(lexeme, MessageZone(VIENNA)) == (None, True, ("not-a-date",))


@pytest.mark.parametrize(
    ("lexeme", "zone", "value", "issue"),
    [
        ("20240115120000", VIENNA, "2024-01-15T12:00:00+01:00", None),
        ("20240715120000", VIENNA, "2024-07-15T12:00:00+02:00", None),
        ("20240715120000", NEW_YORK, "2024-07-15T12:00:00-04:00", None),
        ("20240331013000", VIENNA, "2024-03-31T01:30:00+01:00", None),
        ("20240331023000", VIENNA, "2024-03-31T02:30:00+01:00", "time-in-gap"),
        ("20240331033000", VIENNA, "2024-03-31T03:30:00+02:00", None),
        ("20241027013000", VIENNA, "2024-10-27T01:30:00+02:00", None),
        ("20241027023000", VIENNA, "2024-10-27T02:30:00+02:00", "time-ambiguous"),
        ("20241027033000", VIENNA, "2024-10-27T03:30:00+01:00", None),
        ("20240310023000", NEW_YORK, "2024-03-10T02:30:00-05:00", "time-in-gap"),
        ("20241103013000", NEW_YORK, "2024-11-03T01:30:00-04:00", "time-ambiguous"),
    ],
)
def test_a_zone_knows_its_summers_gaps_and_folds(lexeme: str, zone: ZoneInfo, value: str, issue: str | None) -> None:
    moment = moment_of(lexeme, MessageZone(zone))
    assert moment.value == value
    assert moment.issues == ((issue,) if issue else ())


def test_an_offset_with_seconds_is_cut_and_the_lexeme_kept() -> None:
    """Before standard time Vienna was at +01:05:21, which FHIR cannot write."""
    moment = moment_of("18800615120000", MessageZone(VIENNA))
    assert moment == ("1880-06-15T12:00:00+01:05", True, ())


def test_without_any_zone_a_time_is_cut_to_its_date() -> None:
    assert moment_of("20240501101530", NOWHERE) == ("2024-05-01", True, ("no-offset",))


@pytest.mark.parametrize(
    ("msh7", "zone", "expected"),
    [
        ("20240115120000", None, MessageZone()),
        ("20240115120000", VIENNA, MessageZone(VIENNA)),
        ("20240115120000+0100", None, MessageZone(None, "+01:00")),
        ("20240115120000+0100", VIENNA, MessageZone(VIENNA)),
        ("20240715120000+0200", VIENNA, MessageZone(VIENNA)),
        ("20240715120000+0100", VIENNA, MessageZone(None, "+01:00", mismatch=True)),
        ("20240115120000-0500", VIENNA, MessageZone(None, "-05:00", mismatch=True)),
        ("20240115-0500", VIENNA, MessageZone(None, "-05:00", mismatch=True)),
        ("202401-0500", VIENNA, MessageZone(None, "-05:00", mismatch=True)),
        ("20240115120000+9900", VIENNA, MessageZone(VIENNA)),
        ("nonsense-0500", VIENNA, MessageZone(VIENNA)),
        ("", VIENNA, MessageZone(VIENNA)),
        ("00010101000000+1400", ZoneInfo("Asia/Tokyo"), MessageZone(None, "+14:00", mismatch=True)),
    ],
)
def test_the_header_and_the_profile_are_weighed(msh7: str, zone: ZoneInfo | None, expected: MessageZone) -> None:
    assert MessageZone.of(msh7, zone) == expected


def test_a_summer_date_in_a_winter_message_gets_summer_time() -> None:
    ctx = context(header=HEADER.replace("20240501101530", "20240115120000+0100"), zone=VIENNA)
    assert FUNCTIONS["DTM[dateTime]"].call("20240715120000", ctx, None) == "2024-07-15T12:00:00+02:00"
    assert codes(ctx) == []


def test_a_mismatch_is_told_once_a_message() -> None:
    ctx = context(header=HEADER.replace("20240501101530", "20240115120000-0500"), zone=VIENNA)
    for _ in range(3):
        assert FUNCTIONS["DTM[dateTime]"].call("20240715120000", ctx, None) == "2024-07-15T12:00:00-05:00"
    assert codes(ctx) == ["zone-mismatch"]
    assert str(ctx.issues[0].place) == "MSH-7"


def test_an_issue_is_told_at_each_place_though_the_reading_is_kept() -> None:
    ctx = context()
    for number in (7, 14):
        ctx.field = number
        FUNCTIONS["DTM[dateTime]"].call("20240230", ctx, None)
    assert [str(issue.place) for issue in ctx.issues] == ["OBX-7", "OBX-14"]


def lexeme_beside(value: str) -> dict[str, list[dict[str, str]]]:
    return {"extension": [{"url": SOURCE_LEXEME, "valueString": value}]}


@pytest.mark.parametrize(
    ("name", "raw", "expected", "issues"),
    [
        ("DTM[dateTime]", "", None, []),
        ("DTM[dateTime]", '""', None, []),
        ("DTM[dateTime]", "20240501", "2024-05-01", []),
        ("TS[dateTime]", "20240501101530^S", "2024-05-01T10:15:30+02:00", []),
        ("DTM[dateTime]", "202405011015", ("2024-05-01T10:15:00+02:00", lexeme_beside("202405011015")), []),
        ("DTM[dateTime]", "20240230", (None, lexeme_beside("20240230")), ["not-a-date"]),
        ("DT[date]", "20240501", "2024-05-01", []),
        ("DTM[date]", "1950", "1950", []),
        ("DTM[date]", "20240501235959", "2024-05-01", []),
        ("DTM[date]", "20240230", (None, lexeme_beside("20240230")), ["not-a-date"]),
        ("DTM[date]", "20241027023000", "2024-10-27", []),
        ("DTM[date]", '""', None, []),
        ("DTM[instant]", "20240501101530", "2024-05-01T10:15:30+02:00", []),
        ("DTM[instant]", "202405011015", ("2024-05-01T10:15:00+02:00", lexeme_beside("202405011015")), []),
        ("DTM[instant]", "20240501", ("2024-05-01T08:00:00Z", lexeme_beside("20240501")), []),
        ("DTM[instant]", "", None, []),
        ("TM[time]", "101530", "10:15:30", []),
        ("TM[time]", "101530.25", "10:15:30.25", []),
        ("TM[time]", "1015", ("10:15:00", lexeme_beside("1015")), []),
        ("TM[time]", "10", ("10:00:00", lexeme_beside("10")), []),
        ("TM[time]", "101530+0200", ("10:15:30", lexeme_beside("101530+0200")), []),
        ("TM[time]", "2460", (None, lexeme_beside("2460")), ["not-a-date"]),
        ("TM[time]", "noon", (None, lexeme_beside("noon")), ["not-a-date"]),
        ("TM[time]", '""', None, []),
        ("DR[Period]", "20240501^20240502", {"start": "2024-05-01", "end": "2024-05-02"}, []),
        ("DR[Period]", "20240501", {"start": "2024-05-01"}, []),
        ("DR[Period]", "^20240502", {"end": "2024-05-02"}, []),
        ("DR[Period]", '""^20240502', {"end": "2024-05-02"}, []),
        ("DR[Period]", "^", None, []),
        ("DR[Period]", "bad^20240502", {"_start": lexeme_beside("bad"), "end": "2024-05-02"}, ["not-a-date"]),
        ("DR[dateTime]", "20240501^20240502", "2024-05-01", []),
        ("DTM[Period.start]", "20240501", {"start": "2024-05-01"}, []),
        ("DTM[Period.end]", "20240501", {"end": "2024-05-01"}, []),
        ("DTM[Period.end]", "", None, []),
    ],
)
def test_times_take_the_shape_the_element_wants(name: str, raw: str, expected: object, issues: list[str]) -> None:
    ctx = context(zone=VIENNA)
    ctx.at = "2024-05-01T08:00:00Z"
    assert FUNCTIONS[name].call(raw, ctx, None) == expected
    assert codes(ctx) == issues


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2024-05-01T10:15:30+02:00", "2024-05-01T08:15:30+00:00"),
        ("2024-05-01", None),
        ("2024", None),
        ("x" * 20, None),
    ],
)
def test_an_instant_is_there_where_a_time_is_whole(value: str, expected: str | None) -> None:
    found = utc(value)
    assert (found.isoformat() if found else None) == expected


@settings(max_examples=300, deadline=None)
@given(st.from_regex(r"[0-9]{4,14}(\.[0-9]{1,4})?([+-][0-9]{4})?", fullmatch=True))
def test_whatever_is_read_is_a_fhir_datetime(lexeme: str) -> None:
    for zone in (NOWHERE, MessageZone(VIENNA), MessageZone(None, "-05:00")):
        moment = moment_of(lexeme, zone)
        if moment.value is None:
            assert moment.keep
        else:
            assert DATE_TIME.fullmatch(moment.value), moment.value


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_read_or_kept(lexeme: str) -> None:
    assert moment_of(lexeme, NOWHERE).value is not None or moment_of(lexeme, NOWHERE).keep
    assert time_of(lexeme).value is not None or time_of(lexeme).keep
