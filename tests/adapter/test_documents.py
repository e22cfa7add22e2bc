"""CDA documents through a real node: over HTTP, out of a folder, inside a message; stored, searched, replayed.

Source: cda chapter §8 (versions), §13 (output), §17 (ways in); operations chapter §4.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from adapter import operators
from adapter.node import Node, running
from adapter.seal.keyring import SHARED
from adapter.settings import FILE
from adapter.store import messages
from adapter.store.engine import Hot
from ledger.event import decode as decode_entry
from tests.adapter.inbound.test_documents import TWO, XXE
from tests.adapter.nodes import HOST, profile, send, states, why
from tests.mappings.cda.documents import LEAST, minimal
from tests.mappings.test_embedded import ALLERGY, MDM, SUMMARY, obx
from tests.simulators.ward import client

Json = dict[str, Any]
DELIVERED, QUARANTINED, HELD = messages.DELIVERED, messages.QUARANTINED, messages.HELD

SENDER = """
[access.client.sender]
system = "urn:oid:2.999.7"
identifier = "sender"
feed = "main"
scopes = "system/*.cruds"
purposes = ["TREAT"]
"""
LIMITED = '\nextends = "default"\nname = "limited"\n[cda.limits]\nelements = {}\n'


@pytest.fixture
def site(fresh_site: Path) -> Path:
    with (fresh_site / FILE).open("a", encoding="utf-8") as settings:
        settings.write(SENDER)
    return fresh_site


class Hospital:
    """Sends documents to a node over a real socket, and reads what became of them."""

    def __init__(self, node: Node, http: httpx.AsyncClient, folder: Path) -> None:
        self.node, self.http, self.reader = node, http, client(folder)

    async def post(self, data: bytes, media: str = "application/xml") -> tuple[int, Json]:
        answer = await self.http.post("/cda", content=data, headers={"Content-Type": media})
        assert answer.headers["content-type"].startswith("application/fhir+json")
        await self.node.settled()
        found: Json = answer.json()
        return answer.status_code, found

    async def found(self, path: str) -> list[Json]:
        answer = await self.reader.get(path)
        assert answer.status == 200, answer.body
        return [entry["resource"] for entry in answer.json().get("entry", ())]

    async def patient(self) -> Json:
        (found,) = await self.found(f"/Patient?identifier={quote('urn:oid:2.999.2|P1')}")
        return found

    async def hers(self, kind: str, query: str = "") -> list[Json]:
        return await self.found(f"/{kind}?patient={(await self.patient())['id']}{query}")


@asynccontextmanager
async def hospital(site: Path) -> AsyncIterator[Hospital]:
    token = client(site, "sender").token
    async with running(site) as node:
        url = f"http://{HOST}:{node.http_port}"
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
            yield Hospital(node, http, site)


def numbered(number: str, body: str = ALLERGY, **header: str) -> bytes:
    return minimal(body, id=f'<id root="2.999.1" extension="{number}"/>', **header)


def at(day: str) -> str:
    return f'<effectiveTime value="{day}120000+0100"/>'


async def owners(node: Node) -> dict[str, set[bool]]:
    """Type of each stored resource → whether the organisation's shared key seals it."""
    rows = await node.site.store.read(lambda conn: Hot(conn).all("SELECT type, owner FROM resource WHERE ver > 0"))
    found: dict[str, set[bool]] = {}
    for kind, owner in rows:
        found.setdefault(str(kind), set()).add(owner == SHARED)
    return found


async def test_a_document_goes_from_socket_to_log_and_can_be_read(site: Path) -> None:
    async with hospital(site) as one:
        assert (await one.post(SUMMARY))[0] == 200
        assert [state for state, _ in await why(one.node, 1)] == ["mapped", "logged", "delivered"]
        assert (await one.patient())["name"][0]["family"] == "Example"
        (composition,) = await one.hers("Composition")
        (allergy,) = await one.hers("AllergyIntolerance")
        assert composition["section"][0]["entry"] == [{"reference": f"AllergyIntolerance/{allergy['id']}"}]
        (original,) = await one.hers("DocumentReference")
        binary = await one.reader.get("/" + original["content"][0]["attachment"]["url"])
        assert binary.status == 200
        entries = [decode_entry(each.body) for each in await one.node.site.ledger.entries(0, 10_000)]
        assert [each["type"] for each in entries].count("transform.cda") >= 1
        assert not any(each["type"] == "transform.hl7v2" for each in entries)


async def test_what_a_document_states_of_a_patient_is_sealed_under_her_key(site: Path) -> None:
    async with hospital(site) as one:
        await one.post(SUMMARY)
        found = await owners(one.node)
        hers = {"Patient", "Composition", "AllergyIntolerance", "DocumentReference", "Binary", "Provenance"}
        assert {kind: found[kind] for kind in hers} == {kind: {False} for kind in hers}


async def test_what_is_no_document_is_refused_and_too_large_ones_are_not_read(site: Path) -> None:
    async with hospital(site) as one:
        status, said = await one.post(XXE)
        assert (status, said["issue"][0]["details"]["coding"][0]["code"]) == (400, "doctype-refused")
        large = b"<ClinicalDocument>" + b"x" * 25_000_000
        status, said = await one.post(large)
        assert (status, said["issue"][0]["code"]) == (413, "too-long")
        assert one.node.journal.last == 1, "the refused one is kept, the large one is not"
        assert await states(one.node) == {}


async def test_a_document_sent_twice_takes_effect_once(site: Path) -> None:
    async with hospital(site) as one:
        first = await one.post(SUMMARY)
        assert await one.post(SUMMARY) == first
        (allergy,) = await one.hers("AllergyIntolerance")
        assert allergy["meta"]["versionId"] == "1"
        assert await states(one.node) == {1: DELIVERED}


async def test_two_documents_of_one_patient_take_effect_in_order(site: Path) -> None:
    later = ALLERGY.replace('code="active"', 'code="completed"')
    async with hospital(site) as one:
        await one.post(numbered("D1", effectiveTime=at("20260301")))
        await one.post(numbered("D2", later, effectiveTime=at("20260302")))
        await one.post(numbered("D0", effectiveTime=at("20260201")))
        assert await states(one.node) == dict.fromkeys((1, 2, 3), DELIVERED)
        (allergy,) = await one.hers("AllergyIntolerance")
        assert allergy["clinicalStatus"]["coding"][0]["code"] == "inactive", "an older document does not take it back"
        assert len(await one.hers("Composition")) == 3


async def test_a_document_that_replaces_another_supersedes_it(site: Path) -> None:
    related = (
        '<relatedDocument typeCode="RPLC"><parentDocument><id root="2.999.1" extension="D1"/>'
        "</parentDocument></relatedDocument>"
    )
    async with hospital(site) as one:
        await one.post(numbered("D1", effectiveTime=at("20260301")))
        await one.post(numbered("D2", effectiveTime=at("20260302"), relatedDocument=related))
        found = {each["masterIdentifier"]["value"]: each for each in await one.hers("DocumentReference")}
        assert {number: each["status"] for number, each in found.items()} == {"D1": "superseded", "D2": "current"}
        assert found["D2"]["relatesTo"][0]["target"]["reference"] == f"DocumentReference/{found['D1']['id']}"
        assert found["D1"]["content"][0]["attachment"]["url"], "what it replaced can still be read"


async def test_a_document_of_two_patients_is_quarantined_and_holds_what_follows_for_either(site: Path) -> None:
    async with hospital(site) as one:
        assert (await one.post(TWO))[0] == 200
        await one.post(numbered("D2"))
        await one.post(numbered("D3", recordTarget=LEAST["recordTarget"].replace("P1", "P3")))
        assert await states(one.node) == {1: QUARANTINED, 2: HELD, 3: DELIVERED}
        assert (await why(one.node, 1))[-1][1].startswith("several-patients ")


async def test_a_refused_document_goes_its_way_once_the_profile_allows_it(site: Path) -> None:
    profile(site, LIMITED.format(5), "limited")
    async with hospital(site) as one:
        status, said = await one.post(SUMMARY)
        assert (status, said["issue"][0]["details"]["coding"][0]["code"]) == (400, "over-limit")
        assert await states(one.node) == {}
    (site / "profiles" / "limited" / "profile.toml").write_text(LIMITED.format(50_000), "utf-8")
    async with hospital(site) as one:
        await replayed(one.node, 1)
        assert [state for state, _ in await why(one.node, 1)] == ["rejected", "new", "mapped", "logged", "delivered"]
        assert len(await one.hers("AllergyIntolerance")) == 1


async def test_a_document_that_a_mapping_cannot_convert_is_replayed_once_it_is_mended(site: Path) -> None:
    """Rows of the site that do not fit stop no receipt: the document is kept, and waits."""
    profile(site, '\nextends = "default"\nname = "own"\n', "own")
    rows = site / "profiles" / "own" / "entries"
    rows.mkdir()
    wrong = "id,source,when,target,type,vocab,value,note\nheader.Patient:own,id,,nonsense,II[Identifier],,,\n"
    (rows / "header.Patient.csv").write_text(wrong, "utf-8")
    async with hospital(site) as one:
        assert (await one.post(SUMMARY))[0] == 200
        assert await states(one.node) == {1: QUARANTINED}
    (rows / "header.Patient.csv").unlink()
    async with hospital(site) as one:
        await replayed(one.node, 1)
        assert (await states(one.node))[1] == DELIVERED
        assert len(await one.hers("AllergyIntolerance")) == 1


async def replayed(node: Node, *seqs: int) -> None:
    await operators.replay(node.site, node.journal, seqs, "ada", "mended")
    node.pipeline.wake()
    await node.settled()


async def test_a_rehearsal_of_a_document_says_what_would_change(site: Path) -> None:
    from adapter.rehearsal import rehearse

    async with hospital(site) as one:
        await one.post(TWO)
        waiting = await operators.waiting(one.node.site, one.node.journal, [1])
        (told,) = await rehearse(one.node.site, one.node.journal, waiting)
        assert (told.becomes, told.changes) == (QUARANTINED, ())


async def test_a_document_inside_a_message_is_stored_with_its_attachment(site: Path) -> None:
    message = (MDM + obx(SUMMARY)).encode()
    async with hospital(site) as one:
        assert await send(one.node, message) == ["CA"]
        assert await states(one.node) == {1: DELIVERED}
        assert len(await one.hers("AllergyIntolerance")) == 1
        assert {each["status"] for each in await one.hers("DocumentReference")} == {"current"}
        alone = await one.post(SUMMARY)
        assert alone[0] == 200
        assert len(await one.hers("Composition")) == 1, "the same document by itself is the same Composition"
        (allergy,) = await one.hers("AllergyIntolerance")
        assert allergy["meta"]["versionId"] == "1"


async def test_a_message_with_another_patients_document_keeps_it_as_an_attachment(site: Path) -> None:
    other = minimal(ALLERGY, recordTarget=LEAST["recordTarget"].replace("P1", "P2"))
    async with hospital(site) as one:
        await send(one.node, (MDM + obx(other)).encode())
        assert "document-of-another OBX-5" in (await why(one.node, 1))[0][1]
        assert await one.hers("AllergyIntolerance") == []
        assert len(await one.hers("DocumentReference")) == 1


async def test_a_document_in_a_folder_takes_effect(site: Path) -> None:
    text = (site / "feeds" / "main.toml").read_text("utf-8")
    incoming = site / "in"
    incoming.mkdir()
    folder = '[listen]\nkind = "folder"\npath = "in"\npoll_s = 0.05\nstable_s = 0.05\n'
    (site / "feeds" / "documents.toml").write_text(
        text.split("[listen]")[0].replace('feed = "main"', 'feed = "documents"') + folder, "utf-8"
    )
    (incoming / "summary.xml").write_bytes(SUMMARY)
    async with hospital(site) as one:
        async with asyncio.timeout(30):
            while not (incoming / "done" / "summary.xml").exists():  # noqa: ASYNC110 - what it waits for is a file
                await asyncio.sleep(0.05)
        await one.node.settled()
        assert await states(one.node) == {1: DELIVERED}
        assert len(await one.hers("AllergyIntolerance")) == 1
        said = json.loads((incoming / "summary.xml.ack").read_bytes())
        assert said["issue"][0]["details"]["coding"][0]["code"] == "accepted"
