"""`chartbridge demo`: the whole job on invented samples, in a temporary folder, without a network.

1. a new site: keys, stores, log, two clients (the clinic's own, and one of another organisation)
2. the node, with a real MLLP listener and a real HTTP port on free ports of this machine
3. seven messages over MLLP: admission, result, correction, a second record and its merge, one broken, one sent twice
   and two documents over HTTP: a C-CDA summary, a European patient summary
4. what became of them: resources by type, read through the gate like any client's
5. consent: the other organisation reads nothing; granted, it reads; revoked, the same read answers 404 again
6. the log exported and verified, and each of its entries by an inclusion proof; then one byte of the copy is flipped,
   and verification must fail

Every count shown is asserted. Exit 0, or 7 when a proof does not hold.
"""

import asyncio
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from adapter import samples
from adapter.access.grant import grant
from adapter.access.token import issue
from adapter.client import FhirClient
from adapter.errors import ChartbridgeError, IntegrityFault
from adapter.http_server import free_port
from adapter.node import Node, running
from adapter.sender import acknowledgement_code, read_messages, send_one
from adapter.settings import FILE
from adapter.site import Site, create, now
from adapter.store import messages
from ledger.errors import VerificationError
from ledger.export import export
from ledger.kit import CHECKPOINT
from ledger.merkle import leaf_hash, verify_inclusion
from ledger.note import Ed25519Verifier, open_checkpoint
from ledger.tiles import WIDTH, tile_path, unbundle
from ledger.verify import Exit, verify_folder

LOCALHOST = "127.0.0.1"
ACCEPTED, REFUSED = ("AA", "CA"), ("AR", "CR")
PATIENT = "urn:oid:2.999.1.4|4711"
COUNTED = (
    "Patient",
    "Encounter",
    "ServiceRequest",
    "DiagnosticReport",
    "Observation",
    "AllergyIntolerance",
    "Condition",
)
ABROAD = """
[access.client.abroad]
name = "Hospital abroad"
system = "urn:oid:2.999.7"
identifier = "abroad-1"
roles = ["clinician"]
scopes = "system/*.rs"
purposes = ["TREAT"]
"""


PRACTICE = """
[access.client.practice]
name = "Her doctor's practice"
system = "urn:oid:2.999.7"
identifier = "practice-1"
feed = "main"
scopes = "system/*.cruds"
purposes = ["TREAT"]
"""
DOCUMENTS = (
    ("C-CDA summary", "demo-ccd.xml"),
    ("European patient summary", "demo-patient-summary.xml"),
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One message of the demo, and the ACK it must get."""

    title: str
    file: str
    expected: tuple[str, ...]


STORY = (
    Sample("admission", "adt-a01-admission.hl7", ACCEPTED),
    Sample("laboratory result", "oru-r01-chemistry.hl7", ACCEPTED),
    Sample("correction of one value", "oru-r01-correction.hl7", ACCEPTED),
    Sample("a second record of her", "adt-a01-second-record.hl7", ACCEPTED),
    Sample("merge of the two records", "adt-a40-merge.hl7", ACCEPTED),
    Sample("a birth date that is none", "adt-a01-bad-birth-date.hl7", ACCEPTED),
    Sample("broken: no message type", "broken-no-type.hl7", REFUSED),
    Sample("the result, sent twice", "oru-r01-chemistry.hl7", ACCEPTED),
)

console = Console(highlight=False, soft_wrap=True)


class DemoFailed(ChartbridgeError):
    """Something that the demo shows did not happen."""

    code = "demo-failed"


def run(*, keep: bool = False) -> int:
    """Run the demo; its exit code."""
    with _folder(keep) as folder:
        site = create(
            folder / "site", org="stadtklinik", name="Stadtklinik", http_port=free_port(LOCALHOST), mllp_port=0
        )
        with (site / FILE).open("a", encoding="utf-8") as file:
            file.write(ABROAD + PRACTICE)
        _tick("keys and stores created")
        asyncio.run(_story(site, folder / "export", keep))
    return 0


@contextmanager
def _folder(keep: bool) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="chartbridge-demo-"))
    try:
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder)


async def _story(site: Path, export: Path, keep: bool) -> None:
    async with running(site) as node:
        _tick(f"listening: MLLP {node.mllp_port()}, FHIR {node.services.base}")
        await _send(node)
        await _send_documents(_client(node, "practice"))
        await _became(node)
        clinic, abroad = _client(node, "clinic"), _client(node, "abroad")
        patient = await _read(clinic)
        await _consent(clinic, abroad, patient)
        await _prove(node, export)
        if keep:
            console.print(f"\nstaying up in {site} until interrupted")
            await asyncio.Event().wait()


async def _send(node: Node) -> None:
    first: dict[str, bytes] = {}
    for sample in STORY:
        (message,) = read_messages([samples.folder() / sample.file])
        ack = await send_one(LOCALHOST, node.mllp_port(), message)
        code = acknowledgement_code(ack)
        _expect(code in sample.expected, f"{sample.title}: acknowledged with {code}")
        again = " (the first ACK again)" if first.get(sample.file) == ack else ""
        _expect(sample.file not in first or bool(again), "a duplicate got another ACK")
        first[sample.file] = ack
        console.print(f"  → {sample.title:<27} ← {code}{again}")
    _tick(f"{len(STORY)} messages sent over MLLP, each acknowledged after its bytes were durable")


async def _send_documents(practice: FhirClient) -> None:
    sender = replace(practice, base=practice.base.removesuffix("/fhir"))
    for title, file in DOCUMENTS:
        answer = await sender.post("/cda", (samples.documents() / file).read_bytes(), "application/xml")
        _expect(answer.status == 200, f"{title}: answered with {answer.status}")
        console.print(f"  → {title:<27} ← {answer.status}")
    _tick(f"{len(DOCUMENTS)} documents sent over HTTP, each answered after its bytes were durable")


async def _became(node: Node) -> None:
    async with asyncio.timeout(15):
        await node.settled()
    states = await node.site.store.read(lambda conn: messages.counts(conn, node.site.org))
    rows = await node.journal.counts()
    delivered = states.get(("main", messages.DELIVERED), 0)
    duplicates, refused = rows.get(("main", "duplicate"), 0), rows.get(("main", "rejected"), 0)
    _expect((delivered, duplicates, refused) == (8, 1, 1), f"states {states}, journal {rows}")
    _expect(set(states) == {("main", messages.DELIVERED)}, f"a message is waiting: {states}")
    _tick(f"{delivered} converted, sealed and logged; {duplicates} duplicate, no effect; {refused} refused and kept")


async def _read(clinic: FhirClient) -> str:
    """Read the patient as her own hospital does; her id."""
    found = (await clinic.get(f"/Patient?identifier={PATIENT}")).json()
    _expect(found["total"] == 1, f"{found['total']} patients bear the identifier")
    patient = found["entry"][0]["resource"]
    counts = Counter({"Patient": 1})
    for kind in COUNTED[1:]:
        counts[kind] = (await clinic.get(f"/{kind}?patient={patient['id']}&_count=0")).json()["total"]
    _expect(all(counts[kind] for kind in COUNTED), f"nothing of some type: {dict(counts)}")
    _tick("read by her own hospital: " + ", ".join(f"{counts[kind]} {kind}" for kind in COUNTED))
    creatinine = f"/Observation?patient={patient['id']}&code=http://loinc.org|2160-0"
    (entry,) = (await clinic.get(creatinine)).json()["entry"]
    result = entry["resource"]
    _expect(result["status"] == "corrected", f"the corrected result is {result['status']}")
    history = (await clinic.get(f"/Observation/{result['id']}/_history")).json()
    _expect(len(history["entry"]) == 2, f"{len(history['entry'])} versions of the corrected result")
    names = [link["type"] for link in patient.get("link", [])]
    _expect("replaces" in names, "the survivor of the merge has no link")
    _tick("the correction is version 2 of the same Observation; the merged record answers under both numbers")
    return str(patient["id"])


async def _consent(clinic: FhirClient, abroad: FhirClient, patient: str) -> None:
    path = f"/Patient/{patient}"
    _expect((await abroad.get(path)).status == 404, "the other organisation could read before any consent")
    granted = await clinic.send("POST", "/Consent", _permit(patient))
    _expect(granted.status == 201, f"the consent was answered with {granted.status}")
    entry = granted.headers.get("x-ledger-index", "")
    seen = await abroad.get(path)
    _expect(seen.status == 200, f"the other organisation got {seen.status} under the consent")
    _tick(
        f"consent granted (log entry {entry}) → read by the other organisation (entry {seen.headers['x-ledger-index']})"
    )
    body = granted.json()
    revoked = await clinic.send("PUT", f"/Consent/{body['id']}", body | {"status": "inactive"})
    _expect(revoked.status == 200, f"the revocation was answered with {revoked.status}")
    after = await abroad.get(path)
    _expect(after.status == 404, f"the same read got {after.status} after the revocation")
    _tick(f"revoked (entry {revoked.headers.get('x-ledger-index', '')}) → the same read answers 404")


def _permit(patient: str) -> dict[str, Any]:
    recipient = {"identifier": {"system": "urn:oid:2.999.7", "value": "abroad-1"}}
    role = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}]}
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": now().isoformat(timespec="seconds"),
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
        "provision": {
            "type": "permit",
            "actor": [{"role": role, "reference": recipient}],
            "purpose": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}],
        },
    }


async def _prove(node: Node, folder: Path) -> None:
    await node.site.ledger.integrate()
    size = (await export(node.site.log, node.site.signer, folder)).size
    if verify_folder(folder).exit_code is not Exit.VERIFIED:
        raise IntegrityFault("the exported log does not verify", hint="chartbridge ledger fsck")
    proven = await _proven(node.site, folder, size)
    if proven != size:
        raise IntegrityFault(f"{size - proven} of {size} entries are not proven", hint="chartbridge ledger fsck")
    _tick(f"checkpoint signed over {size} entries; {proven} of {size} inclusion proofs verified, and the whole export")
    _flip_one_byte(folder)
    if verify_folder(folder).exit_code is not Exit.FAILED:
        raise IntegrityFault("a changed export was not noticed")
    _tick("one byte changed: verification failed, as it must")


async def _proven(site: Site, folder: Path, size: int) -> int:
    """How many of the exported entries are in the tree of the exported checkpoint, each by a proof of its own."""
    ledger = site.ledger
    note = (folder / CHECKPOINT).read_bytes()
    checkpoint = open_checkpoint(note, ledger.origin, Ed25519Verifier.of(ledger.vkey))
    proven = 0
    for first in range(0, size, WIDTH):
        path = folder / tile_path("entries", first // WIDTH, min(WIDTH, size - first))
        for index, entry in enumerate(unbundle(path.read_bytes()), first):
            proof = await ledger.inclusion(f"{ledger.shard}:{index}", checkpoint.size)
            try:
                verify_inclusion(leaf_hash(entry), index, checkpoint.size, proof.hashes, checkpoint.root)
            except VerificationError:
                continue
            proven += 1
    return proven


def _flip_one_byte(folder: Path) -> None:
    bundle = sorted(path for path in (folder / "tile" / "entries").rglob("*") if path.is_file())[0]
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    bundle.write_bytes(data)


def _client(node: Node, name: str) -> FhirClient:
    settings = node.site.settings
    given = grant(settings.access, name)
    token = issue(
        node.site.token_key,
        given,
        audience=node.services.base,
        life_s=settings.access.token_s,
        now=now(),
        entropy=os.urandom,
    )
    return FhirClient(node.services.base, token)


def _tick(text: str) -> None:
    console.print(f"[green]✔[/green] {text}")


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise DemoFailed(otherwise, hint="chartbridge doctor")
