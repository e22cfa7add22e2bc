"""Nothing in clear at rest where every store lies on PostgreSQL (promise 9): planted strings are looked for in tables,
WAL, temporary files, dumps and the server's log of the data's, the log's and the vault's databases, and in the site.

The server writes down every statement and every parameter here, as a careless operator might let it.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adapter.files import write_private
from adapter.http_server import free_port
from adapter.node import Node, running
from adapter.site import create
from tests import databases
from tests.adapter.nodes import HOST, send
from tests.adapter.store.test_at_rest import TALKATIVE
from tests.faults.test_leaks import BAD, GOOD, MARKS, PATIENT, values, wire
from tests.faults.traces import search
from tests.simulators.ward import client

pytestmark = pytest.mark.postgres

STORES = ("store", "ledger", "vault")
_BYTES = re.compile(rb"\\x((?:[0-9a-f]{2})+)")  # of a bytea, as a dump writes it
READS = (f"/fhir/Patient?identifier=urn:oid:2.999.1.4|{PATIENT}", "/fhir/Observation?code=x", "/fhir/Patient/none")


@pytest.fixture
def talkative() -> Iterator[databases.PostgresServer]:
    with databases.running(*TALKATIVE) as started:
        yield started


@pytest.fixture
def site(talkative: databases.PostgresServer, tmp_path: Path) -> Path:
    for name in STORES:
        talkative.sql(f"CREATE DATABASE {name}")
        write_private(tmp_path / name, talkative.url(name).encode())
    files = {name: tmp_path / name for name in STORES}
    ports = {"http_port": free_port(HOST), "mllp_port": 0}
    return create(tmp_path / "site", org="hosp", name="Hospital", url_files=files, **ports)


async def ask(node: Node) -> list[int]:
    headers = {"Authorization": f"Bearer {client(node.site.folder).token}"}
    async with httpx.AsyncClient(base_url=f"http://{HOST}:{node.http_port}", headers=headers) as http:
        return [(await http.get(path)).status_code for path in READS]


async def test_planted_strings_are_in_no_database_of_a_site(
    site: Path, talkative: databases.PostgresServer, tmp_path: Path
) -> None:
    async with running(site) as node:
        codes = await send(node, *map(wire, GOOD), *map(wire, BAD.values()))
        assert codes.count("CA") > len(GOOD)
        assert 200 in await ask(node)
    for table, name in (("entry_id", "ledger"), ("detail", "vault"), ("subject", "vault")):
        assert int(talkative.sql(f"SELECT count(*) FROM {table}", name)), "there is something to be searched"  # noqa: S608
        with pytest.raises(subprocess.CalledProcessError):  # what fails is told to the server's log
            talkative.sql(f"INSERT INTO {table} SELECT * FROM {table}", name)  # noqa: S608
    talkative.sql("CHECKPOINT")
    dumps = b"".join(dump(talkative, name) for name in STORES)
    assert all(word in dumps for word in (b"Observation", b"access.search", b"COPY public.detail"))
    (tmp_path / "dumps").write_bytes(dumps)
    assert search([tmp_path / "dumps"], MARKS, values()) == {}
    assert search([talkative.folder, site], MARKS) == {}


def dump(server: databases.PostgresServer, name: str) -> bytes:
    """What `pg_dump` writes, and the bytes of its columns as text too."""
    command = [server.bin / "pg_dump", "-h", server.folder, "-U", databases.USER, name]
    told = subprocess.run([str(part) for part in command], check=True, capture_output=True).stdout  # noqa: S603
    columns = [bytes.fromhex(part.decode()) for part in _BYTES.findall(told)]
    return told + b"\n".join(columns)
