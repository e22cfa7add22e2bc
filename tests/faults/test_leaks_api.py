"""Nothing in clear of what FHIR clients say, on either database: planted strings in everything that was written.

A served process takes the marked messages of `test_leaks.py`, and marked requests of every kind: ids that the client
chose, narrative, conditions, patches, Bundles, XML, searches and their pages, a Subscription with notices that wait, an
export with its segments. Then it is aborted, with a core file allowed, and its database crashes. Searched are the site,
temporary folder and output of the process, where it ran, and of PostgreSQL tables, WAL, dump and a log that holds every
statement with its parameters.
Operations chapter §8 (I9), §9 (F44); fhir chapter §14.
"""

import asyncio
import gzip
import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests import databases
from tests.adapter.conftest import register
from tests.adapter.notices.hook import HOST as HOOK_HOST
from tests.adapter.notices.hook import Hook, listening
from tests.faults.process import Place, Served, create, serving
from tests.faults.test_leaks import LONE, MARKS, NUMBER, WORD, feed
from tests.faults.traces import bare, find, search
from tests.simulators.ward import client

ID = f"Zqkan-{NUMBER}-qxvogelk"
SYSTEM = f"urn:oid:2.999.{NUMBER}"
VALUES = (ID, f"{NUMBER}8", NUMBER, f"{SYSTEM}|{NUMBER}8", f"Patient/{ID}")
TALKATIVE = ("log_statement=all", "log_min_messages=debug1", "log_parameter_max_length=-1", "work_mem=64kB")
STARTS = (0, 1, 2, 4, 16)  # where a packed body might begin in a row: behind no header, ours, ours with its nonce

Json = dict[str, Any]


def patient(**more: object) -> Json:
    div = f'<div xmlns="http://www.w3.org/1999/xhtml"><p>{WORD} {LONE}</p></div>'
    return {
        "resourceType": "Patient",
        "id": ID,
        "text": {"status": "generated", "div": div},
        "extension": [{"url": f"urn:{NUMBER}", "valueString": WORD}],
        "identifier": [{"system": SYSTEM, "value": f"{NUMBER}8"}],
        "name": [{"family": WORD, "given": [LONE]}],
        "telecom": [{"system": "email", "value": f"{NUMBER}@example.org"}],
        "address": [{"text": LONE, "postalCode": NUMBER}],
    } | more


def observation(name: str = ID, **more: object) -> Json:
    return {
        "resourceType": "Observation",
        "id": name,
        "status": "final",
        "identifier": [{"system": SYSTEM, "value": f"{NUMBER}9"}],
        "code": {"coding": [{"system": f"urn:{NUMBER}", "code": f"{NUMBER}C", "display": WORD}], "text": LONE},
        "subject": {"reference": f"Patient/{ID}", "display": WORD},
        "valueString": LONE,
        "note": [{"text": f"{WORD} {NUMBER}"}],
    } | more


def transaction(kind: str, *urls: str) -> Json:
    new: Json = {"fullUrl": "urn:uuid:0d9a8c4e-5e3b-4c52-9f10-aa0000000001", "resource": observation()}
    new["request"] = {"method": "POST", "url": "Observation", "ifNoneExist": f"identifier={SYSTEM}|{NUMBER}9"}
    found = [{"request": {"method": "GET", "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": kind, "entry": [new, *found]}


def subscription(hook: Hook) -> Json:
    channel = {
        "type": "rest-hook",
        "endpoint": f"{hook.url}/{NUMBER}",
        "header": [f"Authorization: Bearer {NUMBER}"],
        "payload": "application/fhir+json",
    }
    return {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": WORD,
        "criteria": f"resource-changed?patient={ID}",
        "channel": channel,
    }


def parameters(resource_: Json) -> Json:
    return {"resourceType": "Parameters", "parameter": [{"name": "resource", "resource": resource_}]}


JSON, XML = "application/fhir+json", "application/fhir+xml"
PATCH = "application/json-patch+json"
AS_XML = f'<Patient xmlns="http://hl7.org/fhir"><name><family value="{WORD}"/><given value="{LONE}"/></name></Patient>'
BROKEN_XML = f'<Patient xmlns="http://hl7.org/fhir"><{LONE}/><name value="{WORD}"/></Patient>'


def said() -> Iterator[tuple[str, str, str | Json | list[Json], dict[str, str]]]:
    """Method, path, body and headers of all that is written."""
    condition = {"If-None-Exist": f"identifier={SYSTEM}|{NUMBER}9"}
    yield "PUT", f"/Patient/{ID}", patient(), {}
    yield "PUT", f"/Patient/{ID}", patient(gender="female"), {"If-Match": 'W/"1"', "Prefer": "return=OperationOutcome"}
    yield "POST", "/Observation", observation(), condition
    yield "POST", "/Observation", observation(), condition
    yield "PUT", f"/Observation?identifier={SYSTEM}|{NUMBER}9", observation(valueString=WORD), {}
    named = {"op": "replace", "path": "/name/0/family", "value": f"{WORD}2"}
    for patch in (named, {"op": "test", "path": f"/{LONE}", "value": WORD}):
        yield "PATCH", f"/Patient/{ID}", [patch], {"Content-Type": PATCH}
    yield "POST", "/", transaction("transaction", f"Patient/{ID}"), {}
    yield "POST", "/", transaction("transaction", f"Patient?{WORD}={LONE}"), {}
    yield "POST", "/", transaction("batch", f"Patient?name={WORD}", f"Patient/{NUMBER}", f"{LONE}/{NUMBER}"), {}
    yield "POST", "/Patient", AS_XML, {"Content-Type": XML}
    yield "POST", "/Patient", BROKEN_XML, {"Content-Type": XML}
    yield "PUT", f"/Observation/{ID}-2", observation(f"{ID}-2", status=WORD), {}
    yield "PUT", f"/Observation/{ID}-3", observation(f"{ID}-3"), {}
    yield "DELETE", f"/Observation/{ID}-3", {}, {}
    yield "POST", "/Patient/$match", parameters(patient()), {}
    yield "POST", "/Patient/$validate", parameters(patient(birthDate=LONE)), {}


READS = [
    f"/Patient/{NUMBER}",
    f"/Patient/{ID}",
    f"/Patient/{ID}?_format=xml",
    f"/Patient/{ID}/_history",
    f"/Patient/{ID}/_history/1",
    f"/Patient/{ID}/$everything",
    f"/Patient?identifier={SYSTEM}|{NUMBER}8",
    f"/Observation?patient={ID}&code={NUMBER}C",
    f"/Observation?patient={ID}&code:text={LONE}&_count=1&_sort=-date",
    f"/Observation?subject:Patient.identifier={NUMBER}8",
    f"/Observation?patient={ID}&value-string:contains={WORD}",
    f"/Patient?_has:Observation:patient:code={NUMBER}C&_id={ID}",
    f"/ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender&filter={WORD}",
]


@dataclass
class Ran:
    """A database of one kind behind a served site: how it is seen that nothing waits, and what it wrote."""

    place: Place
    waiting: Callable[[str], int]
    crash: Callable[[], list[Path]]
    rows: Callable[[], Iterator[bytes]]


def _on_sqlite(tmp_path: Path) -> Ran:
    place = create(tmp_path / "site")
    file = place.folder / "data.sqlite3"

    def ask(sql: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def rows() -> Iterator[bytes]:
        for (table,) in ask("SELECT name FROM sqlite_master WHERE type = 'table'"):
            for row in ask(f"SELECT * FROM {table}"):  # noqa: S608 - our own names
                yield from (value for value in row if isinstance(value, bytes))

    return Ran(place, lambda sql: int(ask(sql)[0][0]), list, rows)


def _on_postgres(server: databases.PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ran:
    server.sql("CREATE DATABASE site")
    monkeypatch.setenv("CHARTBRIDGE_STORE__URL", server.url("site"))
    place, dumped = create(tmp_path / "site"), tmp_path / "dump.sql"

    def crash() -> list[Path]:
        command = [server.bin / "pg_dump", "--inserts", "-h", server.folder, "-U", databases.USER, "site"]
        dumped.write_bytes(subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout)  # noqa: S603
        server.stop("immediate")
        return [dumped, server.folder]

    def rows() -> Iterator[bytes]:
        yield from (bytes.fromhex(one.decode()) for one in re.findall(rb"'\\x([0-9a-f]+)'", dumped.read_bytes()))

    return Ran(place, lambda sql: int(server.sql(sql, "site")), crash, rows)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def ran(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ran]:
    if request.param == "sqlite":
        yield _on_sqlite(tmp_path)
        return
    with databases.running(*TALKATIVE) as server:
        yield _on_postgres(server, tmp_path, monkeypatch)


@asynccontextmanager
async def subscribed(place: Place, tmp_path: Path) -> AsyncIterator[tuple[Hook, Path]]:
    """A subscriber that never hears, on the list of the house's client."""
    async with listening() as hook:
        hook.answer = b"HTTP/1.1 503 Later\r\n\r\n"
        register(place.folder, f"{HOOK_HOST}:{hook.port}")
        authority = tmp_path / "ca.pem"
        hook.authority.cert_pem.write_to_path(str(authority))
        yield hook, authority


async def ask(place: Place, hook: Hook) -> Counter[int]:
    """Every request; the statuses."""
    of = client(place.folder, "ward")
    statuses: Counter[int] = Counter()
    headers = {"Authorization": f"Bearer {of.token}", "X-Request-Id": NUMBER}
    async with httpx.AsyncClient(base_url=of.base, headers=headers, timeout=60) as http:
        for method, path, body, more in said():
            data = body if isinstance(body, str) else json.dumps(body)
            kind = {"Content-Type": JSON} | more
            answer = await http.request(method, path, content=data.encode(), headers=kind)
            statuses[answer.status_code] += 1
        packed = gzip.compress(json.dumps(patient()).encode())
        zipped = {"Content-Type": JSON, "Content-Encoding": "gzip"}
        statuses[(await http.put(f"/Patient/{ID}", content=packed, headers=zipped)).status_code] += 1
        wanted = await http.post("/Subscription", json=subscription(hook), headers={"Content-Type": JSON})
        assert wanted.status_code == 201, wanted.text
        for path in READS:
            answer = await http.get(path)
            statuses[answer.status_code] += 1
            links = answer.json().get("link", []) if "xml" not in path and answer.status_code == 200 else []
            for link in (one["url"] for one in links if one["relation"] == "next"):
                statuses[(await http.get(link)).status_code] += 1
        statuses[await _export(http)] += 1
        statuses[(await http.put(f"/Patient/{ID}", json=patient(active=True))).status_code] += 1  # a notice waits
    return statuses


async def _export(http: httpx.AsyncClient) -> int:
    lenient = {"Prefer": "respond-async, handling=lenient"}
    begun = await http.get(f"/Patient/$export?{quote(WORD)}={LONE}&_type=Patient,Observation", headers=lenient)
    assert begun.status_code == 202, begun.text
    job = begun.headers["content-location"]
    async with asyncio.timeout(60):
        while (answer := await http.get(job)).status_code == 202:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.05)
    lines = [await http.get(file["url"]) for file in answer.json()["output"]]
    assert any(WORD.encode() in one.content for one in lines), "it is the marked patient's"
    return answer.status_code


def core_allowed() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)


async def nothing_waits(ran: Ran) -> None:
    """The log is owed nothing; the subscriber is."""
    async with asyncio.timeout(60):
        while await asyncio.to_thread(ran.waiting, "SELECT count(*) FROM outbox WHERE ref IS NULL"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert await asyncio.to_thread(ran.waiting, "SELECT count(*) FROM notice")
    assert await asyncio.to_thread(ran.waiting, "SELECT count(*) FROM job")


async def abort(served: Served) -> None:
    os.kill(served.pid, signal.SIGABRT)
    assert await served.ended() == -signal.SIGABRT


async def test_nothing_that_clients_say_is_in_clear_at_rest(
    ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, here, temporary = time.time() - 2, tmp_path / "cwd", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    core_allowed()
    place = ran.place
    async with subscribed(place, tmp_path) as (hook, authority):
        launch = ("-m", "tests.adapter.notices.served", str(authority))
        async with serving(place.folder, output=tmp_path / "output", launch=launch, cwd=here) as served:
            assert await served.ready(place.mllp_port)
            await feed(place)
            statuses = await ask(place, hook)
            await nothing_waits(ran)
            async with asyncio.timeout(60):
                while not hook.received:  # noqa: ASYNC110 - a notice was tried, by another process
                    await asyncio.sleep(0.05)
            await abort(served)
    assert set(statuses) >= {200, 201, 204, 400, 404, 422}, statuses
    assert not {500, 503} & set(statuses)
    more = await asyncio.to_thread(ran.crash)
    assert list(here.iterdir()) == [], "no core file"
    written = [place.folder, temporary, tmp_path / "output", *more]
    assert search(written, MARKS, VALUES, since=began) == {}
    words = (resources.files("mappings.fhir") / "deflate.dict").read_bytes()
    found = [plain for row in ran.rows() for plain in bare(row, words, STARTS)]
    assert [trace for plain in found for trace in find(plain, MARKS)] == []
