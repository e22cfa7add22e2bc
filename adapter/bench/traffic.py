"""The messages of the benchmark: the samples of `samples/hl7v2/bench`, under ever new numbers.

One message repeated would be a duplicate to the journal, one resource to the store, and all cache hits to the mapping.
So each copy has a control id, a patient, a visit and order numbers of its own; names, codes and doctors repeat, as they
do in a hospital.
"""

import re

from adapter import samples
from adapter.sender import END, START, segments_end_in_cr

ADT, ORU_10, ORU_50 = "adt-500", "oru-10", "oru-50"
FIRST_NUMBER = 100_000  # all copies of a sample are of one length

# The numbers of the samples: control id, patient, visit, placer's and filler's order. Each ends where its field does.
NUMBERS = ((b"|BENCH", b"|"), (b"|4711", b"^"), (b"|V100", b"^"), (b"|P500", b"^"), (b"|F500", b"^"))


def sample(name: str) -> bytes:
    """One sample as it goes over the wire."""
    return segments_end_in_cr((samples.folder() / "bench" / f"{name}.hl7").read_bytes())


class Template:
    """A sample that is copied under ever new numbers, in a microsecond: the load must not be what is measured."""

    def __init__(self, name: str) -> None:
        message = sample(name).replace(b"%", b"%%")
        for begin, end in NUMBERS:
            letter = begin[1:2] if begin[1:2].isalpha() else b""
            message = re.sub(re.escape(begin) + rb"\d*" + re.escape(end), b"|%s%%(n)d%s" % (letter, end), message)
        self._message, self._frame = message, START + message + END

    def message(self, number: int) -> bytes:
        """The copy of this number, another patient's than every other copy."""
        return self._message % {b"n": FIRST_NUMBER + number}

    def frame(self, number: int) -> bytes:
        """The same, as MLLP sends it."""
        return self._frame % {b"n": FIRST_NUMBER + number}


def identifier(number: int) -> str:
    """The patient's number in a copy."""
    return str(FIRST_NUMBER + number)
