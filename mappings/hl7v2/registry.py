"""What rows and wiring may name, gathered: datatype functions, resolvers, keys and rules; and what each family reads.

Source: design chapter HL7 v2 §3. Fields that the reader itself consumes (separators, set ids, OBX-2) stand in
`crosswalk.csv` with status `reader`; what became of the guide's rows stands behind them, for people and tests.
"""

import csv
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from itertools import islice, pairwise, takewhile
from pathlib import Path
from typing import Any

from mappings.hl7v2 import datatypes, keys, rules
from mappings.hl7v2.assemble import remembering
from mappings.hl7v2.rules import (
    appointments,
    asides,
    beds,
    care,
    charges,
    clinical,
    documents,
    dosage,
    drugs,
    encounters,
    labels,
    medications,
    merges,
    messages,
    notes,
    orders,
    patients,
    payers,
    readers,
    referrals,
    results,
    roles,
    snapshots,
    spans,
    specimens,
    staff,
    vaccines,
    vitals,
)  # fmt: skip
from mappings.hl7v2.wiring import Registry, Wiring
from mappings.rows.compiler import CompiledRows

_REGISTERED = (
    appointments, asides, beds, care, charges, clinical, documents, dosage, drugs, encounters, labels,
    medications, merges, messages, notes, orders, patients, payers, readers, referrals, results, roles, snapshots,
    spans, specimens, staff, vaccines, vitals,
)  # fmt: skip
MOST_FIELDS = 65_536  # beyond any limit of the reader
_CROSSWALK = Path(__file__).with_name("crosswalk.csv")


@cache
def functions() -> Mapping[str, Any]:
    """Every datatype function by the name that rows use; those that make references remember what they made."""
    found = datatypes.FUNCTIONS | rules.FUNCTIONS
    return {
        name: replace(each, call=remembering(each.call))
        if each.fhir_type == "Reference" and each.takes == "one" and name not in rules.SIBLINGS
        else each
        for name, each in found.items()
    }


def resolvers() -> Mapping[str, Callable[[Any], Any]]:
    """Every `@name` of a row's value."""
    return rules.RESOLVERS


def wiring() -> Registry:
    """Keys and rules by the names that `messages/*.toml` uses."""
    return Registry(keys.KEYS, rules.FINISH, rules.AFTER, rules.NEEDS)


@cache
def crosswalk() -> Mapping[str, tuple[str, str]]:
    """Field → (status, why), of fields without a row of their own: the lines before the guide's, which name a sheet."""
    with _CROSSWALK.open(encoding="utf-8", newline="") as file:
        ours = takewhile(lambda cells: not "".join(cells[3:4]), islice(csv.reader(file), 1, None))
        return {cells[0]: (cells[1], cells[2]) for cells in ours}


def reads(family: Wiring, rows: CompiledRows) -> Mapping[str, tuple[tuple[int, int], ...]]:
    """Segment → ranges of fields that nothing reads, the last one up to the most fields a segment may have."""
    fields: dict[str, set[int]] = {name: set() for name in family.segments}
    for name in family.maps:
        for segment, number in rows[name].fields:
            fields.setdefault(segment, set()).add(number)
    for place, (status, _) in crosswalk().items():
        segment, _, number_text = place.partition("-")
        if status in ("reader", "rule") and segment in fields:
            fields[segment].add(int(number_text))
    return {segment: _gaps(sorted(numbers)) for segment, numbers in fields.items()}


def single(family: Wiring, rows: CompiledRows) -> Mapping[str, tuple[int, ...]]:
    """Segment → fields of which rows read one repetition only: another one that is sent becomes nothing."""
    read = {place for name in family.maps for place in rows[name].fields}
    repeated = {place for name in family.maps for place in rows[name].repeated}
    beside = {place for place, (status, _) in crosswalk().items() if status in ("reader", "rule")}
    found: dict[str, list[int]] = {}
    for segment, number in sorted(read - repeated):
        if f"{segment}-{number}" not in beside:
            found.setdefault(segment, []).append(number)
    return {segment: tuple(numbers) for segment, numbers in found.items()}


def _gaps(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    """What lies between sorted field numbers, and behind the last."""
    edges = [0, *numbers, MOST_FIELDS]
    return tuple((low + 1, high) for low, high in pairwise(edges) if high > low + 1)
