"""Unique device identifiers, as the three issuing agencies publish their forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mappings.cda.udi import GS1, HIBCC, ICCBBA, ICCBBA_BLOOD, Udi, parse

NOW = 2020
PUBLISHED = [  # the examples of FDA's table of formats
    (
        "(01)51022222233336(11)141231(17)150707(10)A213B1(21)1234",
        Udi(GS1, "51022222233336", "A213B1", "1234", "2014-12-31", "2015-07-07"),
    ),
    (
        "+H123PARTNO1234567890120/$$420020216LOT123456789012345/SXYZ456789012345678/16D20130202C",
        Udi(HIBCC, "H123PARTNO1234567890120", "LOT123456789012345", "XYZ456789012345678", "2013-02-02", "2020-02-02"),
    ),
    (
        "=/A9999XYZ100T0944=,000025=A99971312345600=>014032=}013032&,1000000000000XYZ123",
        Udi(ICCBBA, "A9999XYZ100T0944", "000000000000XYZ123", "000025", "2013-02-01", "2014-02-01", "A99971312345600"),
    ),
    ("=)1TE123456A&)RZ12345678", Udi(ICCBBA_BLOOD, "1TE123456A", "RZ12345678")),
]


@pytest.mark.parametrize(("written", "found"), PUBLISHED)
def test_the_published_examples_are_read_as_they_are_meant(written: str, found: Udi) -> None:
    assert parse(written, NOW) == found


@pytest.mark.parametrize(
    ("written", "lot", "serial", "expires"),
    [
        ("+H123A0/$LOT1C", "LOT1", "", ""),
        ("+H123A0/$+SER1C", "", "SER1", ""),
        ("+H123A0/$$0220LOT1C", "LOT1", "", "2020-02"),
        ("+H123A0/$$2021520LOT1C", "LOT1", "", "2020-02-15"),
        ("+H123A0/$$3200215LOT1C", "LOT1", "", "2020-02-15"),
        ("+H123A0/$$520046LOT1C", "LOT1", "", "2020-02-15"),
        ("+H123A0/$$62004608LOT1C", "LOT1", "", "2020-02-15"),
        ("+H123A0/$$7LOT1C", "LOT1", "", ""),
        ("+H123A0/$$+7SER1C", "", "SER1", ""),
        ("+H123A0/$$8240220LOT1C", "LOT1", "", "2020-02"),
        ("+H123A0/20046LOT1C", "LOT1", "", "2020-02-15"),
        ("+H123A0/14D20200215C", "", "", "2020-02-15"),
    ],
)
def test_every_form_of_secondary_data_is_told_apart(written: str, lot: str, serial: str, expires: str) -> None:
    found = parse(written, NOW)
    assert (found.device, found.lot, found.serial, found.expires) == ("H123A0", lot, serial, expires)


@pytest.mark.parametrize(
    ("two_digits", "near", "year"),
    [("69", 2020, "2069"), ("71", 2020, "1971"), ("01", 1999, "2001"), ("99", 2001, "1999")],
)
def test_a_year_of_two_digits_is_of_the_hundred_years_around(two_digits: str, near: int, year: str) -> None:
    assert parse(f"(01)51022222233336(17){two_digits}0131", near).expires == f"{year}-01-31"


def test_day_00_is_the_month() -> None:
    assert parse("(01)51022222233336(17)200200", NOW).expires == "2020-02"


@pytest.mark.parametrize("date", ["160542", "161301", "160230", "16053", "1605311", "16053a", "160٥31"])
def test_a_date_that_is_none_is_left_out_and_told_of(date: str) -> None:
    found = parse(f"(01)51022222233336(11){date}(10)A", NOW)
    assert (found.made, found.lot, found.bad_date) == ("", "A", True)


def test_without_brackets_what_cannot_be_told_apart_is_not() -> None:
    whole = parse("0151022222233336111412311715070710A213", NOW)
    assert (whole.device, whole.made, whole.expires, whole.lot) == (
        "51022222233336",
        "2014-12-31",
        "2015-07-07",
        "A213",
    )
    assert parse("51022222233336", NOW).device == "51022222233336"


@pytest.mark.parametrize(
    "written", ["", "(", "()", "hello", "+", "+C", "=", "&", "(01)123", "(21)1234", "=,000025", "1" * 300]
)
def test_what_is_no_identifier_has_no_parts(written: str) -> None:
    assert parse(written, NOW) == Udi()


@given(st.text(alphabet="()+=/,>}&$0123456789AZSD", max_size=60), st.integers(1, 9999))
def test_any_text_is_read_or_is_none(written: str, year: int) -> None:
    found = parse(written, year)
    assert found == Udi() or found.device
