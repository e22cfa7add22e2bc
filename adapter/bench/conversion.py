"""Conversion on one core: bytes of a message in; FHIR out, checked by the bytes and schema layers, as JSON.

What is asked for is what a conversion child asks for: nothing that lives in bundles only. The layers are those that
the store runs on what it has converted (`validate.written`): the limits of the bytes it writes, and the schema.

Measured in time of the processor, so that other programs cost it little. hl7apy parses the same messages in the same
run, which is less than half of the work. Source: hl7v2 chapter §16.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Generic, TypeVar

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from adapter import tuning
from adapter.bench import traffic
from adapter.bench.figure import Figure, Probe
from mappings.convert import Profile, load_profile, to_fhir
from mappings.fhir.validate import written

T = TypeVar("T")

AREA = "conversion"
TIMES_HL7APY = 50
COPIES = 500
WARM = 60
TURNS, OURS = 4, 0.6  # the two take turns, so that what disturbs one disturbs the other; our share of the time
GOALS = {traffic.ADT: 5_000, traffic.ORU_10: 1_500, traffic.ORU_50: 400}
NAMES = {traffic.ADT: "ADT of 500 bytes", traffic.ORU_10: "ORU with 10 OBX", traffic.ORU_50: "ORU with 50 OBX"}


def measure(seconds: float) -> list[Figure]:
    """One figure a message kind; `seconds` for all of them and their probes."""
    profile = load_profile("default")
    tuning.settle()  # as a conversion child does
    return [_figure(name, profile, seconds / len(GOALS)) for name in GOALS]


def _figure(name: str, profile: Profile, seconds: float) -> Figure:
    template = traffic.Template(name)
    messages = [template.message(number) for number in range(COPIES)]
    ours: Timed[bytes] = Timed(lambda data: convert(data, profile))
    theirs: Timed[str] = Timed(_hl7apy)
    own, other = cycle(messages), cycle([message.decode("ascii") for message in messages])
    ours.warm(own, WARM)
    theirs.warm(other, 1)
    for _ in range(TURNS):
        ours.run(own, seconds * OURS / TURNS)
        theirs.run(other, seconds * (1 - OURS) / TURNS)
    goal, rate, ratio = GOALS[name], ours.rate, ours.rate / theirs.rate
    return Figure(
        AREA,
        f"convert, validate, JSON: {NAMES[name]}",
        rate,
        "/s a core",
        f"≥ {goal:,}/s and ≥ {TIMES_HL7APY} × hl7apy",
        rate >= goal and ratio >= TIMES_HL7APY,
        Probe("hl7apy parses it", theirs.rate, "/s"),
        ratio,
    )


def convert(data: bytes, profile: Profile) -> None:
    """All that the goal names. Raises RuntimeError where a resource does not validate: then speed means nothing."""
    for mapped in to_fhir(data, profile, events=False).resources:
        if written(mapped.body)[1]:
            raise RuntimeError("a sample of the benchmark maps to a resource that does not validate")


def _hl7apy(text: str) -> None:
    parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=True)


@dataclass(slots=True)
class Timed(Generic[T]):
    """A call, and what it took of this process's processor time."""

    call: Callable[[T], object]
    done: int = 0
    taken: float = 0.0

    def warm(self, inputs: Iterator[T], times: int) -> None:
        for value in islice(inputs, times):
            self.call(value)

    def run(self, inputs: Iterator[T], seconds: float) -> None:
        started = time.process_time()
        while (taken := time.process_time() - started) < seconds:
            self.call(next(inputs))
            self.done += 1
        self.taken += taken

    @property
    def rate(self) -> float:
        """Calls a second of one core."""
        return self.done / self.taken
