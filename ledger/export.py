"""Write the kit: a folder from which a stranger verifies the log with its public key alone.

1. the newest checkpoint fixes the size
2. hash tiles of that size, all of them; entry bundles of the asked period, whole bundles
3. the openings that the operator hands out, the policy, a README, the verifier
4. last the MANIFEST, signed: a folder without one was not finished

Nothing is decrypted here: openings come from whoever holds subject keys. Source: ledger chapter §14; `kit.py`.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ledger import kit, verify_standalone
from ledger.errors import IntegrityError, LedgerError
from ledger.event import decode
from ledger.kit import Disclosure, Manifest
from ledger.note import Checkpoint, Signer, parse_note
from ledger.policy import Policy
from ledger.store.base import LogStore
from ledger.tiles import HEIGHT, WIDTH, bundle, tile_path

PRIVATE = 0o700  # entries are pseudonymous, not public
BUNDLES = 64  # read at a time
_README = """This folder holds the log {origin} as of its checkpoint of size {size}:
entries {start} to {end}, every hash tile, and the signed tree head.

Verify it with Python 3.9 or later and nothing else:

    python verify.py

The key in policy.txt was put there by whoever made this folder. Compare it with the one that the operator published,
or give that one:

    python verify.py --vkey '{vkey}'

Exit code 0: verified, 7: something was changed, 9: something needed is missing.
MANIFEST lists every file with its SHA-256 and is signed by the log's key.
"""


class ExportError(LedgerError):
    """The folder cannot be written, or there is nothing to export."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: entries [start, end) of a tree of `size`, and how many files."""

    size: int
    start: int
    end: int
    files: int


@dataclass(frozen=True, slots=True)
class Period:
    """Entries [start, end); `end` None is up to the checkpoint."""

    start: int = 0
    end: int | None = None


async def export(
    store: LogStore,
    signer: Signer,
    folder: Path,
    *,
    period: Period | None = None,
    disclosures: Iterable[Disclosure] = (),
    policy: Policy | None = None,
) -> Exported:
    """Write the kit into `folder`, which must be empty or absent. Raises ExportError; IntegrityError for a log
    that contradicts itself."""
    newest = await store.newest_checkpoint()  # 1
    if newest is None:
        raise ExportError("log has no checkpoint yet")
    checkpoint = Checkpoint.parse(parse_note(newest.note.encode()).text)
    writer = _Writer(folder)
    start, end = _aligned(period or Period(), checkpoint.size)
    await _tiles(store, writer, checkpoint.size)  # 2
    await _bundles(store, writer, start, end, checkpoint.size)
    if lines := "".join(disclosure.line() for disclosure in disclosures):  # 3
        writer.write(kit.DISCLOSURES, lines.encode())
    writer.write(kit.CHECKPOINT, newest.note.encode())
    writer.write(kit.POLICY, (policy or Policy((signer.vkey,))).text().encode())
    facts = {"origin": checkpoint.origin, "size": checkpoint.size, "start": start, "end": end, "vkey": signer.vkey}
    writer.write(kit.README, _README.format(**facts).encode())
    writer.write(kit.VERIFIER, _verifier())
    manifest = Manifest(checkpoint.origin, checkpoint.size, start, end, writer.digests)
    writer.write(kit.MANIFEST, manifest.sign(signer))  # 4
    return Exported(checkpoint.size, start, end, len(writer.digests))


def _verifier() -> bytes:
    return Path(verify_standalone.__file__).read_bytes()


class _Writer:
    """Writes files below a new folder and remembers their digests."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.digests: dict[str, str] = {}
        try:
            folder.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
            taken = any(folder.iterdir())
        except OSError as exc:
            raise ExportError(f"folder cannot be written: {exc.strerror}") from exc
        if taken:
            raise ExportError("folder is not empty")

    def write(self, name: str, data: bytes) -> None:
        path = self._folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError as exc:
            raise ExportError(f"{name} cannot be written: {exc.strerror}") from exc
        self.digests[name] = hashlib.sha256(data).hexdigest()


def _aligned(period: Period, size: int) -> tuple[int, int]:
    """The period in whole bundles: a part of one could not be held against its tile."""
    end = size if period.end is None else min(period.end, size)
    if period.start >= end:
        raise ExportError("no entries in this period")
    return period.start // WIDTH * WIDTH, min(-(-end // WIDTH) * WIDTH, size)


async def _tiles(store: LogStore, writer: _Writer, size: int) -> None:
    level = 0
    while width := size >> HEIGHT * level:
        for index in range(-(-width // WIDTH)):
            count = min(WIDTH, width - index * WIDTH)
            hashes = await store.tile(level, index)
            if hashes is None or len(hashes) < count * 32:
                raise IntegrityError(f"tile {level}/{index} is missing or cut")
            writer.write(tile_path(level, index, count), hashes[: count * 32])  # it may have grown meanwhile
        level += 1


async def _bundles(store: LogStore, writer: _Writer, start: int, end: int, size: int) -> None:
    for first in range(start, end, BUNDLES * WIDTH):
        entries = await store.entries(first, min(first + BUNDLES * WIDTH, end))
        for number in range(0, len(entries), WIDTH):
            some = entries[number : number + WIDTH]
            path = tile_path("entries", (first + number) // WIDTH, len(some))
            writer.write(path, bundle(entry.body for entry in some))
        if len(entries) != min(first + BUNDLES * WIDTH, end) - first:
            raise IntegrityError(f"log has a gap between {first} and {end}")


async def index_at(store: LogStore, t: str) -> int:
    """The first entry that is not before `t` (a `timestamp`): where a period begins or ends."""
    low, high = 0, (await store.head()).size
    while low < high:
        middle = (low + high) // 2
        entry = (await store.entries(middle, middle + 1))[0]
        if decode(entry.body)["t"] < t:
            low = middle + 1
        else:
            high = middle
    return low
