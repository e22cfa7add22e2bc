"""The public files: `www/<shard>/checkpoint` and `tile/…`, which any web server can serve.

Each file is written beside its place, synced, renamed, and its folder synced: a reader sees the old or the new one.
Tiles come before the checkpoint that needs them. Entry bundles are not published. One process writes at a time, and
none goes back: what was published since stays.
Source: C2SP tlog-tiles; ledger chapter §7.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ledger.errors import LedgerError, VerificationError
from ledger.note import Checkpoint, parse_note
from ledger.store.base import Step, StoredCheckpoint, no_step
from ledger.store.file import sync_folder
from ledger.tiles import WIDTH, Tile, tile_path

CHECKPOINT = "checkpoint"
LOCK = ".lock"


class PublishError(LedgerError):
    """The public files could not be written; the log itself is whole."""


class Publisher:
    """Writes the files of one shard below `folder`."""

    def __init__(self, folder: Path, step: Step = no_step) -> None:
        self._folder = folder
        self._step = step

    def publish(self, tiles: Sequence[Tile], newest: StoredCheckpoint) -> bool:
        """Tiles, then the checkpoint; then the partial tiles that a full one has replaced are dropped.

        False where another process is at it, or paused in it, whose lease is over: it is not waited for.
        """
        try:
            with self._alone() as alone:
                if alone and self._size() <= newest.size:
                    self._publish(tiles, newest.note)
                return alone
        except OSError as exc:
            raise PublishError(f"public log files cannot be written: {exc.strerror}") from exc

    def _publish(self, tiles: Sequence[Tile], note: str) -> None:
        for tile in tiles:
            self._write(tile.path, tile.hashes)
        self._step("publish.tiles_written")
        self._write(CHECKPOINT, note.encode())
        self._step("publish.checkpoint_written")
        for tile in tiles:
            if tile.width == WIDTH:
                partial = self._folder / f"{tile_path(tile.level, tile.index)}.p"
                shutil.rmtree(partial, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        _make_folder(self._folder)
        descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            yield _locked(descriptor)
        finally:
            os.close(descriptor)

    def _size(self) -> int:
        """Of what is published."""
        note = self.checkpoint()
        try:
            return 0 if note is None else Checkpoint.parse(parse_note(note).text).size
        except VerificationError as exc:
            raise PublishError("published checkpoint is none") from exc

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


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_folder(folder: Path) -> None:
    """Like mkdir -p, each new name synced in its parent."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)
