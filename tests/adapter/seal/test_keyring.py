"""The key hierarchy of architecture §6: what wraps what, and what a wrong or missing key does."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from adapter.errors import ConfigurationError, Gone, IntegrityFault
from adapter.seal.kek import Kek
from adapter.seal.keyring import SHARED, STOCK, Keyring, NeedKeys
from adapter.seal.slices import SLICE, SLICES, slices
from ledger.vault import Vault, WrappedKey, memory_vault

ORG = "stadtklinik"
KEK = Kek(b"\5" * 32)


@pytest.fixture
async def vault() -> AsyncIterator[Vault]:
    vault = memory_vault()
    yield vault
    await vault.close()


@pytest.fixture
async def keyring(vault: Vault) -> Keyring:
    keyring = Keyring(KEK, vault, ORG)
    await keyring.create()
    await keyring.open()
    return keyring


def test_a_generated_key_file_loads_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    kek = Kek.generate(tmp_path / "kek")
    assert Kek.load(tmp_path / "kek") == kek
    assert (tmp_path / "kek").stat().st_mode & 0o777 == 0o600
    assert kek.key.hex() not in repr(kek)


def test_a_key_file_is_never_overwritten(tmp_path: Path) -> None:
    Kek.generate(tmp_path / "kek")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        Kek.generate(tmp_path / "kek")


@pytest.mark.parametrize(
    ("content", "mode", "text"),
    [
        (None, 0o600, "cannot be read"),
        ("ab" * 32, 0o640, "open to others"),
        ("ab" * 31, 0o600, "holds 31 bytes"),
        ("not hex", 0o600, "holds no key"),
        ("schlüssel", 0o600, "holds no key"),
    ],
)
def test_a_bad_key_file_is_a_configuration_error(tmp_path: Path, content: str | None, mode: int, text: str) -> None:
    path = tmp_path / "kek"
    if content is not None:
        path.write_text(content, "utf-8")
        path.chmod(mode)
    with pytest.raises(ConfigurationError, match=text) as caught:
        Kek.load(path)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_wrapped_key_passes_for_no_other() -> None:
    wrapped = KEK.wrap(ORG, "subject", b"\0" * 8, 1, b"k" * 32, b"n" * 12)
    assert KEK.unwrap(ORG, "subject", b"\0" * 8, 1, KEK.id, wrapped) == b"k" * 32
    places = [
        ("other", "subject", b"\0" * 8, 1),
        (ORG, "locator", b"\0" * 8, 1),
        (ORG, "subject", b"\1" * 8, 1),
        (ORG, "subject", b"\0" * 8, 2),
        (ORG + "s", "ubject", b"\0" * 8, 1),
    ]
    for org, kind, row, gen in places:
        with pytest.raises(IntegrityFault, match="does not unwrap"):
            KEK.unwrap(org, kind, row, gen, KEK.id, wrapped)
    with pytest.raises(IntegrityFault, match="does not unwrap"):
        KEK.unwrap(ORG, "subject", b"\0" * 8, 1, KEK.id, wrapped[:-1] + bytes((wrapped[-1] ^ 1,)))


async def test_the_wrong_key_file_is_refused_with_exit_7(keyring: Keyring, vault: Vault) -> None:
    with pytest.raises(IntegrityFault, match="the key file holds") as caught:
        await Keyring(Kek(b"\6" * 32), vault, ORG).open()
    assert caught.value.exit_code == 7


async def test_an_empty_vault_is_refused_with_exit_7(vault: Vault) -> None:
    with pytest.raises(IntegrityFault, match="no keys of this organisation") as caught:
        await Keyring(KEK, vault, ORG).open()
    assert caught.value.exit_code == 7


async def test_opened_again_the_keys_are_the_same(keyring: Keyring, vault: Vault) -> None:
    await keyring.restock(1)
    drawn = keyring.new_owner()
    again = Keyring(KEK, vault, ORG)
    organisation = await again.open()
    await again.load((drawn.owner,))
    assert organisation.identity == keyring.organisation().identity
    assert organisation.locate(b"x") == keyring.organisation().locate(b"x")
    assert again.owner(drawn.owner).commitment == drawn.commitment
    assert again.owner(drawn.owner).index(b"x") == drawn.index(b"x")


async def test_an_owner_not_in_memory_must_be_loaded_first(keyring: Keyring) -> None:
    with pytest.raises(NeedKeys) as caught:
        keyring.owner(77)
    assert caught.value.owners == {77}
    assert keyring.missing((SHARED, 77)) == {77}
    with pytest.raises(IntegrityFault, match="owners without a key in the vault: 1"):
        await keyring.load((77,))


async def test_new_owners_are_durable_before_they_can_be_drawn(keyring: Keyring, vault: Vault) -> None:
    with pytest.raises(NeedKeys):
        keyring.new_owner()
    await keyring.supply(NeedKeys())
    assert keyring.stock == STOCK
    drawn = {keyring.new_owner().owner for _ in range(STOCK)}
    assert len(drawn) == STOCK
    assert drawn <= await vault.present(ORG)


async def test_a_unit_of_work_runs_again_with_what_it_missed(keyring: Keyring) -> None:
    calls = 0

    async def run(work: object) -> int:
        nonlocal calls
        calls += 1
        return keyring.new_owner().owner

    assert await keyring.retrying(run, lambda conn: 0) > 0
    assert calls == 2


async def test_a_unit_that_never_has_enough_ends(keyring: Keyring) -> None:
    async def run(work: object) -> int:
        raise NeedKeys

    with pytest.raises(RuntimeError, match="more owners"):
        await keyring.retrying(run, lambda conn: 0)


async def test_memory_holds_a_bounded_number_of_owners_and_always_the_shared_one(vault: Vault) -> None:
    keyring = Keyring(KEK, vault, ORG, os.urandom, cache=3)
    await keyring.create()
    await keyring.open()
    await keyring.restock(5)
    drawn = [keyring.new_owner().owner for _ in range(5)]
    assert keyring.missing(drawn) == set(drawn[:3])
    assert keyring.owner(SHARED)
    keyring.forget(drawn[4])
    assert keyring.missing(drawn[4:]) == {drawn[4]}


async def test_a_destroyed_key_is_gone(keyring: Keyring, vault: Vault) -> None:
    await keyring.restock(1)
    owner = keyring.new_owner().owner
    keyring.forget(owner)
    await vault.destroy_subject(ORG, owner, datetime(2026, 3, 4, tzinfo=UTC))
    with pytest.raises(Gone):
        await keyring.load((owner,))


async def test_a_second_generation_seals_and_the_first_still_opens(keyring: Keyring, vault: Vault) -> None:
    await keyring.restock(1)
    owner = keyring.new_owner().owner
    row = owner.to_bytes(8, "big")
    wrapped = KEK.wrap(ORG, "subject", row, 2, b"2" * 32, b"n" * 12)
    await vault.add_subjects(ORG, [WrappedKey(owner, 2, KEK.id, wrapped)])
    keyring.forget(owner)
    await keyring.load((owner,))
    keys = keyring.owner(owner)
    assert keys.gen == 2
    assert keys.body_cipher(1)
    with pytest.raises(IntegrityFault, match="generation 3"):
        keys.body_cipher(3)


async def test_message_keys_are_found_until_they_are_dropped(keyring: Keyring, vault: Vault) -> None:
    first, second = await keyring.new_message_keys(2)
    await vault.drop_message_keys([first.key_id])
    assert await keyring.message_keys([first.key_id, second.key_id]) == {second.key_id: second.key}
    assert second.key.hex() not in repr(replace(second))


async def test_message_keys_that_are_made_together_lie_together(keyring: Keyring) -> None:
    """One page of the vault takes many of them; where keys of another time lie nobody can tell."""
    first, second = [await keyring.new_message_keys(50) for _ in range(2)]
    assert len({key.key_id for key in first + second}) == 100
    (before,), (after,) = ({key.key_id[:8] for key in made} for made in (first, second))
    assert before != after


async def test_a_thousand_message_keys_leave_the_loop_its_turns(
    keyring: Keyring, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sender whose message comes meanwhile waits for a few keys, not for all."""
    turns, seen = 0, 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    add = vault.add_message_keys

    async def kept(org: str, rows: Sequence[tuple[bytes, str, bytes]]) -> None:
        nonlocal seen
        seen = turns
        await add(org, rows)

    monkeypatch.setattr(vault, "add_message_keys", kept)
    spinning = asyncio.create_task(others())
    made = await keyring.new_message_keys(1_000)
    spinning.cancel()
    assert seen >= SLICES - 1
    assert len({key.key_id for key in made}) == len({key.key for key in made}) == 1_000
    assert await keyring.message_keys([key.key_id for key in made]) == {key.key_id: key.key for key in made}


@pytest.mark.parametrize("count", [0, 1, SLICE, SLICE + 1, 256, 1_000, 8_192])
def test_slices_are_all_there_is(count: int) -> None:
    sizes = list(slices(count))
    assert sum(sizes) == count
    assert len(sizes) <= SLICES
    assert all(sizes)


def test_no_secret_shows_in_a_repr() -> None:
    need = NeedKeys((5,))
    assert "5" not in str(need)
