"""A whole node in a temporary folder: real stores, vault, log and keys; and clients that speak HTTP to it."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from adapter import site
from adapter.access import token
from adapter.access.token import Grant
from adapter.api.app import create_app
from adapter.services import Parts, Services, assemble
from adapter.settings import Client, Settings, load
from adapter.store.place import Server
from adapter.store.unit import Entry, Replace, Unit, Written
from adapter.store.writing import commit_unit
from ledger.event import decode
from tests import databases
from tests.adapter.conftest import PAIRING

Json = dict[str, Any]

NORTH_SYSTEM = "urn:oid:2.999.2"
PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
ACT_REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
EVERYTHING = "system/*.cruds"


@dataclass
class Node:
    """One running node and the ways that tests have into it."""

    services: Services
    settings: Settings
    app: FastAPI
    opened: site.Site
    stack: AsyncExitStack = field(repr=False)

    def token(self, client: str = "ward", scope: str = EVERYTHING, *purposes: str, life_s: int = 300) -> str:
        registered = self.settings.access.client[client]
        grant = Grant(
            client,
            registered.system,
            registered.identifier,
            scope,
            purposes or registered.purposes[:1],
            registered.roles,
        )
        return token.issue(
            self.opened.token_key,
            grant,
            audience=self.services.base,
            life_s=life_s,
            now=datetime.now(UTC),
            entropy=os.urandom,
        )

    def client(self, name: str = "ward", scope: str = EVERYTHING, *purposes: str) -> httpx.AsyncClient:
        return self.bare({"Authorization": f"Bearer {self.token(name, scope, *purposes)}"})

    def bare(self, headers: dict[str, str] | None = None) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx.AsyncClient(transport=transport, base_url="http://node.test", headers=headers)

    async def put(self, *resources: Json) -> Written:
        """Resources into the store, as a feed would bring them, and what they owe into the log."""
        return await self.commit(*(Replace(resource) for resource in resources))

    async def commit(self, *entries: Entry) -> Written:
        unit = Unit("resource.written", "test", datetime.now(UTC), tuple(entries), secret={"actor": "test"})
        keyring = self.services.keyring
        written = await keyring.retrying(self.services.store.write, lambda conn: commit_unit(conn, unit, keyring))
        while await self.services.delivery.deliver():
            pass
        return written

    async def entries(self) -> list[Json]:
        """Every entry of the log, decoded, in order."""
        return [decode(entry.body) for entry in await self.services.ledger.entries(0, self.services.ledger.size)]

    async def kinds(self, since: int = 0) -> list[str]:
        return [entry["type"] for entry in (await self.entries())[since:]]

    async def detail(self, entry: Json, owner: int = 0) -> Json:
        """The opened detail of one entry."""
        await self.services.keyring.load((owner,))
        found = await self.services.ledger.detail(entry["id"], self.services.gate.subject_key(owner))
        assert found is not None
        return decode_json(found)


def decode_json(data: bytes) -> Json:
    import msgspec

    found: Json = msgspec.json.decode(data)
    return found


def patient(logical_id: str = "p1", *, number: str | None = None, family: str = "Muster") -> Json:
    return {
        "resourceType": "Patient",
        "id": logical_id,
        "identifier": [
            {
                "type": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}]},
                "system": "urn:oid:2.999.1.1",
                "value": number or f"MR-{logical_id}",
            }
        ],
        "name": [{"family": family, "given": ["Ana"]}],
        "birthDate": "1970-05-17",
        "gender": "female",
    }


def observation(logical_id: str, of: str = "p1", code: str = "2160-0", when: str = "2026-03-04", **more: Any) -> Json:
    return {
        "resourceType": "Observation",
        "id": logical_id,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": f"Patient/{of}"},
        "effectiveDateTime": when,
    } | more


def consent(kind: str = "permit", of: str = "p1", to: str | None = "north", **more: Any) -> Json:
    provision: Json = {"type": kind, "purpose": [{"system": ACT_REASON, "code": "TREAT"}]}
    if to is not None:
        provision["actor"] = [
            {
                "role": {"coding": [{"system": PARTICIPATION, "code": "IRCP"}]},
                "reference": {"identifier": {"system": NORTH_SYSTEM, "value": to}},
            }
        ]
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{of}"},
        "policyRule": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "OPTIN"}]},
        "provision": provision,
    } | more


def clients(own: Client) -> dict[str, Client]:
    """The ward of the node's own organisation, its clerk without a clinical role, and two hospitals abroad."""
    ward = own.model_copy(
        update={"scopes": EVERYTHING, "purposes": ("TREAT", "HRESCH"), "roles": ("clinician",)},
    )
    north = ward.model_copy(update={"system": NORTH_SYSTEM, "identifier": "north"})
    return {
        "ward": ward,
        "clerk": ward.model_copy(update={"roles": ("analyst",)}),
        "admin": ward.model_copy(update={"roles": ("clinician", "admin")}),
        "north": north,
        "south": north.model_copy(update={"identifier": "south"}),
    }


@pytest.fixture(scope="session")
def empty_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One fresh site, made once and copied for each test."""
    return site.create(tmp_path_factory.mktemp("site") / "node", org="stadtklinik", name="Stadtklinik Test")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def both(request: pytest.FixtureRequest, empty_site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For a module whose tests run on both databases (`usefixtures`): the node's data lies on the one or the other."""
    if request.param == "sqlite":
        yield
        return
    place: Server = request.getfixturevalue("emptied")
    databases.pair(place, load(empty_site).node.pairing)
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("CHARTBRIDGE_STORE__URL", place.url)
        yield
    databases.pair(place, PAIRING)


@pytest.fixture
async def node(empty_site: Path, tmp_path: Path) -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        yield await start(stack, empty_site, tmp_path / "node")


async def start(
    stack: AsyncExitStack, empty_site: Path, folder: Path, change: Callable[[Settings], Settings] = lambda s: s
) -> Node:
    import shutil

    shutil.copytree(empty_site, folder)
    opened = await stack.enter_async_context(site.open_site(folder))
    registered = clients(opened.settings.access.client["clinic"])
    access = opened.settings.access.model_copy(update={"client": registered})
    settings = change(opened.settings.model_copy(update={"access": access}))
    parts = Parts(
        settings,
        folder,
        opened.store,
        opened.ledger,
        opened.keyring,
        opened.token_key,
        lambda: datetime.now(UTC),
        os.urandom,
    )
    services = await assemble(parts)
    await opened.keyring.restock(16)
    return Node(services, settings, create_app(services), opened, stack)
