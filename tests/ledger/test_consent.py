"""Consents as a fold (ledger chapter §10): none → granted ⇄ amended → revoked | expired, and nothing else."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.consent import EVENTS, TRANSITIONS, Consents, State

events = st.sampled_from(sorted(EVENTS))


def test_what_was_revoked_or_has_expired_stays_so() -> None:
    assert not {state for state, _ in TRANSITIONS} & {State.REVOKED, State.EXPIRED}


def test_nothing_begins_but_by_a_grant() -> None:
    assert [event for state, event in TRANSITIONS if state is State.NONE] == ["consent.granted"]


@given(st.lists(st.tuples(events, st.sampled_from(["h1", "h2"])), max_size=12))
@settings(max_examples=100, deadline=None)
def test_a_refused_entry_changes_nothing_and_handles_do_not_touch(steps: list[tuple[str, str]]) -> None:
    consents = Consents()
    for index, (event, handle) in enumerate(steps):
        other = {"h1": "h2", "h2": "h1"}[handle]
        beside, before = consents.of(other), consents.of(handle)
        moved = consents.take(index, event, handle)
        assert consents.of(other) == beside
        assert moved.before == before
        assert moved.after == consents.of(handle)
        assert moved.refused is ((before.state, event) not in TRANSITIONS)
        assert consents.of(handle).index == (before.index if moved.refused else index)


def test_a_consent_is_amended_as_often_as_one_likes() -> None:
    consents = Consents()
    for index, event in enumerate(["granted", "amended", "amended", "granted", "amended", "revoked"]):
        assert not consents.take(index, f"consent.{event}", "h").refused
    assert consents.take(9, "consent.granted", "h").refused
    assert consents.of("h").state is State.REVOKED
