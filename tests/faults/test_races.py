"""A revocation, a new deny and a merge, each racing 1,000 reads over real HTTP.

The gate may let a read out that was sequenced before the end of what it rests on, and no other: whichever way the race
goes, no permit stands behind the end, `ledger replay` finds each justified, and who asks after the answer gets what is
absent.
Access chapter §9; ledger chapter §6; operations chapter §8 (I7).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.ledger_view import replay_site
from adapter.node import Node, running
from adapter.sender import acknowledgement_code, send_one
from adapter.settings import FILE
from ledger.errors import BasisEnded
from ledger.event import Event, parse_reference
from ledger.event import decode as decode_entry
from ledger.log import Ledger
from ledger.replay import Verdict
from ledger.sequence import Receipt
from mappings.fhir.codec import decode
from tests.faults.permits import permits, unjustified
from tests.faults.process import HOST, Place, create
from tests.simulators import hospital
from tests.simulators.ward import client

READS = 1_000
AT_ONCE = 24
BEFORE = 250  # reads that are answered before the change is made
ABROAD_SYSTEM = "urn:oid:2.999.7"
ABROAD = f"""
[access.client.abroad]
system = "{ABROAD_SYSTEM}"
identifier = "abroad-1"
roles = ["clinician"]
scopes = "system/*.rs"
purposes = ["TREAT"]
"""
V3 = "http://terminology.hl7.org/CodeSystem/v3-"

Change = Callable[[], Awaitable[None]]


class Slow:
    """The gate's way to the log, as on a busy node: from `hold` on, some records wait between decision and append.

    Without it the change, which has farther to go, would seldom overtake a read that was decided before it.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._held, self._full, self._go = 0, asyncio.Event(), asyncio.Event()
        self._holding = False
        self.decided_again = 0

    async def hold(self) -> None:
        """Return once half of the readers wait with a decision of before; the others read on."""
        self._holding = True
        await self._full.wait()

    def go(self) -> None:
        self._go.set()

    async def append(self, events: Sequence[Event]) -> list[Receipt]:
        if self._holding and self._held < AT_ONCE // 2 and events[0].secret["actor"] == "abroad":
            self._held += 1
            if self._held == AT_ONCE // 2:
                self._full.set()
            await self._go.wait()
        try:
            return await self._ledger.append(events)
        except BasisEnded:
            self.decided_again += 1
            raise


@dataclass(slots=True)
class Hospital:
    """A running node with two patients, and its clients."""

    node: Node
    home: httpx.AsyncClient
    abroad: httpx.AsyncClient
    patients: list[str]
    results: list[str]
    slow: Slow

    async def consent(self, patient: str, kind: str = "permit") -> dict[str, Any]:
        answer = await self.home.post("Consent", json=_consent(patient, kind))
        assert answer.status_code == 201, answer.text
        written: dict[str, Any] = decode(answer.content)
        return written

    async def race(self, path: str, change: Change) -> "Race":
        """1,000 reads by the client abroad, and one change among them."""
        race = Race()
        numbers = iter(range(READS))
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._reads(path, race, numbers))
            group.create_task(self._change(race, change))
        return race

    async def _change(self, race: "Race", change: Change) -> None:
        await race.begun.wait()
        await self.slow.hold()
        await change()
        race.changed = True
        self.slow.go()

    async def _reads(self, path: str, race: "Race", numbers: Any) -> None:
        for _ in numbers:
            after = race.changed
            answer = await self.abroad.get(path)
            race.statuses[answer.status_code] += 1
            if answer.status_code == 200 and after:
                race.late += 1
            if sum(race.statuses.values()) == BEFORE:
                race.begun.set()


@dataclass(slots=True)
class Race:
    """What the reader saw. `late`: reads that were begun after the change was answered, and shown all the same."""

    statuses: Counter[int] = field(default_factory=Counter)
    late: int = 0
    changed: bool = False
    begun: asyncio.Event = field(default_factory=asyncio.Event)


def _consent(patient: str, kind: str) -> dict[str, Any]:
    recipient = {"identifier": {"system": ABROAD_SYSTEM, "value": "abroad-1"}}
    role = {"coding": [{"system": f"{V3}ParticipationType", "code": "IRCP"}]}
    scope = {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [scope]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "policyRule": {"coding": [{"system": f"{V3}ActCode", "code": "OPTIN"}]},
        "provision": {"type": kind, "actor": [{"role": role, "reference": recipient}]},
    }


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = create(tmp_path / "site")
    with (made.folder / FILE).open("a", encoding="utf-8") as settings:
        settings.write(ABROAD)
    return made


@asynccontextmanager
async def _http(place: Place, name: str) -> AsyncIterator[httpx.AsyncClient]:
    of = client(place.folder, name)
    headers = {"Authorization": f"Bearer {of.token}", "Content-Type": "application/fhir+json"}
    async with httpx.AsyncClient(base_url=of.base + "/", headers=headers, timeout=30) as made:
        yield made


@pytest.fixture
async def ward(place: Place) -> AsyncIterator[Hospital]:
    async with running(place.folder) as node, _http(place, "clinic") as home, _http(place, "abroad") as abroad:
        slow = Slow(node.site.ledger)
        node.services.gate._ledger = slow  # type: ignore[assignment]
        for patient in (0, 1):
            for message in hospital.messages(patient, [1]):
                await send(place, message.body)
        await node.settled()
        found = [await _search(home, f"Patient?identifier=urn:oid:2.999.1.4|{4000 + number}") for number in (0, 1)]
        results = [await _search(home, f"Observation?patient={patient}") for patient in found]
        yield Hospital(node, home, abroad, found, results, slow)


async def send(place: Place, message: bytes) -> None:
    assert acknowledgement_code(await send_one(HOST, place.mllp_port, message)) in hospital.POSITIVE


async def _search(of: httpx.AsyncClient, query: str) -> str:
    answer = await of.get(query)
    (entry,) = decode(answer.content)["entry"]
    name: str = entry["resource"]["id"]
    return name


async def kinds(node: Node, kind: str) -> list[int]:
    """Indices of the entries of one type."""
    entries = await node.site.ledger.entries(0, node.site.ledger.size)
    return [entry.index for entry in entries if decode_entry(entry.body)["type"] == kind]


async def nothing_slipped_through(ward: Hospital, race: Race, end: int) -> None:
    """`end`: where the entry stands that closed the chart to the client abroad."""
    assert race.statuses.total() == READS
    assert set(race.statuses) == {200, 404}, "the change fell among the reads, and nothing else was answered"
    assert ward.slow.decided_again >= AT_ONCE // 2, "those decided before the change, and recorded after it"
    assert race.late == 0
    assert await unjustified(ward.node) == []
    replayed = await replay_site(ward.node.site.folder)
    assert replayed.faults == []
    assert [finding for finding in replayed.findings if finding.verdict is not Verdict.JUSTIFIED] == []
    abroad = [permit.index for permit in await permits(ward.node) if permit.client == "abroad"]
    assert len(abroad) == race.statuses[200]
    assert max(abroad) < end


async def test_no_permit_is_sequenced_after_a_revocation(ward: Hospital) -> None:
    given = await ward.consent(ward.patients[0])
    references: list[str] = []

    async def revoke() -> None:
        answer = await ward.home.put(f"Consent/{given['id']}", json=given | {"status": "inactive"})
        assert answer.status_code == 200
        references.append(answer.headers["x-ledger-index"].split(", ")[0])

    race = await ward.race(f"Observation/{ward.results[0]}", revoke)
    (end,) = await kinds(ward.node, "consent.revoked")
    assert parse_reference(references[0])[1] == end
    await nothing_slipped_through(ward, race, end)


async def test_no_permit_is_sequenced_after_a_new_deny(ward: Hospital) -> None:
    """The permit that the reads rest on goes on; the deny beside it has the last word."""
    await ward.consent(ward.patients[0])

    async def deny() -> None:
        await ward.consent(ward.patients[0], "deny")

    race = await ward.race(f"Observation/{ward.results[0]}", deny)
    await nothing_slipped_through(ward, race, (await kinds(ward.node, "consent.granted"))[-1])


async def test_no_permit_is_sequenced_after_a_merge(ward: Hospital, place: Place) -> None:
    """She is one person with a patient who never consented: from the merge on, both must."""
    await ward.consent(ward.patients[0])
    lines = [
        "MSH|^~\\&|ADTSYS|HOSP|CHARTBRIDGE|HOSP|20260304120000+0000||ADT^A40^ADT_A39|M1|P|2.5.1|||AL|NE",
        "EVN|A40|20260304120000+0000",
        "PID|1||4001^^^HOSP&2.999.1.4&ISO^MR||Demo^Nr1||19800101|F",
        "MRG|4000^^^HOSP&2.999.1.4&ISO^MR",
    ]

    async def merge() -> None:
        await send(place, "".join(line + "\r" for line in lines).encode())
        while not await kinds(ward.node, "subject.merged"):  # noqa: ASYNC110 - the log has no bell
            await asyncio.sleep(0.005)

    race = await ward.race(f"Observation/{ward.results[0]}", merge)
    merged = await kinds(ward.node, "subject.merged")
    assert len(merged) == 2, "one under each tag"
    await nothing_slipped_through(ward, race, merged[0])
