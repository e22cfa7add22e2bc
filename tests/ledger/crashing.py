"""A node that appends and signs until it is killed at a named step: `python -m tests.ledger.crashing FOLDER STEP PASS`.

Prints each acknowledged reference, flushed, before it goes on. Its events are made from a counter, so that whoever
starts the log again can offer the same ones.
"""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from adapter.store.place import Server
from adapter.store.server_pool import ServerPool
from ledger import vault_server
from ledger.event import Event, RequiresRef, new_id
from ledger.log import Ledger
from ledger.store import postgres
from ledger.store.base import LogStore
from ledger.store.sqlite import open_log
from ledger.vault import Vault, open_vault
from tests.ledger.conftest import ORIGIN, PAIRING, Ticking, consent, ledger_of, policy, read

ROUNDS = 40
CALLERS = 4


def event(number: int) -> Event:
    """The `number`th event: 0 is the basis, every tenth a consent, the rest reads under the basis."""
    event_id = new_id(Ticking().wall, lambda count: number.to_bytes(count, "big"))
    if number == 0:
        return policy_with(event_id)
    if number % 10 == 0:
        return consent(epoch=number, id=event_id)
    return read(requires=[RequiresRef("2026:0")], id=event_id)


def policy_with(event_id: str) -> Event:
    made = policy()
    return Event(made.type, event_id, made.org, clear=made.clear)


def killing(step: str, passes: int) -> Callable[[str], None]:
    """A hook that ends this process, unannounced, when `step` is reached for the `passes`th time."""
    counted = itertools.count(1)

    def hook(name: str) -> None:
        if name == step and next(counted) == passes:
            os.kill(os.getpid(), signal.SIGKILL)

    return hook


async def node(folder: Path, hook: Callable[[str], None]) -> tuple[Ledger, LogStore, Vault]:
    """On the files of a folder, or on the databases whose URLs stand in these."""
    store: LogStore
    if (folder / "log").read_bytes().startswith(b"postgresql://"):
        log, keys = (ServerPool(Server((folder / name).read_text(), 3), name) for name in ("log", "vault"))
        store = await postgres.open_log(log, PAIRING, ORIGIN, hook)
        vault = await vault_server.open_vault(keys, PAIRING, step=hook)
    else:
        store = open_log(folder / "log", PAIRING, ORIGIN, hook)
        vault = open_vault(folder / "vault", PAIRING, step=hook)
    return ledger_of(store, vault, www=folder / "www", step=hook), store, vault


async def caller(ledger: Ledger, numbers: range) -> None:
    for number in numbers:
        (receipt,) = await ledger.append([event(number)])
        sys.stdout.write(f"{number} {receipt}\n")
        sys.stdout.flush()
        if number % 7 == 0:
            await ledger.integrate()


async def main(folder: Path, step: str, passes: int) -> None:
    ledger, _, _ = await node(folder, killing(step, passes))
    await ledger.start()
    await caller(ledger, range(1))
    await asyncio.gather(*(caller(ledger, range(1 + n, ROUNDS * CALLERS, CALLERS)) for n in range(CALLERS)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
