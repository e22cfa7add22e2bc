"""The public files: `www/<shard>/checkpoint` and `tile/…`, which any web server can serve.

Each file is written beside its place, synced, renamed, and its folder synced: a reader sees the old or the new one.
Tiles come before the checkpoint that needs them. Entry bundles are not published.
Source: C2SP tlog-tiles; ledger chapter §7.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from ledger.errors import LedgerError
from ledger.store.base import Step, no_step
from ledger.store.file import sync_folder
from ledger.tiles import WIDTH, Tile, tile_path

CHECKPOINT = "checkpoint"


class PublishError(LedgerError):
    """The public files could not be written; the log itself is whole."""


class Publisher:
    """Writes the files of one shard below `folder`."""

    def __init__(self, folder: Path, step: Step = no_step) -> None:
        self._folder = folder
        self._step = step

    def publish(self, tiles: Sequence[Tile], note: str) -> None:
        """Tiles, then the checkpoint; then the partial tiles that a full one has replaced are dropped."""
        try:
            for tile in tiles:
                self._write(tile.path, tile.hashes)
            self._step("publish.tiles_written")
            self._write(CHECKPOINT, note.encode())
            self._step("publish.checkpoint_written")
            for tile in tiles:
                if tile.width == WIDTH:
                    partial = self._folder / f"{tile_path(tile.level, tile.index)}.p"
                    shutil.rmtree(partial, ignore_errors=True)
        except OSError as exc:
            raise PublishError(f"public log files cannot be written: {exc.strerror}") from exc

    def checkpoint(self) -> bytes | None:
        """The published checkpoint, None before the first."""
        try:
            return (self._folder / CHECKPOINT).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise PublishError(f"published checkpoint cannot be read: {exc.strerror}") from exc

    def _write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        _make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.new")
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
        sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    """Like mkdir -p, each new name synced in its parent."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
