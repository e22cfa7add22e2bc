"""Refusals: counted, folded, bounded, padded. Access chapter §6, §10."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.access.identity import Actor, Organisation
from adapter.access.refusals import MAX_DISTINCT, MAX_FOLDS, SMALLEST_PAD, WINDOW_S, Book
from adapter.access.scopes import Scopes
from adapter.errors import Throttled
from ledger.commitment import SubjectKey
from ledger.event import Event

NOW = datetime(2026, 3, 4, tzinfo=UTC)


def actor(client_id: str = "north") -> Actor:
    north = Organisation("urn:oid:2.999.2", "north")
    return Actor(client_id, north, False, frozenset(), Scopes(()), ("TREAT",), "", "jti", "192.0.2.1")


@dataclass(frozen=True)
class Ask:
    actor: Actor
    interaction: str = "read"
    now: datetime = NOW
    request_id: str = "r"
    query: str = "/fhir/Observation/o1"


def told(book: Book, now: float) -> list[Event]:
    return book.take(now).events(NOW, "org", lambda owner: SubjectKey(owner, bytes(32)), lambda count: bytes(count))


def test_the_first_refusal_is_an_event_and_repeats_are_not() -> None:
    book, ask = Book(), Ask(actor())
    assert [book.is_first(ask, "Observation/o1", 7, now) for now in (0, 1, 2)] == [True, False, False]
    assert book.is_first(ask, "Observation/o2", 7, 3)
    assert book.is_first(Ask(actor("south")), "Observation/o1", 7, 3)


def test_a_name_with_and_without_a_patient_behind_it_makes_the_same_number_of_entries() -> None:
    """A version of a hidden resource and one that never was share a name: what differs must not be counted."""
    for owners in ([7, 0, 0], [0, 7, 0], [0, 0, 0], [7, 8, 7]):
        book, ask = Book(), Ask(actor())
        assert [book.is_first(ask, "Observation/o1", owner, 0) for owner in owners] == [True, False, False]
        (event,) = told(book, WINDOW_S)
        assert event.clear["count"] == 2


def test_a_patient_among_the_repeats_is_the_one_they_are_told_of() -> None:
    book, ask = Book(), Ask(actor())
    for owner in (0, 7, 0):
        book.is_first(ask, "Observation/o1", owner, 0)
    (event,) = told(book, WINDOW_S)
    assert event.subject_key is not None
    assert event.subject_key.row == 7


def test_a_minute_without_a_search_tells_nothing() -> None:
    assert told(Book(), 0) == []


def test_repeats_are_told_once_their_minute_is_over() -> None:
    book, ask = Book(), Ask(actor())
    for now in (0.0, 1.0, 2.0):
        book.is_first(ask, "Observation/o1", 7, now)
    book.is_first(ask, "Observation/o2", 7, 0)
    assert told(book, WINDOW_S - 1) == []
    (event,) = told(book, WINDOW_S)
    assert (event.type, event.clear, event.outcome) == ("access.denied", {"count": 2, "window_s": WINDOW_S}, "deny")
    assert told(book, WINDOW_S) == []
    assert book.is_first(ask, "Observation/o1", 7, WINDOW_S + 1)


def test_a_refusal_whose_event_failed_is_the_first_again() -> None:
    book, ask = Book(), Ask(actor())
    book.is_first(ask, "Observation/o1", 7, 0)
    book.forget(ask, "Observation/o1")
    assert book.is_first(ask, "Observation/o1", 7, 1)


def test_distinct_refusals_stop_a_client_for_the_rest_of_its_minute() -> None:
    book = Book()
    for number in range(MAX_DISTINCT):
        book.admit("north", 0)
        book.is_first(Ask(actor()), f"Observation/{number}", 0, 0)
    with pytest.raises(Throttled):
        book.admit("north", WINDOW_S - 1)
    book.admit("south", 0)
    book.admit("north", WINDOW_S)


def test_the_same_refusal_again_and_again_stops_nobody() -> None:
    book = Book()
    for now in range(MAX_DISTINCT * 2):
        book.admit("north", now / 10)
        book.is_first(Ask(actor()), "Observation/o1", 0, now / 10)


def test_a_full_book_lets_nobody_in() -> None:
    book = Book()
    for number in range(MAX_FOLDS):
        book.is_first(Ask(actor(f"c{number}")), "Observation/o1", 0, 0)
    with pytest.raises(Throttled):
        book.admit("anyone", 0)
    book.take(WINDOW_S)
    book.admit("anyone", WINDOW_S)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 40))
def test_withheld_patients_are_told_among_nobodies(withheld: int) -> None:
    """The number of entries is a power of two times eight; which are padding shows in no field."""
    book = Book()
    book.note_search(Ask(actor()), range(1, withheld + 1))
    events = told(book, 0)
    size = len(events)
    assert size >= max(SMALLEST_PAD, withheld)
    assert size & (size - 1) == 0
    assert size == SMALLEST_PAD or size < 2 * withheld
    assert len({(event.type, event.outcome, tuple(event.clear), tuple(event.secret)) for event in events}) == 1
    assert sum(event.subject_key is not None and event.subject_key.row > 0 for event in events) == withheld


def test_what_could_not_be_told_is_told_the_next_time() -> None:
    book, ask = Book(), Ask(actor())
    for now in (0.0, 1.0, 2.0):
        book.is_first(ask, "Observation/o1", 7, now)
    book.note_search(ask, [8])
    taken = book.take(WINDOW_S)
    book.is_first(ask, "Observation/o1", 7, WINDOW_S)
    book.is_first(ask, "Observation/o1", 7, WINDOW_S)
    book.put_back(taken)
    events = told(book, 2 * WINDOW_S)
    assert [event.clear["count"] for event in events if event.clear] == [3]
    assert len(events) == 1 + SMALLEST_PAD


def test_one_patient_withheld_from_one_client_twice_is_told_once() -> None:
    book = Book()
    for _ in range(2):
        book.note_search(Ask(actor()), [7])
    book.note_search(Ask(actor("south")), [7])
    owners = [event.subject_key.row for event in told(book, 0) if event.subject_key and event.subject_key.row]
    assert owners == [7, 7]
