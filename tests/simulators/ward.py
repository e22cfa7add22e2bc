"""Ward reads: a client of the house that goes on asking for a patient, through every loss of the node.

It keeps the references that came with what it was shown (`X-Ledger-Index`): each is a promise that the access stood in
the log before a byte left.
"""

import asyncio
import http.client
import os
from dataclasses import dataclass, field
from pathlib import Path

from adapter.access.grant import grant
from adapter.access.token import issue
from adapter.access.token import load as load_key
from adapter.client import FhirClient, Response
from adapter.services import base_url
from adapter.settings import load
from adapter.site import now

PAUSE_S = 0.03
TOKEN_S = 3600


def client(folder: Path, name: str = "clinic") -> FhirClient:
    """A client of this site, with a token."""
    settings = load(folder)
    key = load_key(folder / settings.keys.token_file)
    audience = base_url(settings)
    given = grant(settings.access, name)
    token = issue(key, given, audience=audience, life_s=TOKEN_S, now=now(), entropy=os.urandom)
    return FhirClient(audience, token)


@dataclass(slots=True)
class Ward:
    """Reads the patient with this number, again and again."""

    client: FhirClient
    number: int = 4000
    references: list[str] = field(default_factory=list)
    statuses: set[int] = field(default_factory=set)

    async def read(self) -> None:
        """Until cancelled."""
        while True:
            answer = await self.ask()
            if answer is not None:
                self.statuses.add(answer.status)
                if answer.status == 200:
                    self.references += answer.headers["x-ledger-index"].split(", ")
            await asyncio.sleep(PAUSE_S)

    async def ask(self) -> Response | None:
        """One search; None when the node is away."""
        try:
            return await self.client.get(f"/Patient?identifier=urn:oid:2.999.1.4|{self.number}")
        except (OSError, http.client.HTTPException):
            return None
