"""A start with the wrong vault: refused with exit 7 and the count, and nothing is deleted (fhir chapter §5)."""

from datetime import UTC, datetime, timedelta

import pytest

from adapter.errors import IntegrityFault
from adapter.seal.kek import Kek
from adapter.seal.keyring import Keyring
from adapter.store.check import check_details, check_message_keys, check_owners
from ledger.event import Event, Fact, id_bytes
from ledger.store.memory import MemoryLogStore
from ledger.vault import memory_vault, milliseconds
from tests.adapter.store.conftest import ORG, Site, patient, told
from tests.ledger.conftest import PATIENT, RULES, Ticking, an_id, ledger_of, policy, read


async def test_every_owner_has_a_key(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(patient("ben", "8")))
    assert await check_owners(site.store, site.vault, ORG) == 2


async def test_another_vault_is_refused_with_the_count_and_nothing_is_deleted(site: Site) -> None:
    await site.commit(told(patient("ana", "7")), told(patient("ben", "8")))
    other = memory_vault()
    with pytest.raises(IntegrityFault, match="no key of what"):
        await check_owners(site.store, other, ORG)
    await Keyring(Kek(b"\5" * 32), other, ORG).create()
    with pytest.raises(IntegrityFault, match="2 of 2 owners") as caught:
        await check_owners(site.store, other, ORG)
    assert caught.value.exit_code == 7
    await other.close()
    assert await site.rows("SELECT count(*) FROM version") == [(2,)]


async def test_an_erased_owner_is_no_missing_one(site: Site) -> None:
    await site.commit(told(patient("ana", "7")))
    ana = await site.sealed("Patient", "ana")
    assert ana is not None
    await site.vault.destroy_subject(ORG, ana.owner, datetime(2026, 3, 5, tzinfo=UTC))
    assert await check_owners(site.store, site.vault, ORG) == 1


def erasure() -> Event:
    facts: dict[str, Fact] = {"vault_row": PATIENT.row, "ground": "request", "approvals": 2}
    return Event("erasure.performed", an_id(), ORG, clear=facts, subject_key=PATIENT, epoch=1)


async def test_a_vault_without_the_newest_details_is_refused_but_for_what_was_erased() -> None:
    log, vault = MemoryLogStore(), memory_vault()
    ledger = ledger_of(log, vault)
    await ledger.start()
    reads = [read(requires=[]) for _ in range(70)]
    await ledger.append([policy(), *reads])
    assert await check_details(log, vault, RULES) == 64
    await vault.drop_details([id_bytes(reads[-1].id)])
    with pytest.raises(IntegrityFault, match="lacks 1 of the 64 newest details") as caught:
        await check_details(log, vault, RULES)
    assert caught.value.exit_code == 7
    await ledger.append([erasure()])  # before it destroys: what stands behind it is complete
    assert await check_details(log, vault, RULES) == 0
    await ledger.append([read(requires=[])])
    assert await check_details(log, vault, RULES) == 1
    await ledger.close()
    await vault.close()


async def test_a_vault_without_the_newest_message_keys_is_refused_but_for_what_was_erased() -> None:
    log, vault, clock = MemoryLogStore(), memory_vault(), Ticking()
    ledger = ledger_of(log, vault, clock)
    await ledger.start()
    await ledger.append([policy(), erasure()])
    clock.pass_(60)
    at = milliseconds(clock())
    received = {b"a" * 16: at, b"b" * 16: at + 1}
    await vault.add_message_keys(ORG, [(b"a" * 16, "k", b"w")])
    with pytest.raises(IntegrityFault, match="lacks 1 of the 2 newest message keys"):
        await check_message_keys(received, log, vault, ORG)
    await ledger.append([policy("later")])
    clock.pass_(timedelta(days=2).total_seconds())
    await ledger.append([erasure(), policy("last")])
    assert await check_message_keys(received, log, vault, ORG) == 2
    assert await check_message_keys({}, log, vault, ORG) == 0
    await ledger.close()
    await vault.close()
