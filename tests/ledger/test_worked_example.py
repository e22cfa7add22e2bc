"""The format's worked example, reproduced byte for byte through the log itself."""

from datetime import datetime
from hashlib import sha256
from typing import Any

from ledger.commitment import SubjectKey, commitment_key, field_salt
from ledger.cosignature import CosignatureVerifier, Cosigner
from ledger.event import Event, id_bytes
from ledger.log import Ledger
from ledger.merkle import leaf_hash, root_of
from ledger.note import Checkpoint, open_note, sign_note
from ledger.proof import Proof, parse_proof
from ledger.store.base import LogStore
from ledger.vault import Vault
from tests.ledger.conftest import SIGNER, Ticking, ledger_of, vector

EXAMPLE = vector("chartbridge-v1.json")
KEY = SubjectKey.of(EXAMPLE["subject_row"], bytes.fromhex(EXAMPLE["dek"]))
WITNESS = Cosigner(EXAMPLE["witness_name"], bytes.fromhex(EXAMPLE["witness_seed"]), lambda: EXAMPLE["witness_time_s"])


def event(case: dict[str, Any]) -> Event:
    """The detail and the epoch stay outside the entry, so the example does not name them."""
    extra: dict[str, Any] = {"subject_key": KEY, "detail": b"{}"} if case.get("secret") else {}
    epoch = 1 if case["type"].startswith("consent.") else None
    given = {name: case[name] for name in ("outcome", "clear", "secret") if name in case}
    return Event(case["type"], case["id"], EXAMPLE["org"], epoch=epoch, **given, **extra)


async def logged(store: LogStore, vault: Vault) -> Ledger:
    clock = Ticking(datetime.fromisoformat(EXAMPLE["events"][0]["t"]))
    ledger = ledger_of(store, vault, clock)
    await ledger.start()
    for case in EXAMPLE["events"]:
        clock.pass_((datetime.fromisoformat(case["t"]) - clock()).total_seconds())
        await ledger.append([event(case)])
    await ledger.integrate()
    return ledger


def test_keys_and_salts() -> None:
    assert commitment_key(bytes.fromhex(EXAMPLE["dek"])).hex() == EXAMPLE["K"]
    assert (SIGNER.vkey, WITNESS.vkey) == (EXAMPLE["log_vkey"], EXAMPLE["witness_vkey"])
    assert sha256(EXAMPLE["origin"].encode()).hexdigest() == EXAMPLE["log_id"]
    read = id_bytes(EXAMPLE["events"][2]["id"])
    assert {name: field_salt(KEY, read, name).hex() for name in EXAMPLE["salts"]} == EXAMPLE["salts"]


def test_content_is_the_root_over_its_lines() -> None:
    root = root_of(leaf_hash(line.encode()) for line in EXAMPLE["content_lines"])
    assert root.hex() == EXAMPLE["events"][2]["secret"]["content"]


async def test_entries_leaves_and_root(store: LogStore, spare_vault: Vault) -> None:
    ledger = await logged(store, spare_vault)
    entries = await ledger.entries(0, 3)
    assert {index: entries[int(index)].body.decode() for index in EXAMPLE["entries"]} == EXAMPLE["entries"]
    assert [entry.leaf.hex() for entry in entries] == EXAMPLE["leaves"]
    assert (await ledger.root(3)).hex() == EXAMPLE["root"]
    await ledger.close()


async def test_the_receipt_with_its_witness(store: LogStore, spare_vault: Vault) -> None:
    ledger = await logged(store, spare_vault)
    receipt = await ledger.receipt("2026:2")
    checkpoint = Checkpoint(EXAMPLE["origin"], 3, await ledger.root(3))
    cosigned = sign_note(checkpoint.text(), [SIGNER, WITNESS])
    assert str(Proof(receipt.index, receipt.hashes, str(cosigned))) == EXAMPLE["proof"]
    assert receipt.note == EXAMPLE["proof"].partition("\n\n")[2].partition("— witness")[0]
    await ledger.close()


def test_the_kept_receipt_proves_the_entry_to_whoever_has_the_keys() -> None:
    proof = parse_proof(EXAMPLE["proof"])
    checkpoint = proof.verify(EXAMPLE["entries"]["2"].encode(), EXAMPLE["origin"], SIGNER.verifier)
    assert checkpoint.root.hex() == EXAMPLE["root"]
    witness = CosignatureVerifier.of(EXAMPLE["witness_vkey"])
    assert open_note(proof.note.encode(), [witness]).signatures[0].name == EXAMPLE["witness_name"]
