"""Nothing in clear at rest, on either database (promise 9): planted strings in tables, WAL, temporary files, dump, log.

The PostgreSQL server writes down every statement and every parameter here, as a careless operator might let it.
"""

import base64
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from adapter.store.engine import DataStore, Hot, Place, Server
from tests import databases
from tests.adapter.store.conftest import PAIRING, Site, observation, patient, told

PLANTED = ("kennung-4711", "SECRETNUMBER", "Geheimrat", "Ottilie", "1970-01-02", "befund-4712", "SECRETCODE")
TALKATIVE = ("log_statement=all", "log_min_messages=debug1", "log_parameter_max_length=-1", "work_mem=64kB")


@pytest.fixture(scope="module")
def talkative() -> Iterator[databases.PostgresServer]:
    with databases.running(*TALKATIVE) as started:
        yield started


@pytest.fixture
def emptied(talkative: databases.PostgresServer) -> Server:
    """In the place of the server that the other tests share."""
    talkative.sql("CREATE DATABASE store")
    place = Server(talkative.url("store"))
    DataStore.create(place, PAIRING)
    return place


@pytest.fixture
def at_rest(place: Place, request: pytest.FixtureRequest) -> Callable[[], bytes]:
    """All that the database has put anywhere."""
    if isinstance(place, Path):
        return lambda: files(place.parent)
    server: databases.PostgresServer = request.getfixturevalue("talkative")

    def everything() -> bytes:
        server.sql("CHECKPOINT")
        dump = [server.bin / "pg_dump", "--inserts", "-h", server.folder, "-U", databases.USER, "store"]
        told = subprocess.run([str(part) for part in dump], check=True, capture_output=True).stdout  # noqa: S603
        assert b"INSERT INTO" in told
        return files(server.folder) + told

    return everything


def files(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file())


def spellings(word: str) -> Iterator[bytes]:
    """As it is, and as somebody might have encoded it. Base64 depends on what stands around it: the inner part of each
    of its three forms does not."""
    for text in {word, word.lower(), word.upper()}:
        raw = text.encode()
        yield from (raw, raw.hex().encode(), text.encode("utf-16-le"))
        yield from (base64.b64encode(b" " * shift + raw)[4 if shift else 0 : -4] for shift in range(3))


async def test_planted_strings_are_found_nowhere(site: Site, at_rest: Callable[[], bytes]) -> None:
    name = [{"family": "Geheimrat", "given": ["Ottilie"]}]
    body = patient("kennung-4711", "SECRETNUMBER", name=name, birthDate="1970-01-02")
    await site.commit(told(body), told(observation("befund-4712", of="kennung-4711", code="SECRETCODE")))
    await site.commit(told(body | {"gender": "female"}))
    with pytest.raises(RuntimeError):  # what fails is told to the log
        await site.write(lambda conn: Hot(conn).run("INSERT INTO version SELECT * FROM version"))
    raw = at_rest()
    assert b"Observation" in raw, "the look itself sees what is in clear"
    assert [word for word in PLANTED for spelt in spellings(word) if spelt in raw] == []
