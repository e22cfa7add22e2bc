"""A start with the wrong vault: refused with exit 7 and the count, and nothing is deleted (fhir chapter §5)."""

from datetime import UTC, datetime

import pytest

from adapter.errors import IntegrityFault
from adapter.seal.kek import Kek
from adapter.seal.keyring import Keyring
from adapter.store.check import check_owners
from ledger.vault import memory_vault
from tests.adapter.store.conftest import ORG, Site, patient, told


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
