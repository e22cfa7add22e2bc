"""A process that makes changes and tells a subscriber of them, killed at the point that the environment names.

`python -m tests.adapter.notices.teller SITE PORT CA COUNT CLAIM` works on a site that has a subscription: it writes as
many Observations as are missing, then sends until nothing waits, and ends. A claim lasts so many seconds.
"""

import asyncio
import os
import ssl
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from adapter import site
from adapter.notices.endpoint import Endpoints
from adapter.notices.notifier import Notifier, Pace
from adapter.services import Parts, assemble
from adapter.store import resources, subscriptions
from adapter.store.unit import Replace, Unit
from adapter.store.writing import commit_unit
from tests.adapter.api.conftest import clients, observation
from tests.adapter.notices.hook import LOOPBACK


async def main(folder: Path, port: str, authority: str, count: int, claim_s: float) -> None:
    pace = Pace(first_s=0, most_s=0, claim_s=claim_s)

    async def resolve(host: str, port: int) -> list[str]:
        return [str(LOOPBACK)]

    async with AsyncExitStack() as stack:
        opened = await stack.enter_async_context(site.open_site(folder))
        own = opened.settings.access.client["clinic"]
        known = {
            name: one.model_copy(update={"notify": (f"hook.example.org:{port}",)}) for name, one in clients(own).items()
        }
        access = opened.settings.access.model_copy(update={"client": known})
        settings = opened.settings.model_copy(update={"access": access})
        parts = Parts(
            settings, folder, opened.store, opened.ledger, opened.keyring, opened.token_key, lambda: datetime.now(UTC),
            os.urandom,
        )  # fmt: skip
        endpoints = Endpoints(
            resolve, lambda address: address == LOOPBACK, ssl.create_default_context(cafile=authority)
        )
        services = replace(await assemble(parts), endpoints=endpoints)
        keyring, store = services.keyring, services.store
        for number in range(count):
            name = f"o{number}"
            unit = Unit(
                "resource.written", "test", datetime.now(UTC), (Replace(observation(name)),), secret={"actor": "t"}
            )
            known_here = await store.read(
                lambda conn, name=name: resources.current(conn, keyring.organisation(), "Observation", name)  # type: ignore[misc]
            )
            if known_here is None:
                await keyring.retrying(store.write, lambda conn, unit=unit: commit_unit(conn, unit, keyring))  # type: ignore[misc]
        limit = asyncio.get_running_loop().time() + 20
        while asyncio.get_running_loop().time() < limit and any(
            waiting for _, waiting, _ in await store.read(lambda conn: subscriptions.every(conn, opened.org))
        ):
            await Notifier(services, pace).once()
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), float(sys.argv[5])))
