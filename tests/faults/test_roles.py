"""Roles in processes of their own on one PostgreSQL: killed, paused past a lease, several of a kind (F1 to F5, F29).

The processes are `chartbridge serve --role …` themselves. What was promised is compared at the end by the checker, as
after every other fault (`check.py`). Source: architecture §5; operations chapter §2, §4 (lanes), §9.
"""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from adapter import site
from adapter.errors import Unavailable
from adapter.files import write_private
from adapter.http_server import free_port
from adapter.key_acts import rotate
from adapter.lock import is_served
from adapter.node import running
from adapter.role import running_role
from adapter.roles import Role
from adapter.sender import acknowledgement_code, send_one
from adapter.settings import FILE
from adapter.settings import load as load_settings
from adapter.store import leases, messages
from adapter.upgrade import upgrade
from tests import databases
from tests.adapter.api.conftest import NORTH_SYSTEM, consent, observation, patient
from tests.adapter.nodes import a08
from tests.faults import account
from tests.faults.process import HOST, READY_S, Place, Served, serving
from tests.simulators import ward
from tests.simulators.hospital import Hospital

pytestmark = [pytest.mark.postgres, pytest.mark.crash]

LEASE_S = 3.0


@dataclass
class Roles:
    """A site on a server, and the processes that serve it."""

    place: Place
    server: databases.PostgresServer
    database: str
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def sql(self, text: str) -> str:
        return self.server.sql(text, f"{self.database}_store")

    async def start(self, role: Role, crash_at: str = "", port: int = 0, **settings: object) -> Served:
        """Returns when it is ready, by its own word on `port`."""
        port = port or free_port(HOST)
        own = {"http__port": port} if role is Role.API else {"http__health_port": port}
        more = {"workers__lease_s": LEASE_S, **own, **settings}
        served = await self.stack.enter_async_context(serving(self.place.folder, crash_at, role=role, settings=more))
        assert await self.ready(served, port), role
        return served

    async def ready(self, served: Served, port: int) -> bool:
        async with asyncio.timeout(READY_S), httpx.AsyncClient() as client:
            while served.running:
                try:
                    if (await client.get(f"http://{HOST}:{port}/readyz")).status_code == 200:
                        return True
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)
        return False

    async def settled(self) -> None:
        """Return once every message has an end, and the log is owed nothing."""
        open_ = """
            SELECT (SELECT count(*) FROM message m LEFT JOIN message_state s ON s.seq = m.seq
                    WHERE m.state = 'new' AND coalesce(s.state, 'new') IN ('new', 'mapped'))
                 + (SELECT count(*) FROM outbox WHERE ref IS NULL)
        """
        async with asyncio.timeout(READY_S):
            while await asyncio.to_thread(self.sql, open_) != "0":  # noqa: ASYNC110 - other processes'
                await asyncio.sleep(0.1)

    def holders(self) -> list[str]:
        """Who holds lanes, each once."""
        return self.sql("SELECT DISTINCT worker FROM lane WHERE scheme = 1 AND worker IS NOT NULL").split()

    async def shared_by(self, workers: int) -> None:
        """Return once so many workers hold all lanes between them."""
        async with asyncio.timeout(READY_S):
            while len(await asyncio.to_thread(self.holders)) != workers:  # noqa: ASYNC110 - other processes'
                await asyncio.sleep(0.05)


STORES = ("store", "ledger", "vault")


def _make(server: databases.PostgresServer, folder: Path) -> Roles:
    """A new site on databases of its own."""
    name = f"roles_{free_port(HOST)}"
    for section in STORES:
        server.sql(f"CREATE DATABASE {name}_{section}")
        write_private(folder / section, server.url(f"{name}_{section}").encode())
    place = Place(folder / "site", free_port(HOST), free_port(HOST))
    site.create(
        place.folder, org="hosp", name="Hospital", http_port=place.http_port, mllp_port=place.mllp_port,
        url_files={section: folder / section for section in STORES},
    )  # fmt: skip
    return Roles(place, server, name)


@pytest.fixture
def made(server: databases.PostgresServer, tmp_path: Path) -> Iterator[Roles]:
    roles = _make(server, tmp_path)
    yield roles
    for section in STORES:
        server.sql(f"DROP DATABASE {roles.database}_{section} WITH (FORCE)")


CLIENTS = """
[access.client.office]
system = {system}
identifier = "hosp"
roles = ["clinician"]
scopes = "system/*.cruds"
purposes = ["TREAT"]

[access.client.north]
system = "{north}"
identifier = "north"
roles = ["clinician"]
scopes = "system/*.rs"
purposes = ["TREAT"]
"""


@dataclass
class Apis:
    """Two api processes, and clients of each."""

    offices: list[httpx.AsyncClient]
    norths: list[httpx.AsyncClient]


def _with_clients(roles: Roles) -> Path:
    """The site's folder, with these clients in its configuration."""
    folder = roles.place.folder
    text = CLIENTS.format(system=f'"{load_settings(folder).node.system}"', north=NORTH_SYSTEM)
    (folder / FILE).write_text((folder / FILE).read_text("utf-8") + text, "utf-8")
    return folder


@pytest.fixture
async def apis(roles: Roles) -> AsyncIterator[Apis]:
    folder = _with_clients(roles)
    base = f"http://{HOST}:{roles.place.http_port}/fhir"
    ports = [free_port(HOST), free_port(HOST)]
    for port in ports:
        await roles.start(Role.API, port=port, http__base=base)
    tokens = {name: ward.client(folder, name).token for name in ("office", "north")}
    async with AsyncExitStack() as stack:

        async def client(port: int, name: str) -> httpx.AsyncClient:
            headers = {"Authorization": f"Bearer {tokens[name]}"}
            url = f"http://{HOST}:{port}/fhir"
            return await stack.enter_async_context(httpx.AsyncClient(base_url=url, headers=headers, timeout=60))

        yield Apis([await client(port, "office") for port in ports], [await client(port, "north") for port in ports])


@pytest.fixture
async def roles(made: Roles) -> AsyncIterator[Roles]:
    async with made.stack:
        yield made


@asynccontextmanager
async def load(roles: Roles, patients: int = 6) -> AsyncIterator[Hospital]:
    """Senders while the context is open; then all is settled and compared."""
    hospital = Hospital(roles.place.mllp_port, patients, pause_s=0.1)
    sending = asyncio.create_task(hospital.send())
    try:
        yield hospital
        hospital.stop()
        await asyncio.wait_for(sending, READY_S)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    await roles.settled()


async def stop(*processes: Served) -> None:
    """SIGTERM to all, and all are out in time."""
    for one in processes:
        one.signal(signal.SIGTERM)
    assert [await one.ended(15) for one in processes] == [0] * len(processes)


async def nothing_broken(roles: Roles, hospital: Hospital) -> None:
    async with running(roles.place.folder, workers={"lease_s": LEASE_S}) as node:
        await asyncio.wait_for(node.settled(), READY_S)
        assert await account.violations(node, hospital.acknowledged) == []
    assert len(hospital.acknowledged) >= 20
    twice = (
        "SELECT count(*) FROM (SELECT seq FROM transition WHERE to_state = 'mapped' GROUP BY seq HAVING count(*) > 1) t"
    )
    assert roles.sql(twice) == "0"


async def test_workers_killed_and_paused_past_their_lease_lose_nothing_and_double_nothing(roles: Roles) -> None:
    """F2, F29: one is killed, one is stopped until others have its lanes and goes on as if nothing had been."""
    receipt, anchor = await roles.start(Role.MLLP), await roles.start(Role.ANCHOR)
    first, second = await roles.start(Role.WORKER), await roles.start(Role.WORKER)
    await roles.shared_by(2)
    async with load(roles) as hospital:
        await hospital.heard(lambda codes: codes["CA"] >= 30)
        first.kill()
        third = await roles.start(Role.WORKER)
        await roles.shared_by(2)
        second.signal(signal.SIGSTOP)
        await roles.shared_by(1)
        second.signal(signal.SIGCONT)
        await roles.shared_by(2)
    await stop(receipt, anchor, second, third)
    await nothing_broken(roles, hospital)


async def test_what_one_api_is_told_the_other_keeps_at_once(apis: Apis) -> None:
    """F43 over two processes: what each keeps of decisions, consents, names and patients is no older than the log."""
    for path, body in (("Patient/p1", patient()), ("Observation/o1", observation("o1"))):
        assert (await apis.offices[0].put(f"/{path}", json=body)).status_code == 201

    async def seen() -> list[int]:
        return [(await north.get("/Observation/o1")).status_code for north in apis.norths]

    assert await seen() == [404, 404]
    for turn in range(6):
        said, heard = apis.offices[turn % 2], apis.norths[(turn + 1) % 2]
        granted = await said.post("/Consent", json=consent())
        assert granted.status_code == 201, granted.text
        assert await seen() == [200, 200], "and both keep what they decided on"
        reading = asyncio.create_task(_read(heard, 20))
        made = granted.json()
        revoked = await said.put(f"/Consent/{made['id']}", json=made | {"status": "inactive"})
        assert revoked.status_code == 200
        assert await seen() == [404, 404], "at once, whoever was told"
        assert set(await reading) <= {200, 404}
    assert (await apis.offices[0].post("/Consent", json=consent())).status_code == 201
    assert await seen() == [200, 200]
    merged = patient() | {"id": "p2", "identifier": [{"system": "urn:x", "value": "2"}]}
    assert (await apis.offices[1].put("/Patient/p2", json=merged)).status_code == 201
    changed = observation("o1") | {"subject": {"reference": "Patient/p2"}}
    assert (await apis.offices[1].put("/Observation/o1", json=changed)).status_code == 200
    assert await seen() == [404, 404], "it is another patient's now"


async def _read(client: httpx.AsyncClient, times: int) -> list[int]:
    return [(await client.get("/Observation/o1")).status_code for _ in range(times)]


async def test_64_conditional_creates_over_two_apis_make_exactly_one_resource(made: Roles) -> None:
    """Two roles, each with connections, keys and caches of its own, on one loop."""
    bare = {name: value for name, value in patient().items() if name != "id"}
    bare["identifier"] = [{"system": "urn:x", "value": "one"}]
    folder, ports = _with_clients(made), (free_port(HOST), free_port(HOST))
    office = ward.client(folder, "office")
    headers = {"Authorization": f"Bearer {office.token}", "If-None-Exist": "identifier=urn:x|one"}
    async with AsyncExitStack() as stack:
        for port in ports:
            await stack.enter_async_context(running_role(folder, Role.API, http={"port": port, "base": office.base}))
        client = await stack.enter_async_context(httpx.AsyncClient(headers=headers, timeout=60))

        async def ask(number: int) -> httpx.Response:
            return await client.post(f"http://{HOST}:{ports[number % 2]}/fhir/Patient", json=bare)

        answers = await asyncio.gather(*map(ask, range(64)))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 63}
    assert len({answer.json()["id"] for answer in answers}) == 1


async def test_a_merge_whose_patients_are_two_workers_goes_in_its_order(made: Roles) -> None:
    """Three roles on one loop: lanes are given, not locked."""
    folder, more = made.place.folder, {"workers": {"lease_s": LEASE_S}}
    port, numbers = made.place.mllp_port, [str(n) for n in range(100, 124)]

    async def send(body: bytes) -> None:
        assert acknowledgement_code(await send_one(HOST, port, body)) == "CA"

    async with AsyncExitStack() as stack:
        for role in (Role.MLLP, Role.WORKER, Role.WORKER, Role.ANCHOR):
            await stack.enter_async_context(running_role(folder, role, **more))
        await made.shared_by(2)
        for number in numbers:
            await send(a08(f"A{number}", number))
        await made.settled()
        pairs = _apart(made, numbers)
        assert pairs, "some patients are the first worker's, some the second's"
        for one, two in pairs:
            await send(a08(f"B{two}", two, street="Weg 2"))
            await send(a08(f"M{two}", one, two))
            await send(a08(f"C{one}", one, street="Weg 3"))
        await made.settled()
        await made.shared_by(2)
    assert made.sql("SELECT DISTINCT state FROM message_state") == messages.DELIVERED
    rows = [line.split("|") for line in made.sql(ORDER).splitlines()]
    assert [row for row in rows if int(row[0]) >= int(row[1])] == [], "whatever shares a lane took effect in its order"


# transactions of messages that share a lane, in the order of receipt
ORDER = """
    SELECT a.txn, b.txn FROM message m JOIN message_state a ON a.seq = m.seq AND a.txn IS NOT NULL
    JOIN message n ON n.seq > m.seq AND EXISTS (
      SELECT FROM json_array_elements_text(m.lane::json) x JOIN json_array_elements_text(n.lane::json) y ON x = y
    ) JOIN message_state b ON b.seq = n.seq AND b.txn IS NOT NULL
"""


def _apart(made: Roles, numbers: list[str]) -> list[tuple[str, str]]:
    """Pairs of patients whose lanes are held by different workers."""
    sql = (
        "SELECT l.worker FROM message m JOIN lane l ON l.scheme = 1 AND l.lane = (m.lane::json->>0)::int ORDER BY m.seq"
    )
    workers = dict(zip(numbers, made.sql(sql).split(), strict=True))
    first = [number for number in numbers if workers[number] == workers[numbers[0]]]
    others = [number for number in numbers if workers[number] != workers[numbers[0]]]
    return list(zip(first, others, strict=False))[:6]


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Roles]:
    """A site on a server that a test may stop."""
    with databases.running("fsync=on", "full_page_writes=on") as own:
        yield _make(own, tmp_path)


async def test_a_server_that_crashes_under_roles_is_waited_for(alone: Roles) -> None:
    """F5: nothing is started again, and what was acknowledged takes effect."""
    async with AsyncExitStack() as stack:
        for role in (Role.MLLP, Role.WORKER, Role.ANCHOR):
            await stack.enter_async_context(running_role(alone.place.folder, role, workers={"lease_s": LEASE_S}))
        async with load(alone, patients=2) as hospital:
            await hospital.heard(lambda codes: codes["CA"] >= 10)
            await asyncio.to_thread(alone.server.stop)
            await hospital.heard(lambda codes: codes["AE"] + codes["CE"] + codes[""] >= 1)
            await asyncio.to_thread(alone.server.start)
            before = hospital.codes["CA"]
            await hospital.heard(lambda codes: codes["CA"] >= before + 10)
    await nothing_broken(alone, hospital)


async def test_roles_bind_neither_each_other_nor_a_whole_node_but_a_change_of_the_stores(made: Roles) -> None:
    folder = made.place.folder
    async with running_role(folder, Role.ANCHOR), running_role(folder, Role.ANCHOR), running(folder):
        assert is_served(folder)
        with pytest.raises(Unavailable, match="another process serves this site"):
            upgrade(folder)
    async with running_role(folder, Role.ANCHOR):
        assert is_served(folder)
        with pytest.raises(Unavailable, match="another process serves this site"):
            upgrade(folder)
    assert not is_served(folder)


async def test_of_several_that_rotate_keys_one_does_and_nothing_stays_under_the_key_before(made: Roles) -> None:
    folder = made.place.folder
    async with running_role(folder, Role.ANCHOR), running_role(folder, Role.ANCHOR) as up, running(folder) as node:
        done = await rotate(folder, "", "test")
        await node.services.keyring.restock(300)
        async with asyncio.timeout(30):
            while list(await up.site.vault.wrapped_by(up.site.org)) != [done.new]:  # noqa: ASYNC110 - the vault's
                await asyncio.sleep(0.05)
        holders = "SELECT DISTINCT worker FROM lane WHERE scheme = {} AND lane = {} AND worker IS NOT NULL"
        assert len(made.sql(holders.format(leases.TASKS, leases.ROTATION)).split()) == 1
        assert not up.failed.done()
        assert not node.failed.done()
    assert {path.name for path in (folder / "keys").glob("kek*")} == {"kek", f"kek-{done.old}"}
