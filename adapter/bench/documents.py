"""A C-CDA document on one core: bytes in; document Bundle out, as JSON, with everything on.

Measured in time of the processor. The probe is lxml's bare parse of the same bytes with no rule of ours, in the same
run. Rates are of 100 kB, whatever the document's size. Others' converters are measured by `make bench-peers`.
"""

from collections.abc import Callable
from itertools import repeat

from lxml import etree

from adapter import samples, tuning
from adapter.bench.conversion import Timed
from adapter.bench.figure import Figure, Probe
from mappings.bundle import bundle
from mappings.convert import Profile, load_profile, to_fhir
from mappings.fhir.codec import encode
from mappings.xml_parser import parser

AREA = "documents"
SAMPLE = samples.documents() / "bench/referral-note.xml"
GOAL = 120  # documents of 100 kB a second of one core
MOST_PARSES = 11  # of the bare parse
WARM, TURNS, OURS = 3, 4, 0.8
_SIZE = 100_000


def measure(seconds: float) -> list[Figure]:
    """One figure: documents of 100 kB a second."""
    profile, data = load_profile("default"), SAMPLE.read_bytes()
    tuning.settle()
    ours: Timed[bytes] = Timed(converting(profile))
    bare: Timed[bytes] = Timed(_parse)
    same = repeat(data)
    ours.warm(same, WARM)
    bare.warm(same, WARM)
    for _ in range(TURNS):
        ours.run(same, seconds * OURS / TURNS)
        bare.run(same, seconds * (1 - OURS) / TURNS)
    rate, probe = (each.rate * len(data) / _SIZE for each in (ours, bare))
    return [
        Figure(
            AREA,
            "C-CDA document of 100 kB to Bundle, JSON",
            rate,
            "/s a core",
            f"≥ {GOAL}/s; mark: {MOST_PARSES} bare parses",
            rate >= GOAL,
            Probe("lxml parses it", probe, "/s"),
            rate / probe,
        )
    ]


def converting(profile: Profile) -> Callable[[bytes], bytes]:
    """Bytes of a document to bytes of its Bundle."""
    return lambda data: encode(bundle(to_fhir(data, profile), "document"))


def _parse(data: bytes) -> None:
    etree.fromstring(data, parser())
