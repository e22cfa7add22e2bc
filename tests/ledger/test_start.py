"""What a start finds out before anything is appended or signed (ledger format §15): damage, and old backups."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from ledger.errors import IntegrityError
from ledger.merkle import leaf_hash
from ledger.note import Ed25519Signer, open_checkpoint
from ledger.store.sqlite import create_log, open_log
from ledger.vault import memory_vault
from tests.ledger.conftest import ORIGIN, PAIRING, SIGNER, ledger_of, policy


@pytest.fixture
def site(tmp_path: Path) -> Path:
    create_log(tmp_path / "log", PAIRING, ORIGIN)
    return tmp_path


async def grown(site: Path, count: int, integrate: bool = True, **rest: Any) -> bytes:
    """A node that appends `count` entries, signs, publishes and stops; what it published."""
    store, vault = open_log(site / "log", PAIRING, ORIGIN), memory_vault()
    ledger = ledger_of(store, vault, www=site / "www", **rest)
    try:
        await ledger.start()
        await ledger.append([policy() for _ in range(count)])
        if integrate:
            await ledger.integrate()
    finally:
        await ledger.close()
        await store.close()
        await vault.close()
    published = site / "www" / "2026" / "checkpoint"
    return published.read_bytes() if published.exists() else b""


def tamper(site: Path, *statements: str) -> None:
    """Change the file as someone who holds it can: triggers off first."""
    connection = sqlite3.connect(site / "log")
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


async def test_a_log_goes_on_where_it_was(site: Path) -> None:
    first = await grown(site, 300)
    second = await grown(site, 300)
    old, new = (open_checkpoint(note, ORIGIN, SIGNER.verifier) for note in (first, second))
    assert (old.size, new.size) == (300, 600)


async def test_entries_behind_the_checkpoint_are_signed_after_the_start(site: Path) -> None:
    await grown(site, 10)
    await grown(site, 20, integrate=False)
    assert open_checkpoint(await grown(site, 1), ORIGIN, SIGNER.verifier).size == 31


@pytest.mark.parametrize(
    "statements",
    [
        ["UPDATE entry SET body = CAST(substr(body, 1, 9) || 'X' || substr(body, 11) AS BLOB) WHERE pos % 1024 = 605"],
        ["UPDATE entry SET leaf = x'00' WHERE pos % 1024 = 600"],
        ["DELETE FROM entry WHERE pos % 1024 = 609"],
        ["DELETE FROM entry WHERE pos % 1024 = 605"],
        ["UPDATE entry SET pos = pos + 5 WHERE pos % 1024 = 609"],
        ["UPDATE head SET size = size - 1"],
        ["UPDATE head SET size = size + 1"],
        ["UPDATE tile SET hashes = zeroblob(length(hashes)) WHERE level = 0 AND idx = 2"],
        ["UPDATE tile SET hashes = zeroblob(length(hashes) - 32) WHERE level = 0 AND idx = 2"],
        ["UPDATE tile SET hashes = zeroblob(length(hashes)) WHERE level = 0 AND idx = 1"],
        ["UPDATE tile SET hashes = zeroblob(length(hashes)) WHERE level = 1"],
        ["DELETE FROM tile WHERE level = 1"],
        ["DELETE FROM tile WHERE level = 0 AND idx = 1"],
        ["UPDATE checkpoint SET note = replace(note, '610', '611')"],
        ["UPDATE checkpoint SET root = x'00'"],
        ["UPDATE checkpoint SET size = 500"],
        ["INSERT INTO entry SELECT pos + 1, randomblob(16), leaf, body FROM entry WHERE pos % 1024 = 609"],
        ["UPDATE checkpoint SET note = 'nothing'"],
        ["DELETE FROM checkpoint", "DELETE FROM tile"],
    ],
)
async def test_a_log_whose_right_edge_was_touched_does_not_start(site: Path, statements: list[str]) -> None:
    await grown(site, 610)
    tamper(site, *statements)
    before = (site / "log").read_bytes()
    with pytest.raises(IntegrityError):
        await grown(site, 1)
    assert (site / "log").read_bytes() == before


async def test_an_entry_changed_with_its_leaf_does_not_pass_either(site: Path) -> None:
    """The leaf hash that fits the forged body is not the one in the signed tree."""
    await grown(site, 20)
    connection = sqlite3.connect(site / "log")
    (body,) = connection.execute("SELECT body FROM entry WHERE pos % 1024 = 7").fetchone()
    connection.close()
    forged = body.replace(b"treatment", b"treatmemt")
    change = f"UPDATE entry SET body = x'{forged.hex()}', leaf = x'{leaf_hash(forged).hex()}' WHERE pos % 1024 = 7"  # noqa: S608
    tamper(site, change)
    with pytest.raises(IntegrityError, match="not those of the signed tree"):
        await grown(site, 1)


async def test_an_old_backup_signs_nothing(site: Path) -> None:
    await grown(site, 10)
    backup = (site / "log").read_bytes()
    await grown(site, 10)
    (site / "log").write_bytes(backup)
    for extra in ("-wal", "-shm"):
        (site / f"log{extra}").unlink(missing_ok=True)
    with pytest.raises(IntegrityError, match="log_behind_published"):
        await grown(site, 1)


async def test_a_log_that_differs_from_what_was_published_signs_nothing(site: Path) -> None:
    published = await grown(site, 10)
    (site / "log").unlink()
    create_log(site / "log", PAIRING, ORIGIN)
    (site / "www" / "2026" / "checkpoint").unlink()
    await grown(site, 12)
    (site / "www" / "2026" / "checkpoint").write_bytes(published)
    with pytest.raises(IntegrityError, match="another root at size 10"):
        await grown(site, 1)


async def test_a_published_checkpoint_of_another_log_is_not_overwritten(site: Path) -> None:
    await grown(site, 10)
    published = site / "www" / "2026" / "checkpoint"
    published.write_bytes(b"something else")
    with pytest.raises(IntegrityError, match="published checkpoint is not signed"):
        await grown(site, 1)
    assert published.read_bytes() == b"something else"


async def test_a_tile_that_was_lost_is_noticed_before_it_is_published(site: Path) -> None:
    await grown(site, 800)
    tamper(site, "DELETE FROM tile WHERE level = 0 AND idx = 0")
    (site / "www" / "2026" / "checkpoint").unlink()
    with pytest.raises(IntegrityError, match="tile 0/0 is missing"):
        await grown(site, 1)


async def test_another_keys_checkpoint_is_not_ours(site: Path) -> None:
    await grown(site, 10)
    with pytest.raises(IntegrityError, match="not signed by this log's key"):
        await grown(site, 1, signer=Ed25519Signer(ORIGIN, b"\2" * 32))
