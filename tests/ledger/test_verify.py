"""Offline verification (ledger chapter §14): every kind of flip is found, what is missing is unknown, and the two
verifiers say the same. `both` runs the package's and the standalone one and compares them word for word."""

import base64
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ledger.cosignature import Cosigner
from ledger.export import Period
from ledger.note import Checkpoint, Ed25519Signer, encode_vkey, open_checkpoint, sign_note
from ledger.policy import Group, Policy
from ledger.proof import Proof
from ledger.verify import Exit, verify_folder
from tests.ledger.conftest import OTHER, SIGNER, Ticking, consent, policy, read
from tests.ledger.kits import REPLAYED, as_json, both, new_log, states, story

Change = Callable[[Path], None]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One good kit with openings; tests change copies."""
    import asyncio

    folder = tmp_path_factory.mktemp("good") / "kit"

    async def make() -> None:
        log = await story()
        await log.export(folder, REPLAYED)

    asyncio.run(make())
    return folder


@pytest.fixture
def copy(kit: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(kit, tmp_path / "copy"))


def flip(name: str, at: int = 40) -> Change:
    """One bit of one byte."""

    def change(folder: Path) -> None:
        path = folder / name
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.write_bytes(data)

    return change


def replaced(name: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1), "utf-8")

    return change


def cut(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-1])

    return change


def added(name: str, data: bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    return change


def test_a_good_kit_is_verified_by_both(kit: Path) -> None:
    report = both(kit)
    assert report.exit_code == Exit.VERIFIED
    assert [check.name for check in report.checks] == [
        "policy", "checkpoint", "manifest", "entries", "tiles", "tree", "disclosures", "replay",
    ]  # fmt: skip
    assert report.checks[-1].found == "602 justified, 0 unopened"
    assert "609 entries" in report.checks[3].found


def test_the_verifier_in_the_kit_is_enough(kit: Path) -> None:
    import subprocess
    import sys

    command = [sys.executable, "-I", "-S", str(kit / "verify.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=kit.parent)  # noqa: S603
    assert (done.returncode, done.stdout) == (0, f"{verify_folder(kit)}\n")


def test_the_right_key_from_outside_is_accepted_and_another_is_not(kit: Path) -> None:
    assert both(kit, vkey=SIGNER.vkey).exit_code == Exit.VERIFIED
    other = Ed25519Signer(SIGNER.name, b"\7" * 32).vkey
    assert states(both(kit, vkey=other)) | {"policy": "fail", "checkpoint": "fail"} == states(both(kit, vkey=other))
    assert states(both(kit, vkey="nonsense"))["policy"] == "fail"


TAMPERED: dict[str, tuple[Change, str, str]] = {
    "an entry's byte": (flip("tile/entries/000", 200), "tree", "entry 0 is not the one that was logged"),
    "a later entry's byte": (flip("tile/entries/001", 100_000), "tree", "is not the one that was logged"),
    "an entry's length": (flip("tile/entries/001", 1), "entries", "tile/entries/001"),
    "a cut bundle": (cut("tile/entries/000"), "entries", "tile/entries/000 is cut"),
    "a leaf's hash": (flip("tile/0/000"), "tiles", "tile/0/000 is not what the entries give"),
    "a partial tile's hash": (flip("tile/0/002.p/97"), "tiles", "tile/0/002.p/97 is not what the entries give"),
    "a cut tile": (cut("tile/0/001"), "tiles", "tile/0/001 has a wrong length"),
    "an upper tile's hash": (flip("tile/1/000.p/2"), "tiles", "tile/1/000.p/2 is not what the tiles below give"),
    "the checkpoint's size": (replaced("checkpoint", "\n609\n", "\n608\n"), "checkpoint", "not signed"),
    "the checkpoint's signature": (replaced("checkpoint", " OKAWC", " OKAWD"), "checkpoint", "not signed"),
    "the key": (replaced("policy.txt", "+AYqI", "+AYqJ"), "policy", "no trust policy"),
    "a value that is disclosed": (replaced("disclosures.jsonl", "2026:0", "2026:1"), "disclosures", "line"),
    "a salt": (replaced("disclosures.jsonl", '"salt":"', '"salt":"00'), "disclosures", "line 1 is malformed"),
    "a disclosure of another log": (
        replaced("disclosures.jsonl", '"ref":"2026:', '"ref":"2025:'), "disclosures", "line 1 is about another log",
    ),
    "a file's digest": (flip("MANIFEST", 3), "manifest", "is not what the log's operator signed"),
    "the manifest's signature": (cut("MANIFEST"), "manifest", "is not what the log's operator signed"),
    "the reader's guide": (flip("README"), "manifest", "README is not what was signed"),
    "the verifier": (flip("verify.py", 500), "manifest", "verify.py is not what was signed"),
    "a file that was added": (added("tile/entries/003", b""), "manifest", "tile/entries/003 is not in MANIFEST"),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_every_kind_of_change_is_found_and_named(copy: Path, name: str) -> None:
    change, check, found = TAMPERED[name]
    change(copy)
    report = both(copy)
    assert report.exit_code == Exit.FAILED
    assert [one.state for one in report.checks if one.name == check] == ["fail"]
    assert [found in one.found for one in report.checks if one.name == check] == [True]


def test_every_byte_of_checkpoint_and_manifest_counts(copy: Path) -> None:
    for name, step in (("checkpoint", 17), ("MANIFEST", 97)):
        good = (copy / name).read_bytes()
        for at in range(0, len(good), step):
            flip(name, at)(copy)
            assert verify_folder(copy).exit_code != Exit.VERIFIED, (name, at)
            (copy / name).write_bytes(good)


PARTIAL = {
    "checkpoint": ("checkpoint", "manifest", "entries", "tiles", "tree"),
    "policy.txt": ("policy", "checkpoint", "manifest", "entries", "tiles", "tree"),
    "MANIFEST": ("manifest",),
    "tile/entries/001": ("manifest", "entries", "disclosures"),
    "tile/0/001": ("manifest", "tiles"),
    "tile/1/000.p/2": ("manifest", "tiles"),
    "README": ("manifest",),
    "disclosures.jsonl": ("manifest",),
}


@pytest.mark.parametrize("name", PARTIAL)
def test_what_is_missing_is_unknown_never_verified(copy: Path, name: str) -> None:
    (copy / name).unlink()
    report = both(copy)
    assert report.exit_code == Exit.CANNOT_TELL
    assert {check.name for check in report.checks if check.state == "unknown"} == set(PARTIAL[name])


def test_without_bundle_and_tile_the_tree_is_unknown(copy: Path) -> None:
    (copy / "tile/entries/001").unlink()
    (copy / "tile/0/001").unlink()
    assert states(both(copy))["tree"] == "unknown"


def test_a_key_from_outside_makes_up_for_a_lost_policy_but_not_for_its_quorum(copy: Path) -> None:
    (copy / "policy.txt").unlink()
    found = states(both(copy, vkey=SIGNER.vkey))
    assert (found["policy"], found["checkpoint"], found["tree"]) == ("unknown", "pass", "pass")


def test_anchors_are_not_guessed(copy: Path) -> None:
    (copy / "anchors.jsonl").write_text("{}\n")
    assert states(both(copy))["anchors"] == "unknown"


async def test_an_export_of_a_period_is_verified_for_that_period(tmp_path: Path) -> None:
    log = await story()
    await log.export(tmp_path, period=Period(300, 400))
    report = both(tmp_path)
    assert report.exit_code == Exit.VERIFIED
    assert report.checks[3].found.startswith("256 entries (256 to 512 of 609)")


async def test_the_smallest_logs_are_verified(tmp_path: Path) -> None:
    log = await new_log()
    for count in (1, 255, 256, 257):
        await log.fill(count - log.ledger.size)
        await log.export(tmp_path / str(count))
        assert both(tmp_path / str(count)).exit_code == Exit.VERIFIED


async def test_an_older_checkpoint_and_an_old_receipt_must_be_prefixes(tmp_path: Path) -> None:
    log = await new_log()
    old = tmp_path / "old-checkpoint"
    receipt = tmp_path / "kept.tlog-proof"
    await log.fill(300)
    await log.ledger.integrate()
    old.write_text(str((await log.store.newest_checkpoint()).note))  # type: ignore[union-attr]
    await log.fill(300)
    await log.ledger.integrate()
    receipt.write_text(str(await log.ledger.receipt("2026:5")))
    await log.fill(100)
    await log.export(tmp_path / "kit")
    report = both(tmp_path / "kit", trust=[old, receipt])
    assert [check.state for check in report.checks if check.name == "consistency"] == ["pass", "pass"]
    assert report.exit_code == Exit.VERIFIED


async def test_a_forked_log_is_exposed_by_whoever_kept_a_checkpoint(tmp_path: Path) -> None:
    mine, forged = await new_log(), await new_log()
    for log in (mine, forged):
        await log.fill(40)
        await log.ledger.integrate()
    old = tmp_path / "old"
    old.write_text(str((await mine.store.newest_checkpoint()).note))  # type: ignore[union-attr]
    await forged.fill(10)
    await forged.export(tmp_path / "kit")
    report = both(tmp_path / "kit", trust=[old])
    assert states(report)["consistency"] == "fail"
    assert report.exit_code == Exit.FAILED


async def test_a_checkpoint_that_the_folder_does_not_reach_decides_nothing(tmp_path: Path) -> None:
    log = await new_log()
    await log.fill(40)
    await log.export(tmp_path / "kit")
    await log.fill(40)
    await log.ledger.integrate()
    newer, foreign = tmp_path / "newer", tmp_path / "foreign"
    newer.write_text(str((await log.store.newest_checkpoint()).note))  # type: ignore[union-attr]
    foreign.write_text(str(sign_note(Checkpoint("other/2026", 1, b"\0" * 32).text(), [SIGNER])))  # type: ignore[arg-type]
    report = both(tmp_path / "kit", trust=[newer, foreign])
    assert [check.state for check in report.checks if check.name == "consistency"] == ["unknown", "fail"]


def cosigned(folder: Path, policy: Policy, *cosigners: Cosigner) -> None:
    """Give a kit witnesses, and its operator's signature anew."""
    from ledger.kit import Manifest, open_manifest

    checkpoint = open_checkpoint((folder / "checkpoint").read_bytes(), SIGNER.name, SIGNER.verifier)
    (folder / "checkpoint").write_text(str(sign_note(checkpoint.text(), [SIGNER, *cosigners])), "utf-8")
    (folder / "policy.txt").write_text(policy.text())
    manifest = open_manifest((folder / "MANIFEST").read_bytes(), [SIGNER.verifier])
    from hashlib import sha256

    files = {name: sha256((folder / name).read_bytes()).hexdigest() for name in manifest.files}
    signed = Manifest(manifest.origin, manifest.size, manifest.start, manifest.end, files).sign(SIGNER)
    (folder / "MANIFEST").write_bytes(signed)


def witness(number: int, at_s: int = 1772615400) -> Cosigner:
    return Cosigner(f"w{number}.example.net/w", bytes([number]) * 32, lambda: at_s)


W = [witness(n) for n in range(2, 6)]
TWO_OF_THREE = Policy(
    (SIGNER.vkey,), {f"w{n}": W[n].vkey for n in range(3)}, {"outside": Group(2, ("w0", "w1", "w2"))}, "outside"
)


@pytest.mark.parametrize(
    ("who", "state"), [((0, 1), "pass"), ((0, 1, 2), "pass"), ((2,), "fail"), ((), "fail"), ((0, 3), "fail")]
)
def test_a_quorum_is_counted(copy: Path, who: tuple[int, ...], state: str) -> None:
    cosigned(copy, TWO_OF_THREE, *(W[n] for n in who))
    assert states(both(copy))["witnesses"] == state


def test_a_cosignature_that_does_not_hold_is_not_passed_over(copy: Path) -> None:
    cosigned(copy, TWO_OF_THREE, *W[:3])
    text = (copy / "checkpoint").read_text("utf-8")
    line = next(line for line in text.split("\n") if line.startswith("— w2"))
    head, raw = line.rsplit(" ", 1)
    broken = bytearray(base64.b64decode(raw))
    broken[-1] ^= 1
    (copy / "checkpoint").write_text(text.replace(line, f"{head} {base64.b64encode(broken).decode()}"), "utf-8")
    assert states(both(copy))["witnesses"] == "fail"


def test_witnesses_of_a_kind_that_nobody_reads_here_leave_it_open(copy: Path) -> None:
    pq = encode_vkey("pq.example.net/w", 0x06, b"\5" * 1312)
    policy = Policy((SIGNER.vkey,), {"pq": pq}, {}, "pq")
    cosigned(copy, policy)
    assert states(both(copy))["witnesses"] == "fail"
    name, ident, _ = pq.split("+")
    line = base64.b64encode(bytes.fromhex(ident) + b"\1" * 2420).decode()
    with (copy / "checkpoint").open("a", encoding="utf-8") as file:
        file.write(f"— {name} {line}\n")
    assert states(both(copy))["witnesses"] == "unknown"


@pytest.mark.parametrize(("shift_s", "state"), [(0, "pass"), (-290, "pass"), (-3600, "fail")])
def test_entries_are_not_later_than_the_time_at_which_they_were_witnessed(copy: Path, shift_s: int, state: str) -> None:
    at_s = int(Ticking().wall.timestamp()) + shift_s  # the log's clock starts there, and goes seconds
    cosigned(copy, Policy((SIGNER.vkey,), {"w": witness(9).vkey}, {}, "w"), witness(9, at_s))
    assert states(both(copy))["times"] == state


async def test_a_permit_after_its_consent_was_revoked_is_unjustified(tmp_path: Path) -> None:
    log = await new_log()
    granted = await log.add(consent("granted", epoch=1))
    await log.add(consent("revoked", epoch=2))  # says not what it ends: only replay can know
    await log.add(read(basis=granted, epoch=2))
    await log.export(tmp_path, REPLAYED)
    report = both(tmp_path)
    assert report.checks[-1].found == "1 unjustified, first 2026:3: its basis had ended"
    assert report.exit_code == Exit.FAILED


async def test_replay_judges_only_what_is_opened(tmp_path: Path) -> None:
    log = await new_log()
    granted = await log.add(consent("granted", epoch=1))
    await log.add(consent("granted", epoch=1, key=OTHER))
    await log.add(read(basis=granted), policy("more"))
    await log.export(tmp_path, ["basis"])
    report = both(tmp_path)
    assert "replay" not in states(report)
    assert report.exit_code == Exit.VERIFIED


def test_a_receipt_is_verified_with_its_entry_and_key(tmp_path: Path, kit: Path) -> None:
    import asyncio

    async def make() -> tuple[Proof, bytes]:
        log = await story()
        await log.ledger.integrate()
        return await log.ledger.receipt("2026:300"), (await log.ledger.entry("2026:300")).body

    proof, body = asyncio.run(make())
    file = tmp_path / "2026-300.tlog-proof"
    file.write_text(str(proof), "utf-8")
    assert states(both(file)) == {"policy": "unknown", "checkpoint": "unknown", "inclusion": "unknown"}
    (tmp_path / "policy.txt").write_bytes((kit / "policy.txt").read_bytes())
    assert states(both(file))["inclusion"] == "unknown"
    (tmp_path / "2026-300.entry").write_bytes(body)
    assert both(file).exit_code == Exit.VERIFIED
    (tmp_path / "2026-300.entry").write_bytes(body.replace(b"permit", b"permiu"))
    assert both(file).exit_code == Exit.FAILED
    file.write_text(str(proof).replace("index 300", "index 301"), "utf-8")
    assert states(both(file))["inclusion"] == "fail"
    file.write_text("nothing")
    assert states(both(file))["proof"] == "fail"


def test_the_standalone_verifier_speaks_json_and_names_what_is_not_there(kit: Path, tmp_path: Path) -> None:
    found = as_json(kit)
    assert (found["schema"], found["verdict"]) == ("chartbridge.ledger.verify/1", "verified")
    import subprocess
    import sys

    from ledger import verify_standalone

    command = [sys.executable, "-I", verify_standalone.__file__, str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert (done.returncode, done.stdout) == (5, "")
    assert "nothing there" in done.stderr


def test_the_empty_folder_proves_nothing(tmp_path: Path) -> None:
    assert both(tmp_path).exit_code == Exit.CANNOT_TELL
