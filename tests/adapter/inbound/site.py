"""A site's receiving end on real files: vault, key ring, journal; listeners on free loopback ports; senders."""

import asyncio
import contextlib
import re
import sqlite3
import ssl
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapter.inbound import journal_table
from adapter.inbound.ack import Rules
from adapter.inbound.documents import Read
from adapter.inbound.feed import Feed, feed_from
from adapter.inbound.intake import Intake, Reply
from adapter.inbound.journal import Incoming, Journal
from adapter.inbound.journal_file import FileJournal
from adapter.inbound.journal_postgres import PostgresJournal
from adapter.inbound.listener import Listener
from adapter.inbound.mllp import frame
from adapter.seal.blind import keyed_id, lane
from adapter.seal.kek import Kek
from adapter.seal.keyring import Keyring
from adapter.store.engine import DataStore, Hot, Server
from adapter.store.postgres import PostgresDatabase
from ledger.vault import Vault, create_vault, open_vault
from mappings.cda.receipt import receipt
from mappings.convert import load_profile
from mappings.hl7v2.message import parse

PAIRING = "00112233445566778899aabbccddeeff"
ORG = "stadtklinik"
AT = datetime(2024, 5, 1, 8, 15, 30, tzinfo=UTC)


@dataclass
class Wall:
    """A clock that a test sets."""

    now: datetime = field(default_factory=lambda: AT)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Site:
    """What a node has behind its listeners."""

    folder: Path
    vault: Vault
    keyring: Keyring
    journal: Journal
    clock: Wall
    database: Server | None = None
    store: DataStore | None = None
    listeners: list[Listener] = field(default_factory=list)

    @property
    def file(self) -> FileJournal:
        assert isinstance(self.journal, FileJournal)
        return self.journal

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Said to the journal's tables by somebody else, in one transaction; the rows of the last."""
        if self.database is not None:
            return PostgresDatabase(self.database).change(lambda conn: [Hot(conn).all(one) for one in statements][-1])
        with closing(sqlite3.connect(self.folder / "journal.sqlite3")) as connection, connection:
            return [connection.execute(one).fetchall() for one in statements][-1]

    def feed(self, name: str = "main", **listen: Any) -> Feed:
        return feed_from({"feed": name, "org": ORG, "profile": name, "listen": {"port": 0, **listen}})

    def intake(self, feed: Feed | None = None, rules: Rules | None = None) -> Intake:
        locate = self.keyring.organisation().locate
        feed = feed or self.feed()
        return Intake(feed, rules or Rules(), self.journal, self.scan, locate, self.clock, read=self.read)

    def scan(self, data: bytes, feed: Feed) -> tuple[tuple[bytes, ...], tuple[int, ...]]:
        """The first identifier of PID-3, as a profile with one authority would see it."""
        locate = self.keyring.organisation().locate
        numbers = [segment.field(3).split("^")[0] for segment in parse(data).all("PID")]
        return (
            tuple(keyed_id(locate, "Patient", number) for number in numbers),
            tuple(lane(locate, number) for number in numbers),
        )

    def read(self, data: bytes, feed: Feed) -> Read:
        """A document as the default profile sees it."""
        locate, found = self.keyring.organisation().locate, receipt(data, load_profile("default"))
        fids = tuple(keyed_id(locate, "Patient", patient.id) for patient in found.patients)
        return Read(found.id, fids, tuple(sorted({lane(locate, patient.id) for patient in found.patients})))

    async def listen(self, rules: Rules | None = None, feed: Feed | None = None, **listen: Any) -> Listener:
        listener = Listener(self.intake(feed or self.feed(**listen), rules))
        await listener.start()
        self.listeners.append(listener)
        return listener


async def create_site(folder: Path) -> None:
    """What `init` makes of the receiving end."""
    kek = Kek.generate(folder / "kek")
    create_vault(folder / "vault.sqlite3", PAIRING)
    journal_table.create(folder / "journal.sqlite3", PAIRING)
    vault = open_vault(folder / "vault.sqlite3", PAIRING)
    await Keyring(kek, vault, ORG).create()
    await vault.close()


async def open_site(folder: Path, database: Server | None = None) -> Site:
    """Open it, as each start does; with a database, its journal lies there."""
    vault = open_vault(folder / "vault.sqlite3", PAIRING)
    keyring = Keyring(Kek.load(folder / "kek"), vault, ORG)
    await keyring.open()
    if database is None:
        journal: Journal = FileJournal(folder / "journal.sqlite3", PAIRING, keyring)
        await journal.start()
        return Site(folder, vault, keyring, journal, Wall())
    store = DataStore.open(database, PAIRING)
    journal = await PostgresJournal.open(database, PAIRING, store, keyring)
    await journal.start()
    return Site(folder, vault, keyring, journal, Wall(), database, store)


async def close_site(site: Site) -> None:
    for listener in site.listeners:
        await listener.stop(1.0)
    site.listeners.clear()
    await site.journal.close()
    await site.vault.close()
    if site.store is not None:
        site.store.close()


def message(control: str = "MSG1", patient: str = "4711", note: str = "", **fields: str) -> bytes:
    """An admission; `msh12="2.3"` sets MSH-12."""
    msh = f"MSH|^~\\&|LABSYS|LAB|CHARTBRIDGE|HOSP|20240501101500+0200||ADT^A01^ADT_A01|{control}|P|2.5.1||||||".split(
        "|"
    )
    for name, value in fields.items():
        msh[int(re.sub(r"\D", "", name)) - 1] = value
    header = "|".join(msh).rstrip("|")
    return f"{header}\rEVN|A01|20240501\rPID|1||{patient}^^^HOSP^MR||Demo^Ana{note}\r".encode("latin-1")


def incoming(data: bytes = b"MSH|x", **changes: object) -> Incoming:
    made = Incoming("main", AT, data, "new", "AA", "20240501081530+0000", lanes=(7,))
    return replace(made, **changes)  # type: ignore[arg-type]


async def take(intake: Intake, *messages: bytes) -> list[Reply]:
    """Submit all in one turn of the loop, as one group; the replies in their order."""
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[Reply]] = [loop.create_future() for _ in messages]
    for data, future in zip(messages, futures, strict=True):
        intake.submit(intake.prepare(data), future.set_result)
    return await asyncio.gather(*futures)


class Sender:
    """One MLLP connection of a hospital's system."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None = None, name: str | None = None) -> "Sender":
        return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name))

    async def send(self, *messages: bytes) -> None:
        self.writer.write(b"".join(map(frame, messages)))
        await self.writer.drain()

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def ack(self) -> bytes:
        """The next ACK, out of its frame."""
        async with asyncio.timeout(10):
            answer = await self.reader.readuntil(b"\x1c\r")
        assert answer.startswith(b"\x0b")
        return answer[1:-2]

    async def ask(self, message: bytes) -> bytes:
        await self.send(message)
        return await self.ack()

    async def rest(self) -> bytes:
        """What comes until the other side closes."""
        async with asyncio.timeout(10):
            return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def msa(ack: bytes) -> list[str]:
    """The fields of MSA."""
    return next(line for line in ack.decode("latin-1").split("\r") if line.startswith("MSA")).split("|")


def err(ack: bytes) -> list[str]:
    """The fields of ERR, [] where there is none."""
    return next((line.split("|") for line in ack.decode("latin-1").split("\r") if line.startswith("ERR")), [])
