"""GTS: the effectiveTime list of a medication (HL7 v3 datatypes R1) against FHIR R4 Timing, Period, dateTime."""

from decimal import Decimal
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.cda.datatypes import timing
from mappings.cda.datatypes.registry import FUNCTIONS
from mappings.fhir.codec import encode
from tests.mappings.cda.datatypes.elements import VIENNA, context, elements, fits, lexeme, read, reason

NAMES = sorted(name for name, each in FUNCTIONS.items() if each.call.__module__ == timing.__name__)

BOUNDS = '<t xsi:type="IVL_TS"><low value="20240501"/><high value="20240510"/></t>'
PERIOD = {"start": "2024-05-01", "end": "2024-05-10"}
EVERY_6_H = '<t xsi:type="PIVL_TS" operator="A"><period value="6" unit="h"/></t>'
HS = '<t xsi:type="EIVL_TS" operator="A"><event code="HS"/></t>'


def every(period: Any, unit: str, times: int = 1, **more: Any) -> dict[str, Any]:
    return {"frequency": times, "period": period, "periodUnit": unit, **more}


def pivl(period: str, attributes: str = "", more: str = "") -> str:
    return f'<t xsi:type="PIVL_TS" {attributes}>{more}{period}</t>'


@pytest.mark.parametrize(
    ("xml", "repeat"),
    [
        (EVERY_6_H, every(6, "h")),
        (pivl('<period value="1" unit="d"/>'), every(1, "d")),
        (pivl('<period value="0.5" unit="d"/>'), every(0.5, "d")),
        (pivl('<period value="2" unit="wk"/>'), every(2, "wk")),
        (pivl('<period value="1" unit="mo"/>'), every(1, "mo")),
        (pivl('<period value="30" unit="min"/>'), every(30, "min")),
        (pivl('<period value="8" unit="hr"/>'), every(8, "h")),  # a spelling of our unit table
        (pivl('<period xsi:type="IVL_PQ"><low value="4" unit="h"/><high value="6" unit="h"/></period>'),
         every(4, "h", periodMax=6)),
        (pivl('<period><low value="4" unit="h"/><high value="4.0" unit="h"/></period>'), every(4, "h")),
        (pivl('<period><low value="4" unit="h"/></period>'), every(4, "h")),
        # the institution sets the hours: a count per day, or week
        (pivl('<period value="12" unit="h"/>', 'institutionSpecified="true"'), every(1, "d", 2)),
        (pivl('<period value="12" unit="h"/>', 'institutionSpecified="1"'), every(1, "d", 2)),
        (pivl('<period value="12" unit="h"/>', 'institutionSpecified="false"'), every(12, "h")),
        (pivl('<period value="8" unit="h"/>', 'institutionSpecified="true"'), every(1, "d", 3)),
        (pivl('<period value="24" unit="h"/>', 'institutionSpecified="true"'), every(1, "d")),
        (pivl('<period value="0.25" unit="d"/>', 'institutionSpecified="true"'), every(1, "d", 4)),
        (pivl('<period value="3.5" unit="d"/>', 'institutionSpecified="true"'), every(1, "wk", 2)),
        (pivl('<period value="48" unit="h"/>', 'institutionSpecified="true"'), every(48, "h")),
        (pivl('<period value="5" unit="h"/>', 'institutionSpecified="true"'), every(5, "h")),
        (pivl('<period value="1" unit="mo"/>', 'institutionSpecified="true"'), every(1, "mo")),
        (pivl('<period value="0.001" unit="s"/>', 'institutionSpecified="true"'), every(Decimal("0.001"), "s")),
        (pivl('<period><low value="4" unit="h"/><high value="6" unit="h"/></period>', 'institutionSpecified="true"'),
         every(4, "h", periodMax=6)),
        # events
        (HS, {"when": ["HS"]}),
        ('<t><event code="acm"/></t>', {"when": ["ACM"]}),
        ('<t><event code="ACM"/><offset value="30" unit="min"/></t>', {"when": ["ACM"], "offset": 30}),
        ('<t><event code="ACM"/><offset value="-1" unit="h"/></t>', {"when": ["ACM"], "offset": 60}),
        ('<t><event code="PC"/><offset><low value="-30" unit="min"/></offset></t>', {"when": ["PC"], "offset": 30}),
        ('<t><event code="PC"/><offset><center value="1" unit="h"/></offset></t>', {"when": ["PC"], "offset": 60}),
        ('<t><event code="PC"/><offset value="0" unit="h"/></t>', {"when": ["PC"]}),
        ('<t><event code="PC"/><offset nullFlavor="UNK"/></t>', {"when": ["PC"]}),
        ('<t><event code="ACM"/></t><t><event code="ACV"/></t>', {"when": ["ACM", "ACV"]}),
        ('<t><event code="HS"/></t><t><event code="HS"/></t>', {"when": ["HS"]}),
        (pivl('<period value="1" unit="d"/>') + HS, every(1, "d", when=["HS"])),
        # bounds
        (BOUNDS, {"boundsPeriod": PERIOD}),
        (BOUNDS + BOUNDS, {"boundsPeriod": PERIOD}),
        ('<t><low value="20240501"/></t>' + EVERY_6_H, every(6, "h", boundsPeriod={"start": "2024-05-01"})),
        ('<t value="20240501"/>' + EVERY_6_H, every(6, "h", boundsPeriod={"start": "2024-05-01"})),
        # a course of one day is over on that day
        ('<t><low value="20240501"/><high value="20240501"/></t>' + EVERY_6_H,
         every(6, "h", boundsPeriod={"start": "2024-05-01", "end": "2024-05-01"})),
        ('<t><width value="10" unit="d"/></t>' + EVERY_6_H, every(6, "h", boundsDuration={
            "value": 10, "unit": "d", "system": "http://unitsofmeasure.org", "code": "d"})),
        (pivl('<low value="20240501"/><period value="6" unit="h"/>'),
         every(6, "h", boundsPeriod={"start": "2024-05-01"})),
        # phases
        (pivl('<period value="6" unit="h"/>', more='<phase value="20240501"/>'),
         every(6, "h", boundsPeriod={"start": "2024-05-01"})),
        (pivl('<period value="6" unit="h"/>', more='<phase><low value="20240501"/><high value="20240510"/></phase>'),
         every(6, "h", boundsPeriod=PERIOD)),
        (pivl('<period value="1" unit="d"/>',
              more='<phase><low value="20240501080000+0200"/><width value="30" unit="min"/></phase>'),
         every(1, "d", boundsPeriod={"start": "2024-05-01T08:00:00+02:00"}, duration=30, durationUnit="min")),
        (pivl('<period value="1" unit="d"/>',
              more='<phase><low value="20240501080000+0200"/><high value="20240501100000+0200"/></phase>'),
         every(1, "d", boundsPeriod={"start": "2024-05-01T08:00:00+02:00"}, duration=2, durationUnit="h")),
        (pivl('<period value="1" unit="h"/>',
              more='<phase><low value="20240501080000+0200"/><high value="20240502080000+0200"/></phase>'),
         every(1, "h", boundsPeriod={"start": "2024-05-01T08:00:00+02:00", "end": "2024-05-02T08:00:00+02:00"})),
        (pivl('<phase value="20240501"/>'), {"boundsPeriod": {"start": "2024-05-01"}}),
        # expressions
        (f'<t xsi:type="SXPR_TS">{BOUNDS.replace("t ", "comp ").replace("/t", "/comp")}'
         '<comp operator="A" xsi:type="PIVL_TS"><period value="6" unit="h"/></comp></t>',
         every(6, "h", boundsPeriod=PERIOD)),
        ('<t><comp><comp><event code="ACM"/></comp></comp><comp><period value="1" unit="d"/></comp></t>',
         every(1, "d", when=["ACM"])),
    ],
)  # fmt: skip
def test_a_timing_is_bounds_and_a_frequency(xml: str, repeat: dict[str, Any]) -> None:
    found = read("GTS[Timing]", xml)
    assert (found.value, found.codes) == ({"repeat": repeat}, [])


@pytest.mark.parametrize("types", [True, False])
@pytest.mark.parametrize("order", list(permutations([BOUNDS, EVERY_6_H, HS])))
def test_neither_order_nor_type_nor_prefix_decides(order: tuple[str, ...], types: bool) -> None:
    xml = "".join(order)
    expected = every(6, "h", boundsPeriod=PERIOD, when=["HS"])
    if not types:
        xml = xml.replace("xsi:type=", "use=").replace(' operator="A"', "")
    else:
        xml = xml.replace('xsi:type="', 'xsi:type="ns7:').replace("<period", "<v3:period").replace("<low", "<v3:low")
    assert read("GTS[Timing]", xml).value == {"repeat": expected}


@pytest.mark.parametrize(
    ("xml", "expected", "issues"),
    [
        ('<t value="20240501"/>', {"event": ["2024-05-01"]}, []),
        ('<t value="20240501"/><t value="20240502"/>', {"event": ["2024-05-01", "2024-05-02"]}, []),
        ('<t value="20240501"/><t value="202405021000"/>',
         {"event": ["2024-05-01", "2024-05-02T10:00:00+02:00"], "_event": [None, lexeme("202405021000")]}, []),
        ('<t value="x"/>', {"event": [None], "_event": [lexeme("x")]}, ["not-a-date"]),
        ('<t><low value="20240501"/><high value="20240501"/></t>', {"event": ["2024-05-01"]}, []),
        ("<t/>", None, []),
        ('<t nullFlavor="UNK"/>', None, []),
        ('<t nullFlavor="MSK"/>', None, []),
        ('<t xsi:type="PIVL_TS" nullFlavor="NI"/>', None, []),
        ('<t xsi:type="PIVL_TS"><period nullFlavor="UNK"/></t>', None, []),
        ('<t xsi:type="EIVL_TS"><event nullFlavor="UNK"/></t>', None, []),
        (BOUNDS + '<t xsi:type="PIVL_TS" nullFlavor="NI"/>', {"repeat": {"boundsPeriod": PERIOD}}, []),
        # what has no place in Timing is text, all of it
        ('<t><event code="IC"/></t>', {"code": {"text": "IC"}}, []),
        (BOUNDS + '<t><event code="ICM"/><offset value="30" unit="min"/></t>',
         {"repeat": {"boundsPeriod": PERIOD}, "code": {"text": "20240501 to 20240510; ICM offset 30 min"}}, []),
        ('<t><event code="ACM"/></t><t><event code="ICD"/></t>', {"code": {"text": "ACM; ICD"}}, []),
        ('<t><event code="TEATIME"/></t>', {"code": {"text": "TEATIME"}}, ["vocab-miss"]),
        (EVERY_6_H + pivl('<period value="1" unit="d"/>'), {"code": {"text": "every 6 h; every 1 d"}}, ["bad-timing"]),
        (BOUNDS + BOUNDS.replace("20240510", "20240601"),
         {"code": {"text": "20240501 to 20240510; 20240501 to 20240601"}}, ["bad-timing"]),
        (EVERY_6_H + BOUNDS.replace("<t ", '<t operator="E" '),
         {"code": {"text": "every 6 h; except 20240501 to 20240510"}}, []),
        ('<t><event code="ACM"/><offset value="30" unit="min"/></t><t><event code="PCM"/></t>',
         {"code": {"text": "ACM offset 30 min; PCM"}}, ["bad-timing"]),
        ('<t value="20240501"/><t value="20240502"/>' + EVERY_6_H,
         {"code": {"text": "20240501; 20240502; every 6 h"}}, ["bad-timing"]),
        (f'<t>{"<comp>" * 20}<period value="6" unit="h"/>{"</comp>" * 20}</t>', None, []),
        ('<t><comp><comp operator="E"><period value="6" unit="h"/></comp><comp><low value="2024"/></comp></comp></t>',
         {"repeat": {"boundsPeriod": {"start": "2024"}}, "code": {"text": "(except every 6 h; from 2024)"}}, []),
        # lengths that are none
        (pivl('<period value="6" unit="tablets"/>'), {"code": {"text": "every 6 tablets"}}, ["bad-timing"]),
        (pivl('<period value="6"/>'), {"code": {"text": "every 6"}}, ["bad-timing"]),
        (pivl('<period value="0" unit="h"/>'), {"code": {"text": "every 0 h"}}, ["bad-timing"]),
        (pivl('<period value="-6" unit="h"/>'), {"code": {"text": "every -6 h"}}, ["bad-timing"]),
        (pivl('<period value="six" unit="h"/>'), {"code": {"text": "every six h"}}, ["bad-timing"]),
        (pivl('<period value="1E999999" unit="h"/>'), {"code": {"text": "every 1E999999 h"}}, ["bad-timing"]),
        (pivl('<period><low value="4" unit="h"/><high value="1" unit="d"/></period>'),
         {"code": {"text": "every 4 h to 1 d"}}, ["bad-timing"]),
        (pivl('<period><high value="6" unit="h"/></period>'), {"code": {"text": "every to 6 h"}}, ["bad-timing"]),
        ('<t><event code="PC"/><offset value="30" unit="mg"/></t>', {"repeat": {"when": ["PC"]}}, ["bad-timing"]),
        ('<t><event code="PC"/><offset value="20" unit="s"/></t>', {"repeat": {"when": ["PC"]}}, ["bad-timing"]),
        ('<t><event code="PC"/><offset value="99999999999999" unit="d"/></t>',
         {"repeat": {"when": ["PC"]}}, ["bad-timing"]),
        ('<t><event code="PC"/><offset><low value="15" unit="min"/><high value="30" unit="min"/></offset></t>',
         {"repeat": {"when": ["PC"], "offset": 15}}, ["extra-value"]),
        # a meal itself has no offset (tim-9)
        ('<t><event code="CM"/><offset value="30" unit="min"/></t>', {"repeat": {"when": ["CM"]}}, ["extra-value"]),
        (BOUNDS + pivl('<period value="6" unit="h"/>', more='<phase value="202405010800+0200"/>'),
         {"repeat": every(6, "h", boundsPeriod=PERIOD)}, ["extra-value"]),
        (pivl('<period value="&lt;b&gt;\n6" unit="]]&gt;"/>'), {"code": {"text": "every <b> 6 ]]>"}}, ["bad-timing"]),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_kept_whole_and_told(xml: str, expected: Any, issues: list[str]) -> None:
    found = read("GTS[Timing]", xml)
    assert (found.value, found.codes) == (expected, issues)


def test_a_period_keeps_its_digits() -> None:
    found = read("GTS[Timing]", pivl('<period value="1.50" unit="h"/>'))
    assert b'"period":1.50,' in encode({"resourceType": "Basic", **found.value["repeat"]})


def test_a_long_list_has_a_short_text() -> None:
    xml = "".join(f'<t><period value="{n}" unit="h"/></t>' for n in range(1, 2000))
    assert len(read("GTS[Timing]", xml).value["code"]["text"]) <= 1000


@pytest.mark.parametrize(
    ("name", "xml", "expected", "issues"),
    [
        ("GTS[bounds]", BOUNDS + EVERY_6_H, PERIOD, []),
        ("GTS[bounds]", EVERY_6_H + BOUNDS, PERIOD, []),
        ("GTS[bounds]", EVERY_6_H, None, []),
        ("GTS[bounds]", '<t value="20240501"/>', None, []),
        ("GTS[bounds]", '<t value="20240501"/>' + EVERY_6_H, {"start": "2024-05-01"}, []),
        ("GTS[bounds]", pivl('<phase value="20240501"/><period value="6" unit="h"/>'), {"start": "2024-05-01"}, []),
        ("GTS[bounds]", BOUNDS + '<t><low value="2025"/></t>', PERIOD, ["repetition-unread"]),
        ("GTS[bounds]", BOUNDS.replace("IVL_TS", "x:IVL_TS") + '<t><event code="IC"/></t>', PERIOD, []),
        ("GTS[bounds]", '<t><low value="20240501"/><high nullFlavor="UNK"/></t>',
         {"start": "2024-05-01", "_end": reason("unknown")}, []),
        ("GTS[occurrence]", '<t value="20240501"/>', {"occurrenceDateTime": "2024-05-01"}, []),
        ("GTS[occurrence]", EVERY_6_H, None, []),
        ("GTS[occurrence]", EVERY_6_H + '<t><center value="20240501"/></t>', {"occurrenceDateTime": "2024-05-01"}, []),
        ("GTS[occurrence]", '<t><low value="20240501"/></t>', {"occurrenceDateTime": "2024-05-01"}, []),
        ("GTS[occurrence]", BOUNDS, {"occurrenceDateTime": "2024-05-01"}, ["extra-value"]),
        ("GTS[occurrence]", '<t value="20240501"/><t value="20240502"/>', {"occurrenceDateTime": "2024-05-01"},
         ["repetition-unread"]),
        ("GTS[occurrence]", '<t nullFlavor="ASKU"/>', {"_occurrenceDateTime": reason("asked-unknown")}, []),
        ("GTS[occurrence]", "<t/>", None, []),
        ("GTS[dateTime]", '<t value="20240501"/>', "2024-05-01", []),
        ("GTS[dateTime]", '<t value="00"/>', (None, lexeme("00")), ["not-a-date"]),
        ("GTS[dateTime]", '<t><high value="20240501"/></t>', None, ["extra-value"]),
        ("GTS[effective]", BOUNDS + EVERY_6_H, {"effectivePeriod": PERIOD}, []),
        ("GTS[effective]", '<t value="20240501"/>', {"effectiveDateTime": "2024-05-01"}, []),
        ("GTS[effective]", HS, None, []),
    ],
)  # fmt: skip
def test_a_list_has_one_stretch_or_one_time(name: str, xml: str, expected: Any, issues: list[str]) -> None:
    found = read(name, xml)
    assert (found.value, found.codes) == (expected, issues)


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_list_and_the_text_of_an_attribute_are_read(name: str) -> None:
    ctx, _ = context("<t/>")
    assert FUNCTIONS[name].call([], ctx, None) is None
    assert FUNCTIONS[name].call(["", " "], ctx, None) is None
    assert fits(FUNCTIONS[name].fhir_type, FUNCTIONS[name].call(["20240501", "x"], ctx, None))


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150, deadline=None)
@given(xml=st.lists(elements(), max_size=4), zone=st.sampled_from([None, VIENNA]))
def test_any_list_gives_nothing_or_what_r4_takes(name: str, xml: list[str], zone: Any) -> None:
    if xml:
        read(name, "".join(xml), zone=zone)
