"""The messages of the benchmark: the samples of `samples/hl7v2/bench`, under ever new numbers.

One message repeated would be a duplicate to the journal, one resource to the store, and all cache hits to the mapping.
So each copy has a control id, a patient, a visit and order numbers of its own; names, codes and doctors repeat, as they
do in a hospital.
"""

from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path

from adapter.errors import UsageError
from adapter.sender import segments_end_in_cr, with_control_id

SAMPLES = Path(__file__).parents[2] / "samples" / "hl7v2" / "bench"
ADT, ORU_10, ORU_50 = "adt-500", "oru-10", "oru-50"

# The numbers of the samples: patient, visit, placer's and filler's order. Each stands before its authority.
PATIENT, VISIT, PLACER, FILLER = b"|4711^^^", b"|V100^^^", b"|P500^", b"|F500^"


def sample(name: str) -> bytes:
    """One sample as it goes over the wire."""
    try:
        return segments_end_in_cr((SAMPLES / f"{name}.hl7").read_bytes())
    except OSError as exc:
        raise UsageError("the benchmark's samples are not here", hint="run it from a copy of the repository") from exc


def copy(message: bytes, number: int, patient: int | None = None) -> bytes:
    """The message with the numbers of copy `number`; of a patient of its own, unless one is named."""
    who = number if patient is None else patient
    for old, new in ((PATIENT, who), (VISIT, who), (PLACER, number), (FILLER, number)):
        letters = old[1:].rstrip(b"^")[:1] if old[1:2].isalpha() else b""
        tail = old[len(old.rstrip(b"^")) :]
        message = message.replace(old, b"|%s%d%s" % (letters, 100_000 + new, tail))
    return with_control_id(message, b"B%d" % number)


def copies(name: str, start: int = 1) -> Iterator[bytes]:
    """Copies without end, each another patient's."""
    return map(partial(copy, sample(name)), count(start))
