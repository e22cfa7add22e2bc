"""Replay over a live node (issue item 8; ledger chapter §13): every permit that the gate gave is justified, and each
way in which a permit can be wrong is found, although the log accepted it."""

import asyncio
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapter.access import audit
from adapter.access.identity import Organisation
from adapter.access.openings import Opener
from adapter.access.replay import Replayed, Source, replay
from ledger.commitment import field_salt, opens
from ledger.event import Event, id_bytes, new_id
from ledger.export import export
from ledger.replay import Verdict
from ledger.verify import Exit, verify_folder
from tests.adapter.api.conftest import Node, consent, empty_site, observation, patient, start

__all__ = ["empty_site"]

Json = dict[str, Any]


@pytest.fixture
async def node(empty_site: Path, tmp_path: Path) -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        yield await start(stack, empty_site, tmp_path / "node")


async def replayed(node: Node) -> Replayed:
    site = node.opened
    opener = Opener(site.vault, site.keyring, site.signer.name, node.services.zone)
    own = Organisation(node.settings.node.system, node.settings.node.identifier)
    return await replay(Source(site.log, site.store, site.keyring, opener, site.signer.name, own, node.services.zone))


def wrong(done: Replayed) -> list[str]:
    return [finding.why for finding in done.findings if finding.verdict is Verdict.UNJUSTIFIED]


async def grant(node: Node, body: Json | None = None, logical_id: str = "c1") -> str:
    """PUT a consent; its reference in the log."""
    async with node.client() as ward:
        answer = await ward.put(f"/fhir/Consent/{logical_id}", json=(body or consent()) | {"id": logical_id})
        assert answer.status_code in (200, 201), answer.text
        return answer.headers["x-ledger-index"].split(",")[0].strip()


async def read(node: Node, client: str = "north", what: str = "Observation/o1") -> int:
    async with node.client(client) as reader:
        return (await reader.get(f"/fhir/{what}")).status_code


async def test_all_that_the_gate_permits_is_justified(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    assert await read(node, "ward") == 200  # the house rule
    assert await read(node) == 404
    await grant(node)
    assert await read(node) == 200
    await grant(node, consent() | {"status": "inactive"})
    assert await read(node) == 404
    assert await read(node, "ward") == 200
    done = await replayed(node)
    assert (wrong(done), done.faults, done.refused, done.lost) == ([], [], [], 0)
    assert done.count(Verdict.JUSTIFIED) == len(done.findings) >= 3


async def test_a_revocation_and_a_deny_racing_reads_leave_nothing_unjustified(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    await grant(node)
    stop = asyncio.Event()

    async def keep_reading(client: str) -> None:
        async with node.client(client) as reader:
            while not stop.is_set():
                await reader.get("/fhir/Observation/o1")

    readers = [asyncio.create_task(keep_reading(client)) for client in ("north", "ward") for _ in range(4)]
    await asyncio.sleep(0.1)
    await grant(node, consent() | {"status": "inactive"})
    deny = consent("deny", to=None)
    await grant(node, deny, "c2")
    await asyncio.sleep(0.05)
    await grant(node, deny | {"status": "inactive"}, "c2")  # a deny is lifted where it is written, before its entry
    await asyncio.sleep(0.1)
    stop.set()
    await asyncio.gather(*readers)
    done = await replayed(node)
    assert (wrong(done), done.faults) == ([], [])
    assert len(done.findings) > 50


async def forge(node: Node, owner: int, basis: str, *, client: str = "north", **changes: Any) -> None:
    """A permit that the gate did not give, logged by someone who holds all keys of the node."""
    registered = node.settings.access.client[client]
    site, key = node.opened, node.services.gate.subject_key(owner)
    lines = changes.pop("lines", [])
    committed = {
        "actor": client,
        "subject": audit.subject(owner),
        "purpose": "TREAT",
        "content": audit.content_root(lines),
        "basis": basis,
    }
    detail = {
        "client": client,
        "organisation": {"system": registered.system, "value": registered.identifier},
        "roles": sorted(registered.roles),
        "purposes": ["TREAT"],
        "content": lines,
        "committed": committed,
    } | changes
    at = detail.pop("at", datetime.now(UTC))
    event = Event(
        "access.read", new_id(at, os.urandom), site.org, "permit", key, secret=committed,
        detail=msgspec.json.encode(detail),
    )  # fmt: skip
    await site.ledger.append([event])


async def owner_of(node: Node, logical_id: str = "p1") -> int:
    from adapter.store import resources

    org = node.services.keyring.organisation()
    found = await node.services.store.read(lambda conn: resources.current(conn, org, "Patient", logical_id))
    assert found is not None
    await node.services.keyring.load((found.owner,))
    return found.owner


async def policy_ref(node: Node, name: str) -> str:
    return node.services.house.policies[name].ref


async def test_a_permit_for_another_organisation_than_the_consent_names_is_found(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    ref = await grant(node)
    owner = await owner_of(node)
    await forge(node, owner, ref)
    assert wrong(await replayed(node)) == []
    await forge(node, owner, ref, client="south")
    assert wrong(await replayed(node)) == ["what it rests on does not permit it, or another consent denies it"]


async def test_a_permit_for_another_purpose_is_found(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    ref, owner = await grant(node), await owner_of(node)
    await forge(node, owner, ref, purposes=["HRESCH"])
    done = await replayed(node)
    assert done.faults == [f"{done.shard}:{done.entries - 1}: its sealed detail is not what was committed (purpose)"]


async def test_a_permit_by_the_house_rule_for_those_it_does_not_cover_is_found(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    owner = await owner_of(node)
    inside = await policy_ref(node, "inside")
    await forge(node, owner, inside, client="ward")
    assert wrong(await replayed(node)) == []
    await forge(node, owner, inside, client="clerk")
    await forge(node, owner, inside, client="north")
    assert len(wrong(await replayed(node))) == 2


async def test_a_permit_after_a_deny_is_found_although_its_basis_stands(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    owner, inside = await owner_of(node), await policy_ref(node, "inside")
    await forge(node, owner, inside, client="ward")
    await grant(node, consent("deny", to=None))
    await forge(node, owner, inside, client="ward")
    assert wrong(await replayed(node)) == ["what it rests on does not permit it, or another consent denies it"]


async def test_a_permit_after_the_revocation_is_found(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    ref, owner = await grant(node), await owner_of(node)
    await grant(node, consent() | {"status": "inactive"})
    await forge(node, owner, ref)
    assert wrong(await replayed(node)) == ["its basis had ended"]


async def test_a_permit_on_another_patients_consent_is_found(node: Node) -> None:
    await node.put(patient(), patient("p2"), observation("o1"))
    ref, other = await grant(node), await owner_of(node, "p2")
    await forge(node, other, ref)
    assert wrong(await replayed(node)) == ["its basis is about another subject"]


async def test_a_permit_outside_the_consents_period_is_found(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    body = consent()
    body["provision"]["period"] = {"start": "2020-01-01", "end": "2020-12-31"}
    ref, owner = await grant(node, body), await owner_of(node)
    await forge(node, owner, ref)
    assert wrong(await replayed(node)) == ["it is outside the period of its basis"]


async def test_a_decision_that_bears_another_time_than_its_entry_is_found(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    ref, owner = await grant(node), await owner_of(node)
    await forge(node, owner, ref, at=datetime.now(UTC) - timedelta(hours=1))
    assert wrong(await replayed(node)) == ["it was not logged when it was decided"]


async def test_after_a_merge_the_other_patients_deny_counts(node: Node) -> None:
    from mappings.convert import Mapped

    await node.put(patient(), patient("p2"), observation("o1"))
    ref, owner = await grant(node), await owner_of(node)
    await grant(node, consent("deny", of="p2"), "c2")
    await forge(node, owner, ref)
    assert wrong(await replayed(node)) == []
    from adapter.store.unit import Convert

    retired = {"resourceType": "Patient", "id": "p2", "active": False}
    merge = Mapped(retired, "update", (), (), (), "2026-03-05T10:00:00Z", (), "p1")
    await node.commit(Convert(merge))
    assert "subject.merged" in await node.kinds()
    await forge(node, owner, ref)
    assert wrong(await replayed(node)) == ["a patient who is one with this one does not permit it"]


async def test_a_detail_that_is_not_what_was_committed_is_a_fault(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    ref, owner = await grant(node), await owner_of(node)
    await forge(node, owner, ref, client="north", content=["r Observation/o1/_history/1 00"])
    done = await replayed(node)
    assert [fault.split(": ")[1] for fault in done.faults] == ["its sealed detail is not what was committed (content)"]


async def test_what_lost_its_detail_is_unopened_and_said_to_be_lost(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    await grant(node)
    assert await read(node) == 200
    entries = await node.entries()
    last = next(entry for entry in reversed(entries) if entry["type"] == "access.read")
    await node.opened.vault.drop_details([id_bytes(last["id"])])
    done = await replayed(node)
    assert (done.count(Verdict.UNOPENED), done.lost, wrong(done)) == (1, 1, [])


async def test_an_export_with_openings_is_replayed_by_whoever_gets_it(node: Node, tmp_path: Path) -> None:
    await node.put(patient(), observation("o1"))
    await grant(node)
    assert await read(node) == 200
    await grant(node, consent() | {"status": "inactive"})
    assert await read(node) == 404
    site = node.opened
    opener = Opener(site.vault, site.keyring, site.signer.name, node.services.zone)
    await site.ledger.integrate()
    entries = await site.log.entries(0, site.ledger.size)
    openings = [
        one for entry in entries for one in await opener.for_replay(entry, f"{site.ledger.shard}:{entry.index}")
    ]
    await export(site.log, site.signer, tmp_path / "kit", disclosures=openings)
    report = verify_folder(tmp_path / "kit")
    assert report.exit_code == Exit.VERIFIED
    assert report.checks[-1].name == "replay"
    text = (tmp_path / "kit" / "disclosures.jsonl").read_text()
    assert "north" not in text
    assert '"purpose"' not in text
    refused = [n for n, entry in enumerate(await node.entries()) if entry.get("outcome") == "deny"]
    assert refused
    assert not any(f':{n}",' in text for n in refused)


async def test_an_opening_tells_one_field_and_not_its_neighbours(node: Node) -> None:
    await node.put(patient(), observation("o1"))
    await grant(node)
    assert await read(node) == 200
    site = node.opened
    opener = Opener(site.vault, site.keyring, site.signer.name, node.services.zone)
    entry = next(e for e in reversed(await site.log.entries(0, site.ledger.size)) if b'"access.read"' in e.body)
    (basis,) = await opener.disclosures(entry, "2026:1", frozenset({"basis"}))
    (opened,) = await opener.open([entry])
    key = node.services.gate.subject_key(opened.owner or 0)
    assert basis.salt == field_salt(key, entry.id, "basis")
    assert opens(opened.entry["c"]["basis"], basis.salt, "basis", str(basis.value).encode())
    assert not hmac.compare_digest(basis.salt, field_salt(key, entry.id, "subject"))
