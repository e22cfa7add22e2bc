"""One process of several that append to one log on PostgreSQL: run by `test_postgres.py`, which tells it when to begin.

Each line that it prints is what one append came to: the event's id, its reference or the name of what it raised, and
the basis that it rests on.
"""

import asyncio
import os
import sys

from adapter.store.place import Server
from adapter.store.server_pool import ServerPool
from ledger.clock import utc_now
from ledger.errors import BasisEnded, ConflictError
from ledger.event import Event
from ledger.log import Ledger
from ledger.store.postgres import open_log
from ledger.vault import memory_vault
from tests.ledger.conftest import ORG, ORIGIN, PAIRING, RULES, SIGNER, read, retirement

CLIENTS = 12
EVENTS = 12  # of each
SHARED = "019cad8f-ac00-774b-bcce-b302099a8057"  # an event that every process appends
BASIS, NEXT = "2026:1", "2026:2"


def shared() -> Event:
    return Event("policy.adopted", SHARED, ORG, clear={"digest": "ab" * 32, "name": "shared"})


def tell(event: Event, outcome: object) -> None:
    sys.stdout.write(f"{event.id} {outcome} {event.secret.get('basis', '-')}\n")


async def attempt(ledger: Ledger, event: Event) -> bool:
    try:
        (receipt,) = await ledger.append([event])
    except (BasisEnded, ConflictError) as fault:
        tell(event, type(fault).__name__)
        return False
    tell(event, receipt)
    return True


async def client(ledger: Ledger, number: int) -> None:
    basis = BASIS
    for turn in range(EVENTS):
        if not await attempt(ledger, read(basis=basis)):
            basis = NEXT
        if number == 0 and turn == EVENTS // 3:
            await attempt(ledger, retirement(BASIS))
        if number == 1 and turn == EVENTS // 2:
            await attempt(ledger, shared())


async def main(url: str) -> None:
    store = await open_log(ServerPool(Server(url, 3), "log"), PAIRING, ORIGIN)
    vault = memory_vault()
    ledger = Ledger(store, vault, ORIGIN, ORG, SIGNER, utc_now, os.urandom, rules=RULES)
    await ledger.start()
    sys.stderr.write("ready\n")
    sys.stderr.flush()
    await asyncio.to_thread(sys.stdin.readline)
    await asyncio.gather(*(client(ledger, number) for number in range(CLIENTS)))
    await ledger.close()
    await vault.close()
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
