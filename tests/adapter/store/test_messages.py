"""States, lanes, holds and replays: operations chapter §4; fault F29 (a worker past its lease)."""

import pytest
from sqlalchemy import Connection

from adapter.errors import Conflict, NotFound
from adapter.store import messages, outbox
from adapter.store.engine import Hot
from adapter.store.messages import MOVES, Lease, MessageState, Step
from adapter.store.unit import Unit
from adapter.store.writing import commit_unit
from tests.adapter.store.conftest import AT, ORG, Site, patient, told

ANA, BEN = b"a" * 16, b"b" * 16


def step(seq: int, to: str, *patients: bytes, fingerprint: str | None = None) -> Step:
    return Step(seq, "main", to, "worker-1", "why", patients, fingerprint=fingerprint, code="poison")


async def move(site: Site, one: Step, at: int = 1) -> MessageState:
    return await site.write(lambda conn: messages.move(conn, ORG, one, at))


async def state(site: Site, seq: int) -> str | None:
    found = await site.read(lambda conn: messages.state(conn, ORG, seq))
    return found.state if found else None


async def test_a_message_without_a_row_is_new(site: Site) -> None:
    assert await state(site, 1) is None
    await move(site, step(1, "mapped"))
    assert await state(site, 1) == "mapped"


@pytest.mark.parametrize("to", sorted({state for moves in MOVES.values() for state in moves}))
@pytest.mark.parametrize("path", [[], ["mapped"], ["quarantined"], ["held"], ["rejected"], ["filtered"], ["duplicate"]])
async def test_only_the_moves_of_the_table_are_made(site: Site, path: list[str], to: str) -> None:
    for state_ in path:
        await move(site, step(1, state_))
    before = path[-1] if path else "new"
    if to in MOVES.get(before, frozenset()):
        assert (await move(site, step(1, to))).state == to
    else:
        with pytest.raises(Conflict, match=f"{before} cannot become {to}"):
            await move(site, step(1, to))


async def test_transitions_are_kept_in_order_and_never_overwritten(site: Site) -> None:
    await move(site, step(1, "quarantined", ANA), 10)
    await site.write(lambda conn: messages.replay(conn, ORG, 1, 1, "operator", "rows were mended", 20))
    await move(site, step(1, "mapped"), 30)
    rows = await site.read(lambda conn: messages.transitions(conn, ORG, 1))
    assert [(one.attempt, one.from_state, one.to_state, one.at, one.who) for one in rows] == [
        (1, "new", "quarantined", 10, "worker-1"),
        (2, "quarantined", "new", 20, "operator"),
        (2, "new", "mapped", 30, "worker-1"),
    ]
    assert await site.rows("SELECT attempt, who, why FROM attempt") == [(2, "operator", "rows were mended")]


async def test_a_mapped_message_is_delivered_once_all_its_events_are_logged(site: Site) -> None:
    def work(conn: Connection) -> None:
        unit = Unit("transform.hl7v2", "main", AT, (told(patient("ana", "7")), told(patient("ben", "8"))), seq=5)
        written = commit_unit(conn, unit, site.keyring)
        messages.done(conn, ORG, Step(5, "main", "mapped", "w", txn=written.txn), 1, logged_too=not written.events)

    await site.write(work)
    first, second = await site.read(lambda conn: outbox.pending(conn, ORG))
    await site.write(lambda conn: outbox.mark(conn, ORG, [(first, "2026:1")], 2))
    assert await state(site, 5) == "mapped"
    await site.write(lambda conn: outbox.mark(conn, ORG, [(second, "2026:2")], 3))
    assert await state(site, 5) == "delivered"
    rows = await site.read(lambda conn: messages.transitions(conn, ORG, 5))
    assert [one.to_state for one in rows] == ["mapped", "logged", "delivered"]


async def test_a_message_with_nothing_for_the_ledger_is_delivered_at_once(site: Site) -> None:
    await site.write(lambda conn: messages.done(conn, ORG, step(1, "mapped"), 1, logged_too=True))
    assert await state(site, 1) == "delivered"


# --- holds -----------------------------------------------------------------------------------------------------------


async def test_later_messages_of_a_quarantined_patient_wait_and_no_ones_else(site: Site) -> None:
    await move(site, step(1, "quarantined", ANA))

    async def blocked(seq: int, *patients: bytes) -> int | None:
        return await site.read(lambda conn: messages.blocked(conn, ORG, patients, seq))

    assert await blocked(2, ANA) == 1
    assert await blocked(2, BEN) is None
    assert await blocked(2) is None
    assert await blocked(1, ANA) is None
    await move(site, step(2, "held", ANA, BEN))
    assert await blocked(3, BEN) == 2
    await site.write(lambda conn: messages.discard(conn, ORG, 1, 1, "operator", "not ours", 5))
    assert await blocked(3, ANA) == 2
    await site.write(lambda conn: messages.replay(conn, ORG, 2, 1, "operator", "", 6))
    assert await blocked(3, ANA, BEN) is None


async def test_what_waits_behind_a_message_is_listed_oldest_first(site: Site) -> None:
    for one in (step(1, "quarantined", ANA), step(3, "held", ANA), step(2, "held", ANA, BEN), step(4, "held", BEN)):
        await move(site, one)
    waiting = await site.read(lambda conn: messages.held_behind(conn, ORG, 1))
    assert [one.seq for one in waiting] == [2, 3]


async def test_hold_feed_stops_until_a_person_acts(site: Site) -> None:
    async def stopped(feed: str, seq: int) -> bool:
        return await site.read(lambda conn: messages.stopped(conn, ORG, feed, seq))

    assert not await stopped("main", 3)
    await move(site, step(2, "quarantined"))
    assert await stopped("main", 3)
    assert not await stopped("main", 1), "an older message does not wait for a newer one"
    assert not await stopped("other", 3)
    await move(site, step(3, "held"))
    await move(site, step(2, "new"))
    assert await stopped("main", 4), "what is held goes first"


async def test_quarantine_groups_by_fingerprint_and_one_fix_replays_all(site: Site) -> None:
    for seq, fingerprint in ((1, "aa"), (2, "bb"), (3, "aa")):
        await move(site, step(seq, "quarantined", fingerprint=fingerprint), seq)
    groups = await site.read(lambda conn: messages.groups(conn, ORG))
    assert groups == [("aa", "main", "poison", 2, 1, 3), ("bb", "main", "poison", 1, 2, 2)]
    same = await site.read(lambda conn: messages.by_fingerprint(conn, ORG, "aa"))
    for one in same:
        await site.write(lambda conn, one=one: messages.replay(conn, ORG, one.seq, one.stamp, "op", "", 9))  # type: ignore[misc]
    again = await site.read(lambda conn: messages.in_state(conn, ORG, ["new"]))
    assert [(one.seq, one.attempt) for one in again] == [(1, 2), (3, 2)]


async def test_two_operators_at_once_and_one_wins(site: Site) -> None:
    await move(site, step(1, "quarantined"))
    await site.write(lambda conn: messages.replay(conn, ORG, 1, 1, "first", "", 2))
    with pytest.raises(Conflict, match="somebody else"):
        await site.write(lambda conn: messages.discard(conn, ORG, 1, 1, "second", "", 2))
    with pytest.raises(NotFound):
        await site.write(lambda conn: messages.replay(conn, ORG, 99, 0, "first", "", 2))


# --- lanes -----------------------------------------------------------------------------------------------------------


async def claim(site: Site, worker: str, *lanes: int, now: int = 0) -> Lease:
    return await site.write(lambda conn: messages.claim(conn, ORG, worker, lanes, now, 100))


async def lapse(site: Site) -> None:
    """Let the time of every lease pass, by whichever clock it runs."""
    await site.write(lambda conn: Hot(conn).run("UPDATE lane SET until = 0"))


async def fence(site: Site, lease: Lease, *lanes: int) -> None:
    await site.write(lambda conn: messages.fence(conn, ORG, lease, lanes))


async def test_a_lane_has_one_worker_at_a_time(site: Site) -> None:
    first = await claim(site, "a", 1, 2)
    assert first.tokens == {1: 1, 2: 1}
    assert (await claim(site, "b", 2, 3, now=50)).tokens == {3: 1}
    assert (await claim(site, "a", 1, 2, now=50)).tokens == {1: 1, 2: 1}


async def test_a_worker_past_its_lease_commits_nothing(site: Site) -> None:
    slow = await claim(site, "a", 1)
    await fence(site, slow, 1)
    await lapse(site)
    quick = await claim(site, "b", 1, now=101)
    assert quick.tokens[1] > slow.tokens[1]
    with pytest.raises(Conflict, match="another worker"):
        await fence(site, slow, 1)
    await fence(site, quick, 1)


async def test_a_lane_that_is_not_held_is_refused(site: Site) -> None:
    lease = await claim(site, "a", 1)
    with pytest.raises(Conflict):
        await fence(site, lease, 1, 2)


async def test_a_released_lane_is_free_and_its_old_token_is_not(site: Site) -> None:
    first = await claim(site, "a", 1)
    await site.write(lambda conn: messages.release(conn, ORG, first))
    second = await claim(site, "b", 1, now=1)
    assert second.tokens == {1: 2}
    await site.write(lambda conn: messages.release(conn, ORG, first))
    await fence(site, second, 1)


# --- where to go on --------------------------------------------------------------------------------------------------


async def test_who_holds_the_site_alone_does_not_wait_for_the_leases_of_the_dead(site: Site) -> None:
    dead = await claim(site, "a", 1, 2)
    await site.write(lambda conn: messages.vacate(conn, ORG))
    assert (await claim(site, "b", 1, 2, now=1)).tokens == {1: 2, 2: 2}
    with pytest.raises(Conflict, match="passed to another worker"):
        await fence(site, dead, 1)


async def test_a_worker_finds_what_has_no_state_yet(site: Site) -> None:
    for seq in (1, 3):
        await move(site, step(seq, "filtered"))
    assert await site.read(lambda conn: messages.unseen(conn, ORG, [1, 2, 3, 4])) == [2, 4]
    assert await site.read(lambda conn: messages.unseen(conn, ORG, [])) == []


async def test_the_mark_only_moves_forward(site: Site) -> None:
    assert await site.read(lambda conn: messages.mark(conn, ORG)) == 0
    for seq in (7, 5):
        await site.write(lambda conn, seq=seq: messages.set_mark(conn, ORG, seq))  # type: ignore[misc]
    assert await site.read(lambda conn: messages.mark(conn, ORG)) == 7


async def test_counts_are_what_the_rows_say(site: Site) -> None:
    for seq, to in ((1, "filtered"), (2, "filtered"), (3, "quarantined")):
        await move(site, step(seq, to))
    assert await site.read(lambda conn: messages.counts(conn, ORG)) == {
        ("main", "filtered"): 2,
        ("main", "quarantined"): 1,
    }
    listed = await site.read(
        lambda conn: messages.in_state(conn, ORG, ["filtered", "quarantined"], feed="main", after=1)
    )
    assert [one.seq for one in listed] == [2, 3]
