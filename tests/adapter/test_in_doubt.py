"""A node that loses its database while it commits, on both sides of the commit: nothing is done twice, nothing lost.

What is settled is never seen. What stays in doubt a client is told (503, `in-doubt`), who may say it again in one of
the ways that docs/errors.md names; the node's own workers look at what stands before they go on.
Source: fhir chapter §5, §7; operations chapter §8 (I1 to I4), §9 (F5), §10.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from adapter.node import running
from adapter.sender import acknowledgement_code, send_one
from adapter.settings import load
from adapter.store import postgres
from adapter.store.engine import DataStore, Hot, Server
from tests import databases
from tests.adapter.api.conftest import Json, Node, empty_site, observation, patient, start
from tests.adapter.api.operations.test_export import exported
from tests.adapter.conftest import JOURNAL_PAIRING, PAIRING
from tests.adapter.nodes import HOST
from tests.adapter.notices.world import world
from tests.cutting import Cut, Wire, wired
from tests.faults import account
from tests.simulators import hospital

__all__ = ["empty_site"]

pytestmark = pytest.mark.postgres

SIDES: list[tuple[Cut, int]] = [("after", 1), ("before", 0)]  # and how often it was done


@pytest.fixture
def wire(
    emptied: Server, server: databases.PostgresServer, empty_site: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Wire]:
    databases.pair(emptied, load(empty_site).node.pairing)
    with wired(server) as made, monkeypatch.context() as elsewhere:
        elsewhere.setenv("CHARTBRIDGE_STORE__URL", made.place().url)
        yield made
    databases.pair(emptied, PAIRING)


@pytest.fixture
async def node(wire: Wire, empty_site: Path, tmp_path: Path) -> AsyncIterator[Node]:
    async with AsyncExitStack() as stack:
        yield await start(stack, empty_site, tmp_path / "node")


async def counted(node: Node, kind: str = "Patient") -> tuple[int, int]:
    """How many resources there are of a type, and how many versions."""
    sql = "SELECT count(DISTINCT r.rid), count(*) FROM resource r JOIN version v ON v.rid = r.rid WHERE r.type = ?"
    found = await node.services.store.read(lambda conn: Hot(conn).one(sql, (kind,)))
    assert found is not None
    return found[0], found[1]


# --- settled ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["before", "during", "after"])
async def test_a_client_hears_nothing_of_what_was_settled(node: Node, wire: Wire, cut: Cut) -> None:
    async with node.client() as ward:
        wire.plan(cut)
        made = await ward.post("/fhir/Patient", json=patient())
        assert (made.status_code, wire.done) == (201, 1)
        assert (await ward.get(f"/fhir/Patient/{made.json()['id']}")).status_code == 200
    assert await counted(node) == (1, 1)


@pytest.fixture(params=["emptied", "journal_database"])
def site(
    request: pytest.FixtureRequest, wire: Wire, fresh_site: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A site whose data lies behind the wire, without its journal and with it."""
    name: str = request.param
    place: Server = request.getfixturevalue(name)
    databases.pair(place, load(fresh_site).node.pairing)
    with monkeypatch.context() as elsewhere:
        if name == "journal_database":
            elsewhere.setenv("CHARTBRIDGE_STORE__URL", wire.place("journal").url)
            elsewhere.setenv("CHARTBRIDGE_STORE__JOURNAL_PLACE", "database")
        yield fresh_site
    databases.pair(place, JOURNAL_PAIRING if name == "journal_database" else PAIRING)


async def test_commits_are_cut_all_the_time_and_each_message_takes_effect_once(
    site: Path, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal, the pipeline, its outbox and its fences; now and then nobody can be asked for a while, either. Who
    gets CE sends again, as a hospital does."""
    monkeypatch.setattr(postgres, "SETTLE_S", 0.2)
    async with running(site) as node:
        sent = hospital.messages(0, list(range(1, 13)))
        cuts: list[Cut | None] = ["before", None, "after", None, "during", None]
        wire.plan(*cuts * 6)
        for number, message in enumerate(sent):
            wire.refuse_after = number % 8 == 7
            while (code := acknowledgement_code(await send_one(HOST, node.mllp_port("main"), message.body))) != "CA":
                assert code == "CE"
                wire.refuse_after = wire.refusing = False
            if wire.refuse_after:
                await asyncio.sleep(0.5)
                wire.refuse_after = wire.refusing = False
        await asyncio.wait_for(node.settled(), 60)
        assert await account.violations(node, sent) == []
    assert wire.done > 3


async def test_an_export_whose_commits_are_cut_holds_everything_once(
    node: Node, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapter.exporting.BATCH", 1)
    names = [f"p{n}" for n in range(4)]
    await node.put(*map(patient, names), *(observation(f"o-{of}", of=of) for of in names))
    async with node.client() as ward:
        wire.plan("after", "before", "during", "after", "before", "during", "after")
        assert await exported(ward) == {"Patient": names, "Observation": [f"o-{of}" for of in names]}
    assert wire.done == 7
    segments = await node.services.store.read(
        lambda conn: Hot(conn).one("SELECT count(*) FROM job WHERE kind = 'export-segment'")
    )
    assert segments == (4,)


async def test_a_subscriber_is_told_once_whatever_commit_is_cut(wire: Wire, empty_site: Path, tmp_path: Path) -> None:
    async with world(empty_site, tmp_path / "node") as here:
        await here.node.put(patient())
        async with here.node.client() as ward:
            await here.make(ward)
        await here.node.put(*(observation(f"o{n}") for n in range(3)))
        cuts: list[Cut] = ["after", "before", "during"]
        wire.plan(*cuts * 4)
        await here.send()
        assert wire.done > 3
        told = [one.focus()["fullUrl"].rpartition("/")[2] for one in here.hook.received]  # type: ignore[index]
        assert told == ["o0", "o1", "o2"]


# --- in doubt --------------------------------------------------------------------------------------------------------


def _transaction() -> Json:
    request = {"method": "POST", "url": "Patient", "ifNoneExist": "identifier=urn:oid:2.999.1.1|MR-p1"}
    return {"resourceType": "Bundle", "type": "transaction", "entry": [{"resource": patient(), "request": request}]}


async def conditional(ward: httpx.AsyncClient) -> httpx.Response:
    criteria = {"If-None-Exist": "identifier=urn:oid:2.999.1.1|MR-p1"}
    return await ward.post("/fhir/Patient", json=patient(), headers=criteria)


async def put(ward: httpx.AsyncClient) -> httpx.Response:
    return await ward.put("/fhir/Patient/p1", json=patient())


async def transaction(ward: httpx.AsyncClient) -> httpx.Response:
    return await ward.post("/fhir", json=_transaction())


@pytest.mark.parametrize("say", [conditional, put, transaction])
@pytest.mark.parametrize(("cut", "done"), SIDES)
async def test_who_hears_that_it_is_in_doubt_may_say_it_again(
    node: Node, wire: Wire, monkeypatch: pytest.MonkeyPatch, cut: Cut, done: int, say: object
) -> None:
    """As docs/errors.md advises: with If-None-Exist, or as a PUT."""
    monkeypatch.setattr(postgres, "SETTLE_S", 0.2)
    assert callable(say)
    async with node.client() as ward:
        wire.refuse_after = True
        wire.plan(cut)
        doubtful = await say(ward)
        assert doubtful.status_code == 503, doubtful.text
        assert doubtful.headers["retry-after"]
        assert doubtful.json()["issue"][0]["details"]["coding"][0]["code"] == "in-doubt"
        wire.refuse_after = wire.refusing = False
        assert await counted(node) == (done, done)
        again = await say(ward)
        assert again.status_code in (200, 201), again.text
    assert await counted(node) == (1, 1)
    owed = await node.services.store.read(lambda conn: Hot(conn).one("SELECT count(*) FROM outbox"))
    assert owed == (1,), "and it is in the log once"


@pytest.mark.parametrize(("cut", "times"), [("after", 1), ("before", 2)])
async def test_a_notice_of_which_nobody_knows_whether_it_was_noted_goes_out_under_its_id(
    wire: Wire, empty_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: Cut, times: int
) -> None:
    """It was noted: never again. It was not: once more, and the subscriber can tell that it is the same."""
    monkeypatch.setattr(postgres, "SETTLE_S", 0.2)
    async with world(empty_site, tmp_path / "node") as here:
        await here.node.put(patient())
        async with here.node.client() as ward:
            await here.make(ward)
        await here.node.put(observation("o1"))

        async def away() -> None:
            wire.refuse_after = True
            wire.plan(cut)  # of what is written down behind it

        here.hook.meanwhile = away
        await here.send()
        here.hook.meanwhile, wire.refuse_after, wire.refusing = None, False, False
        wire.plan()
        await _let_go(here.node.services.store)
        await here.send(turns=2)
        assert [one.key for one in here.hook.received] == [here.hook.received[0].key] * times
        assert (await here.standing()).events == 1


async def _let_go(store: DataStore) -> None:
    """The claim of who could not let go of it ends of itself; nobody waits for that here."""
    await store.write(lambda conn: Hot(conn).run("UPDATE subscription SET held_until = 0"))
