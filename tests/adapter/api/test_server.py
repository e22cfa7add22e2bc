"""The application behind real sockets, on uvicorn and on granian; and a message over HTTP into a real journal."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from adapter import http_server
from adapter.api.app import create_app
from adapter.inbound.ack import Rules
from adapter.inbound.feed import Feed, feed_from
from adapter.inbound.intake import Intake
from adapter.inbound.journal_file import FileJournal
from adapter.settings import Http
from tests.adapter.api.conftest import Node, consent, decode_json, observation, patient

Serving = Callable[[FastAPI, Path], AbstractAsyncContextManager[str]]


@asynccontextmanager
async def on_uvicorn(app: FastAPI, folder: Path) -> AsyncIterator[str]:
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none", access_log=False))
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110 - uvicorn says it in an attribute
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    await task


@asynccontextmanager
async def on_granian(app: FastAPI, folder: Path) -> AsyncIterator[str]:
    http = Http(port=http_server.free_port("127.0.0.1"))
    async with http_server.serving(app, http, folder):
        yield f"http://127.0.0.1:{http.port}"


@pytest.mark.parametrize("serving", [on_uvicorn, on_granian], ids=["uvicorn", "granian"])
async def test_the_whole_way_over_a_socket(node: Node, serving: Serving, tmp_path: Path) -> None:
    """Hidden, granted, read, unchanged, revoked, hidden again: each over the wire, each in the log."""
    await node.put(patient(), observation("o1"))
    ward, north = ({"Authorization": f"Bearer {node.token(name)}"} for name in ("ward", "north"))
    async with serving(node.app, tmp_path) as url, httpx.AsyncClient(base_url=url) as client:
        path = "/fhir/Observation/o1"
        assert (await client.get(path)).status_code == 401
        hidden = await client.get(path, headers=north)
        made = await client.post("/fhir/Consent", json=consent(), headers=ward)
        shown = await client.get(path, headers=north)
        same = await client.get(path, headers=north | {"If-None-Match": shown.headers["etag"]})
        found = await client.get("/fhir/Observation?patient=p1", headers=north)
        head = await client.head(path, headers=north)
        resource = decode_json(made.content) | {"status": "inactive"}
        revoked = await client.put(f"/fhir/Consent/{resource['id']}", json=resource, headers=ward)
        gone = await client.get(path, headers=north)
    answers = [hidden, made, shown, same, found, head, revoked, gone]
    assert [answer.status_code for answer in answers] == [404, 201, 200, 304, 200, 200, 200, 404]
    assert (same.content, head.content) == (b"", b"")
    assert hidden.content == gone.content
    assert decode_json(found.content)["total"] == 1


async def test_many_reads_at_once_are_each_recorded_once(node: Node) -> None:
    await node.put(patient(), *(observation(f"o{n}") for n in range(5)))
    before = node.services.ledger.size
    async with node.client() as ward:
        answers = await asyncio.gather(*(ward.get(f"/fhir/Observation/o{n % 5}") for n in range(60)))
    refs = [answer.headers["x-ledger-index"] for answer in answers]
    assert {answer.status_code for answer in answers} == {200}
    assert len(set(refs)) == 60
    assert (await node.kinds(before)).count("access.read") == 60


MESSAGE = (
    b"MSH|^~\\&|LABSYS|LAB|CHARTBRIDGE|HOSP|20240501101500+0200||ADT^A01^ADT_A01|M1|P|2.5.1\r"
    b"EVN|A01|20240501\rPID|1||4711^^^HOSP^MR||Demo^Ana\r"
)
HL7 = {"Content-Type": "application/hl7-v2"}


def scan(data: bytes, feed: Feed) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
    return (), (0,)


@pytest.fixture
async def receiving(node: Node) -> AsyncIterator[Node]:
    """The node with one feed over HTTP, which the ward's client may use."""
    org, keyring = node.settings.node.org, node.services.keyring
    journal = FileJournal(node.services.site / node.settings.store.journal, node.settings.node.pairing, keyring)
    await journal.start()
    feed = feed_from({"feed": "main", "org": org, "profile": "default", "listen": {"kind": "http"}})
    rules = Rules(zone=ZoneInfo("UTC"))
    intake = Intake(feed, rules, journal, scan, keyring.organisation().locate, node.services.clock)
    node.settings.access.client["ward"] = node.settings.access.client["ward"].model_copy(update={"feed": "main"})
    services = replace(node.services, intakes={"main": intake})
    yield replace(node, services=services, app=create_app(services))
    await journal.close()


async def test_a_message_is_acknowledged_over_http(receiving: Node) -> None:
    async with receiving.client() as ward:
        answer = await ward.post("/hl7v2", content=MESSAGE, headers=HL7 | {"Accept": "application/hl7-v2"})
        again = await ward.post("/hl7v2", content=MESSAGE, headers=HL7)
        broken = await ward.post("/hl7v2", content=b"no header", headers=HL7)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/hl7-v2")
    assert b"MSA|AA|M1" in answer.content
    assert again.status_code == 200
    assert broken.status_code == 400


async def test_a_client_without_feed_scope_or_the_right_body_is_refused(receiving: Node) -> None:
    large = b"x" * (receiving.services.intakes["main"].feed.listen.limits.frame_bytes + 1)
    async with (
        receiving.client("clerk") as clerk,
        receiving.client("ward", "system/*.rs") as reader,
        receiving.client() as ward,
        receiving.bare() as nobody,
    ):
        assert (await clerk.post("/hl7v2", content=MESSAGE, headers=HL7)).status_code == 403
        assert (await reader.post("/hl7v2", content=MESSAGE, headers=HL7)).status_code == 403
        assert (await ward.post("/hl7v2", content=MESSAGE)).status_code == 415
        assert (await ward.post("/hl7v2", content=large, headers=HL7)).status_code == 413
        assert (await nobody.post("/hl7v2", content=MESSAGE, headers=HL7)).status_code == 401


async def test_half_open_connections_do_not_shut_others_out(node: Node, tmp_path: Path) -> None:
    """More of them than the server takes by itself, each with half a request and no token."""
    async with on_granian(node.app, tmp_path) as url, httpx.AsyncClient(base_url=url, timeout=5) as client:
        address = httpx.URL(url)
        idle = [await asyncio.open_connection(address.host, address.port) for _ in range(200)]
        for _, writer in idle:
            writer.write(b"GET /liv")
        assert (await client.get("/livez")).status_code == 200
        for _, writer in idle:
            writer.close()
