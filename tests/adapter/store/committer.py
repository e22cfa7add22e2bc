"""A process that commits one unit and is killed at the point that the environment names (`adapter/crash.py`).

`python -m tests.adapter.store.committer DATA VAULT PAIRING COUNT` commits units of two resources each, one transaction
a unit, that have no state yet, and prints the number of each once its commit has returned. DATA is a path or a URL.
"""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from adapter.seal.kek import Kek
from adapter.seal.keyring import Keyring
from adapter.store.engine import DataStore, Place, Server
from adapter.store.messages import Step, done, unseen
from adapter.store.unit import Unit
from adapter.store.writing import commit_unit
from ledger.vault import open_vault
from tests.adapter.store.conftest import KEK, ORG, observation, patient, told


async def main(data: Place, vault_path: Path, pairing: str, count: int) -> None:
    store, vault = DataStore.open(data, pairing), open_vault(vault_path, pairing)
    keyring = Keyring(Kek(KEK), vault, ORG)
    await keyring.open()
    await keyring.restock()  # or the first unit would run twice, and pass each point twice
    for number in await store.read(lambda conn: unseen(conn, ORG, list(range(1, count + 1)))):
        entries = (told(patient(f"p{number}", str(number))), told(observation(f"o{number}", of=f"p{number}")))
        unit = Unit("transform.hl7v2", "main", datetime(2026, 3, 4, tzinfo=UTC), entries, seq=number)

        def work(conn: object, unit: Unit = unit) -> None:
            written = commit_unit(conn, unit, keyring)  # type: ignore[arg-type]
            step = Step(unit.seq or 0, "main", "mapped", "worker", txn=written.txn)
            done(conn, ORG, step, 1, logged_too=not written.events)  # type: ignore[arg-type]

        await keyring.retrying(store.write, work)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    store.close()
    await vault.close()


if __name__ == "__main__":
    where = Server(sys.argv[1]) if "://" in sys.argv[1] else Path(sys.argv[1])
    asyncio.run(main(where, Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
