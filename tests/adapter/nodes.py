"""Small real nodes for the tests around the spine: a site copied from one made once, messages that people can read."""

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from adapter.http_server import free_port
from adapter.node import Node, running
from adapter.sender import acknowledgement_code, send_one
from adapter.settings import FILE
from adapter.site import create
from adapter.store import messages

HOST = "127.0.0.1"
GOOD, STRANGE = "GOOD", "STRANGE"  # senders: profiles below know the first
# A profile of the site's own that knows one sender, and takes messages of one kind out.
STRICT = """
name = "strict"
extends = "default"
namespace = "urn:oid:2.999.1"

[match]
msh3 = "GOOD"
"""


def make(folder: Path) -> Path:
    """A new site whose ports are free ones."""
    return create(folder, org="stadtklinik", name="Stadtklinik", http_port=free_port(HOST), mllp_port=0)


def copy(made: Path, folder: Path) -> Path:
    """The same site again, elsewhere, on another port."""
    shutil.copytree(made, folder)
    edit(folder / FILE, f"port = {_port(made)}", f"port = {free_port(HOST)}")
    return folder


def _port(site: Path) -> int:
    (line,) = (line for line in (site / FILE).read_text("utf-8").splitlines() if line.startswith("port"))
    return int(line.split("=")[1])


def edit(file: Path, old: str, new: str) -> None:
    """Replace what stands once in a file."""
    text = file.read_text("utf-8")
    assert text.count(old) == 1
    file.write_text(text.replace(old, new), "utf-8")


def profile(site: Path, text: str, name: str = "default") -> None:
    """Give the site a profile of its own, and let the feed `main` use it."""
    folder = site / "profiles" / name
    folder.mkdir(exist_ok=True)
    (folder / "profile.toml").write_text(text, "utf-8")
    edit(site / "feeds" / "main.toml", 'profile = "default"', f'profile = "{name}"')


def feed(site: Path, more: str) -> None:
    """Write more into the feed `main`: tables at the end, keys at the beginning."""
    file = site / "feeds" / "main.toml"
    text = file.read_text("utf-8")
    file.write_text(text + more if more.lstrip().startswith("[") else more + "\n" + text, "utf-8")


def a08(control: str, *patients: str, sender: str = GOOD, street: str = "Weg 1", processing: str = "P") -> bytes:
    """An update of one patient; with two, a merge of the second into the first."""
    at = "20260304081500+0000"
    event, structure = ("A40", "ADT_A39") if len(patients) > 1 else ("A08", "ADT_A01")
    lines = [
        rf"MSH|^~\&|{sender}|HOSP|CHARTBRIDGE|HOSP|{at}||ADT^{event}^{structure}|{control}|{processing}|2.5.1|||AL|NE",
        f"EVN|{event}|{at}",
        f"PID|1||{patients[0]}^^^HOSP&2.999.1.4&ISO^MR||Demo^Nr{patients[0]}||19800101|F|||{street}^^Linz^^4020^AUT",
        *(f"MRG|{retired}^^^HOSP&2.999.1.4&ISO^MR" for retired in patients[1:]),
    ]
    return "".join(line + "\r" for line in lines).encode()


async def send(node: Node, *bodies: bytes, feed: str = "main") -> list[str]:
    """Send over MLLP, one after the other, and let all that can go its way; the ACK codes."""
    codes = [acknowledgement_code(await send_one(HOST, node.mllp_port(feed), body)) for body in bodies]
    await node.settled()
    return codes


async def states(node: Node) -> dict[int, str]:
    """Where each message stands, by number; those nobody touched are absent."""
    found = await node.site.store.read(
        lambda conn: [messages.state(conn, node.site.org, seq) for seq in range(1, node.journal.last + 1)]
    )
    return {one.seq: one.state for one in found if one is not None}


async def why(node: Node, seq: int) -> list[tuple[str, str]]:
    """The steps of a message: where to, and why."""
    steps = await node.site.store.read(lambda conn: messages.transitions(conn, node.site.org, seq))
    return [(step.to_state, step.why) for step in steps]


@asynccontextmanager
async def node_with(site: Path, bodies: Sequence[bytes]) -> AsyncIterator[Node]:
    """A running node that has processed these."""
    async with running(site) as node:
        await send(node, *bodies)
        yield node
