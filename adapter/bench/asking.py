"""One question to a node, over a connection of its own: for what is looked up, not measured."""

import json
import urllib.request
from typing import Any

from adapter.bench import traffic


def get(url: str, token: str) -> Any:
    """One answer as JSON."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310 - our own node
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
        return json.load(answer)


def find_patient(base: str, token: str, number: int) -> str | None:
    """The path of the Patient of copy `number`; None while there is none."""
    answer = get(f"{base}/Patient?identifier={traffic.identifier(number)}", token)
    entries = answer.get("entry", [])
    return f"/fhir/Patient/{entries[0]['resource']['id']}" if entries else None
