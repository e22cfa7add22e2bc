"""The kit: what `ledger export` writes (ledger chapter §14; C2SP tlog-tiles, tlog-policy)."""

from hashlib import sha256
from pathlib import Path

import pytest

from ledger.errors import IntegrityError, VerificationError
from ledger.event import timestamp
from ledger.export import ExportError, Period, index_at
from ledger.kit import Disclosure, Manifest, open_manifest, parse_disclosure
from ledger.note import Ed25519Signer, open_checkpoint
from ledger.policy import Policy, parse_policy
from ledger.store.memory import MemoryLogStore
from ledger.tiles import unbundle
from tests.ledger.conftest import ORIGIN, SIGNER
from tests.ledger.kits import REPLAYED, Log, new_log, story


@pytest.fixture
async def log() -> Log:
    return await story()


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


async def test_an_export_holds_policy_checkpoint_tiles_bundles_and_the_verifier(log: Log, tmp_path: Path) -> None:
    done = await log.export(tmp_path / "kit")
    size = log.ledger.size
    rest = size % 256
    tiles = {"tile/0/000", "tile/0/001", f"tile/0/002.p/{rest}", "tile/1/000.p/2"}
    bundles = {"tile/entries/000", "tile/entries/001", f"tile/entries/002.p/{rest}"}
    assert files(tmp_path / "kit") == {
        *tiles, *bundles, "policy.txt", "checkpoint", "README", "verify.py", "MANIFEST",
    }  # fmt: skip
    assert (done.size, done.start, done.end) == (size, 0, size)
    bodies = [body for path in sorted(bundles) for body in unbundle((tmp_path / "kit" / path).read_bytes())]
    assert bodies == [entry.body for entry in await log.ledger.entries(0, size)]


async def test_checkpoint_and_policy_are_those_of_the_log(log: Log, tmp_path: Path) -> None:
    await log.export(tmp_path)
    assert parse_policy((tmp_path / "policy.txt").read_bytes()) == Policy((SIGNER.vkey,))
    checkpoint = open_checkpoint((tmp_path / "checkpoint").read_bytes(), ORIGIN, SIGNER.verifier)
    assert checkpoint.size == log.ledger.size


async def test_the_manifest_names_every_other_file_and_is_signed(log: Log, tmp_path: Path) -> None:
    await log.export(tmp_path, ["basis"])
    manifest = open_manifest((tmp_path / "MANIFEST").read_bytes(), [SIGNER.verifier])
    assert set(manifest.files) == files(tmp_path) - {"MANIFEST"}
    assert all(sha256((tmp_path / name).read_bytes()).hexdigest() == digest for name, digest in manifest.files.items())
    with pytest.raises(VerificationError):
        open_manifest((tmp_path / "MANIFEST").read_bytes(), [Ed25519Signer(ORIGIN, b"\7" * 32).verifier])


async def test_a_period_brings_its_bundles_whole_and_all_tiles(log: Log, tmp_path: Path) -> None:
    done = await log.export(tmp_path, period=Period(300, 400))
    assert (done.start, done.end) == (256, 512)
    assert {name for name in files(tmp_path) if "entries" in name} == {"tile/entries/001"}
    assert "tile/0/000" in files(tmp_path)


async def test_a_period_without_entries_is_refused(log: Log, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no entries"):
        await log.export(tmp_path, period=Period(log.ledger.size))


async def test_nothing_is_written_into_a_folder_that_is_in_use(log: Log, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(ExportError, match="not empty"):
        await log.export(tmp_path)
    assert files(tmp_path) == {"mine"}


async def test_a_log_without_a_checkpoint_has_nothing_to_show(tmp_path: Path) -> None:
    from ledger.export import export

    with pytest.raises(ExportError, match="no checkpoint"):
        await export(MemoryLogStore(), SIGNER, tmp_path)


async def test_an_export_of_a_log_with_a_lost_tile_is_refused(log: Log, tmp_path: Path) -> None:
    await log.ledger.integrate()
    log.store._tiles[(0, 1)] = b""
    with pytest.raises(IntegrityError, match="tile 0/1"):
        await log.export(tmp_path)
    assert "MANIFEST" not in files(tmp_path)


async def test_disclosures_are_text_that_opens(log: Log, tmp_path: Path) -> None:
    await log.export(tmp_path, REPLAYED)
    lines = (tmp_path / "disclosures.jsonl").read_bytes().splitlines()
    found = [parse_disclosure(line) for line in lines]
    assert {one.field for one in found} == set(REPLAYED)
    assert found == log.opened(*REPLAYED)


async def test_a_time_is_found_among_the_entries() -> None:
    log = await new_log()
    starts = []
    for _ in range(5):
        starts.append((log.ledger.size, log.ledger.now()))
        await log.fill(3)
    for index, at in starts[1:]:
        assert await index_at(log.store, timestamp(at)) == index - 3
        log.clock.pass_(0)
    assert await index_at(log.store, "2999-01-01T00:00:00.000Z") == log.ledger.size


@pytest.mark.parametrize(
    "line",
    [
        b"", b"{", b"[]", b'{"ref":"2026:1"}',
        b'{"ref":"2026:1","field":"basis","salt":"00","value":"x"}',
        b'{"ref":"2026:1","field":"basis","salt":"' + b"0" * 64 + b'","value":1.5}',
        b'{"ref":"2026:1","field":"basis","salt":"' + b"0" * 64 + b'","value":"x","more":1}',
        b'{"ref":1,"field":"basis","salt":"' + b"0" * 64 + b'","value":"x"}',
    ],
)  # fmt: skip
def test_what_is_no_disclosure_is_refused(line: bytes) -> None:
    with pytest.raises(VerificationError):
        parse_disclosure(line)


def test_a_structure_may_be_disclosed_but_no_bytes() -> None:
    line = Disclosure("2026:1", "reason", b"\0" * 32, {"code": ["a", 1]}).line()
    assert parse_disclosure(line.encode()).value == {"code": ["a", 1]}
    with pytest.raises(Exception, match="text"):
        Disclosure("2026:1", "reason", b"\0" * 32, b"\xff").line()


@pytest.mark.parametrize("path", ["../checkpoint", "/checkpoint", "tile//0", "tile/../x", ".hidden", "tile/0/", "a b"])
def test_a_manifest_with_a_path_out_of_its_folder_is_malformed(path: str) -> None:
    signed = Manifest(ORIGIN, 1, 0, 1, {path: "0" * 64}).sign(SIGNER)
    with pytest.raises(VerificationError, match="malformed"):
        open_manifest(signed, [SIGNER.verifier])
