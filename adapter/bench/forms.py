"""A resource as XML, and back: one Bundle of a laboratory result, each way on one core, beside lxml's bare parse.

Measured in time of the processor, and told of 4 KB of canonical JSON. Source: fhir chapter §3 (budget of XML).
"""

from itertools import repeat

from adapter import tuning
from adapter.bench import traffic
from adapter.bench.conversion import Timed
from adapter.bench.figure import Figure, Probe
from mappings.bundle import bundle
from mappings.convert import load_profile, to_fhir
from mappings.fhir.codec import Json, decode, encode
from mappings.fhir.xml import from_xml, to_xml
from mappings.xml_parser import tree

AREA = "forms"
BUDGET_MS = 0.2  # of 4 KB
WARM, TURNS = 20, 4
_SIZE = 4_096


def measure(seconds: float) -> list[Figure]:
    """A figure each way."""
    message = traffic.Template(traffic.ORU_10).message(1)
    resource = decode(encode(bundle(to_fhir(message, load_profile("default")), "transaction")))
    size, data = len(encode(resource)), to_xml(resource)
    tuning.settle()
    writing: Timed[Json] = Timed(to_xml)
    reading: Timed[bytes] = Timed(from_xml)
    bare: Timed[bytes] = Timed(tree)
    writing.warm(repeat(resource), WARM)
    reading.warm(repeat(data), WARM)
    for _ in range(TURNS):
        writing.run(repeat(resource), seconds * 0.4 / TURNS)
        reading.run(repeat(data), seconds * 0.4 / TURNS)
        bare.run(repeat(data), seconds * 0.2 / TURNS)
    probe = _ms(bare.rate, size)
    return [
        _figure("4 KB of JSON to XML", _ms(writing.rate, size), probe),
        _figure("XML to 4 KB of JSON", _ms(reading.rate, size), probe),
    ]


def _ms(rate: float, size: int) -> float:
    """Milliseconds that 4 KB take, where so many of this size were done a second."""
    return 1_000 / rate * _SIZE / size


def _figure(what: str, value: float, probe: float) -> Figure:
    bare = Probe("lxml parses it", probe, "ms")
    return Figure(AREA, what, value, "ms", f"≤ {BUDGET_MS} ms", value <= BUDGET_MS, bare, probe / value)
