"""Times of a document: HL7 v3 TS literals against FHIR R4 dateTime, and where the offset of a time comes from."""

import re
from time import process_time
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.cda.context import Context
from mappings.cda.document import parse
from mappings.cda.element import Element
from mappings.cda.time import DocumentZone, moment
from mappings.moments import Moment

VIENNA = ZoneInfo("Europe/Vienna")
LONDON = ZoneInfo("Europe/London")
NEW_YORK = ZoneInfo("America/New_York")
ASKED = "20240501101530"  # a spring day, without an offset

# FHIR R4 dateTime, http://hl7.org/fhir/R4/datatypes.html#dateTime
DATE_TIME = re.compile(
    r"([0-9]([0-9]([0-9][1-9]|[1-9]0)|[1-9]00)|[1-9]000)(-(0[1-9]|1[0-2])(-(0[1-9]|[1-2][0-9]|3[0-1])"
    r"(T([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\.[0-9]+)?(Z|(\+|-)((0[0-9]|1[0-3]):[0-5][0-9]|14:00)))?)?)?"
)


def context(body: str, stamp: str = "", zone: ZoneInfo | None = None, zero_offset: str = "verify") -> Context:
    """A document whose effectiveTime is `stamp`, read by a profile of that zone."""
    xml = f'<ClinicalDocument xmlns="urn:hl7-org:v3"><effectiveTime value="{stamp}"/>{body}</ClinicalDocument>'
    profile = SimpleNamespace(zone=zone, cda=SimpleNamespace(zero_offset=zero_offset))
    return Context(parse(xml.encode()), profile)


def asked(ctx: Context) -> Element:
    """The element that a test asks about: it bears ASKED, or else `ask`."""
    for each in ctx.doc.root.iter():
        if each.get("ask") is not None or each.get("value") == ASKED:
            return each
    raise AssertionError("nothing is asked")


def value(ctx: Context) -> str | None:
    node = asked(ctx)
    return moment(node.get("value") or "", node, ctx).value


def codes(ctx: Context) -> list[str]:
    return [each.code for each in ctx.issues]


def section(*entries: str, more: str = "") -> str:
    inside = "".join(f"<entry>{each}</entry>" for each in entries)
    body = f"<structuredBody><component><section>{more}{inside}</section></component></structuredBody>"
    return f"<component>{body}</component>"


ACT = f'<observation><effectiveTime value="{ASKED}"/></observation>'


@pytest.mark.parametrize(
    ("lexeme", "expected", "keep"),
    [
        ("2024", "2024", False),
        ("202405", "2024-05", False),
        ("20240501", "2024-05-01", False),
        ("2024050110", "2024-05-01T10:00:00+02:00", True),
        ("202405011015", "2024-05-01T10:15:00+02:00", True),
        ("20240501101530", "2024-05-01T10:15:30+02:00", False),
        ("20240501101530.123", "2024-05-01T10:15:30.123+02:00", False),
        ("202405011015-0500", "2024-05-01T10:15:00-05:00", True),
        ("20240501101530.1234-0500", "2024-05-01T10:15:30.1234-05:00", False),
        ("202405012400", "2024-05-02T00:00:00+02:00", True),
        ("20240501240000+0200", "2024-05-02T00:00:00+02:00", False),
        ("20240501+0200", "2024-05-01", True),
    ],
)
def test_every_precision_keeps_what_it_says(lexeme: str, expected: str, keep: bool) -> None:
    ctx = context("", zone=VIENNA)
    assert moment(lexeme, None, ctx) == Moment(expected, keep)
    assert DATE_TIME.fullmatch(expected)
    assert codes(ctx) == []


@pytest.mark.parametrize(
    "lexeme",
    ["00", "0", "0000", "00000000", "00000101", "-99", "-9", "99991231", "20230229", "20240501250000", "202405012401",
     "2024-05-01", "2024-05-01T10:15:30Z", "UNK", "20240501101530+1500", "２０２４", "2024050110.5", "1" * 1000],
)  # fmt: skip
def test_what_is_no_time_is_told_at_its_place(lexeme: str) -> None:
    ctx = context(section(f'<observation><effectiveTime ask="" value="{lexeme}"/></observation>'), zone=VIENNA)
    assert value(ctx) is None
    assert codes(ctx) == ["not-a-date"]
    assert str(ctx.issues[0].place).startswith("section[1]/entry[1]/observation/effectiveTime")


ENTRY_0500 = (
    '<organizer><author><time value="20240601080000-0500"/></author><component>' + ACT + "</component></organizer>"
)
SECTION_0400 = '<author><time value="20240601080000-0400"/></author>'


@pytest.mark.parametrize(
    ("body", "stamp", "zone", "expected"),
    [
        pytest.param(section(ENTRY_0500, more=SECTION_0400), "20240601-0300", None, "-05:00", id="entry"),
        pytest.param(section(ACT, more=SECTION_0400), "20240601090000-0300", None, "-04:00", id="section"),
        pytest.param(section(ACT, ENTRY_0500.replace(ACT, "")), "20240601-0300", None, "-05:00", id="other entry"),
        pytest.param(section(ACT), "20240601090000-0300", None, "-03:00", id="document"),
        pytest.param(
            section(ENTRY_0500.replace(ACT, "")) + section(ACT), "20240601090000-0300", None, "-03:00",
            id="not another section",
        ),
        pytest.param(
            '<component><structuredBody><component><section><entry><act><entry>' + ACT + "</entry>"
            '<author><time value="20240502101530-0600"/></author></act></entry></section></component></structuredBody>'
            "</component>", "20240601090000-0300", None, "-06:00", id="entry around an entry",
        ),
        pytest.param(f'<entry>{ENTRY_0500}</entry>', "20240601090000-0300", None, "-05:00", id="entry without section"),
        pytest.param(section(ACT), "20240601090000", VIENNA, "+02:00", id="zone"),
        pytest.param(section(ACT), "20240601090000+0100", VIENNA, "+01:00", id="document against zone"),
        pytest.param(section(ACT), "20240115090000+0100", VIENNA, "+02:00", id="winter document, zone knows summer"),
        pytest.param(section(ENTRY_0500), "20240115090000+0100", VIENNA, "-05:00", id="entry against zone"),
        pytest.param(
            section('<act><effectiveTime value="20240115080000+0100"/>' + ACT + "</act>"),
            "20240601090000-0500", VIENNA, "+02:00", id="entry of winter agrees with the zone, document does not",
        ),
        pytest.param(
            f'<componentOf><encompassingEncounter><effectiveTime><low value="{ASKED}"/>'
            '<high value="20240502101530-0600"/></effectiveTime></encompassingEncounter></componentOf>',
            "20240601090000-0300", None, "-06:00", id="part of the header",
        ),
        pytest.param(
            '<author><time value="20240502101530-0600"/></author>'
            f'<recordTarget><patientRole><patient><birthTime value="{ASKED}"/></patient></patientRole></recordTarget>',
            "20240601090000-0300", None, "-03:00", id="another part of the header",
        ),
    ],
)  # fmt: skip
def test_an_offset_comes_from_the_nearest_time_that_has_one(
    body: str, stamp: str, zone: ZoneInfo | None, expected: str
) -> None:
    assert value(context(body, stamp, zone)) == f"2024-05-01T10:15:30{expected}"


@pytest.mark.parametrize("own", ["+0000", "-0500", "+0545"])
def test_a_time_with_an_offset_needs_no_other(own: str) -> None:
    lexeme = f"20240501101530{own}"
    ctx = context(section(f'<act><effectiveTime ask="" value="{lexeme}"/>{ENTRY_0500}</act>'), "20240601-0300", VIENNA)
    assert value(ctx) == f"2024-05-01T10:15:30{own[:3]}:{own[3:]}"


def test_without_any_offset_a_time_is_cut_to_its_date_and_utc_is_not_invented() -> None:
    ctx = context(section(ACT, more='<code code="x"/>'), "20240601090000")
    node = asked(ctx)
    assert moment(ASKED, node, ctx) == ("2024-05-01", True, ("no-offset",))
    assert moment(ASKED, node, ctx).value == "2024-05-01"
    assert codes(ctx) == ["no-offset", "no-offset"]


@pytest.mark.parametrize(
    ("stamp", "zone", "zero_offset", "expected", "mismatch"),
    [
        ("20240601090000+0000", VIENNA, "verify", "+02:00", True),
        ("20240601090000-0000", VIENNA, "verify", "+02:00", True),
        ("20240601090000+0000", VIENNA, "trust", "+00:00", True),
        ("20240601090000+0000", None, "verify", "+00:00", False),  # nobody says otherwise
        ("20240115090000+0000", LONDON, "verify", "+01:00", False),  # London in winter: the zone knows its summer
        ("20240601090000+0000", LONDON, "verify", "+01:00", True),
        ("20240601090000-0500", VIENNA, "verify", "-05:00", True),
        ("", VIENNA, "verify", "+02:00", False),
        ("nonsense+0000", VIENNA, "verify", "+02:00", False),
    ],
)
def test_a_zero_offset_against_the_zone_counts_as_none_unless_trusted(
    stamp: str, zone: ZoneInfo | None, zero_offset: str, expected: str, mismatch: bool
) -> None:
    ctx = context(section(ACT), stamp, zone, zero_offset)
    assert value(ctx) == f"2024-05-01T10:15:30{expected}"
    assert codes(ctx) == (["zone-mismatch"] if mismatch else [])
    assert ctx.zone.mismatch is mismatch


@pytest.mark.parametrize(("zero_offset", "expected"), [("verify", "+02:00"), ("trust", "+00:00")])
def test_a_neighbours_zero_offset_is_doubted_like_the_documents(zero_offset: str, expected: str) -> None:
    body = section('<act><author><time value="20240601080000+0000"/></author>' + ACT + "</act>")
    assert value(context(body, "", VIENNA, zero_offset)) == f"2024-05-01T10:15:30{expected}"


def test_a_doubted_zero_hides_no_better_neighbour() -> None:
    body = section(
        '<act><author><time value="20240601080000+0000"/></author><effectiveTime value="20240601080000-0500"/>'
        + ACT
        + "</act>"
    )
    assert value(context(body, "", VIENNA)) == "2024-05-01T10:15:30-05:00"


@pytest.mark.parametrize(
    "attribute",
    ["tel:+15551234567-0100", "1555123456-0100", "15551234567-0100", "202405011015300-0500", "20241301101530-0500",
     "20240501101530-9900", "+-+-+-+-+-+-+-+-", "2024-05-01T10:15:30-05:00", "20240501101530+-500", "20240501|-|+0500"],
)  # fmt: skip
def test_what_only_looks_like_a_stamp_lends_nothing(attribute: str) -> None:
    ctx = context(section(f'<act><telecom value="{attribute}"/>{ACT}</act>'), "20240601090000-0300")
    assert value(ctx) == "2024-05-01T10:15:30-03:00"


def test_a_namespace_prefix_changes_nothing() -> None:
    body = section(ENTRY_0500)
    xml = f'<ClinicalDocument xmlns="urn:hl7-org:v3">{body}</ClinicalDocument>'
    prefixed = re.sub(r"<(/?)(?=[a-zA-Z])", r"<\1h:", xml).replace("xmlns=", "xmlns:h=")
    profile = SimpleNamespace(zone=None, cda=SimpleNamespace(zero_offset="verify"))
    assert value(Context(parse(prefixed.encode()), profile)) == "2024-05-01T10:15:30-05:00"


def test_nothing_is_searched_before_it_is_asked_and_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    ctx = context(section(*[ENTRY_0500, ACT, ACT]), "20240601090000-0300")
    searches: list[DocumentZone] = []
    search = DocumentZone._search

    def counted(self: DocumentZone) -> None:
        searches.append(self)
        search(self)

    monkeypatch.setattr(DocumentZone, "_search", counted)
    nodes = [each for each in ctx.doc.root.iter() if each.get("value") == ASKED]
    for each in nodes:
        moment("20240501", each, ctx)
        moment("20240501101530+0100", each, ctx)
    assert searches == []
    for each in nodes * 2:
        moment(ASKED, each, ctx)
    assert searches == [ctx.zone]


def test_depth_and_number_do_not_make_it_slow() -> None:
    """As entries in entries, each with times of its own, a search an entry would take minutes."""
    lookalikes = '<x value="12345678901234-"/><x value="1555123456-12345"/>' * 50_000
    body = "<entry><act>" * 115 + lookalikes + f'<effectiveTime value="{ASKED}"/></act></entry>' * 115
    ctx = context(body, "20240601090000-0300")
    before = process_time()
    read = {moment(ASKED, each, ctx).value for each in ctx.doc.root.iter() if each.get("value") == ASKED}
    assert read == {"2024-05-01T10:15:30-03:00"}
    assert process_time() - before < 10


@settings(max_examples=200, deadline=None)
@given(
    lexeme=st.one_of(st.from_regex(r"[0-9]{4,14}(\.[0-9]{1,4})?([+-][0-9]{4})?", fullmatch=True), st.text(max_size=20)),
    stamp=st.from_regex(r"[0-9]{4,14}([+-][0-9]{4})?", fullmatch=True),
    zone=st.sampled_from([None, VIENNA, NEW_YORK]),
)
def test_any_text_is_read_or_kept(lexeme: str, stamp: str, zone: ZoneInfo | None) -> None:
    ctx = context(section(ACT), stamp, zone)
    found = moment(lexeme, asked(ctx), ctx)
    assert found.keep if found.value is None else DATE_TIME.fullmatch(found.value)
