"""Reads over HTTP: a resource with its gate and its event, against a route that does nothing.

Both are served by the same server in one process each, and asked by the same lean client over kept-alive connections.
The two take turns, so that what disturbs one disturbs the other. Source: fhir chapter §14.
"""

import json
import time
import urllib.request
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import cycle
from operator import add
from pathlib import Path
from typing import Any

from adapter.bench import process, sites, traffic
from adapter.bench.figure import Figure, Probe, number
from adapter.bench.load import HOST, Outcome, acknowledged, answered, closed_loop
from adapter.errors import Unavailable
from adapter.http_server import free_port

AREA = "api"
RATE, SHARE = 2_000, 0.6
CONNECTIONS = 64
PATIENTS = 200
TURNS = 3
SETTLE_S = 30.0


def measure(folder: Path, seconds: float) -> list[Figure]:
    """GET of a Patient, many patients in turn, `seconds` for each of the two sides."""
    place = sites.make(folder / "api")
    node = process.running("adapter.bench.served", "node", str(place.folder))
    bare = process.running("adapter.bench.served", "bare", str(free_port(HOST)))
    with node, bare as other:
        paths = _fill(place)
        ours, theirs = _requests(paths, place.token()), _requests(paths, "none")
        ports = place.http_port, int(other.ready)
        _turn(ports[0], ours, seconds / 4)
        _turn(ports[1], theirs, seconds / 4)
        turns = [
            (_turn(ports[0], ours, seconds / TURNS), _turn(ports[1], theirs, seconds / TURNS)) for _ in range(TURNS)
        ]
    return [_figure(reduce(add, (one for one, _ in turns)), reduce(add, (two for _, two in turns)))]


def _turn(port: int, requests: Iterator[bytes], seconds: float) -> Outcome:
    return closed_loop(port, requests, answered, connections=CONNECTIONS, seconds=seconds).expect_all()


def _requests(paths: Sequence[str], token: str) -> Iterator[bytes]:
    head = f"Host: {HOST}\r\nAuthorization: Bearer {token}\r\nAccept: application/fhir+json\r\n\r\n"
    return cycle([f"GET {path} HTTP/1.1\r\n{head}".encode() for path in paths])


def _figure(ours: Outcome, bare: Outcome) -> Figure:
    rate, probe = ours.rate, Probe("bare route", bare.rate, "/s")
    p50, p99 = ours.latencies.percentile(0.5), ours.latencies.percentile(0.99)
    return Figure(
        AREA,
        "GET a resource with audit, one worker",
        rate,
        "/s",
        f"≥ {RATE:,}/s or {SHARE} × bare, the lower",
        rate >= min(RATE, SHARE * probe.value),
        probe,
        rate / probe.value,
        f"p50 {number(p50 * 1000)} ms, p99 {number(p99 * 1000)} ms",
    )


def _fill(place: sites.Place) -> list[str]:
    """Patients in the node, by way of its listener; the paths of their resources once all are there."""
    frames = map(traffic.Template(traffic.ADT).frame, range(PATIENTS))
    closed_loop(place.mllp_port, frames, acknowledged, connections=8).expect_all()
    base, token = f"http://{HOST}:{place.http_port}/fhir", place.token()
    deadline = time.monotonic() + SETTLE_S
    found: dict[int, str] = {}
    while len(found) < PATIENTS:
        if time.monotonic() > deadline:
            raise Unavailable("the messages of the benchmark were not all mapped in time")
        for n in (n for n in range(PATIENTS) if n not in found):
            if (path := find_patient(base, token, n)) is None:
                time.sleep(0.05)
                break
            found[n] = path
    return list(found.values())


def find_patient(base: str, token: str, number: int) -> str | None:
    """The path of the Patient of copy `number`; None while there is none."""
    answer = get(f"{base}/Patient?identifier={traffic.identifier(number)}", token)
    entries = answer.get("entry", [])
    return f"/fhir/Patient/{entries[0]['resource']['id']}" if entries else None


def get(url: str, token: str) -> Any:
    """One answer as JSON, over a connection of its own."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.load(answer)
