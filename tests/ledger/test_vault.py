"""The vault (ledger format §9; ARCHITECTURE §6): one row, one key, one deletion."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ledger.errors import ConflictError, IntegrityError
from ledger.store.file import open_file
from ledger.vault import Detail, Place, Rewrapped, Vault, VaultError, WrappedKey, create_vault, open_vault
from tests.ledger.conftest import ORG, PAIRING, Ticking, writer_of

AT = datetime(2026, 3, 4, tzinfo=UTC)


def key(row: int, gen: int = 1, wrapped: bytes = b"wrapped") -> WrappedKey:
    return WrappedKey(row, gen, "kek-1", wrapped)


def detail(number: int, subject: int = 7, at: int = 1, sealed: bytes = b"sealed") -> Detail:
    return Detail(number.to_bytes(16, "big"), subject, at, sealed)


def everything(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())


async def test_subject_keys_come_back_as_they_were_wrapped(vault: Vault) -> None:
    await vault.add_subjects(ORG, [key(0), key(7), key(7, 2, b"second")])
    await vault.add_subjects("other", [key(7, wrapped=b"theirs")])
    assert await vault.subjects(ORG, [7, 99]) == [key(7), key(7, 2, b"second")]
    assert await vault.present(ORG) == {0, 7}
    assert await vault.present("nobody") == set()


async def test_a_row_is_given_once_and_a_batch_is_all_or_none(vault: Vault) -> None:
    await vault.add_subjects(ORG, [key(7)])
    with pytest.raises(ConflictError):
        await vault.add_subjects(ORG, [key(8), key(7)])
    assert await vault.present(ORG) == {7}


async def test_more_rows_than_one_statement_takes(vault: Vault) -> None:
    await vault.add_subjects(ORG, [key(row) for row in range(1, 1_300)])
    assert len(await vault.subjects(ORG, range(1, 1_300))) == 1_299


async def test_a_destroyed_subject_is_gone_with_her_details_and_never_comes_back(vault: Vault) -> None:
    await vault.add_subjects(ORG, [key(7), key(7, 2), key(8)])
    await vault.put_details([detail(1), detail(2, subject=8), detail(3)])
    assert await vault.destroy_subject(ORG, 7, AT) == 2
    assert await vault.destroy_subject(ORG, 7, AT) == 0
    assert await vault.subjects(ORG, [7]) == []
    assert (await vault.present(ORG), await vault.destroyed(ORG)) == ({8}, {7})
    assert await vault.details([detail(number).id for number in (1, 2, 3)]) == {detail(2).id: detail(2, subject=8)}
    with pytest.raises(ConflictError):
        await vault.add_subjects(ORG, [key(7)])


async def test_details_of_a_subject_are_found_wherever_they_lie(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ledger.vault.SOUGHT", 10)
    await vault.add_subjects(ORG, [key(7)])
    await vault.put_details([detail(number, subject=7 if number % 3 else 8) for number in range(1, 100)])
    assert await vault.destroy_subject(ORG, 7, AT) == 66
    left = await vault.details([detail(number).id for number in range(1, 100)])
    assert {one.subject for one in left.values()} == {8}
    assert len(left) == 33


async def test_a_destroyed_key_is_in_no_file_of_the_vault(tmp_path: Path) -> None:
    create_vault(tmp_path / "vault", PAIRING)
    vault = open_vault(tmp_path / "vault", PAIRING)
    secret, sealed = b"wrapped-key-of-a-patient" * 2, b"sealed-detail-of-a-patient" * 200
    await vault.add_subjects(ORG, [key(7, wrapped=secret), key(8)])
    await vault.put_details([detail(1, sealed=sealed)])
    await vault.destroy_subject(ORG, 7, AT)
    left = everything(tmp_path)
    assert secret not in left
    assert sealed[:60] not in left
    await vault.close()


async def test_even_by_hand_a_destroyed_row_gets_no_key(tmp_path: Path) -> None:
    create_vault(tmp_path / "vault", PAIRING)
    vault = open_vault(tmp_path / "vault", PAIRING)
    await vault.add_subjects(ORG, [key(7)])
    await vault.destroy_subject(ORG, 7, AT)
    await vault.close()
    connection = sqlite3.connect(tmp_path / "vault")
    with pytest.raises(sqlite3.IntegrityError, match="never given a key again"):
        connection.execute("UPDATE subject SET wrapped = x'00', destroyed_at = NULL")
    with pytest.raises(sqlite3.IntegrityError, match="stays"):
        connection.execute("DELETE FROM subject")
    connection.close()


async def test_organisation_keys_are_never_rotated(vault: Vault) -> None:
    await vault.add_org_key(ORG, "locator", key(0))
    await vault.add_org_key(ORG, "identity", key(0, wrapped=b"other"))
    assert await vault.org_keys(ORG) == {"locator": key(0), "identity": key(0, wrapped=b"other")}
    with pytest.raises(ConflictError, match="locator"):
        await vault.add_org_key(ORG, "locator", key(0, wrapped=b"new"))
    assert await vault.org_keys("other") == {}


async def test_message_keys_are_made_ahead_found_by_id_and_dropped(vault: Vault) -> None:
    await vault.add_message_keys(ORG, [(b"a" * 16, "kek-1", b"x"), (b"b" * 16, "kek-1", b"y")])
    assert await vault.message_keys(ORG, [b"a" * 16, b"z" * 16]) == {b"a" * 16: ("kek-1", b"x")}
    assert await vault.message_keys("other", [b"a" * 16]) == {}
    with pytest.raises(ConflictError):
        await vault.add_message_keys(ORG, [(b"a" * 16, "kek-1", b"x")])
    assert await vault.message_key_ids(ORG, Ticking().wall) == []
    assert await vault.message_key_ids(ORG, Ticking().wall + timedelta(days=35)) == [b"a" * 16, b"b" * 16]
    await vault.drop_message_keys([b"a" * 16])
    assert await vault.message_keys(ORG, [b"a" * 16, b"b" * 16]) == {b"b" * 16: ("kek-1", b"y")}


async def test_the_first_sealed_detail_stands_and_a_retry_keeps_it_young(vault: Vault) -> None:
    await vault.put_details([detail(number) for number in range(40)])
    await vault.put_details([detail(3, at=9, sealed=b"sealed again"), detail(40)])
    found = await vault.details([detail(3).id, detail(40).id, b"x" * 16])
    assert found == {detail(3).id: detail(3, at=9), detail(40).id: detail(40)}


async def test_no_key_shows_in_a_repr(vault: Vault) -> None:
    await vault.add_subjects(ORG, [key(7)])
    assert "wrapped'" not in repr(await vault.subjects(ORG, [7]))
    assert "sealed'" not in repr(detail(1))


async def test_what_was_kept_outlives_the_process(tmp_path: Path) -> None:
    create_vault(tmp_path / "vault", PAIRING)
    first = open_vault(tmp_path / "vault", PAIRING)
    await first.add_subjects(ORG, [key(7)])
    await first.close()
    again = open_vault(tmp_path / "vault", PAIRING)
    assert await again.subjects(ORG, [7]) == [key(7)]
    await again.close()
    assert (tmp_path / "vault").stat().st_mode & 0o777 == 0o600


def test_a_missing_empty_or_foreign_vault_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="missing"):
        open_vault(tmp_path / "nowhere", PAIRING)
    (tmp_path / "empty").touch()
    with pytest.raises(IntegrityError, match="empty"):
        open_vault(tmp_path / "empty", PAIRING)
    create_vault(tmp_path / "vault", PAIRING)
    with pytest.raises(IntegrityError, match="another node"):
        open_vault(tmp_path / "vault", "cd" * 16)
    with pytest.raises(IntegrityError, match="exists already"):
        create_vault(tmp_path / "vault", PAIRING)


def test_a_vault_whose_readers_cannot_open_is_closed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_vault(tmp_path / "vault", PAIRING)

    def refuse(path: Path, kind: str, pairing: str, *, read_only: bool = False) -> sqlite3.Connection:
        if read_only:
            raise IntegrityError("vault is gone")
        return open_file(path, kind, pairing)

    monkeypatch.setattr("ledger.vault.open_file", refuse)
    with pytest.raises(IntegrityError, match="gone"):
        open_vault(tmp_path / "vault", PAIRING)


def test_another_file_is_left_as_it_is(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "foreign")
    connection.execute("CREATE TABLE meta(key TEXT, value TEXT)")
    connection.commit()
    connection.close()
    before = (tmp_path / "foreign").read_bytes()
    with pytest.raises(IntegrityError, match="another kind"):
        open_vault(tmp_path / "foreign", PAIRING)
    assert (tmp_path / "foreign").read_bytes() == before


async def test_a_vault_that_fails_says_so_and_names_no_path(tmp_path: Path) -> None:
    create_vault(tmp_path / "vault", PAIRING)
    vault = open_vault(tmp_path / "vault", PAIRING)
    writer_of(vault).call(lambda connection: connection.execute("PRAGMA busy_timeout = 1"))
    other = sqlite3.connect(tmp_path / "vault", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(VaultError, match="SQLITE_BUSY") as caught:
        await vault.add_subjects(ORG, [key(7)])
    assert str(tmp_path) not in str(caught.value)
    other.close()
    await vault.close()


async def _under_others(vault: Vault, most: int) -> list[Place]:
    """Every place with a key that `kek-2` does not wrap, a page after the other."""
    found: list[Place] = []
    while rows := await vault.wrapped_otherwise(ORG, "kek-2", found[-1] if found else None, most):
        assert len(rows) <= most
        found += [row.place for row in rows]
    return found


@pytest.mark.parametrize("most", [1, 2, 3, 100])
async def test_what_another_kek_wraps_is_gone_through_once_however_large_a_page(vault: Vault, most: int) -> None:
    await vault.add_subjects(ORG, [key(0), key(7), key(7, 2), key(2**52 - 1), WrappedKey(9, 1, "kek-2", b"new")])
    await vault.add_subjects("other", [key(3)])
    await vault.add_subjects(ORG, [key(8)])
    await vault.destroy_subject(ORG, 8, AT)
    for kind in ("identity", "locator"):
        await vault.add_org_key(ORG, kind, key(0))
    await vault.add_message_keys(ORG, [(bytes([n]) * 16, "kek-1", b"m") for n in (0, 1, 255)])
    found = await _under_others(vault, most)
    assert found == sorted(set(found))
    numbered = [place for place in found if place.part != "message"]
    assert [(place.kind, int.from_bytes(place.bound, "big"), place.gen) for place in numbered] == [
        ("identity", 0, 1), ("locator", 0, 1), ("subject", 0, 1), ("subject", 7, 1), ("subject", 7, 2),
        ("subject", 2**52 - 1, 1),
    ]  # fmt: skip
    assert [place.bound for place in found if place.part == "message"] == [bytes([n]) * 16 for n in (0, 1, 255)]
    assert await vault.wrapped_by(ORG) == {"kek-1": 9, "kek-2": 1}


async def test_a_key_is_wrapped_again_only_where_it_is_as_it_was_read(vault: Vault) -> None:
    await vault.add_subjects(ORG, [key(7), key(8), key(9)])
    rows = await vault.wrapped_otherwise(ORG, "kek-2", None, 10)
    changes = [Rewrapped(row.place, row.kek_id, "kek-2", b"again") for row in rows]
    await vault.destroy_subject(ORG, 8, AT)
    assert await vault.rewrap(ORG, changes[:2]) == 1
    assert await vault.rewrap(ORG, changes) == 1, "one was done before, one is destroyed"
    assert await vault.rewrap("other", changes) == 0
    assert await vault.subjects(ORG, [7, 8, 9]) == [WrappedKey(row, 1, "kek-2", b"again") for row in (7, 9)]
    assert await vault.destroyed(ORG) == {8}
