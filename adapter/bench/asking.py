"""What a node is asked, as bytes for the load; and one question over a connection of its own, for what is looked up and
not measured.
"""

import json
import urllib.request
from collections.abc import Iterable, Iterator
from itertools import cycle
from typing import Any

from adapter.bench import traffic
from adapter.bench.load import HOST


def reads(paths: Iterable[str], token: str) -> Iterator[bytes]:
    """GETs of these paths, again and again."""
    head = f"Host: {HOST}\r\nAuthorization: Bearer {token}\r\nAccept: application/fhir+json\r\n\r\n"
    return cycle([f"GET {path} HTTP/1.1\r\n{head}".encode() for path in paths])


def transactions(bodies: Iterable[bytes], token: str) -> Iterator[bytes]:
    """POSTs of these Bundles, each once, made as they are taken."""
    head = f"POST /fhir HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {token}\r\n"
    head += "Content-Type: application/fhir+json\r\nContent-Length: "
    return (b"%s%d\r\n\r\n%s" % (head.encode(), len(body), body) for body in bodies)


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
