"""The rules of sequencing: ledger format §2 (ids), §5 (types), §6 (requires, ends, epochs, time)."""

import os
from dataclasses import replace
from typing import Any, cast

import pytest

from ledger.commitment import field_salt as salt_of
from ledger.commitment import lone_tag, opens, subject_tag
from ledger.errors import BasisEnded, ConflictError, EntryError, LedgerError
from ledger.event import Event, Fact, Outcome, RequiresEpoch, RequiresRef, decode, id_bytes
from ledger.sequence import Prepared, Receipt, Sequenced, prepare, question, sequence
from ledger.store.base import Entry, Facts, Head
from tests.ledger.conftest import (
    HOUSE,
    ORG,
    ORIGIN,
    PATIENT,
    RULES,
    an_id,
    consent,
    policy,
    read,
    retirement,
)

T = "2026-03-04T09:00:00.000Z"
LATER = "2026-03-04T09:00:01.000Z"


def ready(event: Event, t: str = T) -> Prepared:
    return prepare(event, ORIGIN, t, RULES, os.urandom)


def decide(*batches: list[Event], size: int = 1, last_t: str = T, now: str = T, **facts: Any) -> Sequenced:
    """Group `batches` onto a log of `size` entries."""
    given = Facts(Head(size, last_t), facts.get("entries", {}), facts.get("ended", {}), facts.get("epochs", {}))
    return sequence([[ready(event) for event in batch] for batch in batches], given, now, "2026")


def fault(outcome: list[Receipt] | LedgerError) -> LedgerError:
    assert isinstance(outcome, LedgerError)
    return outcome


def receipts(outcome: list[Receipt] | LedgerError) -> list[str]:
    assert isinstance(outcome, list)
    return [str(receipt) for receipt in outcome]


def body(sequenced: Sequenced, place: int = 0) -> dict[str, Any]:
    return decode(sequenced.writes.entries[place].body)


# entries


def test_what_was_decided_behind_one_head_is_the_same_behind_another_but_for_its_places() -> None:
    known, ended = policy(), "2026:0"
    (before,) = decide([known], size=1).writes.entries
    group = ([policy(), policy()], [retirement(ended)], [retirement(ended)], [known], [policy()])
    here = decide(*group, size=5, entries={before.id: before})
    moved = here.behind(9)
    assert [entry.index for entry in here.writes.entries] == [5, 6, 7, 8]
    assert [entry.index for entry in moved.writes.entries] == [9, 10, 11, 12]
    assert [(one.id, one.leaf, one.body) for one in moved.writes.entries] == [
        (one.id, one.leaf, one.body) for one in here.writes.entries
    ]
    assert (moved.writes.head, moved.writes.ended) == (Head(13, here.writes.head.last_t), {ended: 11})
    first, second, third, fourth, fifth = moved.outcomes
    assert (receipts(first), receipts(second), receipts(fifth)) == (["2026:9", "2026:10"], ["2026:11"], ["2026:12"])
    assert isinstance(fault(third), ConflictError)
    assert receipts(fourth) == [f"2026:{before.index}"], "written before"
    assert here.behind(5) is here


def test_a_question_names_the_oldest_epoch_that_somebody_rests_on() -> None:
    needs = [read(requires=[RequiresEpoch(7, 5)]), read(requires=[RequiresEpoch(7, 3), RequiresEpoch(8, 1)])]
    asked = question([[ready(event)] for event in needs])
    assert (list(asked.subjects), dict(asked.epochs)) == ([7, 8], {7: 3, 8: 1})


def test_entries_follow_the_head_in_the_order_of_the_batches() -> None:
    done = decide([policy(), policy()], [policy()], size=5)
    assert [receipts(outcome) for outcome in done.outcomes] == [["2026:5", "2026:6"], ["2026:7"]]
    assert [entry.index for entry in done.writes.entries] == [5, 6, 7]
    assert done.writes.head == Head(8, T)


@pytest.mark.parametrize(("now", "last_t", "stamped"), [(LATER, T, LATER), (T, LATER, LATER), (T, "", T)])
def test_time_never_goes_back(now: str, last_t: str, stamped: str) -> None:
    done = decide([policy()], now=now, last_t=last_t)
    assert body(done)["t"] == stamped == done.writes.head.last_t


def test_an_entry_stamped_in_another_month_than_prepared_has_that_months_tag() -> None:
    prepared = ready(read(), "2026-03-31T23:59:59.999Z")
    entry = decode(prepared.at("2026-04-01T00:00:00.000Z"))
    assert entry["tag"] == subject_tag(PATIENT, ORIGIN, "2026-04")
    assert decode(prepared.at("2026-03-31T23:59:59.999Z"))["tag"] == subject_tag(PATIENT, ORIGIN, "2026-03")


def test_an_event_about_nobody_may_be_stamped_in_another_month_too() -> None:
    assert decode(ready(policy()).at("2026-04-01T00:00:00.000Z"))["t"] == "2026-04-01T00:00:00.000Z"


def test_a_time_inside_the_clear_fields_is_not_mistaken_for_the_entrys() -> None:
    lost: dict[str, Fact] = {"origin": ORIGIN, "lost": {"t": "2020-01-01T00:00:00.000Z", "type": T}}
    prepared = ready(Event("log.opened", an_id(), ORG, clear=lost))
    entry = decode(prepared.at(LATER))
    assert (entry["t"], entry["d"]) == (LATER, lost)


def test_secret_values_are_committed_and_open_with_their_salt() -> None:
    event = read()
    entry = body(decide([event]))
    assert entry.keys() == {"v", "type", "id", "org", "t", "outcome", "tag", "c"}
    assert entry["tag"] == subject_tag(PATIENT, ORIGIN, "2026-03")
    salt = salt_of(PATIENT, id_bytes(event.id), "purpose")
    assert opens(entry["c"]["purpose"], salt, "purpose", b"TREAT")


def test_no_person_on_the_ledger() -> None:
    """Nothing of what a caller calls secret, and nothing of its detail, is in the entry."""
    secret = {name: f"Kaya-{name}-1970" for name in ("actor", "subject", "purpose", "content", "basis")}
    event = replace(read(), secret=secret, detail=b"Kaya was here")
    assert b"Kaya" not in decide([event]).writes.entries[0].body
    assert "Kaya" not in repr(event)


def test_a_refusal_about_nobody_looks_like_one_about_somebody() -> None:
    about = Event("access.denied", an_id(), ORG, "deny", PATIENT, secret={"actor": "u", "subject": "o-7"}, detail=b"1")
    nobody = Event("access.denied", an_id(), ORG, "deny", HOUSE, secret={"actor": "u"}, detail=b"2")
    first, second = body(decide([about])), body(decide([nobody]))
    assert first.keys() == second.keys()
    assert first["c"].keys() == second["c"].keys() == {"actor", "purpose", "subject"}
    assert {len(value) for value in (*second["c"].values(), *first["c"].values())} == {64}
    assert second["tag"] == lone_tag(HOUSE, id_bytes(nobody.id))
    assert opens(second["c"]["subject"], salt_of(HOUSE, id_bytes(nobody.id), "subject"), "subject", b"none")


def test_an_event_with_a_key_and_nothing_to_commit_bears_the_tag_alone() -> None:
    clear: dict[str, Fact] = {"vault_row": PATIENT.row, "ground": "request", "approvals": 2}
    erased = Event("erasure.performed", an_id(), ORG, None, PATIENT, clear, epoch=9)
    entry = body(decide([erased]))
    assert entry["tag"] == subject_tag(PATIENT, ORIGIN, "2026-03")
    assert "c" not in entry


def test_the_organisations_own_events_bear_no_tag() -> None:
    acted = Event("operator.acted", an_id(), ORG, None, HOUSE, {"action": "replay"}, {"actor": "u", "target": "m"})
    assert "tag" not in body(decide([acted]))


# rules of the types


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (replace(policy(), type="policy.invented"), "not registered"),
        (replace(policy(), id="not-an-id"), "UUIDv7"),
        (replace(policy(), org=""), "no org"),
        (replace(policy(), org="Zürich"), r"U\+0020"),
        (replace(policy(), clear={"name": "x"}), "lacks digest"),
        (replace(policy(), clear={"digest": "x", "name": "y", "patient": "z"}), "no clear field patient"),
        (replace(policy(), clear={"digest": "x", "name": "Ü"}), r"U\+0020"),
        (replace(policy(), outcome="permit"), "has no outcome"),
        (replace(policy(), epoch=1), "has no epoch"),
        (replace(read(), outcome=None), "needs outcome"),
        (replace(read(), outcome=cast(Outcome, "maybe")), "neither permit nor deny"),
        (replace(read(), detail=None), "needs detail"),
        (replace(read(), subject_key=None), "needs a subject key"),
        (replace(read(), secret={**read().secret, "name": "x"}), "commits to no name"),
        (replace(consent(), epoch=None), "needs epoch"),
        (replace(read(), requires=[RequiresRef("2026")]), "shard:index"),
        (replace(read(), requires=[RequiresRef("2026:0", "tomorrow")]), "not a time"),
        (replace(policy(), ends=["x"]), "shard:index"),
        (replace(policy(), clear={"digest": "x" * 66_000, "name": "y"}), "too long"),
    ],
)
def test_what_a_type_does_not_allow_is_refused(event: Event, message: str) -> None:
    with pytest.raises(EntryError, match=message):
        ready(event)


def test_a_permit_without_its_basis_is_no_entry() -> None:
    """Only refusals are filled up with `none`."""
    event = read()
    bare = {name: value for name, value in event.secret.items() if name != "basis"}
    with pytest.raises(EntryError, match="does not commit to basis"):
        ready(replace(event, secret=bare))


# ids


def test_the_same_event_again_gives_the_same_receipt() -> None:
    event = read(basis="2026:0")
    first = decide([event])
    entry = first.writes.entries[0]
    again = decide([event], size=9, last_t=LATER, now=LATER, entries={entry.id: entry})
    assert again.outcomes == first.outcomes
    assert again.writes.entries == ()


def test_the_same_event_again_stands_though_its_basis_has_ended() -> None:
    """It was logged before the end; a retry must not be told otherwise."""
    event = read(basis="2026:0")
    entry = decide([event]).writes.entries[0]
    again = decide([event], size=9, entries={entry.id: entry}, ended={"2026:0": 2}, epochs={PATIENT.row: 9})
    assert receipts(again.outcomes[0]) == ["2026:1"]


def test_the_same_id_with_another_event_is_a_conflict() -> None:
    event = read()
    entry = decide([event]).writes.entries[0]
    other = replace(event, secret={**event.secret, "actor": "u-42"})
    assert isinstance(fault(decide([other], entries={entry.id: entry}).outcomes[0]), ConflictError)


def test_an_id_taken_in_another_shard_is_a_conflict() -> None:
    event = policy()
    entry = decide([event]).writes.entries[0]
    foreign = Entry(-1, entry.id, entry.leaf, entry.body)
    assert isinstance(fault(decide([event], entries={entry.id: foreign}).outcomes[0]), ConflictError)


def test_one_id_twice_in_a_group_is_one_entry() -> None:
    event = read(basis="2026:0")
    done = decide([event], [event, event])
    assert [receipts(outcome) for outcome in done.outcomes] == [["2026:1"], ["2026:1", "2026:1"]]
    assert len(done.writes.entries) == 1


# what must still hold


def test_no_permit_after_the_end_of_its_basis() -> None:
    done = decide([read(basis="2026:0")], ended={"2026:0": 3}, size=4)
    assert fault(done.outcomes[0]).args == BasisEnded(("2026:0",)).args
    assert done.writes.entries == ()


def test_no_permit_in_the_group_that_ends_its_basis() -> None:
    done = decide([retirement("2026:0")], [read(basis="2026:0")], size=1)
    assert receipts(done.outcomes[0]) == ["2026:1"]
    assert isinstance(fault(done.outcomes[1]), BasisEnded)
    assert done.writes.ended == {"2026:0": 1}


def test_a_permit_before_the_end_in_the_same_group_stands() -> None:
    done = decide([read(basis="2026:0")], [retirement("2026:0")], size=1)
    assert [receipts(outcome) for outcome in done.outcomes] == [["2026:1"], ["2026:2"]]


@pytest.mark.parametrize(("until", "holds"), [(T, False), (LATER, True), (None, True)])
def test_a_basis_lapses_at_its_until(until: str | None, holds: bool) -> None:
    done = decide([read(requires=[RequiresRef("2026:0", until)])])
    assert isinstance(done.outcomes[0], list) is holds


def test_a_basis_that_is_not_in_the_log_is_no_basis() -> None:
    assert isinstance(fault(decide([read(basis="2026:1")], size=1).outcomes[0]), BasisEnded)
    assert receipts(decide([policy(), read(basis="2026:1")], size=1).outcomes[0]) == ["2026:1", "2026:2"]


def test_a_basis_in_an_older_shard_is_taken_on_trust() -> None:
    assert receipts(decide([read(basis="2025:99")]).outcomes[0]) == ["2026:1"]


def test_no_permit_under_an_epoch_that_something_newer_has_raised() -> None:
    assert receipts(decide([read(epoch=3)], epochs={PATIENT.row: 3}).outcomes[0]) == ["2026:1"]
    stale = fault(decide([read(epoch=2)], epochs={PATIENT.row: 3}).outcomes[0])
    assert isinstance(stale, BasisEnded)
    assert stale.refs == ("epoch",)
    assert str(PATIENT.row) not in str(stale)


def test_a_deny_in_the_same_group_stops_the_permit_behind_it() -> None:
    done = decide([consent("revoked", epoch=5)], [read(epoch=4)])
    assert isinstance(fault(done.outcomes[1]), BasisEnded)
    assert done.writes.epochs == {PATIENT.row: 5}


def test_an_epoch_never_falls() -> None:
    assert decide([consent(epoch=2)], epochs={PATIENT.row: 7}).writes.epochs == {PATIENT.row: 7}


def test_everything_that_has_ended_is_named_at_once() -> None:
    requires = [RequiresRef("2026:0"), RequiresRef("2026:1"), RequiresRef("2026:2", T)]
    done = decide([read(requires=requires)], ended={"2026:0": 3}, size=4)
    error = fault(done.outcomes[0])
    assert isinstance(error, BasisEnded)
    assert error.refs == ("2026:0", "2026:2")


def test_what_has_ended_cannot_end_again() -> None:
    done = decide([retirement("2026:0")], [retirement("2026:0")])
    assert receipts(done.outcomes[0]) == ["2026:1"]
    assert isinstance(fault(done.outcomes[1]), ConflictError)
    assert isinstance(fault(decide([retirement("2026:0")], ended={"2026:0": 1}).outcomes[0]), ConflictError)


def test_what_is_not_in_the_log_cannot_end() -> None:
    assert isinstance(fault(decide([retirement("2026:5")]).outcomes[0]), ConflictError)


def test_a_batch_stands_or_falls_whole_and_alone() -> None:
    """The fault of one batch takes back its own entries, ends and epochs, and no other's."""
    bad = [retirement("2026:0"), consent(epoch=9), read(basis="2026:0")]
    done = decide([policy()], bad, [read(basis="2026:0", epoch=1)])
    assert receipts(done.outcomes[0]) == ["2026:1"]
    assert isinstance(fault(done.outcomes[1]), BasisEnded)
    assert receipts(done.outcomes[2]) == ["2026:2"]
    assert (done.writes.ended, done.writes.epochs) == ({}, {})


def test_a_group_asks_for_all_it_will_need() -> None:
    event = read(basis="2026:0")
    asked = question([[ready(event)], [ready(retirement("2026:1")), ready(consent())]])
    assert asked.ids[0] == id_bytes(event.id)
    assert asked.refs == ["2026:0", "2026:1"]
    assert asked.subjects == [PATIENT.row]


def test_a_group_in_which_all_fails_writes_nothing() -> None:
    done = decide([retirement("2026:9")], size=3, last_t=LATER)
    assert done.writes.head == Head(3, LATER)
