"""Paging cursors: sealed, bound to client and path, short of life. Fhir chapter §10."""

import os
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.api.cursor import Cursor, Cursors
from adapter.errors import Gone, NotFound

KEY = bytes(range(32))
CURSORS = Cursors(KEY, os.urandom)
PATH = "/fhir/Observation"
CURSOR = Cursor(PATH, (("patient", "p1"), ("_count", "2")), 12, 34, ("d638", ""), 1_000)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=4).map(tuple),
    st.integers(0, 2**53),
    st.integers(0, 2**53),
    st.lists(st.text(max_size=20), max_size=3).map(tuple),
)
def test_what_is_sealed_is_opened(
    query: tuple[tuple[str, str], ...], txn: int, after: int, key: tuple[str, ...]
) -> None:
    cursor = Cursor(PATH, query, txn, after, key, 1_000)
    assert CURSORS.open(CURSORS.seal(cursor, "ward"), "ward", PATH, 999.9) == cursor


def test_a_cursor_is_the_clients_own() -> None:
    with pytest.raises(NotFound):
        CURSORS.open(CURSORS.seal(CURSOR, "ward"), "north", PATH, 0)


def test_a_cursor_leads_on_from_its_own_address_only() -> None:
    with pytest.raises(NotFound):
        CURSORS.open(CURSORS.seal(CURSOR, "ward"), "ward", "/fhir/Patient", 0)


def test_any_changed_character_makes_another_page_that_is_not_there() -> None:
    text = CURSORS.seal(CURSOR, "ward")
    for place in range(len(text)):
        changed = "A" if text[place] != "A" else "B"
        with pytest.raises(NotFound):
            CURSORS.open(text[:place] + changed + text[place + 1 :], "ward", PATH, 0)


@pytest.mark.parametrize("text", ["", "A", "####", "A" * 10_000, "ä"], ids=lambda text: text[:6])
def test_what_is_no_cursor_is_a_page_that_is_not_there(text: str) -> None:
    with pytest.raises(NotFound):
        CURSORS.open(text, "ward", PATH, 0)


def test_an_old_cursor_says_so() -> None:
    with pytest.raises(Gone) as gone:
        CURSORS.open(CURSORS.seal(CURSOR, "ward"), "ward", PATH, 1_000)
    assert gone.value.issue == "expired"


def test_a_cursor_under_another_key_does_not_open() -> None:
    with pytest.raises(NotFound):
        Cursors(bytes(32), os.urandom).open(CURSORS.seal(CURSOR, "ward"), "ward", PATH, 0)


def test_a_cursor_of_an_earlier_version_is_a_page_that_is_not_there() -> None:
    """It held a number where the place in the order stands now."""
    was = replace(CURSOR, key=2)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        CURSORS.open(CURSORS.seal(was, "ward"), "ward", PATH, 0)


def test_nothing_of_query_and_place_shows() -> None:
    assert "p1" not in CURSORS.seal(CURSOR, "ward")
    assert "638" not in CURSORS.seal(CURSOR, "ward")
    assert CURSORS.seal(CURSOR, "ward") != CURSORS.seal(CURSOR, "ward")
