"""Lanes shared between workers: fair, given and never held by two; the times are the database's (fault F29).

Source: architecture §5; operations chapter §4 (lanes).
"""

from collections.abc import AsyncIterator

import pytest

from adapter.errors import Conflict
from adapter.holding import Holding
from adapter.store import leases, messages
from adapter.store.engine import DataStore, Server
from adapter.store.leases import Seat
from adapter.store.messages import LANES
from tests.adapter.store.conftest import ORG, PAIRING

pytestmark = pytest.mark.postgres

LEASE_MS = 60_000


@pytest.fixture
async def store(emptied: Server) -> AsyncIterator[DataStore]:
    opened = DataStore.open(emptied, PAIRING)
    yield opened
    opened.close()


def worker(store: DataStore, name: str, lease_ms: int = LEASE_MS) -> Holding:
    """A worker whose own clock is wrong by years: nothing may rest on it."""
    return Holding(ORG, store, name, lambda: 1_000, shared=True, lease_ms=lease_ms)


async def look(*workers: Holding, together: bool = False, needed: frozenset[int] = frozenset()) -> None:
    for one in workers:
        one.look_soon()
        await one.keep(together=together, needed=set(needed))


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 64])
def test_the_shares_of_all_are_all_lanes(workers: int) -> None:
    seats = [Seat(rank, workers) for rank in range(workers)]
    assert sum(seat.share(together=False) for seat in seats) == LANES
    assert [seat.share(together=True) for seat in seats] == [LANES] + [0] * (workers - 1)


async def test_workers_that_come_and_go_divide_the_lanes_and_no_lane_is_twos(store: DataStore) -> None:
    one, two, three = (worker(store, name) for name in ("one", "two", "three"))
    await look(one)
    assert len(one.lanes) == LANES
    await look(two, one, two)
    assert (len(one.lanes), len(two.lanes)) == (32, 32)
    await look(three, one, two, three)
    assert sorted(len(each.lanes) for each in (one, two, three)) == [21, 21, 22]
    assert one.lanes | two.lanes | three.lanes == set(range(LANES))
    await two.leave()
    await look(one, three)
    assert (len(one.lanes), len(three.lanes)) == (32, 32)
    assert not one.lanes & three.lanes


async def test_a_worker_past_its_lease_loses_what_others_took_and_commits_nothing_under_it(store: DataStore) -> None:
    slow, quick = worker(store, "slow", lease_ms=1), worker(store, "quick")
    await look(slow)
    lanes = slow.lanes
    await look(quick)
    assert quick.lanes == lanes
    with pytest.raises(Conflict):
        await store.write(lambda conn: messages.fence(conn, ORG, slow.lease, [3]))
    slow.look_soon()
    assert await slow.keep(together=False, needed=set()), "it hears that its lanes are others"
    assert not slow.lanes & quick.lanes
    await store.write(lambda conn: messages.fence(conn, ORG, quick.lease, [3]))


async def test_a_worker_past_its_lease_whom_nobody_followed_goes_on(store: DataStore) -> None:
    slow = worker(store, "slow", lease_ms=1)
    await look(slow)
    tokens = slow.lease.tokens
    await look(slow)
    assert slow.lease.tokens == tokens


async def test_the_lane_of_a_message_in_two_goes_to_who_holds_the_lower(store: DataStore) -> None:
    one, two = worker(store, "one"), worker(store, "two")
    await look(one, two, one, two)
    low, high = min(one.lanes), max(two.lanes)
    assert not await one.settle((low, high)), "the lower one's holder waits"
    assert await two.settle((low, high))
    assert high not in two.lanes
    await look(one, needed=frozenset((low, high)))
    assert {low, high} <= one.lanes, "and keeps what it needs, above its share"
    with pytest.raises(Conflict):
        await store.write(lambda conn: messages.fence(conn, ORG, two.lease, [high]))
    await store.write(lambda conn: messages.fence(conn, ORG, one.lease, [low, high]))
    await look(one, two)
    assert (len(one.lanes), len(two.lanes)) == (32, 32)


async def test_who_meets_a_message_of_a_worker_that_is_gone_takes_its_lane(store: DataStore) -> None:
    one, two = worker(store, "one"), worker(store, "two")
    await look(one, two, one, two)
    low, high = min(one.lanes), max(two.lanes)
    await one.leave()
    assert await two.settle((low, high))
    assert {low, high} <= two.lanes


async def test_one_worker_has_all_lanes_where_a_feed_keeps_one_order(store: DataStore) -> None:
    one, two = worker(store, "one"), worker(store, "two")
    await look(one, two, one, two)
    await look(two, one, together=True)
    await look(two, one, together=True)
    assert sorted((len(one.lanes), len(two.lanes))) == [0, LANES]


async def test_a_task_is_one_workers_until_it_leaves(store: DataStore) -> None:
    def ask(name: str) -> bool:
        task = (leases.TASKS, leases.ANSWERS)
        return store.write_now(lambda conn: leases.hold(conn, ORG, *task, name, 0, LEASE_MS))

    assert (ask("one"), ask("two"), ask("one")) == (True, False, True)
    store.write_now(lambda conn: leases.leave(conn, ORG, "one"))
    assert (ask("two"), ask("one")) == (True, False)
