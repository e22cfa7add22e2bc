"""Choose the bytes that prime DEFLATE for stored resources: `mappings/fhir/deflate.dict`.

Small resources compress badly alone, since what they share with each other is what each has only once: names of
members, code systems, the frame that a store adds. The dictionary holds what the examples of the types that hospitals
send have in common. It is chosen as zstd's COVER does: the window of the samples that holds the most frequent, not
yet covered strings goes in, until the window of the compressor is full. Same examples, same bytes.

Source: RFC 1951 (DEFLATE), RFC 1950 §2.2 (a preset dictionary); L. Liao and others, COVER, for the choice.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from mappings.fhir.codec import Json, decode, encode

WINDOW_BITS = 12  # of the compressor in `adapter/seal/`
MIN_LOOKAHEAD = 262  # zlib reaches this much less far back than its window is wide
SIZE = (1 << WINDOW_BITS) - MIN_LOOKAHEAD

GRAM = 8  # bytes of the strings that are counted
SEGMENT = 48  # bytes added at a time
MAX_SAMPLE = 4096  # bytes; a longer example says more about itself than about its type
MAX_OF_TYPE = 12  # examples, lest the types with many drown the others

# What hospital feeds become, most frequent last: bytes near the end are cheapest to refer to.
TYPES = (
    "Consent Composition Provenance DocumentReference Immunization MedicationRequest MedicationAdministration "
    "Procedure Coverage Condition AllergyIntolerance RelatedPerson Location Organization Practitioner Specimen "
    "ServiceRequest Encounter Patient DiagnosticReport Observation"
).split()


def dictionary(files: Mapping[str, bytes]) -> bytes:
    """The dictionary, from the examples of a package."""
    samples = list(_samples(files))
    counts = Counter(gram for sample in samples for gram in set(_grams(sample)))
    for gram in [gram for gram, count in counts.items() if count == 1]:
        del counts[gram]
    chosen: list[bytes] = []
    while sum(map(len, chosen)) < SIZE:
        segment = _best_segment(samples, counts)
        if segment is None:
            break
        chosen.append(segment)
        for gram in _grams(segment):
            counts[gram] = 0
    return b"".join(reversed(chosen))[-SIZE:]


def _samples(files: Mapping[str, bytes]) -> Iterator[bytes]:
    """Examples as the store would keep them: without narrative, stamped, in canonical form."""
    for kind in TYPES:
        named = sorted(name for name in files if name.startswith(f"{kind}-"))
        examples = [encode(_as_stored(decode(files[name]))) for name in named]
        yield from [example for example in examples if len(example) <= MAX_SAMPLE][:MAX_OF_TYPE]


def _as_stored(resource: Json) -> Json:
    """An example with the members that a store stamps; their values differ each time, so they are left to the end."""
    stamped = {name: value for name, value in resource.items() if name != "text"}
    return stamped | {"id": "0", "meta": {"lastUpdated": "2025-01-01T00:00:00.000Z", "versionId": "1"}}


def _grams(data: bytes) -> Iterable[bytes]:
    return (data[start : start + GRAM] for start in range(len(data) - GRAM + 1))


def _best_segment(samples: Iterable[bytes], counts: Mapping[bytes, int]) -> bytes | None:
    """The segment whose strings are the most frequent, the first of equals; None where nothing frequent is left."""
    best, found = 0, None
    width = SEGMENT - GRAM + 1
    for sample in samples:
        weights = [counts.get(gram, 0) for gram in _grams(sample)]
        total = sum(weights[:width])
        for start in range(max(len(weights) - width + 1, 1)):
            if total > best:
                best, found = total, sample[start : start + SEGMENT]
            if start + width < len(weights):
                total += weights[start + width] - weights[start]
    return found
