"""A site's receiving end on real files: vault, key ring, journal; listeners on free loopback ports; senders."""

import asyncio
import contextlib
import re
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adapter.inbound import journal_table
from adapter.inbound.ack import Rules
from adapter.inbound.documents import Read
from adapter.inbound.feed import Feed, feed_from
from adapter.inbound.intake import Intake
from adapter.inbound.journal import Journal
from adapter.inbound.listener import Listener
from adapter.inbound.mllp import frame
from adapter.seal.blind import keyed_id, lane
from adapter.seal.kek import Kek
from adapter.seal.keyring import Keyring
from ledger.vault import Vault, create_vault, open_vault
from mappings.cda.receipt import receipt
from mappings.convert import load_profile
from mappings.hl7v2.message import parse

PAIRING = "00112233445566778899aabbccddeeff"
ORG = "stadtklinik"


@dataclass
class Wall:
    """A clock that a test sets."""

    now: datetime = field(default_factory=lambda: datetime(2024, 5, 1, 8, 15, 30, tzinfo=UTC))

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
    listeners: list[Listener] = field(default_factory=list)

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


async def open_site(folder: Path) -> Site:
    """Open it, as each start does."""
    vault = open_vault(folder / "vault.sqlite3", PAIRING)
    keyring = Keyring(Kek.load(folder / "kek"), vault, ORG)
    await keyring.open()
    journal = Journal(folder / "journal.sqlite3", PAIRING, keyring)
    await journal.start()
    return Site(folder, vault, keyring, journal, Wall())


async def close_site(site: Site) -> None:
    for listener in site.listeners:
        await listener.stop(1.0)
    site.listeners.clear()
    await site.journal.close()
    await site.vault.close()


def message(control: str = "MSG1", patient: str = "4711", note: str = "", **fields: str) -> bytes:
    """An admission; `msh12="2.3"` sets MSH-12."""
    msh = f"MSH|^~\\&|LABSYS|LAB|CHARTBRIDGE|HOSP|20240501101500+0200||ADT^A01^ADT_A01|{control}|P|2.5.1||||||".split(
        "|"
    )
    for name, value in fields.items():
        msh[int(re.sub(r"\D", "", name)) - 1] = value
    header = "|".join(msh).rstrip("|")
    return f"{header}\rEVN|A01|20240501\rPID|1||{patient}^^^HOSP^MR||Demo^Ana{note}\r".encode("latin-1")


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
