"""The public files (C2SP tlog-tiles, ledger format §7): whole, in order, and enough to rebuild the tree."""

from pathlib import Path

import pytest

from ledger.errors import LedgerError
from ledger.log import Ledger
from ledger.merkle import Digest, root_of
from ledger.note import Checkpoint, open_checkpoint, sign_note
from ledger.publish import LOCK, Publisher, PublishError
from ledger.store.base import StoredCheckpoint
from ledger.store.memory import MemoryLogStore
from ledger.tiles import Tile
from ledger.vault import Vault
from tests.ledger.conftest import ORIGIN, SIGNER, ledger_of, policy


def files(folder: Path) -> set[str]:
    """What a web server would find; not what writers lock."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != LOCK}


def signed(size: int) -> StoredCheckpoint:
    root = Digest(bytes(32))
    return StoredCheckpoint(size, root, str(sign_note(Checkpoint(ORIGIN, size, root).text(), [SIGNER])))


async def grown(store: MemoryLogStore, vault: Vault, www: Path | None, *counts: int) -> Ledger:
    ledger = ledger_of(store, vault, www=www)
    await ledger.start()
    for count in counts:
        await ledger.append([policy() for _ in range(count)])
        await ledger.integrate()
    return ledger


async def test_any_web_server_can_serve_the_tree(tmp_path: Path, spare_vault: Vault) -> None:
    await grown(MemoryLogStore(), spare_vault, tmp_path, 3, 300, 300)
    shard = tmp_path / "2026"
    assert files(shard) == {
        *("checkpoint", "tile/0/000", "tile/0/001", "tile/0/002.p/91"),
        *("tile/1/000.p/1", "tile/1/000.p/2"),
    }
    checkpoint = open_checkpoint((shard / "checkpoint").read_bytes(), ORIGIN, SIGNER.verifier)
    hashes = b"".join((shard / f"tile/0/{name}").read_bytes() for name in ("000", "001", "002.p/91"))
    leaves = [Digest(hashes[place : place + 32]) for place in range(0, len(hashes), 32)]
    assert len(leaves) == checkpoint.size == 603
    assert root_of(leaves) == checkpoint.root


async def test_partial_tiles_of_signed_sizes_stay_until_the_full_one_is_there(
    tmp_path: Path, spare_vault: Vault
) -> None:
    store = MemoryLogStore()
    await grown(store, spare_vault, tmp_path, 3, 4)
    assert {"tile/0/000.p/3", "tile/0/000.p/7"} <= files(tmp_path / "2026")
    await grown(store, spare_vault, tmp_path, 249)
    assert "tile/0/000" in files(tmp_path / "2026")
    assert not (tmp_path / "2026/tile/0/000.p").exists()


async def test_what_a_crash_kept_back_is_published_at_the_start(tmp_path: Path, spare_vault: Vault) -> None:
    store = MemoryLogStore()
    await grown(store, spare_vault, tmp_path, 100)
    unpublished = await grown(store, spare_vault, None, 600)
    await grown(store, spare_vault, tmp_path)
    note = (tmp_path / "2026" / "checkpoint").read_text()
    newest = unpublished.checkpoint()
    assert newest is not None
    assert note == newest.note
    assert {"tile/0/000", "tile/0/001", "tile/0/002.p/188"} <= files(tmp_path / "2026")


async def test_files_that_were_lost_are_written_again(tmp_path: Path, spare_vault: Vault) -> None:
    store = MemoryLogStore()
    await grown(store, spare_vault, tmp_path / "a", 600)
    await grown(store, spare_vault, tmp_path / "b")
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    """The temporary file is in the same folder, so that the rename is atomic, and never left in a reader's way."""
    publisher = Publisher(tmp_path)
    assert publisher.checkpoint() is None
    one, two = signed(1), signed(2)
    publisher.publish([], one)
    publisher.publish([], two)
    assert publisher.checkpoint() == two.note.encode()
    assert files(tmp_path) == {"checkpoint"}


def test_the_checkpoint_comes_after_the_tiles_it_needs(tmp_path: Path) -> None:
    def stop(name: str) -> None:
        assert name == "publish.tiles_written"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Publisher(tmp_path, stop).publish([Tile(0, 0, bytes(32))], signed(1))
    assert files(tmp_path) == {"tile/0/000.p/1"}


def test_a_folder_that_cannot_be_written_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "www").write_bytes(b"a file")
    publisher = Publisher(tmp_path / "www")
    with pytest.raises(PublishError) as caught:
        publisher.publish([], signed(1))
    assert isinstance(caught.value, LedgerError)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(PublishError):
        publisher.checkpoint()


async def test_a_log_whose_files_cannot_be_written_still_appends(tmp_path: Path, spare_vault: Vault) -> None:
    ledger = await grown(MemoryLogStore(), spare_vault, tmp_path / "www", 3)
    (tmp_path / "www" / "2026" / "tile").rename(tmp_path / "kept")
    (tmp_path / "www" / "2026" / "tile").write_bytes(b"a file")
    await ledger.append([policy()])
    with pytest.raises(PublishError):
        await ledger.integrate()
    await ledger.append([policy()])
    (tmp_path / "www" / "2026" / "tile").unlink()
    (tmp_path / "kept").rename(tmp_path / "www" / "2026" / "tile")
    await ledger.integrate()
    checkpoint = open_checkpoint((tmp_path / "www" / "2026" / "checkpoint").read_bytes(), ORIGIN, SIGNER.verifier)
    assert checkpoint.size == 5
