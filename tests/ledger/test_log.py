"""The log as its callers see it: append, integrate, prove, start again (ledger format §1, §6, §7, §15)."""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.errors import AppendFailed, BasisEnded, ConflictError, EntryError, IntegrityError, LedgerError
from ledger.event import RequiresRef, decode
from ledger.log import BATCH_EVENTS, QUEUE_EVENTS, Ledger, NotIntegrated
from ledger.merkle import verify_consistency, verify_inclusion
from ledger.note import Ed25519Signer
from ledger.store.base import D, Facts, Head, LogStore, Question, StoreError
from ledger.store.memory import MemoryLogStore
from ledger.vault import Vault, create_vault, memory_vault, open_vault
from tests.ledger.conftest import (
    ORIGIN,
    OTHER,
    PAIRING,
    PATIENT,
    SIGNER,
    Ticking,
    an_id,
    consent,
    ledger_of,
    policy,
    read,
    retirement,
    writer_of,
)


async def opened(ledger: Ledger) -> str:
    """A basis to read under."""
    receipts = await ledger.append([*ledger.opening(), policy()])
    return str(receipts[-1])


# append


async def test_receipts_are_in_the_order_of_the_events(ledger: Ledger) -> None:
    receipts = await ledger.append([*ledger.opening(), policy()])
    assert [str(receipt) for receipt in receipts] == ["2026:0", "2026:1", "2026:2"]
    entries = await ledger.entries(0, 3)
    assert [receipt.leaf_hash for receipt in receipts] == [entry.leaf for entry in entries]
    assert decode(entries[0].body)["d"] == {"origin": ORIGIN}
    assert decode(entries[1].body)["d"] == {"role": "log", "new": ledger.vkey}
    assert ledger.size == 3


async def test_an_empty_batch_logs_nothing(ledger: Ledger) -> None:
    assert await ledger.append([]) == []


async def test_many_callers_at_once_share_few_commits(spare_vault: Vault) -> None:
    commits: list[str] = []
    store = MemoryLogStore(lambda name: commits.append(name) if name == "append.entries_committed" else None)
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    basis = await opened(ledger)
    done = await asyncio.gather(*(ledger.append([read(basis=basis)]) for _ in range(200)))
    assert sorted(receipt.index for (receipt,) in done) == list(range(3, 203))
    assert len(commits) < 20
    await ledger.close()


async def test_acknowledged_details_open_under_the_subjects_key(ledger: Ledger) -> None:
    event = read(basis=await opened(ledger))
    await ledger.append([event])
    assert await ledger.detail(event.id, PATIENT) == b"who, what"
    assert await ledger.detail(an_id(), PATIENT) is None
    with pytest.raises(LedgerError):
        await ledger.detail(event.id, OTHER)


async def test_a_retry_gets_the_first_receipt_and_the_first_detail(ledger: Ledger) -> None:
    event = read(basis=await opened(ledger))
    first = await ledger.append([event])
    again = await ledger.append([replace(event, detail=b"told otherwise")])
    assert again == first
    assert await ledger.detail(event.id, PATIENT) == b"who, what"
    found = await ledger.find(event.id)
    assert found == first[0]
    assert await ledger.find(an_id()) is None


async def test_a_faulty_event_fails_its_caller_alone(ledger: Ledger) -> None:
    basis = await opened(ledger)
    bad = replace(read(), outcome=None)
    taken = read(basis=basis)
    await ledger.append([taken])
    calls = [
        [read(basis=basis)],
        [bad],
        [replace(taken, secret={**taken.secret, "actor": "u-9"})],
        [read(basis="2026:99")],
        [read(basis=basis), read(basis=basis)],
    ]
    done = await asyncio.gather(*(ledger.append(events) for events in calls), return_exceptions=True)
    kinds = [type(outcome) for outcome in done]
    assert kinds == [list, EntryError, ConflictError, BasisEnded, list]


async def test_no_permit_rests_on_what_has_ended(ledger: Ledger) -> None:
    """A retirement racing many reads: every read is logged before the end, or not at all."""
    basis = await opened(ledger)
    reads = [ledger.append([read(basis=basis)]) for _ in range(60)]
    end = ledger.append([retirement(basis)])
    done = await asyncio.gather(*reads[:30], end, *reads[30:], return_exceptions=True)
    (ended,) = (outcome for outcome in done[30:31] if isinstance(outcome, list))
    for outcome in (*done[:30], *done[31:]):
        assert isinstance(outcome, BasisEnded) or (isinstance(outcome, list) and outcome[0].index < ended[0].index)
    assert await ledger.ended([basis]) == {basis: str(ended[0])}
    with pytest.raises(BasisEnded):
        await ledger.append([read(basis=basis)])


async def test_no_permit_after_a_new_deny(ledger: Ledger) -> None:
    basis = await opened(ledger)
    await ledger.append([read(basis=basis, epoch=1)])
    await ledger.append([consent(epoch=2)])
    with pytest.raises(BasisEnded):
        await ledger.append([read(basis=basis, epoch=1)])
    await ledger.append([read(basis=basis, epoch=2), read(OTHER, basis=basis, epoch=1)])


async def test_a_basis_lapses_by_the_logs_own_time(spare_vault: Vault) -> None:
    clock = Ticking()
    ledger = ledger_of(MemoryLogStore(), spare_vault, clock)
    await ledger.start()
    basis = await opened(ledger)
    until = RequiresRef(basis, "2026-03-04T09:00:02.000Z")
    await ledger.append([read(requires=[until])])
    clock.pass_(2)
    with pytest.raises(BasisEnded):
        await ledger.append([read(requires=[until])])
    await ledger.close()


async def test_a_jump_of_the_wall_clock_ends_nothing_early(spare_vault: Vault) -> None:
    steps: list[float] = []
    clock = Ticking()
    ledger = ledger_of(MemoryLogStore(), spare_vault, clock, clock_step=steps.append)
    await ledger.start()
    basis = await opened(ledger)
    clock.wall += timedelta(hours=1)
    (receipt,) = await ledger.append([read(requires=[RequiresRef(basis, "2026-03-04T09:00:02.000Z")])])
    assert receipt.t == "2026-03-04T09:00:00.000Z"
    assert steps == [3600.0]
    await ledger.close()


async def test_a_clock_behind_the_log_raises_the_alert_and_no_time_goes_back(spare_vault: Vault) -> None:
    store, steps = MemoryLogStore(), list[float]()
    first = ledger_of(store, spare_vault)
    await first.start()
    await opened(first)
    early = Ticking(Ticking().wall - timedelta(days=1))
    second = ledger_of(store, spare_vault, early, clock_step=steps.append)
    await second.start()
    assert steps == [-86_400.0]
    (receipt,) = await second.append([policy()])
    assert receipt.t == "2026-03-04T09:00:00.000Z"


# limits and failures


async def test_the_queue_and_the_batch_are_bounded(spare_vault: Vault) -> None:
    ledger = ledger_of(MemoryLogStore(), spare_vault)
    await ledger.start()
    with pytest.raises(EntryError, match="at most 4096"):
        await ledger.append([policy()] * (BATCH_EVENTS + 1))
    halves = [[policy() for _ in range(QUEUE_EVENTS // 4)] for _ in range(5)]
    done = await asyncio.gather(*(ledger.append(half) for half in halves), return_exceptions=True)
    assert [type(outcome) for outcome in done] == [list] * 4 + [AppendFailed]
    assert str(done[4]) == "busy"
    assert ledger.size == QUEUE_EVENTS
    await ledger.close()


class Breaking(MemoryLogStore):
    """A store whose next appends fail as told."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[BaseException] = []

    async def append(self, question: Question, decide: Callable[[Facts], D]) -> D:
        if self.failures:
            raise self.failures.pop(0)
        return await super().append(question, decide)


async def test_a_failing_store_fails_the_group_and_the_next_goes_on(spare_vault: Vault) -> None:
    store = Breaking()
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    store.failures = [StoreError("log failed (SQLITE_FULL)"), IntegrityError("log is damaged (SQLITE_CORRUPT)")]
    first = await asyncio.gather(*(ledger.append([policy()]) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in first] == [AppendFailed] * 3
    assert "SQLITE_FULL" in str(first[0])
    assert first[0] is not first[1]
    with pytest.raises(IntegrityError):
        await ledger.append([policy()])
    assert ledger.size == 0
    await ledger.append([policy()])
    await ledger.close()


async def test_an_interrupted_group_leaves_no_caller_waiting(spare_vault: Vault) -> None:
    store = Breaking()
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    store.failures = [KeyError("a mistake of ours")]
    with pytest.raises(AppendFailed, match="interrupted"):
        await ledger.append([policy()])
    with pytest.raises(KeyError):
        await ledger._pump  # type: ignore[misc]
    await ledger.append([policy()])
    await ledger.close()


async def test_nothing_is_logged_when_the_vault_fails(tmp_path: Path) -> None:
    """Vault first: no durable entry may lack its detail."""
    create_vault(tmp_path / "vault", PAIRING)
    vault, store = open_vault(tmp_path / "vault", PAIRING), MemoryLogStore()
    ledger = ledger_of(store, vault)
    await ledger.start()
    basis = await opened(ledger)
    other = sqlite3.connect(tmp_path / "vault", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    writer_of(vault).call(lambda connection: connection.execute("PRAGMA busy_timeout = 1"))
    with pytest.raises(AppendFailed, match="SQLITE_BUSY"):
        await ledger.append([read(basis=basis)])
    assert ledger.size == 3
    await ledger.append([policy()])
    other.execute("ROLLBACK")
    other.close()
    await ledger.close()
    await vault.close()


async def test_a_caller_that_goes_away_takes_nothing_back(ledger: Ledger) -> None:
    event = policy()
    task = asyncio.create_task(ledger.append([event]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ledger.append([policy()])
    found = await ledger.find(event.id)
    assert found is not None
    assert found.index == 0


async def test_a_closed_log_takes_nothing(spare_vault: Vault) -> None:
    ledger = ledger_of(MemoryLogStore(), spare_vault)
    await ledger.start()
    waiting = asyncio.create_task(ledger.append([policy()]))
    await asyncio.sleep(0)
    await ledger.close()
    assert [str(receipt) for receipt in await waiting] == ["2026:0"]
    with pytest.raises(AppendFailed, match="closing"):
        await ledger.append([policy()])


def test_the_log_key_bears_the_logs_name() -> None:
    with pytest.raises(IntegrityError, match="named otherwise"):
        ledger_of(MemoryLogStore(), memory_vault(), signer=Ed25519Signer("another/log", b"\1" * 32))


# proofs


async def test_every_entry_is_proven_under_every_checkpoint(ledger: Ledger) -> None:
    await ledger.append([policy() for _ in range(270)])
    first = await ledger.integrate()
    await ledger.append([policy() for _ in range(300)])
    second = await ledger.integrate()
    assert first is not None
    assert second is not None
    assert second == ledger.checkpoint()
    leaves = [entry.leaf for entry in await ledger.entries(0, second.size)]
    for checkpoint in (first, second):
        for index in range(0, checkpoint.size, 13):
            proof = await ledger.inclusion(f"2026:{index}", checkpoint.size)
            verify_inclusion(leaves[index], index, checkpoint.size, proof.hashes, checkpoint.root)
    between = await ledger.consistency(first.size)
    verify_consistency(first.size, second.size, first.root, second.root, between.hashes)


@given(st.lists(st.integers(1, 90), min_size=1, max_size=5))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_all_checkpoints_of_a_log_are_consistent(steps: list[int]) -> None:
    async def grow() -> None:
        vault = memory_vault()
        ledger = ledger_of(MemoryLogStore(), vault)
        await ledger.start()
        signed = []
        for step in steps:
            await ledger.append([policy() for _ in range(step)])
            signed.append(await ledger.integrate())
        for old in signed:
            for new in signed:
                if old is not None and new is not None and old.size <= new.size:
                    proof = await ledger.consistency(old.size, new.size)
                    verify_consistency(old.size, new.size, old.root, new.root, proof.hashes)
        await ledger.close()
        await vault.close()

    asyncio.run(grow())


async def test_a_young_entry_waits_for_its_checkpoint(ledger: Ledger) -> None:
    await ledger.append([policy()])
    with pytest.raises(NotIntegrated):
        await ledger.receipt("2026:0")
    await ledger.integrate()
    await ledger.append([policy()])
    with pytest.raises(NotIntegrated):
        await ledger.inclusion("2026:1")
    with pytest.raises(NotIntegrated):
        await ledger.root(2)
    await ledger.integrate()
    assert (await ledger.inclusion("2026:1")).size == 2


async def test_what_cannot_be_asked_is_said(ledger: Ledger) -> None:
    await ledger.append([policy()])
    await ledger.integrate()
    for ref in ("2026:7", "2025:0", "x"):
        with pytest.raises(EntryError):
            await ledger.inclusion(ref)
        with pytest.raises(EntryError):
            await ledger.entry(ref)
    with pytest.raises(EntryError):
        await ledger.consistency(2, 1)
    assert (await ledger.entry("2026:0")).index == 0


async def test_a_receipt_proves_its_entry_with_the_logs_key_alone(ledger: Ledger) -> None:
    await ledger.append([policy() for _ in range(9)])
    await ledger.integrate()
    receipt = await ledger.receipt("2026:4")
    entry = await ledger.entry("2026:4")
    assert receipt.verify(entry.body, ORIGIN, SIGNER.verifier).size == 9


async def test_integrating_nothing_new_signs_nothing_new(ledger: Ledger) -> None:
    assert await ledger.integrate() is None
    await ledger.append([policy()])
    assert await ledger.integrate() == await ledger.integrate()


async def test_the_integrator_follows_by_itself_and_reports_its_faults(
    spare_vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.log.INTEGRATE_S", 0.01)
    store = MemoryLogStore()
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    heard: list[LedgerError] = []
    failing = [StoreError("disk")]

    async def newest(*given: Any) -> None:
        if failing:
            raise failing.pop()
        await MemoryLogStore.integrate(store, *given)

    monkeypatch.setattr(store, "integrate", newest)
    task = asyncio.create_task(ledger.keep_integrated(heard.append))
    await ledger.append([policy()])
    async with asyncio.timeout(10):
        while ledger.checkpoint() is None:  # noqa: ASYNC110 - what is tested is that nobody needs to tell it
            await asyncio.sleep(0.01)
    assert [str(fault) for fault in heard] == ["disk"]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_integrator_that_was_overtaken_goes_on_from_the_other_ones_checkpoint(
    spare_vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryLogStore()
    first, second = ledger_of(store, spare_vault), ledger_of(store, spare_vault)
    await first.start()
    await second.start()
    await first.append([policy() for _ in range(500)])
    newest = await second.integrate()
    monkeypatch.setattr("ledger.integrate.BLOCK", 100)
    assert await first.integrate() == newest == (await store.checkpoints())[-1]
    assert [checkpoint.size for checkpoint in await store.checkpoints()] == [500]


async def test_the_integrator_stops_at_a_contradiction(spare_vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.log.INTEGRATE_S", 0.01)
    store = MemoryLogStore()
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    await ledger.append([policy()])
    monkeypatch.setattr("ledger.log.INTEGRATE_EVENTS", 1)
    await ledger.append([policy()])
    monkeypatch.setattr(store, "_head", Head(9, "2026-03-04T09:00:00.000Z"))
    with pytest.raises(IntegrityError, match="gap"):
        await asyncio.wait_for(ledger.keep_integrated(list[LedgerError]().append), 10)


async def test_nothing_is_appended_to_a_log_that_was_not_checked(spare_vault: Vault) -> None:
    with pytest.raises(RuntimeError, match="not started"):
        await ledger_of(MemoryLogStore(), spare_vault).append([policy()])


async def test_the_clock_of_the_log_can_be_read(ledger: Ledger) -> None:
    assert ledger.now() == Ticking().wall


async def test_two_integrators_never_sign_two_roots(spare_vault: Vault) -> None:
    store = MemoryLogStore()
    first, second = ledger_of(store, spare_vault), ledger_of(store, spare_vault)
    await first.start()
    await second.start()
    await first.append([policy() for _ in range(3)])
    await first.integrate()
    await first.append([policy() for _ in range(300)])
    slow = await second.integrate()
    assert slow == await first.integrate()
    assert [checkpoint.size for checkpoint in await store.checkpoints()] == [3, 303]


async def test_a_receipt_kept_elsewhere_unmasks_an_old_backup(ledger: Ledger) -> None:
    (receipt,) = await ledger.append([policy()])
    await ledger.expect(str(receipt), receipt.leaf_hash)
    await ledger.expect("2025:77", receipt.leaf_hash)
    with pytest.raises(IntegrityError, match="log_behind_published"):
        await ledger.expect("2026:7", receipt.leaf_hash)
    with pytest.raises(IntegrityError):
        await ledger.expect(str(receipt), bytes(32))


async def test_a_store_that_lost_a_leaf_is_not_integrated(store: LogStore, spare_vault: Vault) -> None:
    ledger = ledger_of(store, spare_vault)
    await ledger.start()
    await ledger.append([policy() for _ in range(3)])
    real = store.leaves

    async def short(start: int, end: int) -> Any:
        return (await real(start, end))[:-1]

    store.leaves = short  # type: ignore[method-assign]
    with pytest.raises(IntegrityError, match="gap"):
        await ledger.integrate()
    await ledger.close()
