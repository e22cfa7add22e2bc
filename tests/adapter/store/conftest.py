"""A data store with its keys, and units of work in words."""

import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar, cast

import pytest
from msgspec.structs import replace
from sqlalchemy import Connection

from adapter.seal.kek import Kek
from adapter.seal.keyring import Keyring
from adapter.store import resources
from adapter.store.engine import DataStore, Hot, Place, Row
from adapter.store.resources import Sealed
from adapter.store.unit import Convert, Delete, Entry, Replace, Unit, Written
from adapter.store.writing import commit_unit
from ledger.vault import Vault, memory_vault
from mappings.convert import Effect, Mapped, Mode
from mappings.fhir.codec import Json, decode

ORG = "stadtklinik"
PAIRING = "5" * 32
KEK = b"\5" * 32
AT = datetime(2026, 3, 4, 9, 15, 27, 123_000, tzinfo=UTC)
MRN = "urn:oid:2.999.1.4"

T = TypeVar("T")


@dataclass
class Site:
    """What a test asks of a store."""

    store: DataStore
    keyring: Keyring
    vault: Vault
    place: Place

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await self.keyring.retrying(self.store.write, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await self.keyring.retrying(self.store.read, work)

    async def commit(self, *entries: Entry, effects: tuple[Effect, ...] = (), at: datetime = AT) -> Written:
        """One unit from the feed `main`."""
        unit = Unit("transform.hl7v2", "main", at, entries, effects, secret={"source": "0" * 64})
        return await self.write(lambda conn: commit_unit(conn, unit, self.keyring))

    async def sealed(self, kind: str, name: str) -> Sealed | None:
        return await self.read(lambda conn: resources.current(conn, self.keyring.organisation(), kind, name))

    async def body(self, kind: str, name: str) -> Json:
        """The content of what stands."""
        found = await self.sealed(kind, name)
        assert found is not None
        await self.keyring.load((found.owner,))
        return decode(found.open(self.keyring.owner(found.owner)))

    async def rows(self, sql: str, *params: object) -> list[Row]:
        return await self.read(lambda conn: Hot(conn).all(sql, params))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store: migrating costs more than most tests."""
    path = tmp_path_factory.mktemp("template") / "data.sqlite3"
    DataStore.create(path, PAIRING)
    return path


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty store on each database: what holds on one holds on the other."""
    if request.param == "postgres":
        return cast(Place, request.getfixturevalue("emptied"))
    path = tmp_path / "data.sqlite3"
    shutil.copyfile(request.getfixturevalue("template"), path)
    return path


@pytest.fixture
async def site(place: Place) -> AsyncIterator[Site]:
    store = DataStore.open(place, PAIRING)
    vault = memory_vault()
    keyring = Keyring(Kek(KEK), vault, ORG)
    await keyring.create()
    await keyring.open()
    yield Site(store, keyring, vault, place)
    store.close()
    await vault.close()


def identifier(value: str, kind: str = "MR", system: str = MRN) -> Json:
    coding = {"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": kind}
    return {"system": system, "value": value, "type": {"coding": [coding]}}


def patient(logical_id: str, *numbers: str, **more: object) -> Json:
    held = [identifier(number) for number in numbers]
    body: Json = {"resourceType": "Patient", "id": logical_id, **more}
    return body | {"identifier": held} if held else body


def observation(name: str, of: str = "ana", code: str = "2160-0", **more: object) -> Json:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "subject": {"reference": f"Patient/{of}"},
        **more,
    }


def told(
    body: Json, mode: Mode = "update", at: str = "2026-03-04T09:00:00Z", into: str | None = None, was: str | None = None
) -> Convert:
    """A conversion's resource."""
    return Convert(replace(mapped(body, mode, at, into), was=was))


def mapped(body: Json, mode: Mode = "update", at: str = "2026-03-04T09:00:00Z", into: str | None = None) -> Mapped:
    return Mapped(body=body, mode=mode, clear=(), filled=(), own=(), at=at, source=(), into=into)


def put(body: Json, if_match: int | None = None) -> Replace:
    return Replace(body, if_match)


def gone(kind: str, name: str, if_match: int | None = None) -> Delete:
    return Delete(kind, name, if_match)
