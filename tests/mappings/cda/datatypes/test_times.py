"""TS and IVL_TS: HL7 v3 datatypes R1 against FHIR R4 date, dateTime, instant, Period and the choices of them."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.cda.datatypes import times
from mappings.cda.datatypes.registry import FUNCTIONS
from tests.mappings.cda.datatypes.elements import VIENNA, context, elements, fits, lexeme, read, reason

NAMES = sorted(name for name, each in FUNCTIONS.items() if each.call.__module__ == times.__name__)
LOW = '<low value="20240501"/>'
LOW_HIGH = '<t><low value="20240501"/><high value="20240503"/></t>'


@pytest.mark.parametrize(
    ("name", "xml", "expected", "issues"),
    [
        ("TS[dateTime]", '<t value="20240501"/>', "2024-05-01", []),
        ("TS[dateTime]", '<t value=" 20240501101530\n"/>', "2024-05-01T10:15:30+02:00", []),
        ("TS[dateTime]", '<t value="202405011015"/>', ("2024-05-01T10:15:00+02:00", lexeme("202405011015")), []),
        ("TS[dateTime]", '<t value="20240230"/>', (None, lexeme("20240230")), ["not-a-date"]),
        ("TS[dateTime]", '<t value="00"/>', (None, lexeme("00")), ["not-a-date"]),
        ("TS[dateTime]", '<t value="-99"/>', (None, lexeme("-99")), ["not-a-date"]),
        ("TS[dateTime]", '<t value="00000101"/>', (None, lexeme("00000101")), ["not-a-date"]),
        ("TS[dateTime]", '<t value="202405012400"/>', ("2024-05-02T00:00:00+02:00", lexeme("202405012400")), []),
        ("TS[dateTime]", "<t/>", None, []),
        ("TS[dateTime]", '<t value=""/>', None, ["not-a-date"]),
        ("TS[dateTime]", '<t value=" " nullFlavor="UNK"/>', None, []),
        ("TS[dateTime]", '<t nullFlavor="UNK"/>', None, []),
        ("TS[dateTime]", '<t nullFlavor="ASKU"/>', (None, reason("asked-unknown")), []),
        ("TS[dateTime]", '<t nullFlavor="MSK"/>', (None, reason("masked")), []),
        ("TS[dateTime]", '<t nullFlavor="20240501"/>', None, ["bad-null-flavor"]),
        ("TS[dateTime]", '<t value="20240501" nullFlavor="UNK"/>', "2024-05-01", []),
        ("TS[dateTime]", "<v3:t value='2024'/>", "2024", []),
        ("TS[dateTime]", '<t value="&lt;script&gt;"/>', (None, lexeme("<script>")), ["not-a-date"]),
        ("TS[dateTime]", f'<t value="{"9" * 5000}"/>', (None, lexeme("9" * 100)), ["not-a-date"]),
        # a TS that holds an interval: where it begins, and more than that is told
        ("IVL_TS[dateTime]", '<t><low value="20240501"/></t>', "2024-05-01", []),
        ("IVL_TS[dateTime]", LOW_HIGH, "2024-05-01", ["extra-value"]),
        ("IVL_TS[dateTime]", '<t><low value="20240501"/><high value="20240501"/></t>', "2024-05-01", []),
        ("IVL_TS[dateTime]", '<t><low value="20240501"/><high nullFlavor="UNK"/></t>', "2024-05-01", []),
        ("IVL_TS[dateTime]", '<t><high value="20240501"/></t>', None, ["extra-value"]),
        ("IVL_TS[dateTime]", '<t><center value="20240501"/></t>', "2024-05-01", []),
        ("IVL_TS[dateTime]", '<t operator="A"><low value="20240501"/></t>', None, []),
        ("TS[date]", '<t value="20240501235959"/>', "2024-05-01", []),
        ("TS[date]", '<t value="1950"/>', "1950", []),
        ("TS[date]", '<t value="20241027023000"/>', "2024-10-27", []),
        ("TS[date]", '<t value="20240230"/>', (None, lexeme("20240230")), ["not-a-date"]),
        ("TS[date]", '<t nullFlavor="NASK"/>', (None, reason("not-asked")), []),
        ("TS[date]", "<t/>", None, []),
        ("TS[instant]", '<t value="20240501101530"/>', "2024-05-01T10:15:30+02:00", []),
        ("TS[instant]", '<t value="20240501101530.25-0500"/>', "2024-05-01T10:15:30.25-05:00", []),
        ("TS[instant]", '<t value="20240501"/>', (None, lexeme("20240501")), []),
        ("TS[instant]", '<t value="2024050x"/>', (None, lexeme("2024050x")), ["not-a-date"]),
        ("TS[instant]", "<t/>", None, []),
    ],
)
def test_one_time_takes_the_shape_the_element_wants(name: str, xml: str, expected: Any, issues: list[str]) -> None:
    found = read(name, xml)
    assert (found.value, found.codes) == (expected, issues)


def test_without_a_zone_a_day_needs_none_and_an_instant_cannot_be() -> None:
    xml = '<t value="20240501101530"/>'
    cut = ("2024-05-01", lexeme("20240501101530"))
    assert read("TS[dateTime]", xml, zone=None)[:2] == (cut, ["no-offset"])
    assert read("TS[date]", xml, zone=None)[:2] == ("2024-05-01", [])
    assert read("TS[instant]", xml, zone=None)[:2] == ((None, lexeme("20240501101530")), ["no-offset"])


@pytest.mark.parametrize(
    ("xml", "expected", "issues"),
    [
        (LOW_HIGH, {"start": "2024-05-01", "end": "2024-05-03"}, []),
        (LOW_HIGH.replace("<t>", '<t value="20230101">'), {"start": "2024-05-01", "end": "2024-05-03"}, []),
        (LOW_HIGH.replace("<low", "<v3:low"), {"start": "2024-05-01", "end": "2024-05-03"}, []),
        ('<t><low value="20240501"/></t>', {"start": "2024-05-01"}, []),
        ('<t><high value="20240501"/></t>', {"end": "2024-05-01"}, []),
        ('<t value="20240501"/>', {"start": "2024-05-01", "end": "2024-05-01"}, []),
        ('<t value="20240501"><low nullFlavor="UNK"/></t>', {"start": "2024-05-01", "end": "2024-05-01"}, []),
        ('<t><center value="20240501"/></t>', {"start": "2024-05-01", "end": "2024-05-01"}, []),
        (
            '<t><low value="20240501"/><high nullFlavor="UNK"/></t>',
            {"start": "2024-05-01", "_end": reason("unknown")}, [],
        ),
        ('<t><low value="20240501"/><high nullFlavor="NI"/></t>', {"start": "2024-05-01"}, []),
        (
            '<t><low nullFlavor="ASKU"/><high value="20240501"/></t>',
            {"_start": reason("asked-unknown"), "end": "2024-05-01"}, [],
        ),
        ('<t><low nullFlavor="UNK"/><high nullFlavor="UNK"/></t>', None, []),
        ('<t nullFlavor="UNK"><low nullFlavor="NI"/></t>', None, []),
        ("<t/>", None, []),
        ("<t><low/><high/></t>", None, []),
        (
            '<t><low value="20240230"/><high value="20240501"/></t>',
            {"_start": lexeme("20240230"), "end": "2024-05-01"}, ["not-a-date"],
        ),
        (
            '<t><low value="20240503"/><high value="20240501"/></t>',
            {"start": "2024-05-03", "_end": lexeme("20240501")}, ["contradiction"],
        ),
        (
            '<t><low value="20240501120000+0200"/><high value="20240501110000+0100"/></t>',
            {"start": "2024-05-01T12:00:00+02:00", "end": "2024-05-01T11:00:00+01:00"}, [],
        ),
        # one day, two times that nobody can place: no contradiction
        ('<t><low value="20240501"/><high value="202405"/></t>', {"start": "2024-05-01", "end": "2024-05"}, []),
        # parts of a calculation
        (LOW_HIGH.replace("<t>", '<t operator="A">'), None, []),
        (LOW_HIGH.replace("<t>", '<t operator="E">'), None, []),
        (LOW_HIGH.replace("<t>", '<t operator="I">'), {"start": "2024-05-01", "end": "2024-05-03"}, []),
        ('<t xsi:type="PIVL_TS"><period value="6" unit="h"/></t>', None, []),
        ('<t xsi:type="EIVL_TS"><event code="ACM"/></t>', None, []),
        ('<t><period value="6" unit="h"/></t>', None, []),
        ('<t xsi:type="v3:SXPR_TS"><low value="20240501"/></t>', None, []),
        # a width, in which the first and the last day count; and what it cannot be added to
        (f'<t>{LOW}<width value="3" unit="d"/></t>', {"start": "2024-05-01", "end": "2024-05-03"}, []),
        (
            '<t><high value="20240503"/><width value="3" unit="d"/></t>',
            {"start": "2024-05-01", "end": "2024-05-03"}, [],
        ),
        (
            '<t><low value="20240131"/><width value="1" unit="mo"/></t>',
            {"start": "2024-01-31", "end": "2024-02-28"}, [],
        ),
        ('<t><low value="202401"/><width value="2" unit="mo"/></t>', {"start": "2024-01", "end": "2024-03"}, []),
        ('<t><low value="2024"/><width value="2" unit="a"/></t>', {"start": "2024", "end": "2026"}, []),
        (f'<t>{LOW}<width value="2" unit="wk"/></t>', {"start": "2024-05-01", "end": "2024-05-14"}, []),
        (
            '<t><low value="20240501233000+0200"/><width value="90" unit="min"/></t>',
            {"start": "2024-05-01T23:30:00+02:00", "end": "2024-05-02T01:00:00+02:00"}, [],
        ),
        (
            '<t><low value="20240501101530.5+0200"/><width value="1.5" unit="s"/></t>',
            {"start": "2024-05-01T10:15:30.5+02:00", "end": "2024-05-01T10:15:32+02:00"}, [],
        ),
        (
            '<t><center value="20240501120000+0200"/><width value="2" unit="h"/></t>',
            {"start": "2024-05-01T11:00:00+02:00", "end": "2024-05-01T13:00:00+02:00"}, [],
        ),
        (LOW_HIGH.replace("</t>", '<width value="9" unit="a"/></t>'), {"start": "2024-05-01", "end": "2024-05-03"}, []),
        (
            '<t><low value="20240501"/><width value="3" unit="h"/></t>',
            {"start": "2024-05-01", "_end": lexeme("3 h")}, ["not-a-date"],
        ),
        (
            '<t><low value="2024"/><width value="3" unit="mo"/></t>',
            {"start": "2024", "_end": lexeme("3 mo")}, ["not-a-date"],
        ),
        (
            '<t><low value="20240501"/><width value="-3" unit="d"/></t>',
            {"start": "2024-05-01", "_end": lexeme("-3 d")}, ["not-a-date"],
        ),
        (
            '<t><low value="20240501"/><width value="1E999999" unit="d"/></t>',
            {"start": "2024-05-01", "_end": lexeme("1E999999 d")}, ["not-a-date"],
        ),
        (
            '<t><low value="20240501"/><width value="9999" unit="a"/></t>',
            {"start": "2024-05-01", "_end": lexeme("9999 a")}, ["not-a-date"],
        ),
        (
            '<t><low value="20240501"/><width value="999999999" unit="d"/></t>',
            {"start": "2024-05-01", "_end": lexeme("999999999 d")}, ["not-a-date"],
        ),
        (
            '<t><low value="20240501"/><width value="3"/></t>',
            {"start": "2024-05-01", "_end": lexeme("3")}, ["not-a-date"],
        ),
        ('<t><low value="20240501"/><width nullFlavor="UNK"/></t>', {"start": "2024-05-01"}, []),
        ('<t><width value="3" unit="d"/></t>', None, []),
    ],
)  # fmt: skip
def test_an_interval_says_what_its_shape_says(xml: str, expected: Any, issues: list[str]) -> None:
    found = read("IVL_TS[Period]", xml)
    assert (found.value, found.codes) == (expected, issues)


@pytest.mark.parametrize(
    ("xml", "expected", "issues"),
    [
        ('<t value="20240501"/>', {"effectiveDateTime": "2024-05-01"}, []),
        (LOW_HIGH, {"effectivePeriod": {"start": "2024-05-01", "end": "2024-05-03"}}, []),
        ('<t><low value="20240501"/></t>', {"effectivePeriod": {"start": "2024-05-01"}}, []),
        ('<t><high value="20240501"/></t>', {"effectivePeriod": {"end": "2024-05-01"}}, []),
        ('<t><low value="20240501"/><high value="20240501"/></t>', {"effectiveDateTime": "2024-05-01"}, []),
        (
            '<t><low value="20240501101530+0200"/><high value="20240501101530+0200"/></t>',
            {"effectiveDateTime": "2024-05-01T10:15:30+02:00"}, [],
        ),
        ('<t><center value="20240501"/></t>', {"effectiveDateTime": "2024-05-01"}, []),
        ('<t operator="A" value="20240501"/>', None, []),
        ('<t nullFlavor="UNK"/>', None, []),
        ('<t nullFlavor="MSK"/>', {"_effectiveDateTime": reason("masked")}, []),
        ('<t value="x"/>', {"_effectiveDateTime": lexeme("x")}, ["not-a-date"]),
        (
            '<t value="202405011015"/>',
            {"effectiveDateTime": "2024-05-01T10:15:00+02:00", "_effectiveDateTime": lexeme("202405011015")}, [],
        ),
        ("<t/>", None, []),
    ],
)  # fmt: skip
def test_a_choice_is_a_point_or_a_period(xml: str, expected: Any, issues: list[str]) -> None:
    found = read("IVL_TS[effective]", xml)
    assert (found.value, found.codes) == (expected, issues)


def test_two_times_cut_to_one_day_are_two() -> None:
    """Without a zone 08:00 and 17:00 look alike; a stay of a day must not become a moment."""
    xml = '<t><low value="20240501080000"/><high value="20240501170000"/></t>'
    found = read("IVL_TS[performed]", xml, zone=None)
    assert set(found.value) == {"performedPeriod"}


@pytest.mark.parametrize("name", times.CHOICES)
def test_every_choice_names_its_own_element(name: str) -> None:
    for registered in (f"TS[{name}]", f"IVL_TS[{name}]"):
        assert read(registered, '<t value="2024"/>').value == {f"{name}DateTime": "2024"}
        assert read(registered, '<t><low value="2024"/></t>').value == {f"{name}Period": {"start": "2024"}}


@pytest.mark.parametrize(
    ("name", "xml", "expected"),
    [
        ("IVL_TS[Period.start]", '<low value="20240501"/>', {"start": "2024-05-01"}),
        ("TS[Period.start]", "<low/>", None),
        ("TS[Period.end]", '<high value="20240501"/>', {"end": "2024-05-01"}),
        ("TS[Period.end]", '<high nullFlavor="UNK"/>', {"_end": reason("unknown")}),
        ("TS[Period.start]", '<low nullFlavor="UNK"/>', None),
    ],
)
def test_one_end_of_a_period_may_come_alone(name: str, xml: str, expected: Any) -> None:
    assert read(name, xml)[:2] == (expected, [])


@pytest.mark.parametrize("name", NAMES)
def test_an_attribute_is_read_as_its_element_would_be(name: str) -> None:
    """A path that ends in an attribute hands over its text."""
    ctx, _ = context('<t value="20240501101530"/>')
    found = FUNCTIONS[name].call("20240501101530", ctx, None)
    assert found == read(name, '<t value="20240501101530"/>').value
    for blank in ("", " ", "\n"):
        assert FUNCTIONS[name].call(blank, ctx, None) is None


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(xml=elements())
def test_any_element_gives_nothing_or_what_r4_takes(name: str, xml: str) -> None:
    for zone in (None, VIENNA):
        read(name, xml, zone=zone)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=30))
def test_any_attribute_gives_nothing_or_what_r4_takes(name: str, text: str) -> None:
    ctx, _ = context("<t/>")
    assert fits(FUNCTIONS[name].fhir_type, FUNCTIONS[name].call(text, ctx, None))
