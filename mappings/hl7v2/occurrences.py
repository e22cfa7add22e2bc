"""Segments that stand once too often for their structure, and patients that it needs and does not have.

`occurrences.csv` says of each structure which segments stand once in a message (`once`) or once for each patient
(`each`), which a patient's part cannot do without (`part`), and whether a patient is needed (`patient`); where versions
differ, it is the one that lets most pass. Results of earlier orders (`pairing.py`) are not counted: they name patient
and stay again.

Two patients where the structure has one: nobody can say whose the visit is, and `one_patient` refuses the message. A
merge says of each PID what becomes of it, and is not refused.

Source: the standard's own message structures, as hl7apy has them (`tools/compile_hl7v2.py`).
"""

import csv
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from mappings.hl7v2.assemble import Assembly
from mappings.hl7v2.errors import UnreadableMessage
from mappings.hl7v2.keys.persons import patient
from mappings.hl7v2.message import Segment
from mappings.hl7v2.pairing import PRIOR
from mappings.hl7v2.place import Place
from mappings.hl7v2.rules.merges import NEEDED
from mappings.hl7v2.structure import Group
from mappings.issues import Issue, issue

Placed = Iterable[tuple[Segment, Group]]

_FILE = Path(__file__).parent / "occurrences.csv"


class Occurrences(NamedTuple):
    """One line of occurrences.csv."""

    patient: bool
    once: frozenset[str]
    each: frozenset[str]
    part: frozenset[str]


@cache
def _rows() -> dict[str, Occurrences]:
    with _FILE.open(encoding="utf-8", newline="") as file:
        return {
            row["structure"]: Occurrences(
                row["patient"] == "1", *(frozenset(row[name].split()) for name in ("once", "each", "part"))
            )
            for row in csv.DictReader(file)
        }


def report(placed: Placed, structure: str) -> Iterator[Issue]:
    """An issue for each segment too many, at its place, and one for a patient that is missing."""
    known = _rows().get(structure)
    if known is None:
        return
    met: set[str] = set()  # in the message
    here: set[str] = set()  # since the last PID, or the last PV1 for what follows that
    for segment, group in placed:
        name = segment.name
        if name == "PID" and not _prior(group):
            if (name in met and name in known.once) or ("PID" in here and not known.part <= here):
                yield issue("unexpected-segment", segment.place())
            here = {name}
        elif (name in met and name in known.once) or (name in here and (name in known.each or name == "PV2")):
            if not _prior(group):
                yield issue("unexpected-segment", segment.place())
        elif name == "PV1":
            here.discard("PV2")
        met.add(name)
        here.add(name)
    if known.patient and "PID" not in met:
        yield issue("no-patient", Place("MSH", 1))


def one_patient(assembly: Assembly, structure: str) -> None:
    """Raises UnreadableMessage (`several-patients`) at the first PID of another patient."""
    known = _rows().get(structure)
    if known is None or "PID" not in known.once or assembly.event in NEEDED:
        return
    named = [segment for segment, group in assembly.placed if segment.name == "PID" and not _prior(group)]
    for segment in named[1:]:
        if patient(segment, assembly) != patient(named[0], assembly):
            raise UnreadableMessage("several-patients", segment.place(), "a structure of one patient names two")


def _prior(group: Group) -> bool:
    """Whether a group tells of an earlier order."""
    at: Group | None = group
    while at is not None:
        if at.name == PRIOR:
            return True
        at = at.parent
    return False
