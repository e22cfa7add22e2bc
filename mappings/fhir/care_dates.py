"""When the care took place that a resource tells of: what `start` and `end` of `$everything` ask about.

`care_dates.csv` names the search parameters that hold it, by type: the standard's own `date` of clinical resources
where it has one, else the parameter that comes closest. A type without a row tells of no care (a Patient, an Account),
and is in every range; so is a resource that does not say when.

Source: FHIR R4 patient-operation-everything.html ("care dates, not record currency dates").
"""

import csv
from collections.abc import Iterator
from datetime import tzinfo
from functools import cache
from pathlib import Path
from typing import Final

from mappings.fhir.codec import Json
from mappings.fhir.search_plan import extract
from mappings.fhir.search_values import DateValue
from mappings.fhir.temporal import Interval, period

TABLE: Final = Path(__file__).with_name("care_dates.csv")


@cache
def parameters() -> dict[str, frozenset[str]]:
    """The table by type."""
    with TABLE.open(encoding="utf-8", newline="") as rows:
        return {row["type"]: frozenset(row["params"].split("|")) for row in csv.DictReader(rows)}


def is_within(resource: Json, asked: Interval, zone: tzinfo) -> bool:
    """Whether any of its care falls into the interval, or it does not say when there was any."""
    found = [period(one.start, one.end, zone) for one in _dates(resource)]
    return not found or any(one.overlaps(asked) for one in found)


def _dates(resource: Json) -> Iterator[DateValue]:
    type_ = resource["resourceType"]
    if (wanted := parameters().get(type_)) is None:
        return
    for values in extract(type_, resource, wanted).values():
        yield from (value for value in values if isinstance(value, DateValue))
