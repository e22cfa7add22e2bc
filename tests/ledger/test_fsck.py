"""The storage checker (ledger chapter §15, §19: bit rot): a flip in each kind of row is found and the leaf named."""

import os
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from ledger import fsck
from ledger.event import Event, Fact
from ledger.fsck import Checked
from ledger.log import Ledger
from ledger.store.sqlite import FIRST_SHARD, SHARD_SHIFT, SqliteLogStore, create_log, open_log
from ledger.vault import Detail, Vault, create_vault, milliseconds, open_vault
from tests.ledger.conftest import ORG, ORIGIN, PAIRING, PATIENT, RULES, SIGNER, Ticking, an_id, ledger_of, policy, read

BASE = FIRST_SHARD << SHARD_SHIFT


@dataclass
class Stored:
    """A log in files, and a way to damage them that the triggers would refuse."""

    folder: Path
    store: SqliteLogStore
    vault: Vault
    ledger: Ledger
    clock: Ticking

    async def check(self) -> Checked:
        www = self.folder / "www" / self.ledger.shard
        return await fsck.check(self.store, SIGNER.verifier, RULES, www=www, vault=self.vault)

    async def faults(self) -> list[str]:
        return (await self.check()).faults

    def damage(self, sql: str, *values: object, file: str = "log.sqlite3") -> None:
        with sqlite3.connect(self.folder / file) as connection:
            triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
            for name, _ in triggers:
                connection.execute(f"DROP TRIGGER {name}")
            assert connection.execute(sql, values).rowcount != 0
            for _, text in triggers:
                connection.execute(text)
        connection.close()


@pytest.fixture
async def stored(tmp_path: Path) -> AsyncIterator[Stored]:
    create_log(tmp_path / "log.sqlite3", PAIRING, ORIGIN)
    create_vault(tmp_path / "vault.sqlite3", PAIRING)
    clock = Ticking()
    store, vault = open_log(tmp_path / "log.sqlite3", PAIRING, ORIGIN), open_vault(tmp_path / "vault.sqlite3", PAIRING)
    ledger = ledger_of(store, vault, clock, www=tmp_path / "www")
    await ledger.start()
    await ledger.append([policy()])
    await ledger.integrate()
    for count in (255, 100, 200):
        clock.pass_(1)
        await ledger.append([read() for _ in range(count)])
        await ledger.integrate()
    await ledger.append([read()])  # younger than the newest checkpoint
    yield Stored(tmp_path, store, vault, ledger, clock)
    await ledger.close()
    await store.close()
    await vault.close()


async def test_a_whole_log_has_no_faults(stored: Stored) -> None:
    done = await stored.check()
    assert done.faults == []
    assert (done.entries, done.checkpoints, done.details, done.erased) == (557, 4, 556, 0)
    assert done.tiles == 4
    assert done.published >= 4


async def test_an_empty_log_has_none_either(tmp_path: Path) -> None:
    create_log(tmp_path / "log.sqlite3", PAIRING, ORIGIN)
    store = open_log(tmp_path / "log.sqlite3", PAIRING, ORIGIN)
    assert (await fsck.check(store, SIGNER.verifier, RULES, www=tmp_path / "www")).faults == []
    await store.close()


async def test_a_changed_body_is_named_by_its_leaf(stored: Stored) -> None:
    stored.damage("UPDATE entry SET body = CAST(replace(body, 'permit', 'permiu') AS BLOB) WHERE pos = ?", BASE + 300)
    faults = await stored.faults()
    assert "entry 300 is not what was hashed" in faults


async def test_a_body_changed_with_its_leaf_breaks_tile_and_root(stored: Stored) -> None:
    from ledger.merkle import leaf_hash

    body = (await stored.store.entries(300, 301))[0].body.replace(b"permit", b"permiu")
    stored.damage("UPDATE entry SET body = ?, leaf = ? WHERE pos = ?", body, leaf_hash(body), BASE + 300)
    faults = await stored.faults()
    assert "tile 0/1 is not what the entries give" in faults
    assert "checkpoint of size 356 has another root than the entries" in faults
    assert "checkpoint of size 256 has another root than the entries" not in faults


async def test_a_lost_entry_is_named(stored: Stored) -> None:
    stored.damage("DELETE FROM entry WHERE pos = ?", BASE + 77)
    assert (await stored.faults())[0] == "entry 77 is missing"


async def test_a_lost_end_is_named(stored: Stored) -> None:
    stored.damage("DELETE FROM entry WHERE pos >= ?", BASE + 550)
    assert "entry 550 is missing" in await stored.faults()


async def test_a_head_that_was_set_back_is_found(stored: Stored) -> None:
    stored.damage("UPDATE head SET size = 500")
    faults = await stored.faults()
    assert "log has 500 entries, but signed 556" in faults
    assert "log has entries behind its head at 500" in faults


async def test_a_body_that_is_no_entry_and_an_id_of_another_are_found(stored: Stored) -> None:
    other = (await stored.store.entries(20, 21))[0].body
    stored.damage("UPDATE entry SET body = ? WHERE pos = ?", b'{"v": 1}', BASE + 10)
    stored.damage("UPDATE entry SET body = ? WHERE pos = ?", other, BASE + 30)
    faults = await stored.faults()
    assert "entry 10 is not in its one encoding" in faults
    assert "entry 30 has the id of another" in faults


async def test_time_that_goes_back_is_found(stored: Stored) -> None:
    body = (await stored.store.entries(5, 6))[0].body.replace(b'"t":"2026', b'"t":"2027')
    stored.damage("UPDATE entry SET body = ? WHERE pos = ?", body, BASE + 5)
    assert "entry 6 goes back in time" in await stored.faults()


@pytest.mark.parametrize(("level", "index"), [(0, 0), (0, 2), (1, 0)])
async def test_a_changed_tile_is_named(stored: Stored, level: int, index: int) -> None:
    hashes = bytearray(await stored.store.tile(level, index) or b"")
    hashes[3] ^= 1
    stored.damage("UPDATE tile SET hashes = ? WHERE level = ? AND idx = ?", bytes(hashes), level, index)
    assert await stored.faults() == [f"tile {level}/{index} is not what the entries give"]


async def test_a_checkpoint_must_be_signed_and_say_what_its_row_says(stored: Stored) -> None:
    stored.damage("UPDATE checkpoint SET root = ? WHERE size = 256", b"\0" * 32)
    stored.damage("UPDATE checkpoint SET note = replace(note, '356', '355') WHERE size = 356")
    faults = await stored.faults()
    assert "checkpoint of size 256 says otherwise than its row" in faults
    assert "checkpoint of size 356 is not signed by this log's key" in faults


def published(stored: Stored, name: str) -> Path:
    return stored.folder / "www" / stored.ledger.shard / name


async def test_a_published_tile_that_was_changed_is_named(stored: Stored) -> None:
    path = published(stored, "tile/0/000")
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(data)
    assert await stored.faults() == ["www holds another tile/0/000 than the entries give"]


async def test_a_published_tile_that_is_lost_or_foreign_is_named(stored: Stored) -> None:
    published(stored, "tile/1/000.p/2").unlink()
    published(stored, "tile/0/009").write_bytes(b"\0" * 8192)
    published(stored, "tile/0/abc").write_bytes(b"")
    published(stored, "tile/0/.000.new").write_bytes(b"half")  # what a crash left
    assert sorted(await stored.faults()) == [
        "www holds a file that is no tile: tile/0/abc",
        "www holds another tile/0/009 than the entries give",
        "www lacks tile/1/000.p/2",
    ]


async def test_an_old_backup_beside_its_published_future_is_told(stored: Stored) -> None:
    note = (await stored.store.newest_checkpoint()).note  # type: ignore[union-attr]
    published(stored, "checkpoint").write_text(note)
    stored.damage("DELETE FROM checkpoint WHERE size = 556")
    faults = await stored.faults()
    assert "log_behind_published: published up to 556, signed here up to 356" in faults


async def test_a_published_checkpoint_of_another_key_is_told(stored: Stored) -> None:
    published(stored, "checkpoint").write_text("nothing")
    assert await stored.faults() == ["published checkpoint is not signed by this log's key"]


async def test_an_entry_that_lost_its_detail_is_named(stored: Stored) -> None:
    entry = (await stored.store.entries(40, 41))[0]
    await stored.vault.drop_details([entry.id])
    assert await stored.faults() == ["entry 40 has lost its detail"]


async def test_after_an_erasure_a_lost_detail_is_counted_and_no_fault(stored: Stored) -> None:
    entry = (await stored.store.entries(40, 41))[0]
    await stored.vault.drop_details([entry.id])
    facts: dict[str, Fact] = {"vault_row": PATIENT.row, "ground": "request", "approvals": 2}
    await stored.ledger.append([Event("erasure.performed", an_id(), ORG, subject_key=PATIENT, clear=facts, epoch=9)])
    done = await stored.check()
    assert (done.faults, done.erased) == ([], 1)


async def test_orphaned_details_are_counted_and_swept_only_when_asked(stored: Stored) -> None:
    now = stored.clock()
    old = Detail(os.urandom(16), 7, milliseconds(now - timedelta(hours=2)), b"sealed")
    young = Detail(os.urandom(16), 7, milliseconds(now - timedelta(minutes=5)), b"sealed")
    await stored.vault.put_details([old, young])
    done = Checked()
    await fsck.sweep(stored.store, stored.vault, now, done, drop=False)
    assert (done.orphans, set(await stored.vault.details([old.id, young.id]))) == (1, {old.id, young.id})
    await fsck.sweep(stored.store, stored.vault, now, done, drop=True)
    assert set(await stored.vault.details([old.id, young.id])) == {young.id}
    assert (await stored.check()).faults == []


async def test_a_flood_of_faults_is_cut_short(stored: Stored) -> None:
    stored.damage("UPDATE entry SET leaf = zeroblob(32)")
    assert len(await stored.faults()) < 4 * fsck.FAULTS
